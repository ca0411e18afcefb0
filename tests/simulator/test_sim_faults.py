"""Faults: each does what it says, to whom it says, when it says."""

import contextlib
import json

import pytest
import trio
from simulator_support import (
    START_MS,
    ask,
    client_of,
    decode_frames,
    events,
    handshake,
    handshake_status,
    quiet,
)
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed

from ingest_actors.errors import SettingsError
from ingest_actors.simulator import Limits, open_exchange
from ingest_actors.simulator.fault_frames import split_frames
from ingest_actors.simulator.faults import (
    AddFields,
    CloseWith,
    Cut,
    CutMidFrame,
    DelayReply,
    Drop,
    DropHandshake,
    Duplicate,
    Fault,
    FaultScript,
    Fragment,
    Garbage,
    HalfOpen,
    IgnoreClose,
    ListSymbol,
    LoseSubscriptions,
    Mute,
    NoPings,
    NoReply,
    RefuseHandshake,
    Reorder,
    ReplyError,
    ResetIds,
    ServerShutdown,
    SetStatus,
    SilentHandshake,
    Slow,
    SlowPongs,
    Truncate,
)

PATH = "/ws/btcusdt@trade"


def hurt(action, after_frames=None, connections=(), **options):
    fault = Fault(action, after_frames=after_frames, connections=frozenset(connections), **options)
    return open_exchange(quiet(faults=FaultScript([fault])))


async def bytes_of(exchange, path=PATH):
    """All that a connection sends after the handshake, to its end."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.serve_stream, theirs)
        await ours.send_all(handshake(path))
        got = b""
        while data := await ours.receive_some(65536):
            got += data
    return got.partition(b"\r\n\r\n")[2]


async def test_a_cut_in_the_middle_of_a_frame_leaves_half_of_it(autojump_clock):
    async with hurt(CutMidFrame(), 10) as exchange:
        data = await bytes_of(exchange)
    whole = decode_frames(data)
    assert len(whole) == 10
    rest = data[sum(len(payload) + (4 if len(payload) > 125 else 2) for payload in whole) :]
    assert rest[0] == 0x81
    assert 2 < len(rest) < 200


async def test_a_cut_comes_between_two_frames_and_without_a_close(autojump_clock):
    async with hurt(Cut(), 10) as exchange, client_of(exchange, PATH) as client:
        assert len(await events(client, 10)) == 10
        with pytest.raises(ConnectionClosed) as closed:
            await client.get_message()
        assert closed.value.reason.code == 1006


async def test_a_close_carries_its_code_and_reason_after_the_last_frame(autojump_clock):
    async with hurt(CloseWith(1012, "restarting"), 10) as exchange, client_of(exchange, PATH) as client:
        assert len(await events(client, 10)) == 10
        with pytest.raises(ConnectionClosed) as closed:
            await client.get_message()
        assert (closed.value.reason.code, closed.value.reason.reason) == (1012, "restarting")


async def test_a_half_open_connection_neither_speaks_nor_listens_nor_ends(autojump_clock):
    async with hurt(HalfOpen(), 10) as exchange, client_of(exchange, PATH) as client:
        assert len(await events(client, 10)) == 10
        with trio.move_on_after(600) as patience:
            await client.ping()
        assert patience.cancelled_caught
        assert not client.closed


async def test_a_mute_connection_goes_on_answering(autojump_clock):
    async with hurt(Mute(), 10) as exchange, client_of(exchange, PATH) as client:
        assert len(await events(client, 10)) == 10
        with trio.move_on_after(100) as patience:
            await client.get_message()
        assert patience.cancelled_caught
        assert await ask(client, "LIST_SUBSCRIPTIONS") == {"result": ["btcusdt@trade"], "id": 1}
        await client.ping()


async def test_only_the_named_connections_are_hurt(autojump_clock):
    async with hurt(Cut(), 5, connections=(2,)) as exchange:  # noqa: SIM117 - the second needs the first
        async with client_of(exchange, PATH) as first, client_of(exchange, PATH) as second:
            with pytest.raises(ConnectionClosed):
                await events(second, 6)
            await events(first, 50)


async def test_faults_of_one_connection_come_one_after_the_other(autojump_clock):
    script = FaultScript([Fault(CloseWith(1001), after_frames=20), Fault(Mute(), after_frames=5)])
    async with open_exchange(quiet(faults=script)) as exchange, client_of(exchange, PATH) as client:
        assert len(await events(client, 5)) == 5
        with pytest.raises(ConnectionClosed) as closed:
            await client.get_message()
        assert closed.value.reason.code == 1001


async def test_connections_can_be_hurt_from_outside(autojump_clock):
    async with (
        open_exchange(quiet(limits=Limits(ping_interval_s=5))) as exchange,
        client_of(exchange, PATH) as cut,
        client_of(exchange, PATH) as frozen,
        client_of(exchange, PATH) as closed,
    ):
        exchange.server.connections[1].cut()
        exchange.server.connections[2].freeze()
        exchange.server.connections[3].close(1001, "going away")
        for client, code in ((cut, 1006), (closed, 1001)):
            with pytest.raises(ConnectionClosed) as end:
                await client.get_message()
            assert end.value.reason.code == code
        with trio.move_on_after(300) as patience:
            await frozen.get_message()
        assert patience.cancelled_caught


async def closing(client):
    """Code and reason of the close that ends what is still to come."""
    with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - whenever it comes
        while True:
            await client.get_message()
    return closed.value.reason.code, closed.value.reason.reason


async def trade_ids(client, count):
    return [event["t"] for event in await events(client, count)]


def run(start, count):
    return list(range(start, start + count))


async def test_dropped_events_leave_a_gap_of_so_many_ids(autojump_clock):
    async with hurt(Drop(3), 10) as exchange, client_of(exchange, PATH) as client:
        ids = await trade_ids(client, 20)
    assert ids == run(ids[0], 10) + run(ids[0] + 13, 10)


async def test_only_the_named_stream_loses_events(autojump_clock):
    script = FaultScript([Fault(Drop(3), after_events=5, streams="btcusdt@trade")])
    async with open_exchange(quiet(faults=script)) as exchange:
        async with client_of(exchange, "/ws/btcusdt@trade/ethusdt@trade") as client:
            got = await events(client, 200)
        assert [fired.fault.action for fired in exchange.fired] == [Drop(3)] * 3
    ids = {symbol: [event["t"] for event in got if event["s"] == symbol] for symbol in ("BTCUSDT", "ETHUSDT")}
    eth, btc = ids["ETHUSDT"], ids["BTCUSDT"]
    assert eth == run(eth[0], len(eth))
    assert btc == run(btc[0], 5) + run(btc[0] + 8, len(btc) - 5)


async def test_duplicated_events_come_twice_in_a_row(autojump_clock):
    async with hurt(Duplicate(2), 10) as exchange, client_of(exchange, PATH) as client:
        ids = await trade_ids(client, 16)
    first = ids[0]
    assert ids == [*run(first, 10), first + 10, first + 10, first + 11, first + 11, first + 12, first + 13]


async def test_reordered_events_change_places_with_their_neighbours(autojump_clock):
    async with hurt(Reorder(2), 10) as exchange, client_of(exchange, PATH) as client:
        ids = await trade_ids(client, 16)
    first = ids[0]
    assert ids == [*run(first, 10), first + 11, first + 10, first + 13, first + 12, first + 14, first + 15]


async def test_a_truncated_event_is_a_whole_frame_with_half_its_json(autojump_clock):
    async with hurt(Truncate(), 3) as exchange, client_of(exchange, PATH) as client:
        await events(client, 3)
        broken = await client.get_message()
        assert broken.startswith('{"e":"trade"')
        with pytest.raises(ValueError, match=r"column|char"):
            json.loads(broken)
        assert (await events(client, 1))[0]["e"] == "trade"


@pytest.mark.parametrize("ping", [False, True])
async def test_a_fragmented_message_is_the_same_message_for_a_client_that_can_read(autojump_clock, ping):
    async with hurt(Fragment(4, pieces=7, ping=ping), 5) as exchange, client_of(exchange, PATH) as client:
        ids = await trade_ids(client, 40)
    assert ids == run(ids[0], 40)


async def test_the_ping_between_two_fragments_is_there(autojump_clock):
    script = FaultScript([Fault(Fragment(pieces=2, ping=True)), Fault(Cut(), after_frames=1)])
    async with open_exchange(quiet(faults=script)) as exchange:
        data = await bytes_of(exchange)
    assert data[0] == 0x01
    assert b"\x89\x11between fragments\x80" in data
    assert len(decode_frames(data.replace(b"\x89\x11between fragments", b""))) == 1


@pytest.mark.parametrize(
    ("form", "start"),
    [
        ("bytes", b"\xf7\xff\xff"),
        ("text", b"\x81\x0fthis is no JSON"),
        ("invalid_utf8", b'\x81\x0a{"e":"\xff'),
        ("binary", b"\x82\x08\x00\x01"),
    ],
)
async def test_garbage_comes_between_two_whole_frames(autojump_clock, form, start):
    script = FaultScript([Fault(Garbage(form), after_frames=2), Fault(Cut(), after_frames=2)])
    async with open_exchange(quiet(faults=script)) as exchange:
        data = await bytes_of(exchange)
    whole = list(split_frames(data))
    assert [frame[0] for frame in whole[:2]] == [0x81, 0x81]
    assert data[len(whole[0]) + len(whole[1]) :].startswith(start)


async def test_more_fields_can_make_a_trade_an_old_one(autojump_clock):
    script = FaultScript([Fault(AddFields({"b": 1, "a": 2}, count=1000), streams="*@trade")])
    async with open_exchange(quiet(faults=script)) as exchange:  # noqa: SIM117
        async with client_of(exchange, "/stream?streams=btcusdt@trade/btcusdt@aggTrade") as client:
            got = await events(client, 30)
    for message in got:
        old = list(message["data"])[-2:] == ["b", "a"]
        assert old == (message["stream"] == "btcusdt@trade")


async def test_a_mute_stream_is_silent_while_the_others_flow_and_then_comes_back(autojump_clock):
    script = FaultScript([Fault(Mute(), after_s=10, for_s=20, streams="btcusdt@*")])
    async with open_exchange(quiet(faults=script)) as exchange:  # noqa: SIM117
        async with client_of(exchange, "/ws/btcusdt@trade/ethusdt@trade") as client:
            seen = {"BTCUSDT": [], "ETHUSDT": []}
            while trio.current_time() < 60:
                (event,) = await events(client, 1)
                seen[event["s"]].append(trio.current_time())
    quiet_s = {symbol: [second for second in times if 10.2 < second < 29.9] for symbol, times in seen.items()}
    assert quiet_s["BTCUSDT"] == []
    assert len(quiet_s["ETHUSDT"]) > 20
    assert seen["BTCUSDT"][0] < 10
    assert seen["BTCUSDT"][-1] > 40


async def test_a_connection_that_was_half_open_for_a_while_catches_up(autojump_clock):
    script = FaultScript([Fault(HalfOpen(), after_s=10, for_s=20)])
    async with open_exchange(quiet(faults=script)) as exchange, client_of(exchange, PATH) as client:
        ids, times = [], []
        while trio.current_time() < 60:
            ids += await trade_ids(client, 1)
            times.append(trio.current_time())
        assert await ask(client, "LIST_SUBSCRIPTIONS") == {"result": ["btcusdt@trade"], "id": 1}
    assert ids == run(ids[0], len(ids))
    assert not [second for second in times if 10.2 < second < 29.9]


async def test_a_close_that_lingers_never_ends_the_connection(autojump_clock):
    async with hurt(CloseWith(1001, linger=True), 3) as exchange:
        ours = await exchange.connect()
        await ours.send_all(handshake(PATH))
        got = b""
        with trio.move_on_after(600) as patience:
            while True:
                got += await ours.receive_some(65536)
        assert patience.cancelled_caught
        assert got.endswith(b"\x88\x02\x03\xe9")
        await ours.aclose()
        await trio.sleep(1)
        assert exchange.server.connections == {}


async def test_the_clients_close_may_go_unanswered(autojump_clock):
    config = quiet(faults=FaultScript([Fault(IgnoreClose())]), limits=Limits(ping_interval_s=1000))
    async with open_exchange(config) as exchange, client_of(exchange, PATH) as client:
        await events(client, 1)
        with trio.move_on_after(30) as patience:
            await client.aclose()
        assert patience.cancelled_caught
        assert len(exchange.server.connections) == 1


async def test_latency_delays_everything_and_keeps_the_order(autojump_clock):
    script = FaultScript([Fault(Slow(latency_s=2.0, jitter_s=1.0), connections=frozenset({2}))])
    async with open_exchange(quiet(faults=script)) as exchange:  # noqa: SIM117 - the second needs the first
        async with client_of(exchange, PATH) as quick, client_of(exchange, PATH) as slow:
            arrivals = {}

            async def note(name, client):
                arrivals[name] = [(*await trade_ids(client, 1), trio.current_time()) for _ in range(300)]

            async with trio.open_nursery() as nursery:
                nursery.start_soon(note, "quick", quick)
                nursery.start_soon(note, "slow", slow)
            start_s = trio.current_time()
            await ask(slow, "LIST_SUBSCRIPTIONS")
            assert 2 <= trio.current_time() - start_s <= 3.2
    ids = [number for number, _ in arrivals["slow"]]
    assert ids == run(ids[0], 300)
    left = dict(arrivals["quick"])
    delays = [second - left[number] for number, second in arrivals["slow"] if number in left]
    assert 2 <= min(delays) < max(delays) <= 3.2
    assert max(delays) - min(delays) > 0.3


async def test_bandwidth_is_limited(autojump_clock):
    script = FaultScript([Fault(Slow(bytes_per_s=500))])
    async with open_exchange(quiet(faults=script, activity=5)) as exchange:
        ours = await exchange.connect()
        await ours.send_all(handshake(PATH))
        await ours.receive_some(4096)
        start_s, got = trio.current_time(), b""
        while trio.current_time() < start_s + 60:
            got += await ours.receive_some(65536)
        await ours.aclose()
    assert 29_000 < len(got) <= 30_100
    assert len(decode_frames(got)) > 150


async def test_a_slow_line_that_is_over_is_over(autojump_clock):
    script = FaultScript([Fault(Slow(latency_s=1), for_s=30)])
    async with open_exchange(quiet(faults=script)) as exchange, client_of(exchange, PATH) as client:
        ids = []
        while trio.current_time() < 40:
            ids += await trade_ids(client, 1)
        start_s = trio.current_time()
        await ask(client, "LIST_SUBSCRIPTIONS")
        assert trio.current_time() - start_s < 0.2
    assert ids == run(ids[0], len(ids))


async def test_a_cut_comes_after_what_is_on_its_way_over_a_slow_line(autojump_clock):
    script = FaultScript([Fault(Slow(latency_s=5)), Fault(Cut(), after_frames=10)])
    async with open_exchange(quiet(faults=script)) as exchange:
        assert len(decode_frames(await bytes_of(exchange))) == 10


async def test_a_reply_may_be_late_and_takes_effect_at_once(autojump_clock):
    async with hurt(DelayReply(7)) as exchange, client_of(exchange, "/stream") as client:
        start_s = trio.current_time()
        await client.send_message('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}')
        assert json.loads(await client.get_message())["stream"] == "btcusdt@trade"
        assert trio.current_time() - start_s < 5
        while "result" not in json.loads(await client.get_message()):
            pass
        assert trio.current_time() - start_s == pytest.approx(7, abs=0.1)


@pytest.mark.parametrize("effect", [True, False])
async def test_a_reply_may_be_missing_with_effect_or_without(autojump_clock, effect):
    script = FaultScript([Fault(NoReply(effect=effect), times=1)])
    async with open_exchange(quiet(faults=script)) as exchange, client_of(exchange, "/ws") as client:
        await client.send_message('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}')
        with trio.move_on_after(20):
            assert "result" not in json.loads(await client.get_message())
        listed = await ask(client, "LIST_SUBSCRIPTIONS", request_id=2)
        assert listed == {"result": ["btcusdt@trade"] if effect else [], "id": 2}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (None, {"error": {"code": 9, "msg": "no"}, "id": "x"}),
        ("nested", {"error": {"code": 9, "msg": "no"}, "id": "x"}),
        ("flat", {"code": 9, "msg": "no", "id": "x"}),
    ],
)
async def test_a_control_message_may_be_answered_with_an_error_and_not_obeyed(autojump_clock, form, expected):
    script = FaultScript([Fault(ReplyError(9, "no", form), times=1)])
    async with open_exchange(quiet(faults=script)) as exchange, client_of(exchange, "/ws") as client:
        await client.send_message('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":"x"}')
        assert json.loads(await client.get_message()) == expected
        assert (await ask(client, "LIST_SUBSCRIPTIONS"))["result"] == []


async def test_streams_are_lost_behind_the_clients_back(autojump_clock):
    script = FaultScript([Fault(LoseSubscriptions(), after_s=10, streams="btcusdt@*")])
    async with open_exchange(quiet(faults=script)) as exchange:  # noqa: SIM117
        async with client_of(exchange, "/ws/btcusdt@trade/ethusdt@trade") as client:
            while trio.current_time() < 10.2:
                await client.get_message()
            assert (await ask(client, "LIST_SUBSCRIPTIONS"))["result"] == ["ethusdt@trade"]
            assert {event["s"] for event in await events(client, 50)} == {"ETHUSDT"}
            await ask(client, "SUBSCRIBE", ["btcusdt@trade"])
            assert {event["s"] for event in await events(client, 50)} == {"BTCUSDT", "ETHUSDT"}


async def test_pongs_may_be_late_or_missing(autojump_clock):
    for delay_s, expected_s in ((8, 8), (None, None)):
        async with hurt(SlowPongs(delay_s)) as exchange, client_of(exchange, "/ws") as client:
            start_s = trio.current_time()
            with trio.move_on_after(50) as patience:
                await client.ping()
            assert patience.cancelled_caught == (expected_s is None)
            if expected_s is not None:
                assert trio.current_time() - start_s == pytest.approx(expected_s, abs=0.1)


async def test_without_pings_the_line_is_silent(autojump_clock):
    async with hurt(NoPings(), for_s=70) as exchange:
        ours = await exchange.connect()
        await ours.send_all(handshake("/ws"))
        await ours.receive_some(4096)
        assert (await ours.receive_some(4096))[0] == 0x89
        assert trio.current_time() == pytest.approx(80, abs=0.1)
        await ours.aclose()


async def test_server_shutdown_comes_before_the_close(autojump_clock):
    async with hurt(ServerShutdown(30), at_s=10) as exchange, client_of(exchange, "/stream") as client:
        message = json.loads(await client.get_message())
        assert message == {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": START_MS + 10_000}}
        assert await closing(client) == (1001, None)
        assert trio.current_time() == pytest.approx(40, abs=0.1)


async def test_a_handshake_may_be_refused_in_many_ways(autojump_clock):
    script = FaultScript(
        [
            Fault(RefuseHandshake(429, retry_after_s=7), connections=frozenset({1})),
            Fault(RefuseHandshake(451, body="not here"), connections=frozenset({2})),
            Fault(RefuseHandshake(502), connections=frozenset({3})),
            Fault(DropHandshake(), connections=frozenset({4})),
        ]
    )
    async with open_exchange(quiet(faults=script)) as exchange:
        answers = [await refusal_of(exchange) for _ in range(5)]
        assert [(fired.connection, fired.fault.action.DO) for fired in exchange.fired] == [
            (1, "refuse_handshake"), (2, "refuse_handshake"), (3, "refuse_handshake"), (4, "drop_handshake"),
        ]  # fmt: skip
    assert answers[0].startswith(b"HTTP/1.1 429 ")
    assert b"retry-after: 7\r\n" in answers[0]
    assert json.loads(answers[0].partition(b"\r\n\r\n")[2])["code"] == -1003
    assert answers[1].startswith(b"HTTP/1.1 451 ")
    assert answers[1].endswith(b"\r\n\r\nnot here")
    assert answers[2].startswith(b"HTTP/1.1 502 ")
    assert b"<h2>502 Bad Gateway</h2>" in answers[2]
    assert answers[3] == b""
    assert answers[4].startswith(b"HTTP/1.1 101 ")


async def refusal_of(exchange):
    """All that a handshake is answered with; of a successful one, its head."""
    ours = await exchange.connect()
    got = b""
    with contextlib.suppress(trio.BrokenResourceError):
        await ours.send_all(handshake("/ws"))
        while data := await ours.receive_some(65536):
            got += data
            if b" 101 " in got:
                break
    await ours.aclose()
    return got


async def test_a_handshake_may_never_be_answered(autojump_clock):
    async with hurt(SilentHandshake(), connections=(1,)) as exchange:
        ours = await exchange.connect()
        await ours.send_all(handshake("/ws"))
        with trio.move_on_after(120) as patience:
            await ours.receive_some(4096)
        assert patience.cancelled_caught
        await ours.aclose()
        assert await handshake_status(exchange, "/ws") == 101


async def test_handshakes_are_refused_for_a_while(autojump_clock):
    script = FaultScript([Fault(RefuseHandshake(503), at_s=10, for_s=20)])
    async with open_exchange(quiet(faults=script)) as exchange:
        statuses = []
        for _ in range(8):
            statuses.append(await handshake_status(exchange, "/ws"))
            await trio.sleep(5)
    assert statuses == [101, 101, 503, 503, 503, 503, 101, 101]


async def test_at_a_time_of_the_exchange_all_that_are_open_are_hurt(autojump_clock):
    async with hurt(Cut(), at_s=30) as exchange:
        async with client_of(exchange, "/ws") as one, client_of(exchange, "/ws") as two:
            assert [(await closing(client))[0] for client in (one, two)] == [1006, 1006]
            assert sorted((fired.time_s, fired.connection) for fired in exchange.fired) == [(30, 1), (30, 2)]
        await trio.sleep(1)
        async with client_of(exchange, "/ws") as three:
            with trio.move_on_after(300) as patience:
                await three.get_message()
            assert patience.cancelled_caught


async def test_the_same_seed_does_the_same_again(autojump_clock):
    script = FaultScript([Fault(Drop(), probability=0.05), Fault(Garbage("text"), every_s=5)], seed=4)

    async def once():
        async with open_exchange(quiet(faults=script)) as exchange, client_of(exchange, PATH) as client:
            return [await client.get_message() for _ in range(300)], [
                round(fired.time_s, 3) for fired in exchange.fired
            ]

    (messages, fired), (again, fired_again) = await once(), await once()
    assert messages == again
    assert fired == fired_again
    assert len(fired) > 10


async def test_a_test_inflicts_at_a_moment_of_its_own_choosing(autojump_clock):
    async with open_exchange(quiet()) as exchange:
        async with client_of(exchange, PATH) as one, client_of(exchange, PATH) as two:
            await events(one, 20)
            exchange.inflict(Fault(Cut(), connections=frozenset({1})))
            assert await closing(one) == (1006, None)
            ids = await trade_ids(two, 5)
            exchange.inflict(Fault(Drop(2), after_frames=30))
            ids += await trade_ids(two, 100)
            assert len(set(range(ids[0], ids[-1])) - set(ids)) == 2
        async with client_of(exchange, PATH) as three:
            ids = await trade_ids(three, 40)
            assert ids == run(ids[0], 30) + run(ids[0] + 32, 10)
        exchange.inflict(Fault(RefuseHandshake(403), times=1))
        assert [await handshake_status(exchange, "/ws") for _ in range(2)] == [403, 101]


async def test_the_market_changes_on_demand(autojump_clock):
    script = FaultScript(
        [
            Fault(ListSymbol("币安USDT"), at_s=5),
            Fault(SetStatus("ETHUSDT", "HALT"), at_s=6),
            Fault(ResetIds("BTCUSDT"), at_s=20),
            Fault(SetStatus("NOSUCH"), at_s=21),
        ]
    )
    async with open_exchange(quiet(faults=script)) as exchange:
        async with client_of(exchange, "/ws/btcusdt@trade/%E5%B8%81%E5%AE%89usdt@trade/ethusdt@trade") as client:
            got = []
            while trio.current_time() < 40:
                got += [(trio.current_time(), *await events(client, 1))]
        assert [fired.fault.action.DO for fired in exchange.fired] == ["list_symbol", "set_status", "reset_ids"]
        assert exchange.source.rest.status("ETHUSDT") == "HALT"
        exchange.inflict(Fault(SetStatus("ETHUSDT", "TRADING")))
        assert exchange.source.rest.status("ETHUSDT") == "TRADING"
        with pytest.raises(SettingsError, match="NOSUCH"):
            exchange.inflict(Fault(SetStatus("NOSUCH")))
    assert min(second for second, event in got if event["s"] == "币安USDT") > 5
    assert max(second for second, event in got if event["s"] == "ETHUSDT") < 6.3
    before = max(event["t"] for second, event in got if event["s"] == "BTCUSDT" and second < 20)
    assert min(event["t"] for second, event in got if event["s"] == "BTCUSDT" and second > 20.2) < before


async def test_every_fault_is_a_line_in_the_log(autojump_clock, caplog):
    with caplog.at_level("INFO", logger="ingest_actors"):
        async with hurt(Cut(), 3, connections=(1,)) as exchange:
            await bytes_of(exchange)
    assert "fault_happened do=cut connection=1 time_s=" in caplog.text


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_goes_wrong_at_random_the_exchange_lives_on(autojump_clock, seed):
    script = FaultScript.random(seed, duration_s=60, symbols=("BTCUSDT", "ETHUSDT"))
    async with open_exchange(quiet(faults=script)) as exchange:
        while trio.current_time() < 70:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError), trio.move_on_after(20):
                stream = await exchange.connect()
                await stream.send_all(handshake("/stream?streams=btcusdt@trade/ethusdt@aggTrade"))
                while await stream.receive_some(65536):
                    pass
            await stream.aclose()
        assert len(exchange.fired) <= 3 * 5 * len(script.faults)
        assert await handshake_status(exchange, "/ws/btcusdt@trade") == 101
