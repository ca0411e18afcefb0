"""A recording served: to each subscriber its frames, all of them, byte for byte, in order."""

import json

import httpx
import pytest
import trio
from simulator_support import (
    CAPTURES,
    STREAMS,
    ask,
    client_of,
    handshake,
    quiet,
    record,
    record_market,
    write_numbered,
    write_with_urls,
)  # fmt: skip
from trio.testing import lockstep_stream_pair, memory_stream_pair
from trio_websocket import ConnectionClosed

from ingest_actors.simulator import open_exchange
from ingest_actors.simulator.faults import Cut, Fault, FaultScript
from ingest_actors.simulator.playback import SETTLE_S
from ingest_actors.simulator.recording import Recording

NAMES = [f"{symbol}@{stream}" for symbol in ("btcusdt", "ethusdt") for stream in STREAMS]
ALL = "/stream?streams=" + "/".join(NAMES)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    frames, snapshots = record(seconds=10)
    path = tmp_path_factory.mktemp("recorded") / "r.txt"
    return frames, snapshots, write_with_urls(path, frames, snapshots, streams=NAMES)


def playing(path, **changes):
    return open_exchange(quiet(recording=(path,), speed=changes.pop("speed", 0), tick_s=0.01, **changes))


async def receive(client, count):
    return [(await client.get_message()).encode() for _ in range(count)]


async def test_every_frame_arrives_once_byte_for_byte_in_the_recorded_order(autojump_clock, recorded):
    frames, _, path = recorded
    async with playing(path) as exchange, client_of(exchange, ALL) as client:
        assert await receive(client, len(frames)) == [frame for _, frame in frames]
        await exchange.source.finished.wait()
        with trio.move_on_after(10) as patience:
            await client.get_message()
        assert patience.cancelled_caught


async def test_a_raw_connection_gets_the_events_alone(autojump_clock, recorded):
    frames, _, path = recorded
    async with playing(path) as exchange, client_of(exchange, "/ws/" + "/".join(NAMES)) as client:
        got = await receive(client, len(frames))
        assert got == [frame[frame.index(b'"data":') + 7 : -1] for _, frame in frames]


async def test_each_client_gets_the_streams_that_it_subscribed_to(autojump_clock, recorded, nursery):
    frames, _, path = recorded
    got = {}

    async def follow(exchange, names):
        wanted = [frame for _, frame in frames if json.loads(frame)["stream"] in names]
        async with client_of(exchange, "/stream?streams=" + "/".join(names)) as client:
            got[names] = (await receive(client, len(wanted)), wanted)

    async with playing(path) as exchange, trio.open_nursery() as clients:
        clients.start_soon(follow, exchange, tuple(NAMES[:3]))
        clients.start_soon(follow, exchange, tuple(NAMES[3:]))
        clients.start_soon(follow, exchange, tuple(NAMES[2:5]))
    assert len(got) == 3
    for received, wanted in got.values():
        assert received == wanted


async def test_playback_begins_when_every_stream_is_subscribed(autojump_clock, recorded):
    frames, _, path = recorded
    async with playing(path) as exchange, client_of(exchange, "/stream") as client:
        for number, name in enumerate(NAMES):
            assert exchange.source.rest.trades("BTCUSDT", from_id=None, limit=1, lagging=False) == []
            await client.send_message(json.dumps({"method": "SUBSCRIBE", "params": [name], "id": number}))
            assert json.loads(await client.get_message()) == {"result": None, "id": number}
            await trio.sleep(0.3)
        assert await receive(client, len(frames)) == [frame for _, frame in frames]


async def test_playback_begins_when_subscriptions_have_settled(autojump_clock, recorded):
    frames, _, path = recorded
    wanted = [frame for _, frame in frames if json.loads(frame)["stream"] == NAMES[0]]
    async with playing(path) as exchange:
        await trio.sleep(100)
        started_s = trio.current_time()
        async with client_of(exchange, f"/stream?streams={NAMES[0]}/nosuch@trade") as client:
            assert await receive(client, len(wanted)) == wanted
            assert trio.current_time() - started_s == pytest.approx(SETTLE_S, abs=0.1)


async def test_playback_begins_with_the_first_stream_or_only_with_all_when_told(autojump_clock, recorded):
    _, _, path = recorded
    async with (
        playing(path, start_when="first") as exchange,
        client_of(exchange, "/stream?streams=" + NAMES[0]) as client,
    ):
        with trio.fail_after(0.1):
            await client.get_message()
    async with (
        playing(path, start_when="all") as exchange,
        client_of(exchange, "/stream?streams=" + NAMES[0]) as client,
    ):
        with trio.move_on_after(1000) as patience:
            await client.get_message()
        assert patience.cancelled_caught


async def test_the_end_closes_the_connection_when_told(autojump_clock, recorded):
    frames, _, path = recorded
    async with playing(path, at_end="close") as exchange, client_of(exchange, ALL) as client:
        assert len(await receive(client, len(frames))) == len(frames)
        with pytest.raises(ConnectionClosed) as closed:
            await client.get_message()
        assert closed.value.reason.code == 1001


async def test_a_loop_begins_again(autojump_clock, recorded):
    frames, _, path = recorded
    async with playing(path, at_end="loop", speed=100.0) as exchange, client_of(exchange, ALL) as client:
        got = await receive(client, 3 * len(frames))
        assert got == 3 * [frame for _, frame in frames]


@pytest.mark.parametrize("speed", [1.0, 5.0])
async def test_frames_come_at_the_recorded_pace(autojump_clock, recorded, speed):
    frames, _, path = recorded
    async with playing(path, speed=speed) as exchange, client_of(exchange, ALL) as client:
        first = None
        for at_ns, frame in frames:
            assert (await client.get_message()).encode() == frame
            if first is None:
                first = (at_ns, trio.current_time())
            due_s = (at_ns - first[0]) / 1e9 / speed
            assert -0.02 < trio.current_time() - first[1] - due_s < 0.05


async def test_the_seam_of_two_recordings_is_no_pause(autojump_clock, tmp_path):
    frames, _ = record_market(seconds=3)
    later = [(at_ns + 3 * 365 * 86400 * 10**9, frame) for at_ns, frame in frames]
    one_file = write_numbered(tmp_path / "both.txt", frames + later)
    paths = (write_numbered(tmp_path / "1.txt", later), write_numbered(tmp_path / "2.txt", frames), one_file)
    async with open_exchange(quiet(recording=paths, tick_s=0.01)) as exchange, client_of(exchange, ALL) as client:
        started_s = trio.current_time()
        await receive(client, 4 * len(frames))
        assert trio.current_time() - started_s < 13


async def test_playback_waits_while_nobody_listens(autojump_clock, recorded, nursery):
    frames, _, path = recorded
    async with playing(path, speed=1.0, start_when="first") as exchange:
        async with client_of(exchange, ALL) as client:
            before = await receive(client, 50)
        await trio.sleep(1000)
        assert not exchange.source.finished.is_set()
        async with client_of(exchange, ALL) as client:
            after = await receive(client, 50)
    everything = [frame for _, frame in frames]
    assert everything[:50] == before
    assert after == everything[everything.index(after[0]) :][:50]
    assert everything.index(after[0]) < 200


async def test_playback_waits_for_a_reader_that_does_not_read_and_holds_little_meanwhile(nursery, tmp_path, recorded):
    frames, _, _ = recorded
    path = write_numbered(tmp_path / "r.gz", frames * (1 + 4_000_000 // sum(len(frame) for _, frame in frames)))
    async with playing(path) as exchange:
        ours, theirs = lockstep_stream_pair()
        nursery.start_soon(exchange.serve_stream, theirs)
        await ours.send_all(handshake(ALL))
        await ours.receive_some(4096)
        await trio.testing.wait_all_tasks_blocked()
        (connection,) = exchange.server.connections.values()
        assert 0 < connection.session.outstanding_bytes < 2_000_000 < exchange.source.recording.frames_bytes
        assert not exchange.source.finished.is_set()
        nursery.cancel_scope.cancel()


async def test_a_cut_while_playing_harms_only_that_connection(autojump_clock, recorded):
    frames, _, path = recorded
    faults = FaultScript([Fault(Cut(), after_frames=100, connections=frozenset({1}))])
    async with playing(path, faults=faults, start_when="first") as exchange:
        async with client_of(exchange, ALL) as client:
            got = []
            with pytest.raises(ConnectionClosed):  # noqa: PT012 - it comes when it comes
                while True:
                    got.append((await client.get_message()).encode())
            assert got == [frame for _, frame in frames[:100]]
        async with client_of(exchange, ALL):
            await exchange.source.finished.wait()


async def test_rest_tells_what_was_played_and_the_recorded_books(autojump_clock, recorded):
    frames, snapshots, path = recorded
    async with playing(path) as exchange:  # noqa: SIM117 - the second needs the first
        async with httpx.AsyncClient(transport=httpx.ASGITransport(exchange.rest_app), base_url="http://x") as http:

            async def get(path):
                return await http.get(f"/api/v3/{path}")

            assert (await get("aggTrades?symbol=BTCUSDT")).json() == []
            assert (await get("depth?symbol=BTCUSDT&limit=1000")).content == snapshots["BTCUSDT"][1]
            async with client_of(exchange, ALL) as client:
                await receive(client, len(frames))
            sent = [json.loads(frame) for _, frame in frames]
            trades = [event["data"] for event in sent if event["stream"] == "btcusdt@trade"]
            aggregates = [event["data"] for event in sent if event["stream"] == "btcusdt@aggTrade"]
            stripped = [{key: value for key, value in a.items() if key not in "eEs"} for a in aggregates]
            assert (await get("aggTrades?symbol=BTCUSDT&limit=1000")).json() == stripped
            assert (await get(f"aggTrades?symbol=BTCUSDT&fromId={stripped[3]['a']}&limit=4")).json() == stripped[3:7]
            start, end = stripped[5]["T"], stripped[-5]["T"]
            between = [a for a in stripped if start <= a["T"] <= end]
            assert (await get(f"aggTrades?symbol=BTCUSDT&startTime={start}&endTime={end}&limit=1000")).json() == between
            told = (await get(f"historicalTrades?symbol=BTCUSDT&fromId={trades[7]['t']}&limit=2")).json()
            assert [(t["id"], t["price"], t["qty"], t["time"]) for t in told] == [
                (t["t"], t["p"], t["q"], t["T"]) for t in trades[7:9]
            ]
            assert (await get("trades?symbol=BTCUSDT&limit=1")).json()[0]["id"] == trades[-1]["t"]
            assert len((await get("depth?symbol=BTCUSDT&limit=3")).json()["bids"]) == 3
            assert (await get("klines?symbol=BTCUSDT&interval=1m")).json() == []
            symbols = (await get("exchangeInfo")).json()["symbols"]
            assert [symbol["symbol"] for symbol in symbols] == ["BTCUSDT", "ETHUSDT"]
            assert (await get("depth?symbol=ADAUSDT")).json()["code"] == -1121


async def test_a_recording_without_a_book_says_so(autojump_clock, tmp_path):
    frames, _ = record_market(seconds=1)
    async with playing(write_numbered(tmp_path / "r.txt", frames)) as exchange:  # noqa: SIM117 - the second needs the first
        async with httpx.AsyncClient(transport=httpx.ASGITransport(exchange.rest_app), base_url="http://x") as http:
            answer = await http.get("/api/v3/depth?symbol=BTCUSDT")
            assert (answer.status_code, answer.json()["code"]) == (500, -1001)


async def test_recorded_exchange_info_is_told(autojump_clock, tmp_path):
    frames, _ = record_market(seconds=1)
    path = write_numbered(tmp_path / "r.txt", frames)
    entry = {"symbol": "BTCUSDT", "status": "BREAK", "baseAsset": "BTC"}
    info = json.dumps({"symbols": [entry, {"symbol": "OTHER"}]}, separators=(",", ":"))
    with path.open("a") as file:
        file.write(f"https://api.example.com/api/v3/exchangeInfo -> 1790000000.5: {info}\n")
    recording = Recording([path])
    assert recording.symbols == ("BTCUSDT", "ETHUSDT")
    async with playing(path) as exchange:
        assert exchange.source.rest.symbol_info("BTCUSDT") == entry
        assert exchange.source.rest.symbol_info("ETHUSDT")["status"] == "TRADING"


async def test_leaving_a_stream_of_a_recording_stops_it(autojump_clock, recorded):
    _, _, path = recorded
    async with playing(path, speed=1.0, start_when="first") as exchange, client_of(exchange, ALL) as client:
        await receive(client, 5)
        await ask(client, "UNSUBSCRIBE", [name for name in NAMES if name != "ethusdt@trade"])
        await receive(client, 3)
        got = await receive(client, 20)
        assert {json.loads(frame)["stream"] for frame in got} == {"ethusdt@trade"}


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="recordings of the real exchange are not here")
async def test_a_real_recording_is_served_whole(nursery):
    path = CAPTURES / "spot_2021-04-04_3symbols.txt.gz"
    async with playing(path) as exchange:
        recording = exchange.source.recording
        wire = b"".join(block.wire for _, block in recording.blocks())
        ours, theirs = memory_stream_pair()
        nursery.start_soon(exchange.serve_stream, theirs)
        await ours.send_all(handshake("/stream?streams=" + "/".join(recording.streams)))
        got = b""
        while len(got.partition(b"\r\n\r\n")[2]) < len(wire):
            got += await ours.receive_some(1 << 20)
        assert got.partition(b"\r\n\r\n")[2] == wire
        nursery.cancel_scope.cancel()
