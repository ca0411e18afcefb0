"""What cannot be parsed, and what Kafka does not take: that alone goes to dead letters, as it came, and the rest on."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from kafka_topics import Topics
from numbered_trades import SYMBOLS, Trades, numbers_of
from raw_exchange import BINARY, TEXT, frame

pytestmark = pytest.mark.broker

MILLION = 1_000_000


class Poison(NamedTuple):
    """Bytes that are no good event."""

    reason: str
    payload: bytes
    opcode: int = TEXT
    kept: bytes | None = None
    """What the dead letter holds, where that is not the payload."""
    headers: tuple[tuple[str, str], ...] = ()


OF_BTC = (("stream", "btcusdt@aggTrade"), ("symbol", "BTCUSDT"), ("event_type", "aggregate_trade"))
LONELY = b'{"e":"24hrMiniTicker","E":1700000000000,"c":"1.0"}'
POISON = (
    Poison("malformed_json", b"garbage"),
    Poison("malformed_json", b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":17', headers=OF_BTC),
    Poison("malformed_json", b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","a":NaN}}', headers=OF_BTC),
    Poison("malformed_json", b'{"a":1}{"a":2}'),
    Poison("malformed_json", b"\x00\x01\x02"),
    Poison("malformed_json", b'{"e":"' + b"x" * 100_000),
    Poison("malformed_json", b"[" * 100_000),
    Poison("not_an_object", b"42"),
    Poison("not_an_object", b'"aggTrade"'),
    Poison("not_an_object", b'{"stream":"btcusdt@aggTrade","data":null}', headers=OF_BTC),
    Poison("empty_event", b'{"stream":"btcusdt@aggTrade","data":{ }}', headers=OF_BTC),
    Poison("unknown_event", b'{"stream":"nobody@knows","data":{"x":1}}', headers=(("stream", "nobody@knows"),)),
    Poison("no_identity", b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","s":"BTCUSDT"}}', headers=OF_BTC),
    Poison("no_identity", b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","s":"BTCUSDT","a":"7"}}'),
    Poison("no_symbol", b'{"stream":"!miniTicker@arr","data":[' + LONELY + b"]}", kept=LONELY),
    Poison("binary_frame", b'{"e":"aggTrade","s":"BTCUSDT","a":1}', BINARY),
    Poison("binary_frame", b"\xff\xfe\xfd", BINARY),
)


def test_of_a_million_messages_the_poisonous_go_to_dead_letters_and_all_others_arrive(exchange, serve, topics):
    trades = Trades(SYMBOLS)
    every = MILLION // (2 * len(POISON))
    sent = [POISON[place % len(POISON)] for place in range(2 * len(POISON))]

    def script(client):
        for poison in sent:
            for chunk in trades.chunks(every // 2):
                client.send(chunk)
            client.send(trades.frames(3) + frame(poison.payload, poison.opcode) + trades.frames(5))
            for chunk in trades.chunks(every - every // 2 - 8):
                client.send(chunk)
        for chunk in trades.chunks(MILLION - trades.made):
            client.send(chunk)

    service = serve(exchange(script).settings, topics.settings)
    service.wait_until_settled(MILLION + len(sent), timeout_s=180)
    assert service.running
    ledger = service.stop()["ledger"]
    assert (ledger["delivered"], ledger["dead_lettered"]) == (MILLION, len(sent))
    assert service.looks > 5
    assert numbers_of(topics.read("raw")) == trades.numbers()
    assert topics.count("trades") == MILLION

    letters = topics.read("dead_letters")
    assert sorted(letter.value() for letter in letters) == sorted(poison.kept or poison.payload for poison in sent)
    by_value = {letter.value(): dict(letter.headers()) for letter in letters}
    for poison in POISON:
        headers = by_value[poison.kept or poison.payload]
        assert headers["reason"] == poison.reason.encode()
        assert headers["detail"]
        assert int(headers["received_at"]) > 1_700_000_000_000
        for name, value in poison.headers:
            assert headers[name] == value.encode()


@pytest.mark.parametrize("known", [True, False], ids=["known at start", "lowered meanwhile"])
def test_of_a_thousand_records_in_one_request_only_the_one_too_large_is_a_dead_letter(
    exchange, serve, broker, topic_prefix, known
):
    limit = {"max.message.bytes": "20000"}
    small = {"raw": limit, "trades": limit} if known else {}
    topics = Topics(broker.bootstrap_servers, topic_prefix, small)
    trades = Trades(SYMBOLS[:1])
    large = Trades(SYMBOLS[:1], filling=30_000)
    large.made = 500

    def script(client):
        client.send(trades.frames(1))
        while not lowered:
            assert not client.gone.wait(0.05)
        before = trades.frames(499)
        trades.made += 1
        client.send(before + frame(too_large) + trades.frames(500))

    lowered: list[bool] = []
    too_large = large.payload()
    # Batches are held back until a thousand are there, so that they make one request.
    one_request = {"BATCH_EAGER": "false", "BATCH_SIZE": "2000", "BATCH_TIMEOUT_SECONDS": "2"}
    service = serve(exchange(script).settings, topics.settings, one_request)
    service.wait_until_settled(1)
    if not known:
        topics.alter("raw", max_message_bytes="20000")
        topics.alter("trades", max_message_bytes="20000")
    lowered.append(True)
    service.wait_until_settled(1001)
    ledger = service.stop()["ledger"]
    assert (ledger["delivered"], ledger["dead_lettered"]) == (1000, 1)
    numbers = [number for number in range(1, 1002) if number != 501]
    for role in ("raw", "trades"):
        assert numbers_of(topics.read(role)) == {b"BTCUSDT": numbers}
    (letter,) = topics.read("dead_letters")
    headers = dict(letter.headers())
    assert headers["reason"] == b"too_large"
    assert (headers["symbol"], headers["event_type"]) == (b"BTCUSDT", b"aggregate_trade")
    assert letter.key() == b"BTCUSDT"
    event = too_large[too_large.index(b'"data":') + 7 : -1]
    assert letter.value() == event


def test_a_record_larger_than_any_topic_takes_by_default_is_a_dead_letter(exchange, serve, broker, topic_prefix):
    """The topics are made by the service itself here."""
    topics = Topics(broker.bootstrap_servers, topic_prefix, create=False)
    trades = Trades(SYMBOLS)

    def script(client):
        client.send(trades.frames(10) + frame(huge) + trades.frames(10))

    huge = Trades(("DOGEUSDT",), filling=2_000_000).payload()
    service = serve(exchange(script).settings, topics.settings)
    service.wait_until_settled(21)
    ledger = service.stop()["ledger"]
    assert (ledger["delivered"], ledger["dead_lettered"]) == (20, 1)
    assert numbers_of(topics.read("raw")) == trades.numbers()
    (letter,) = topics.read("dead_letters")
    assert dict(letter.headers())["reason"] == b"too_large"
