"""The WebSocket side, in virtual time over streams in memory, with a real client library at the other end."""

import contextlib
import json

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulator_support import START_MS, ask, client_of, events, handshake, handshake_status, quiet
from trio.testing import lockstep_stream_pair, memory_stream_pair
from trio_websocket import ConnectionClosed, wrap_client_stream
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Pong
from wsproto.events import Request as WsRequest

from ingest_actors.simulator import Limits, open_exchange


@pytest.fixture
async def exchange(autojump_clock):
    async with open_exchange(quiet()) as exchange:
        yield exchange


class RawClient:
    """A client that answers nothing by itself."""

    def __init__(self, stream):
        self.stream = stream
        self.ws = WSConnection(ConnectionType.CLIENT)
        self.pending = []

    async def open(self, path):
        await self.stream.send_all(self.ws.send(WsRequest(host="exchange", target=path)))
        assert isinstance(await self.next(AcceptConnection), AcceptConnection)

    async def send(self, event):
        await self.stream.send_all(self.ws.send(event))

    async def next(self, *kinds):
        """The next event of these kinds; those between are passed over. None at the end of the stream."""
        while True:
            while self.pending:
                event = self.pending.pop(0)
                if isinstance(event, kinds):
                    return event
            data = await self.stream.receive_some(65536)
            if not data:
                return None
            self.ws.receive_data(bytes(data))
            self.pending += self.ws.events()


@pytest.fixture
async def raw(exchange, nursery):
    ours, theirs = memory_stream_pair()
    nursery.start_soon(exchange.serve_stream, theirs)
    return RawClient(ours)


async def test_a_raw_stream_in_the_path_is_the_bare_event(autojump_clock, exchange):
    async with client_of(exchange, "/ws/btcusdt@trade") as client:
        (trade,) = await events(client, 1)
        assert (trade["e"], trade["s"]) == ("trade", "BTCUSDT")


async def test_a_combined_stream_is_wrapped_with_the_name_as_subscribed(autojump_clock, exchange):
    async with client_of(exchange, "/stream?streams=btcusdt%40depth@100ms/ethusdt@trade") as client:
        got = await events(client, 40)
        assert {message["stream"] for message in got} == {"btcusdt@depth@100ms", "ethusdt@trade"}
        assert all(list(message) == ["stream", "data"] for message in got)


async def test_a_connection_in_memory_needs_no_address(autojump_clock, exchange, nursery):
    stream = await exchange.connect("stream.example.com", 9443, "tls")
    client = await wrap_client_stream(nursery, stream, "exchange", "/ws/btcusdt@trade")
    assert (await events(client, 1))[0]["e"] == "trade"
    await client.aclose()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_whatever_bytes_a_client_sends_the_exchange_lives_on(pieces, after_handshake):
    async def run():
        async with open_exchange(quiet(symbols=("BTCUSDT",), activity=0.001, tick_s=5.0)) as exchange:
            stream = await exchange.connect()
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                for piece in [handshake("/ws"), *pieces] if after_handshake else pieces:
                    await stream.send_all(piece)
                await trio.sleep(1)
                await stream.aclose()
            await trio.sleep(20)
            assert exchange.server.connections == {}

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_several_raw_streams_fit_into_the_path(autojump_clock, exchange):
    async with client_of(exchange, "/ws/btcusdt@trade/ethusdt@aggTrade") as client:
        assert {event["e"] for event in await events(client, 40)} == {"trade", "aggTrade"}


@pytest.mark.parametrize("path", ["/", "/stream/xyz", "/wss", "/api/v3/ping"])
async def test_other_paths_are_404(autojump_clock, exchange, path):
    assert await handshake_status(exchange, path) == 404


async def test_an_unknown_time_unit_is_refused(autojump_clock, exchange):
    assert await handshake_status(exchange, "/ws?timeUnit=year") == 400
    assert await handshake_status(exchange, "/ws?timeUnit=microsecond") == 101


async def test_an_unknown_time_unit_is_taken_for_milliseconds_when_asked_for(autojump_clock):
    async with open_exchange(quiet(limits=Limits(refuse_bad_time_unit=False))) as exchange:
        assert await handshake_status(exchange, "/ws?timeUnit=year") == 101


async def test_what_is_no_handshake_is_refused(autojump_clock, exchange, nursery):
    for data in (b"GET /ws HTTP/1.1\r\nHost: exchange\r\n\r\n", b"nonsense\r\n\r\n"):
        ours, theirs = memory_stream_pair()
        nursery.start_soon(exchange.serve_stream, theirs)
        await ours.send_all(data)
        assert (await ours.receive_some(4096)).split()[1] == b"400"
        assert await ours.receive_some(4096) == b""


async def test_a_client_that_says_nothing_is_let_go(autojump_clock, exchange, nursery):
    ours, theirs = memory_stream_pair()
    nursery.start_soon(exchange.serve_stream, theirs)
    started_s = trio.current_time()
    assert await ours.receive_some(4096) == b""
    assert 9 < trio.current_time() - started_s < 12


async def test_a_client_that_goes_before_the_handshake_harms_nobody(autojump_clock, exchange, nursery):
    ours, theirs = memory_stream_pair()
    nursery.start_soon(exchange.serve_stream, theirs)
    await ours.send_all(b"GET /ws HT")
    await ours.aclose()
    async with client_of(exchange, "/ws/btcusdt@trade") as client:
        await events(client, 1)


async def test_subscriptions_flow_and_cease(autojump_clock, exchange):
    async with client_of(exchange, "/stream") as client:
        assert await ask(client, "SUBSCRIBE", ["btcusdt@trade"], "a-1") == {"result": None, "id": "a-1"}
        assert {message["stream"] for message in await events(client, 20)} == {"btcusdt@trade"}
        await ask(client, "UNSUBSCRIBE", ["btcusdt@trade"], 2)
        await ask(client, "SUBSCRIBE", ["ethusdt@trade"], 3)
        assert await ask(client, "LIST_SUBSCRIPTIONS", request_id=4) == {"result": ["ethusdt@trade"], "id": 4}
        assert {message["stream"] for message in await events(client, 20)} == {"ethusdt@trade"}


async def test_uppercase_and_nonsense_are_acknowledged_listed_and_silent(autojump_clock, exchange):
    async with client_of(exchange, "/ws") as client:
        names = ["BTCUSDT@trade", "btcusdt@nosuch", "nosuch@trade", "!ticker@arr"]
        assert await ask(client, "SUBSCRIBE", names) == {"result": None, "id": 1}
        assert (await ask(client, "LIST_SUBSCRIPTIONS"))["result"] == names
        with trio.move_on_after(15) as patience:
            await client.get_message()
        assert patience.cancelled_caught


async def test_the_mode_is_switched_in_flight_and_replies_are_never_wrapped(autojump_clock, exchange):
    async with client_of(exchange, "/ws/btcusdt@trade") as client:
        assert "stream" not in (await events(client, 1))[0]
        assert await ask(client, "SET_PROPERTY", ["combined", True]) == {"result": None, "id": 1}
        assert await ask(client, "GET_PROPERTY", ["combined"]) == {"result": True, "id": 1}
        assert list((await events(client, 1))[0]) == ["stream", "data"]


async def test_errors_leave_the_connection_open(autojump_clock, exchange):
    async with client_of(exchange, "/ws") as client:
        await client.send_message("nonsense")
        error = {"code": 3, "msg": "Invalid JSON: expected ident at line 1 column 2"}
        assert json.loads(await client.get_message()) == {"error": error}
        assert (await ask(client, "SUBSCRIBE", ["x"]))["error"]["code"] == 2
        assert await ask(client, "LIST_SUBSCRIPTIONS") == {"result": [], "id": 1}


async def test_the_1025th_stream_closes_the_connection(autojump_clock, exchange):
    async with client_of(exchange, "/ws/" + "/".join(f"s{n}@trade" for n in range(1024))) as client:
        assert (await ask(client, "SUBSCRIBE", ["one@toomany"]))["error"]["code"] == 4
        with pytest.raises(ConnectionClosed) as closed:
            await client.get_message()
        assert closed.value.reason.code == 1008


async def test_a_url_with_too_many_streams_closes_the_connection(autojump_clock, exchange):
    async with client_of(exchange, "/ws/" + "/".join(f"s{n}@trade" for n in range(1025))) as client:
        assert json.loads(await client.get_message())["error"]["code"] == 4
        with pytest.raises(ConnectionClosed):
            await client.get_message()


async def test_a_ping_comes_every_20_seconds_and_carries_the_time_in_ms(autojump_clock, exchange, raw):
    await raw.open("/ws")
    for number in (1, 2, 3):
        ping = await raw.next(Ping)
        assert int(bytes(ping.payload)) == START_MS + 20_000 * number
        await raw.send(ping.response())


async def test_without_a_pong_the_connection_is_closed_after_a_minute(autojump_clock, exchange, raw):
    await raw.open("/ws/btcusdt@trade")
    closed = await raw.next(CloseConnection)
    assert (closed.code, closed.reason) == (1008, "Pong timeout")
    assert exchange.now_ms() == START_MS + 80_000


async def test_a_pong_that_answers_no_ping_does_not_keep_the_connection_alive(autojump_clock, exchange, raw, nursery):
    await raw.open("/ws")

    async def pongs():
        while True:
            await trio.sleep(5)
            await raw.send(Pong(payload=b"still here"))

    nursery.start_soon(pongs)
    assert (await raw.next(CloseConnection)).code == 1008
    nursery.cancel_scope.cancel()


async def test_a_pong_for_a_later_ping_answers_the_earlier_ones_too(autojump_clock, exchange, raw):
    await raw.open("/ws")
    await raw.next(Ping)
    await raw.next(Ping)
    await raw.send((await raw.next(Ping)).response())
    for second in (80, 100, 120):
        assert await raw.next(Ping) is not None
        assert exchange.now_ms() == START_MS + second * 1000
    assert (await raw.next(CloseConnection)).reason == "Pong timeout"
    assert exchange.now_ms() == START_MS + 140_000


async def test_a_clients_ping_is_answered(autojump_clock, exchange, raw):
    await raw.open("/ws")
    await raw.send(Ping(payload=b"hello"))
    assert bytes((await raw.next(Pong)).payload) == b"hello"


async def test_the_sixth_message_within_a_second_closes_the_connection(autojump_clock, exchange):
    async with client_of(exchange, "/ws") as client:
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - which one is the point
            for number in range(7):
                await ask(client, "LIST_SUBSCRIPTIONS", request_id=number)
        assert number == 5
        assert (closed.value.reason.code, closed.value.reason.reason) == (1008, "Too many requests")


async def test_pings_and_pongs_count_as_messages(autojump_clock, exchange, raw):
    await raw.open("/ws")
    for _ in range(3):
        await raw.send(Ping(payload=b""))
        await raw.send(Pong(payload=b""))
    assert (await raw.next(CloseConnection)).code == 1008


async def test_four_messages_a_second_leave_room_for_pongs(autojump_clock, exchange):
    async with client_of(exchange, "/ws") as client:
        for number in range(100):
            await ask(client, "LIST_SUBSCRIPTIONS", request_id=number)
            await trio.sleep(0.25)


async def test_a_control_message_in_fragments_is_one_message(autojump_clock, exchange, raw):
    await raw.open("/ws")
    data = raw.ws.send(Ping(payload=b""))
    del data
    first, rest = b'{"method":"LIST_SUB', b'SCRIPTIONS","id":5}'
    mask = b"\0\0\0\0"
    await raw.stream.send_all(bytes([0x01, 0x80 | len(first)]) + mask + first)
    await raw.stream.send_all(bytes([0x80, 0x80 | len(rest)]) + mask + rest)
    frame = await raw.stream.receive_some(4096)
    assert bytes(frame[2:]) == b'{"result":[],"id":5}'


async def test_unmasked_frames_are_a_protocol_error(autojump_clock, exchange, raw):
    await raw.open("/ws")
    await raw.stream.send_all(b"\x81\x02{}")
    assert (await raw.next(CloseConnection)).code == 1002


async def test_a_connection_is_closed_at_24_hours(autojump_clock):
    config = quiet(activity=0.0001, tick_s=60.0)
    async with open_exchange(config) as exchange, client_of(exchange, "/ws/nosuch@trade") as client:
        with pytest.raises(ConnectionClosed) as closed, trio.fail_after(90_000):
            await client.get_message()
        assert closed.value.reason.code == 1001
        assert exchange.now_ms() == START_MS + 86_400_000


async def test_a_clients_close_is_answered_and_forgotten(autojump_clock, exchange):
    async with client_of(exchange, "/ws/btcusdt@trade") as client:
        await events(client, 2)
        assert len(exchange.server.connections) == 1
        await client.aclose(1000)
        assert client.closed.code == 1000
        await trio.testing.wait_all_tasks_blocked()
        assert exchange.server.connections == {}


async def test_a_client_that_vanishes_is_forgotten(autojump_clock, exchange, raw):
    await raw.open("/ws/btcusdt@trade")
    await raw.stream.aclose()
    await trio.sleep(1)
    assert exchange.server.connections == {}


async def test_server_shutdown_is_pushed_without_subscribing(autojump_clock, exchange):
    async with client_of(exchange, "/ws") as bare, client_of(exchange, "/stream") as combined:
        exchange.server.announce_shutdown()
        event = {"e": "serverShutdown", "E": START_MS}
        assert json.loads(await bare.get_message()) == event
        assert json.loads(await combined.get_message()) == {"stream": "!serverShutdown", "data": event}


async def test_microseconds_are_a_property_of_the_connection(autojump_clock, exchange):
    async with client_of(exchange, "/ws/btcusdt@trade?timeUnit=MICROSECOND") as client:
        (trade,) = await events(client, 1)
        assert trade["T"] > 10**15


async def test_a_reader_of_the_market_that_does_not_read_is_cut_off(autojump_clock, nursery):
    async with open_exchange(quiet(limits=Limits(outbox_bytes_max=20_000, ping_interval_s=1000))) as exchange:
        ours, theirs = lockstep_stream_pair()
        nursery.start_soon(exchange.serve_stream, theirs)
        await ours.send_all(handshake("/ws/btcusdt@trade"))
        await ours.receive_some(4096)
        await trio.sleep(120)
        assert exchange.server.connections == {}
        with pytest.raises(trio.BrokenResourceError):
            await ours.send_all(b"x")


async def test_the_301st_connection_in_five_minutes_is_refused(autojump_clock, exchange):
    for _ in range(300):
        assert await handshake_status(exchange, "/ws", "10.0.0.1") == 101
    assert await handshake_status(exchange, "/ws", "10.0.0.1") == 429
    assert await handshake_status(exchange, "/ws", "10.0.0.2") == 101


async def test_connections_have_phases_of_their_own(autojump_clock, exchange):
    async with (
        client_of(exchange, "/ws/btcusdt@depth@100ms") as one,
        client_of(exchange, "/ws/btcusdt@depth@100ms") as two,
    ):
        phases = [{update["E"] % 100 for update in await events(client, 10)} for client in (one, two)]
        assert len(phases[0]) == len(phases[1]) == 1
        assert phases[0] != phases[1]


async def test_an_hour_passes_in_seconds_with_nothing_lost(autojump_clock):
    async with open_exchange(quiet(symbols=("BTCUSDT",), activity=0.01, tick_s=1.0)) as exchange:  # noqa: SIM117 - the second needs the first
        async with client_of(exchange, "/ws/btcusdt@trade") as client:
            last = None
            while exchange.now_ms() < START_MS + 3_600_000:
                (trade,) = await events(client, 1)
                assert last is None or trade["t"] == last + 1
                last = trade["t"]


async def test_speed_makes_market_time_run_faster(autojump_clock):
    async with open_exchange(quiet(speed=60.0)) as exchange, client_of(exchange, "/ws/btcusdt@kline_1m") as client:
        started_s = trio.current_time()
        while not (await events(client, 1))[0]["k"]["x"]:
            pass
        assert trio.current_time() - started_s < 1.2


async def test_speed_zero_is_as_fast_as_the_reader_takes_it_and_loses_nothing(nursery):
    async with open_exchange(quiet(speed=0)) as exchange:
        before_ms = exchange.now_ms()
        ours, theirs = lockstep_stream_pair()
        nursery.start_soon(exchange.serve_stream, theirs)
        raw = RawClient(ours)
        await raw.open("/ws/btcusdt@trade")
        got = []
        while len(got) < 5000:
            raw.ws.receive_data(bytes(await ours.receive_some(65536)))
            got += [json.loads(event.data)["t"] for event in raw.ws.events()]
        assert got == list(range(got[0], got[0] + len(got)))
        assert exchange.now_ms() > before_ms + 10_000
        (connection,) = exchange.server.connections.values()
        assert connection.session.outstanding_bytes < 4_000_000
        nursery.cancel_scope.cancel()
