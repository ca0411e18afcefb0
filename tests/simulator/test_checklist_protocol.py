"""The connection half of the protocol's checklist for simulators (its section 20), driven from outside.

Lines 1 to 7 and line 12; each test says which. Lines 8 to 11 and 13 are about the market and REST.
"""

import json
import re
from urllib.parse import quote

import pytest
import trio
from simulator_support import START_MS, ask, client_of, events, handshake, handshake_status, quiet
from trio.testing import lockstep_stream_pair
from trio_websocket import ConnectionClosed, wrap_client_stream
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Message, Ping, Pong, Request

from ingest_actors.simulator import Limits, open_exchange
from ingest_actors.simulator.faults import Fault, FaultScript, HalfOpen, ServerShutdown


@pytest.fixture
async def exchange(autojump_clock):
    async with open_exchange(quiet()) as exchange:
        yield exchange


async def end_of(client):
    """Code and reason of the close that ends what is still to come."""
    with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - whenever it comes
        while True:
            await client.get_message()
    return closed.value.reason.code, closed.value.reason.reason


async def silent(client, for_s=15):
    with trio.move_on_after(for_s) as patience:
        await client.get_message()
    return patience.cancelled_caught


class Raw:
    """A client that answers nothing by itself, and tells when things come."""

    def __init__(self, stream):
        self.stream = stream
        self.ws = WSConnection(ConnectionType.CLIENT)
        self.pending = []
        self.text = ""

    @classmethod
    async def open(cls, exchange, path="/ws"):
        raw = cls(await exchange.connect())
        await raw.send(Request(host="exchange", target=path))
        assert await raw.next(AcceptConnection)
        return raw

    async def send(self, *wanted):
        await self.stream.send_all(b"".join(map(self.ws.send, wanted)))

    async def ask(self, text):
        """The answer to a control message as it is on the wire."""
        await self.send(Message(data=text))
        return (await self.next(Message)).data

    async def next(self, *kinds):
        """The next event of these kinds; None at the end of the stream."""
        while True:
            while self.pending:
                event = self.pending.pop(0)
                if isinstance(event, kinds):
                    return event
            data = await self.stream.receive_some(65536)
            if not data:
                return None
            self.ws.receive_data(bytes(data))
            self.pending += filter(None, map(self.whole, self.ws.events()))

    def whole(self, event):
        """Messages are whole or nothing."""
        if not isinstance(event, Message):
            return event
        self.text += event.data
        if not event.message_finished:
            return None
        text, self.text = self.text, ""
        return Message(data=text)


# Line 1: paths


@pytest.mark.parametrize(
    ("path", "streams", "combined"),
    [
        ("/ws", [], False),
        ("/ws/", [], False),
        ("/ws/0", [], False),
        ("/ws/btcusdt@trade", ["btcusdt@trade"], False),
        ("/ws/btcusdt@trade/ethusdt@depth@100ms", ["btcusdt@trade", "ethusdt@depth@100ms"], False),
        ("/ws/btcusdt%40trade%2Fethusdt%40trade", ["btcusdt@trade", "ethusdt@trade"], False),
        ("/stream", [], True),
        ("/stream?streams=", [], True),
        ("/stream?streams=btcusdt@trade/nosuch@trade", ["btcusdt@trade", "nosuch@trade"], True),
        ("/stream?streams=btcusdt%40trade%2Fethusdt%40trade", ["btcusdt@trade", "ethusdt@trade"], True),
        ("/stream?streams=btcusdt@kline_1d@%2B08:00", ["btcusdt@kline_1d@+08:00"], True),
        (f"/ws/{quote('币安usdt@trade')}", ["币安usdt@trade"], False),
    ],
)
async def test_line_1_paths_say_what_is_subscribed_and_in_which_form(autojump_clock, exchange, path, streams, combined):
    async with client_of(exchange, path) as client:
        assert (await ask(client, "LIST_SUBSCRIPTIONS"))["result"] == streams
        assert (await ask(client, "GET_PROPERTY", ["combined"]))["result"] == combined


@pytest.mark.parametrize("path", ["/", "/stream/xyz", "/wss", "/api/v3/ping", "/streams", "/ws2/btcusdt@trade"])
async def test_line_1_elsewhere_is_404(autojump_clock, exchange, path):
    assert await handshake_status(exchange, path) == 404


@pytest.mark.parametrize(
    ("unit", "digits"), [("MILLISECOND", 13), ("millisecond", 13), ("MICROSECOND", 16), ("microsecond", 16)]
)
@pytest.mark.parametrize("path", ["/ws/btcusdt@trade?", "/stream?streams=btcusdt@trade&"])
async def test_line_1_a_time_unit_has_four_spellings(autojump_clock, exchange, unit, digits, path):
    async with client_of(exchange, f"{path}timeUnit={unit}") as client:
        (message,) = await events(client, 1)
        event = message.get("data", message)
        assert {len(str(event[field])) for field in ("E", "T")} == {digits}


async def test_line_1_any_other_time_unit_is_refused_or_ignored(autojump_clock, exchange):
    assert await handshake_status(exchange, "/ws?timeUnit=Microsecond") == 400
    async with open_exchange(quiet(limits=Limits(refuse_bad_time_unit=False))) as lenient:
        assert await handshake_status(lenient, "/ws?timeUnit=Microsecond") == 101


# Line 2: forms of events and replies


async def test_line_2_events_are_raw_or_combined_by_path(autojump_clock, exchange):
    async with client_of(exchange, "/ws/btcusdt@trade") as client:
        assert (await events(client, 1))[0]["e"] == "trade"
    async with client_of(exchange, "/stream?streams=btcusdt@trade") as client:
        (message,) = await events(client, 1)
        assert list(message) == ["stream", "data"]
        assert message["stream"] == "btcusdt@trade"


async def test_line_2_set_property_switches_the_form_in_flight(autojump_clock, exchange):
    async with client_of(exchange, "/stream?streams=btcusdt@trade") as client:
        assert await ask(client, "SET_PROPERTY", ["combined", False]) == {"result": None, "id": 1}
        assert "stream" not in (await events(client, 30))[-1]
        assert await ask(client, "SET_PROPERTY", ["combined", True]) == {"result": None, "id": 1}
        assert "stream" in (await events(client, 30))[-1]


@pytest.mark.parametrize("path", ["/ws", "/stream"])
@pytest.mark.parametrize("request_id", ["7", "-9223372036854775808", '"b-2"', '"f47ac10b-58cc-4372-a567-0e02b2c3d479"', "null"])  # fmt: skip # noqa: E501
async def test_line_2_replies_are_never_wrapped_and_echo_ids_with_their_type(
    autojump_clock, exchange, path, request_id
):
    raw = await Raw.open(exchange, path)
    answer = await raw.ask(f'{{"method":"LIST_SUBSCRIPTIONS","id":{request_id}}}')
    assert answer == f'{{"result":[],"id":{request_id}}}'


# Line 3: what is acknowledged


async def test_line_3_nonsense_is_acknowledged_listed_and_silent(autojump_clock, exchange):
    async with client_of(exchange, "/ws") as client:
        names = ["BTCUSDT@trade", "nosuch@trade", "btcusdt@nosuch", "btcusdt@kline_7m", "!nosuch@arr"]
        assert await ask(client, "SUBSCRIBE", names) == {"result": None, "id": 1}
        assert (await ask(client, "LIST_SUBSCRIPTIONS"))["result"] == names
        assert await silent(client)
        assert await ask(client, "UNSUBSCRIBE", ["never@trade"]) == {"result": None, "id": 1}


async def test_line_3_a_stream_named_twice_comes_once(autojump_clock, exchange):
    async with client_of(exchange, "/ws/btcusdt@trade") as client:
        await ask(client, "SUBSCRIBE", ["btcusdt@trade", "btcusdt@trade"])
        assert (await ask(client, "LIST_SUBSCRIPTIONS"))["result"] == ["btcusdt@trade"]
        ids = [event["t"] for event in await events(client, 50)]
        assert ids == list(range(ids[0], ids[0] + 50))


async def test_line_3_what_was_queued_may_come_after_the_acknowledgement_of_unsubscribe(autojump_clock, nursery):
    async with open_exchange(quiet()) as exchange:
        ours, theirs = lockstep_stream_pair()
        nursery.start_soon(exchange.serve_stream, theirs)
        raw = Raw(ours)
        await raw.send(Request(host="exchange", target="/ws/btcusdt@trade"))
        assert await raw.next(AcceptConnection)
        await trio.sleep(30)  # a reader that does not read: data waits
        await raw.send(Message(data='{"method":"UNSUBSCRIBE","params":["btcusdt@trade"],"id":1}'))
        await trio.sleep(1)
        got = []
        with trio.move_on_after(10):
            while True:
                got.append(json.loads((await raw.next(Message)).data))
        place = got.index({"result": None, "id": 1})
        assert place < len(got) - 1
        assert all(event["e"] == "trade" for event in got[place + 1 :])
        nursery.cancel_scope.cancel()


# Line 4: errors

VARIANTS = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"
ERRORS = [
    ('{"method":"SET_PROPERTY","params":["color",true],"id":1}', 0, "Unknown property", 1),
    ('{"method":"GET_PROPERTY","params":["color"],"id":"x"}', 0, "Unknown property", "x"),
    ('{"method":"SET_PROPERTY","params":["combined","true"],"id":1}', 1, "Invalid value type: expected Boolean", 1),
    ('{"method":"SET_PROPERTY","params":[],"id":1}', 2, "Invalid request: property name must be a string", 1),
    ('{"method":"SET_PROPERTY","params":[1,true],"id":1}', 2, "Invalid request: property name must be a string", 1),
    ('{"method":"LIST_SUBSCRIPTIONS"}', 2, "Invalid request: request ID must be an unsigned integer", None),
    ('{"method":"LIST_SUBSCRIPTIONS","id":1.5}', 2, "Invalid request: request ID must be an unsigned integer", None),
    ('{"method":"subscribe","params":["a@b"],"id":1}', 2, f"Invalid request: unknown variant `subscribe`, expected one of {VARIANTS} at line 1 column 21", 1),  # noqa: E501
    ('{"id":1,\n  "method":"X"}', 2, f"Invalid request: unknown variant `X`, expected one of {VARIANTS} at line 2 column 14", 1),  # noqa: E501
    ('{"method":"LIST_SUBSCRIPTIONS","params":["a"],"id":1}', 2, "Invalid request: too many parameters", 1),
    ('{"method":"GET_PROPERTY","params":["combined",1],"id":1}', 2, "Invalid request: too many parameters", 1),
    ('{"params":["a@b"],"id":1}', 2, "Invalid request: missing field `method` at line 1 column 25", 1),
    ('{"method":"SUBSCRIBE","params":["btcusdt"],"id":1}', 2, "Invalid request: invalid stream", 1),
    ("hello", 3, "Invalid JSON: expected value at line 1 column 1", None),
    ('{"method":"SUBSCRIBE",\n"params":[btc]}', 3, "Invalid JSON: expected value at line 2 column 11", None),
    ('{"method":"SUBSCRIBE"', 3, "Invalid JSON: EOF while parsing an object at line 1 column 21", None),
]  # fmt: skip


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(("text", "code", "msg", "request_id"), ERRORS)
async def test_line_4_errors_are_nested_or_flat_with_the_exchanges_words_and_the_place(  # noqa: PLR0917
    autojump_clock, text, code, msg, request_id, flat
):
    async with open_exchange(quiet(limits=Limits(flat_errors=flat))) as exchange:
        raw = await Raw.open(exchange)
        answer = json.loads(await raw.ask(text))
        assert answer.pop("id", None) == request_id
        assert answer == ({"code": code, "msg": msg} if flat else {"error": {"code": code, "msg": msg}})
        assert await raw.ask('{"method":"LIST_SUBSCRIPTIONS","id":2}') == '{"result":[],"id":2}'


@pytest.mark.parametrize("text", ["{", '{"method":"X","id":1}'])
async def test_line_4_errors_of_code_2_and_3_close_when_asked_for(autojump_clock, text):
    async with open_exchange(quiet(limits=Limits(close_on_bad_request=True))) as exchange:  # noqa: SIM117 - the second needs the first
        async with client_of(exchange, "/ws") as client:
            await client.send_message(text)
            assert "error" in json.loads(await client.get_message())
            assert await end_of(client) == (1008, "Invalid request")


async def test_line_4_a_message_is_read_up_to_4096_bytes(autojump_clock, exchange):
    raw = await Raw.open(exchange)
    head, tail = '{"method":"SUBSCRIBE","params":["', '@trade"],"id":1}'
    fits = head + "x" * (4096 - len(head) - len(tail)) + tail
    assert await raw.ask(fits) == '{"result":null,"id":1}'
    error = json.loads(await raw.ask(head + "x" * 5000 + tail))["error"]
    assert error == {"code": 3, "msg": "Invalid JSON: EOF while parsing a string at line 1 column 4096"}


async def test_line_4_1024_streams_are_fine_and_one_more_is_an_error_that_closes(autojump_clock, exchange):
    async with client_of(exchange, "/ws") as client:
        names = [f"s{number}@trade" for number in range(1024)]
        for start in range(0, 1024, 128):
            assert await ask(client, "SUBSCRIBE", names[start : start + 128]) == {"result": None, "id": 1}
            await trio.sleep(0.5)
        assert len((await ask(client, "LIST_SUBSCRIPTIONS"))["result"]) == 1024
        error = {"code": 4, "msg": "Too many subscriptions"}
        assert await ask(client, "SUBSCRIBE", ["one@more"]) == {"error": error, "id": 1}
        assert (await end_of(client))[0] == 1008


# Line 5: pings and pongs


async def test_line_5_a_ping_comes_every_20_s_with_the_time_in_ms(autojump_clock, exchange):
    raw = await Raw.open(exchange)
    for number in (1, 2, 3):
        ping = await raw.next(Ping)
        assert bytes(ping.payload) == str(START_MS + 20_000 * number).encode()
        await raw.send(ping.response())


@pytest.mark.parametrize("payload", [None, b"", b"something else"])
async def test_line_5_without_the_right_pong_the_connection_closes_after_60_s(autojump_clock, exchange, payload):
    raw = await Raw.open(exchange)
    closed = None
    while closed is None:
        event = await raw.next(Ping, CloseConnection)
        if isinstance(event, CloseConnection):
            closed = event
        elif payload is not None:
            await raw.send(Pong(payload=payload))
    assert (closed.code, closed.reason) == (1008, "Pong timeout")
    assert exchange.now_ms() == START_MS + 80_000


async def test_line_5_unsolicited_pongs_are_allowed_and_do_not_reset_the_deadline(autojump_clock, exchange, nursery):
    raw = await Raw.open(exchange)

    async def pongs():
        while True:
            await trio.sleep(7)
            await raw.send(Pong(payload=b""))

    nursery.start_soon(pongs)
    assert (await raw.next(CloseConnection)).reason == "Pong timeout"
    assert exchange.now_ms() == START_MS + 80_000
    nursery.cancel_scope.cancel()


async def test_line_5_a_client_that_answers_lives_on(autojump_clock, exchange):
    raw = await Raw.open(exchange)
    for _ in range(20):
        await raw.send((await raw.next(Ping)).response())
    assert exchange.now_ms() == START_MS + 400_000


async def test_line_5_a_clients_ping_is_answered_with_its_payload(autojump_clock, exchange):
    raw = await Raw.open(exchange)
    await raw.send(Ping(payload=b"are you there"))
    assert bytes((await raw.next(Pong)).payload) == b"are you there"


@pytest.mark.parametrize("kind", ["ping", "pong", "message"])
async def test_line_5_five_messages_a_second_of_any_kind_are_fine_and_six_close(autojump_clock, exchange, kind):
    made = {
        "ping": Ping(payload=b""),
        "pong": Pong(payload=b""),
        "message": Message(data='{"method":"LIST_SUBSCRIPTIONS","id":1}'),
    }[kind]
    raw = await Raw.open(exchange)
    await raw.send(*[made] * 5)
    await trio.sleep(1)
    await raw.send(*[made] * 5)
    await trio.sleep(0.9)
    await raw.send(made)
    closed = await raw.next(CloseConnection)
    assert (closed.code, closed.reason) == (1008, "Too many requests")
    assert exchange.now_ms() == START_MS + 1_900


async def test_line_5_a_request_every_300_ms_leaves_room_for_pongs(autojump_clock, exchange):
    async with client_of(exchange, "/ws") as client:
        for number in range(200):
            await ask(client, "LIST_SUBSCRIPTIONS", request_id=number)
            await trio.sleep(0.3)


# Line 6: ends


async def test_line_6_a_connection_is_closed_with_1001_at_24_hours(autojump_clock):
    config = quiet(activity=0.0001, tick_s=60.0)
    async with open_exchange(config) as exchange, client_of(exchange, "/ws/nosuch@trade") as client:
        assert (await end_of(client))[0] == 1001
        assert exchange.now_ms() == START_MS + 86_400_000


async def test_line_6_the_day_can_be_shorter_and_its_end_abrupt(autojump_clock):
    config = quiet(limits=Limits(lifetime_s=100, abrupt_end=True))
    async with open_exchange(config) as exchange, client_of(exchange, "/ws") as client:
        assert (await end_of(client))[0] == 1006
        assert exchange.now_ms() == START_MS + 100_000


async def test_line_6_server_shutdown_comes_up_to_ten_minutes_before_the_close(autojump_clock):
    leads = []
    for seed in range(12):
        script = FaultScript([Fault(ServerShutdown(), at_s=1)], seed=seed)
        config = quiet(faults=script, activity=0.0001, tick_s=60.0)
        async with open_exchange(config) as exchange, client_of(exchange, "/ws") as client:
            assert json.loads(await client.get_message()) == {"e": "serverShutdown", "E": START_MS + 1000}
            announced_s = trio.current_time()
            assert (await end_of(client))[0] == 1001
            leads.append(trio.current_time() - announced_s)
    assert 0 <= min(leads) < 200
    assert 400 < max(leads) <= 601
    assert len({round(lead) for lead in leads}) > 8


async def test_line_6_in_combined_form_server_shutdown_names_a_stream_of_its_own(autojump_clock, exchange):
    async with client_of(exchange, "/stream") as client:
        exchange.server.announce_shutdown()
        event = {"e": "serverShutdown", "E": START_MS}
        assert json.loads(await client.get_message()) == {"stream": "!serverShutdown", "data": event}


async def test_line_6_half_open_is_silence_without_an_end(autojump_clock):
    script = FaultScript([Fault(HalfOpen(), after_s=5)])
    async with open_exchange(quiet(faults=script)) as exchange:
        raw = await Raw.open(exchange, "/ws/btcusdt@trade")
        last_s = 0
        with trio.move_on_after(300) as patience:
            while await raw.next(Message, Ping, CloseConnection):
                last_s = trio.current_time()
        assert patience.cancelled_caught
        assert last_s <= 5.2


# Line 7: the limiter of handshakes


async def answer_to_handshake(exchange, address):
    ours, theirs = lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.serve_stream, theirs, address)
        await ours.send_all(handshake("/ws"))
        answer = bytes(await ours.receive_some(65536))
        nursery.cancel_scope.cancel()
    return answer


async def test_line_7_the_301st_handshake_in_5_minutes_is_429_and_who_goes_on_is_418(autojump_clock):
    async with open_exchange(quiet(activity=0.0001, tick_s=60.0)) as exchange:
        statuses = [await handshake_status(exchange, "/nowhere", "10.0.0.1")]
        statuses += [await handshake_status(exchange, "/ws", "10.0.0.1") for _ in range(299)]
        assert statuses == [404] + [101] * 299  # refused ones count too
        await trio.sleep(100)
        refused = await answer_to_handshake(exchange, "10.0.0.1")
        assert refused.startswith(b"HTTP/1.1 429 ")
        retry_after_s = int(re.search(rb"retry-after: (\d+)", refused)[1])
        assert retry_after_s == 200
        body = json.loads(refused.partition(b"\r\n\r\n")[2])
        assert body["code"] == -1003
        assert await handshake_status(exchange, "/ws", "10.0.0.2") == 101
        statuses = [await handshake_status(exchange, "/ws", "10.0.0.1") for _ in range(300)]
        assert statuses == [429] * 299 + [418]
        banned = await answer_to_handshake(exchange, "10.0.0.1")
        assert banned.startswith(b"HTTP/1.1 418 ")
        assert b"retry-after: " in banned
        await trio.sleep(301)
        assert await handshake_status(exchange, "/ws", "10.0.0.1") == 101


# Line 12: faults of connections are in test_sim_faults.py, those on sockets in test_sim_fault_sockets.py.


async def test_line_12_the_market_of_a_test_can_have_a_symbol_in_unicode(autojump_clock):
    async with open_exchange(quiet(symbols=("币安人生USDT",))) as exchange:  # noqa: SIM117 - the second needs the first
        async with client_of(exchange, f"/stream?streams={quote('币安人生usdt@trade')}") as client:
            (message,) = await events(client, 1)
            assert (message["stream"], message["data"]["s"]) == ("币安人生usdt@trade", "币安人生USDT")


async def test_a_real_client_needs_nothing_else(autojump_clock, exchange, nursery):
    stream = await exchange.connect()
    client = await wrap_client_stream(nursery, stream, "exchange", "/ws/btcusdt@trade")
    assert (await events(client, 1))[0]["e"] == "trade"
    await client.aclose()
    assert client.closed.code == 1000
