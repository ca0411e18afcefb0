"""The control protocol: what is answered, word by word."""

import json
from pathlib import Path

import pytest

from ingest_actors.simulator import serde
from ingest_actors.simulator.control import METHODS, ControlState

VARIANTS = ", ".join(f"`{name}`" for name in METHODS)


def reply_to(message, **options):
    state = ControlState(combined=options.pop("combined", True), **options)
    return state.handle(message if isinstance(message, bytes) else json.dumps(message).encode())


def test_subscriptions_are_acknowledged_listed_and_given_up():
    state = ControlState(combined=True)
    subscribed = state.handle(b'{"method":"SUBSCRIBE","params":["ethusdt@trade","ethusdt@depth@100ms"],"id":7}')
    assert (subscribed.text, subscribed.subscribed) == (
        b'{"result":null,"id":7}',
        ["ethusdt@trade", "ethusdt@depth@100ms"],
    )
    gone = state.handle(b'{"method":"UNSUBSCRIBE","params":["ethusdt@trade"],"id":"b-2"}')
    assert (gone.text, gone.unsubscribed) == (b'{"result":null,"id":"b-2"}', ["ethusdt@trade"])
    assert state.handle(b'{"method":"LIST_SUBSCRIPTIONS","id":8}').text == b'{"result":["ethusdt@depth@100ms"],"id":8}'


def test_nonsense_is_acknowledged_and_listed():
    state = ControlState(combined=True)
    names = ["BTCUSDT@trade", "nosuch@trade", "btcusdt@nosuch"]
    assert (
        state.handle(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}).encode()).text
        == b'{"result":null,"id":1}'
    )
    assert json.loads(state.handle(b'{"method":"LIST_SUBSCRIPTIONS","id":2}').text)["result"] == names
    assert reply_to({"method": "UNSUBSCRIBE", "params": ["never@trade"], "id": 3}).text == b'{"result":null,"id":3}'


def test_a_stream_subscribed_twice_is_one_stream():
    state = ControlState(combined=True, streams=["a@trade"])
    reply = state.handle(b'{"method":"SUBSCRIBE","params":["a@trade","b@trade","b@trade"],"id":1}')
    assert reply.subscribed == ["b@trade"]
    assert list(state.streams) == ["a@trade", "b@trade"]


def test_the_mode_is_a_property():
    state = ControlState(combined=False)
    assert state.handle(b'{"method":"GET_PROPERTY","params":["combined"],"id":10}').text == b'{"result":false,"id":10}'
    assert (
        state.handle(b'{"method":"SET_PROPERTY","params":["combined",true],"id":9}').text == b'{"result":null,"id":9}'
    )
    assert state.combined


@pytest.mark.parametrize("request_id", [0, -5, 2**63 - 1, None, "a", "f47ac10b-58cc-4372-a567-0e02b2c3d479"])
def test_ids_are_echoed_with_their_type(request_id):
    reply = reply_to({"method": "LIST_SUBSCRIPTIONS", "id": request_id})
    assert json.loads(reply.text) == {"result": [], "id": request_id}


@pytest.mark.parametrize("request_id", [1.5, True, 2**63, "x" * 37, "", "ä", [1], {}])
def test_other_ids_are_refused(request_id):
    reply = reply_to({"method": "LIST_SUBSCRIPTIONS", "id": request_id})
    error = {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"}
    assert json.loads(reply.text) == {"error": error, "id": None}


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (b"", 3, "Invalid JSON: EOF while parsing a value at line 1 column 0"),
        (b"hello", 3, "Invalid JSON: expected value at line 1 column 1"),
        (b'{"method":', 3, "Invalid JSON: EOF while parsing a value at line 1 column 10"),
        (b'{"method":"SUB', 3, "Invalid JSON: EOF while parsing a string at line 1 column 14"),
        (b'{"id":1', 3, "Invalid JSON: EOF while parsing an object at line 1 column 7"),
        (b'["a"', 3, "Invalid JSON: EOF while parsing a list at line 1 column 4"),
        (b'["a",', 3, "Invalid JSON: EOF while parsing a value at line 1 column 5"),
        (b'{"id":1}x', 3, "Invalid JSON: trailing characters at line 1 column 9"),
        (b'{"id":1,}', 3, "Invalid JSON: trailing comma at line 1 column 9"),
        (b"[1,]", 3, "Invalid JSON: trailing comma at line 1 column 4"),
        (b"[1 2]", 3, "Invalid JSON: expected `,` or `]` at line 1 column 4"),
        (b'{"id":1 2}', 3, "Invalid JSON: expected `,` or `}` at line 1 column 9"),
        (b'{"id" 1}', 3, "Invalid JSON: expected `:` at line 1 column 7"),
        (b"{id:1}", 3, "Invalid JSON: key must be a string at line 1 column 2"),
        (b'{"id":\n x}', 3, "Invalid JSON: expected value at line 2 column 2"),
        (b'{"a":"\\x"}', 3, "Invalid JSON: invalid escape at line 1 column 8"),
        (b"[" * 100_000, 3, "Invalid JSON: recursion limit exceeded at line 1 column 128"),
        (b"5", 2, "Invalid request: invalid type: integer `5`, expected a request object at line 1 column 1"),
        (b'{"id":1}', 2, "Invalid request: missing field `method` at line 1 column 8"),
        (b'{"method":5,"id":1}', 3, "Invalid JSON: expected value at line 1 column 11"),
        (b'{"method":"subscribe","id":1}', 2, f"Invalid request: unknown variant `subscribe`, expected one of {VARIANTS} at line 1 column 21"),  # noqa: E501
        (b'{"method":"SUBSCRIBE","id":1}', 2, "Invalid request: missing field `params` at line 1 column 29"),
        (b'{"method":"SUBSCRIBE","params":"a@b","id":1}', 2, 'Invalid request: invalid type: string "a@b", expected a sequence at line 1 column 36'),  # noqa: E501
        (b'{"method":"SUBSCRIBE","params":[null],"id":1}', 2, "Invalid request: invalid type: null, expected a string at line 1 column 36"),  # noqa: E501
        (b'{"method":"SUBSCRIBE","params":["btcusdt"],"id":2}', 2, "Invalid request: invalid stream"),
        (b'{"method":"LIST_SUBSCRIPTIONS","params":["x"],"id":2}', 2, "Invalid request: too many parameters"),
        (b'{"method":"LIST_SUBSCRIPTIONS"}', 2, "Invalid request: request ID must be an unsigned integer"),
        (b'{"method":"SET_PROPERTY","params":["color",true],"id":2}', 0, "Unknown property"),
        (b'{"method":"SET_PROPERTY","params":["combined","yes"],"id":2}', 1, "Invalid value type: expected Boolean"),
        (b'{"method":"SET_PROPERTY","params":["combined"],"id":2}', 1, "Invalid value type: expected Boolean"),
        (b'{"method":"SET_PROPERTY","params":["combined",true,1],"id":2}', 2, "Invalid request: too many parameters"),
        (b'{"method":"GET_PROPERTY","params":[5],"id":2}', 2, "Invalid request: property name must be a string"),
        (b'{"method":"GET_PROPERTY","id":2}', 2, "Invalid request: property name must be a string"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_error(message, code, text):
    reply = reply_to(message)
    assert json.loads(reply.text)["error"] == {"code": code, "msg": text}
    assert reply.close is None
    assert not reply.subscribed


ANSWERS = [json.loads(line) for line in (Path(__file__).parent / "serde_json_answers.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("text", "expected"), ANSWERS)
def test_bad_json_is_described_as_serde_json_1_0_describes_it(text, expected):
    """The file has damaged messages, and what serde_json 1.0 itself said to each."""
    if expected:
        with pytest.raises(serde.NotJson) as told:
            serde.spans_of(text.encode())
        assert str(told.value) == expected
    else:
        assert serde.spans_of(text.encode())[()]


def test_a_message_is_read_up_to_4096_bytes():
    names = [f"symbol{n}@trade" for n in range(400)]
    reply = reply_to({"method": "SUBSCRIBE", "params": names, "id": 1})
    assert json.loads(reply.text)["error"]["msg"].startswith("Invalid JSON: EOF while parsing a ")
    assert json.loads(reply.text)["error"]["msg"].endswith(" at line 1 column 4096")


def test_more_than_1024_streams_are_an_error_that_closes():
    state = ControlState(combined=True, streams=[f"s{n}@trade" for n in range(1023)])
    assert state.handle(b'{"method":"SUBSCRIBE","params":["a@trade"],"id":1}').close is None
    reply = state.handle(b'{"method":"SUBSCRIBE","params":["b@trade"],"id":2}')
    assert json.loads(reply.text) == {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 2}
    assert reply.close == (1008, "Too many subscriptions")
    assert len(state.streams) == 1024


def test_errors_are_flat_when_asked_for():
    reply = reply_to(b'{"method":"SUBSCRIBE","params":["x"],"id":2}', flat_errors=True)
    assert reply.text == b'{"code":2,"msg":"Invalid request: invalid stream","id":2}'


def test_bad_requests_close_when_asked_for():
    assert reply_to(b"{", close_on_bad_request=True).close == (1008, "Invalid request")
    unknown = b'{"method":"GET_PROPERTY","params":["x"],"id":2}'
    assert reply_to(unknown, close_on_bad_request=True).close is None
