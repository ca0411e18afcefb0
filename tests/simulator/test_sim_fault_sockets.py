"""Faults where the socket is the point: resets, ends, silence, slow readers, records of TLS, REST over HTTP."""

import contextlib
import json
import ssl

import httpx
import pytest
import trio
from simulator_support import handshake, quiet

from ingest_actors.simulator import Limits, SimulatorConfig, open_exchange
from ingest_actors.simulator.fault_frames import split_frames
from ingest_actors.simulator.faults import (
    Cut,
    CutMidFrame,
    DropHandshake,
    Fault,
    FaultScript,
    HalfOpen,
    RefuseHandshake,
    RestCutShort,
    RestError,
    RestHang,
    RestLag,
    RestNotJson,
)

PATH = "/ws/btcusdt@trade"


def sockets(*faults, **changes):
    return open_exchange(SimulatorConfig(faults=FaultScript(faults), symbols=("BTCUSDT",), activity=20, **changes))


async def dial(exchange):
    host, port = exchange.ws_url.partition("://")[2].split(":")
    return await trio.open_tcp_stream(host, int(port))


async def all_of(stream, path=PATH):
    """All that comes after the handshake, and how the connection ended."""
    await stream.send_all(handshake(path))
    got, ended = b"", "orderly"
    try:
        while data := await stream.receive_some(65536):
            got += data
    except trio.BrokenResourceError as error:
        ended = type(error.__cause__).__name__
    await trio.aclose_forcefully(stream)
    return got.partition(b"\r\n\r\n")[2], ended


@pytest.mark.parametrize(("reset", "ended"), [(False, "orderly"), (True, "ConnectionResetError")])
async def test_a_cut_in_the_middle_of_a_frame_ends_the_stream_or_resets_it(reset, ended):
    with trio.fail_after(20):
        async with sockets(Fault(CutMidFrame(reset=reset), after_frames=5)) as exchange:
            data, how = await all_of(await dial(exchange))
    assert how == ended
    if not reset:  # a reset may overtake data
        *whole, half = split_frames(data)
        assert len(whole) == 5
        assert half[0] == 0x81
        assert len(half) < 100


@pytest.mark.parametrize(("reset", "ended"), [(False, "orderly"), (True, "ConnectionResetError")])
async def test_a_cut_between_frames_ends_the_stream_or_resets_it(reset, ended):
    with trio.fail_after(20):
        async with sockets(Fault(Cut(reset=reset), after_frames=5)) as exchange:
            data, how = await all_of(await dial(exchange))
    assert how == ended
    if not reset:
        assert [json.loads(frame[frame.index(b"{") :])["e"] for frame in split_frames(data)] == ["trade"] * 5


async def test_a_half_open_connection_stays_open_on_the_socket():
    with trio.fail_after(20):
        async with sockets(Fault(HalfOpen(), after_frames=5)) as exchange:
            stream = await dial(exchange)
            await stream.send_all(handshake(PATH))
            got = b""
            with trio.move_on_after(1) as patience:
                while True:
                    got += await stream.receive_some(65536)
            assert patience.cancelled_caught
            assert len(list(split_frames(got.partition(b"\r\n\r\n")[2]))) == 5
            await stream.send_all(b"\x89\x80\0\0\0\0")  # taken by the system, answered by nobody
            with trio.move_on_after(0.3) as patience:
                await stream.receive_some(65536)
            assert patience.cancelled_caught
            await stream.aclose()


async def test_a_reader_that_does_not_read_is_disconnected():
    limits = Limits(outbox_bytes_max=100_000)
    async with open_exchange(SimulatorConfig(activity=300, symbols=("BTCUSDT",), limits=limits)) as exchange:
        stream = await dial(exchange)
        await stream.send_all(handshake("/ws/btcusdt@trade/btcusdt@aggTrade/btcusdt@depth@100ms/btcusdt@bookTicker"))
        await stream.receive_some(1024)
        with trio.fail_after(60):
            while exchange.server.connections:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.05)
        await stream.aclose()


async def test_a_tcp_connection_may_be_accepted_and_closed():
    with trio.fail_after(20):
        async with sockets(Fault(DropHandshake(), times=1), tls=True) as exchange:
            context = ssl.create_default_context(cafile=str(exchange.ca_file))
            stream = trio.SSLStream(await dial(exchange), context, server_hostname="127.0.0.1")
            with pytest.raises(trio.BrokenResourceError):
                await stream.do_handshake()
            await stream.aclose()
            stream = trio.SSLStream(await dial(exchange), context, server_hostname="127.0.0.1")
            await stream.do_handshake()
            await trio.aclose_forcefully(stream)


async def test_a_refusal_is_whole_and_ends_the_connection():
    fault = Fault(RefuseHandshake(418, retry_after_s=120))
    with trio.fail_after(20):
        async with sockets(fault) as exchange:
            stream = await dial(exchange)
            await stream.send_all(handshake(PATH))
            got = b""
            while data := await stream.receive_some(65536):
                got += data
            await stream.aclose()
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 418 ")
    assert b"retry-after: 120" in head
    assert f"content-length: {len(body)}".encode() in head
    assert json.loads(body)["code"] == -1003


@pytest.mark.parametrize("separate", [True, False])
async def test_with_tls_each_frame_may_have_a_record_of_its_own(separate):
    config = SimulatorConfig(tls=True, frame_per_record=separate, symbols=("BTCUSDT",), activity=100, tick_s=0.5)
    with trio.fail_after(60):
        async with open_exchange(config) as exchange, await dial(exchange) as wire:
            context = ssl.create_default_context(cafile=str(exchange.ca_file))
            inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(inside, outside, server_hostname="127.0.0.1")
            records = 0
            await pump(tls, tls.do_handshake, inside, outside, wire)
            tls.write(handshake("/ws/btcusdt@trade/btcusdt@bookTicker"))
            await wire.send_all(outside.read())
            data, cipher = b"", b""
            while data.count(b"{") < 150:
                cipher += await wire.receive_some(65536)
                while len(cipher) >= 5 and len(cipher) >= 5 + int.from_bytes(cipher[3:5], "big"):
                    size = 5 + int.from_bytes(cipher[3:5], "big")
                    inside.write(cipher[:size])
                    cipher = cipher[size:]
                    with contextlib.suppress(ssl.SSLWantReadError):
                        data += tls.read(1 << 20)
                        records += 1
    frames = len(list(split_frames(data.partition(b"\r\n\r\n")[2])))
    if separate:
        assert records == frames + 1  # the answer to the handshake
    else:
        assert records < frames / 3


async def pump(tls, do, inside, outside, wire):
    while True:
        try:
            return do()
        except ssl.SSLWantReadError:
            await wire.send_all(outside.read())
            inside.write(await wire.receive_some(65536))
        finally:
            if outside.pending:
                await wire.send_all(outside.read())


async def test_rest_goes_wrong_in_many_ways():
    faults = [
        Fault(RestError(503), endpoints="depth"),
        Fault(RestError(429, retry_after_s=9), endpoints="time", times=1),
        Fault(RestError(403, body="<html>no</html>"), endpoints="ping", times=1),
        Fault(RestNotJson(), endpoints="exchange*"),
        Fault(RestCutShort(), endpoints="trades"),
        Fault(RestHang(0.3), endpoints="avgPrice"),
        Fault(RestHang(), endpoints="klines"),
    ]
    with trio.fail_after(30):
        async with sockets(*faults) as exchange, httpx.AsyncClient(base_url=exchange.rest_url) as http:
            answer = await http.get("/api/v3/depth?symbol=BTCUSDT")
            assert (answer.status_code, answer.json()["code"]) == (503, -1008)
            answer = await http.get("/api/v3/time")
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "9")
            assert (await http.get("/api/v3/time")).status_code == 200
            answer = await http.get("/api/v3/ping")
            assert (answer.status_code, answer.text) == (403, "<html>no</html>")
            answer = await http.get("/api/v3/exchangeInfo")
            assert answer.status_code == 200
            assert answer.text.startswith("<html>")
            with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
                await http.get("/api/v3/trades?symbol=BTCUSDT")
            started_s = trio.current_time()
            assert (await http.get("/api/v3/avgPrice?symbol=BTCUSDT")).status_code == 200
            assert trio.current_time() - started_s > 0.3
            with pytest.raises(httpx.ReadTimeout):
                await http.get("/api/v3/klines?symbol=BTCUSDT&interval=1m", timeout=0.5)
            assert [fired.fault.endpoints for fired in exchange.fired] == [
                "depth", "time", "ping", "exchange*", "trades", "avgPrice", "klines",
            ]  # fmt: skip
            assert {fired.connection for fired in exchange.fired} == {0}


async def test_the_database_lags_for_a_while(autojump_clock):
    script = FaultScript([Fault(RestLag(30), at_s=60, for_s=60)])
    async with open_exchange(quiet(faults=script)) as exchange:
        transport = httpx.ASGITransport(exchange.rest_app)
        async with httpx.AsyncClient(transport=transport, base_url="http://exchange") as http:

            async def lag_ms():
                rows = (await http.get("/api/v3/aggTrades?symbol=BTCUSDT")).json()
                return exchange.now_ms() - rows[-1]["T"]

            await trio.sleep(59)
            assert await lag_ms() < 5_000
            await trio.sleep(2)
            assert 30_000 <= await lag_ms() < 35_000
            newest = (await http.get("/api/v3/trades?symbol=BTCUSDT")).json()[-1]["time"]
            assert exchange.now_ms() - newest < 5_000  # not from the database
            await trio.sleep(60)
            assert await lag_ms() < 5_000


async def test_in_memory_a_body_cut_short_is_half_the_json(autojump_clock):
    async with open_exchange(quiet(faults=FaultScript([Fault(RestCutShort())]))) as exchange:
        transport = httpx.ASGITransport(exchange.rest_app)
        async with httpx.AsyncClient(transport=transport, base_url="http://exchange") as http:
            answer = await http.get("/api/v3/exchangeInfo")
            assert int(answer.headers["content-length"]) > len(answer.content)
            with pytest.raises(json.JSONDecodeError):
                answer.json()


async def test_an_answer_that_never_comes_is_given_up_in_the_end(autojump_clock):
    config = quiet(faults=FaultScript([Fault(RestHang())]), activity=0.001, tick_s=5.0)
    async with open_exchange(config) as exchange:
        transport = httpx.ASGITransport(exchange.rest_app)
        async with httpx.AsyncClient(transport=transport, base_url="http://exchange") as http:
            answer = await http.get("/api/v3/ping")
        assert (answer.status_code, trio.current_time()) == (504, pytest.approx(600, abs=1))
