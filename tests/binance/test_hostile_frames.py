"""What an exchange that means harm can cost: a few times what it sends, and every byte of it is accounted for."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from exchange_frames import NOW, TRADE, batch, combined

from ingest_actors.binance.dead_letters import DETAIL_MAX_CHARACTERS, KEY_BYTES_MAX, DeadLetters
from ingest_actors.binance.parser import EventParser
from ingest_actors.binance.session import REPLY_BYTES_MAX, TEXT_CHARACTERS_MAX, Session
from ingest_actors.binance.slow_path import ELEMENTS_MAX, NAMES_BYTES_MAX
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.messages import EventBatch

both_ways = pytest.mark.parametrize("fast", [True, False], ids=["fast", "slow"])
MIB = 1024 * 1024


def headers_of(event):
    return {name: value.decode() for name, value in event[3].headers}


@both_ways
@pytest.mark.parametrize("element", [b"{}", b"1", b'{"e":"trade"}'])
@pytest.mark.parametrize("stream", [b"", b"!miniTicker@arr"])
def test_an_array_of_more_than_there_are_symbols_is_one_dead_letter(fast, element, stream):
    array = b"[" + b",".join([element] * (ELEMENTS_MAX + 1)) + b"]"
    frame = b'{"stream":"%b","data":%b}' % (stream, array) if stream else array
    (letter,) = EventParser(StreamTable(), fast=fast).parse(batch(frame)).events
    assert letter[0] == frame
    assert headers_of(letter)["reason"] == "too_many_elements"
    assert headers_of(letter).get("stream", "") == stream.decode()


@both_ways
def test_an_array_of_as_many_as_may_be_is_taken_apart(fast):
    array = b"[" + b",".join([b"1"] * ELEMENTS_MAX) + b"]"
    events = EventParser(StreamTable(), fast=fast).parse(batch(array)).events
    assert [event[0] for event in events] == [b"1"] * ELEMENTS_MAX
    assert {headers_of(event)["reason"] for event in events} == {"not_an_object"}


@both_ways
def test_an_array_of_millions_of_commas_is_not_even_looked_into(fast):
    frame = b"[" + b"," * 700_000 + b"]"
    (letter,) = EventParser(StreamTable(), fast=fast).parse(batch(frame)).events
    assert (letter[0], headers_of(letter)["reason"]) == (frame, "too_many_elements")


def test_empty_messages_by_the_ten_thousand_share_what_is_said_of_them():
    parser = EventParser(StreamTable())
    received = batch(*[b""] * 10_000)
    tracemalloc.start()
    try:
        events = parser.parse(received).events
        cost = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [event[0] for event in events] == [b""] * 10_000
    assert len({event[3] for event in events}) == 1
    assert cost < 3 * MIB
    assert EventBatch(events, received_at_ms=NOW).size_bytes > cost


@both_ways
def test_names_as_long_as_messages_are_written_and_not_remembered(fast):
    parser = EventParser(StreamTable(), fast=fast)
    names = ["x" * 20_000 + str(number) for number in range(50)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for name in names:
            event = TRADE.replace(b"ETHUSDT", name.upper().encode())
            (made,) = parser.parse(batch(combined(f"{name}@trade", event))).events
            assert made[0].startswith(event[:-1])
            assert made[1] == name.upper().encode()
            del made, event
        cost = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert cost < 200_000
    assert parser.heard(f"{names[0]}@trade") == float("-inf")


@both_ways
def test_a_long_name_beside_a_short_stream_is_not_remembered_either(fast):
    parser = EventParser(StreamTable(), fast=fast)
    for _ in range(2):
        event = TRADE.replace(b"ETHUSDT", b"X" * NAMES_BYTES_MAX)
        (made,) = parser.parse(batch(combined("ethusdt@trade", event))).events
        assert made[1] == b"X" * NAMES_BYTES_MAX
    assert not parser._tracks
    assert not parser._slow._lanes


@pytest.mark.parametrize("long", ["stream", "symbol"])
def test_a_dead_letter_is_never_larger_than_its_value_by_more_than_a_little(long):
    name = "x" * MIB
    stream, symbol = (f"{name}@trade", "S") if long == "stream" else ("s@trade", name)
    frame = b'{"stream":"%b","data":{"e":"trade","s":"%b"}}' % (stream.encode(), symbol.encode())
    (letter,) = EventParser(StreamTable()).parse(batch(frame)).events
    assert letter[0] == frame
    assert len(letter[1] or b"") <= KEY_BYTES_MAX
    assert max(map(len, headers_of(letter).values())) <= DETAIL_MAX_CHARACTERS


def test_a_letter_that_a_topic_refused_for_its_size_fits_at_the_second_attempt():
    letters = DeadLetters(StreamTable())
    event = TRADE.replace(b"ETHUSDT", b"X" * 2 * MIB)
    (made,) = EventParser(StreamTable()).parse(batch(combined("s@trade", event))).events
    refused = letters.refused_event(made, "too_large", "as the broker says")
    again = letters.refused_event(refused, "too_large", "as the broker says")
    assert again[1] is None
    assert len(again[0]) + sum(len(value) for _, value in again[3].headers) < MIB // 2
    assert headers_of(again)["cut_from"] == str(len(refused[0]))


def test_what_is_too_long_to_be_an_answer_is_not_looked_into():
    session = Session(["a@trade"])
    session.message(0.0)
    listed = b'{"result":[%b],"id":1}' % b",".join([b"[]"] * REPLY_BYTES_MAX)
    assert session.intercept([listed]) == [listed]
    assert session.intercept([b'{"result":null,"id":1}']) == []
    assert session.acknowledged == {"a@trade"}


def test_refusals_that_nobody_asked_for_pile_up_nowhere():
    session = Session(["a@trade"])
    session.message(0.0)
    error = b'{"error":{"code":2,"msg":"%b"}}' % (b"m" * 10_000)
    assert session.intercept([error] * 1000) == [error] * 999
    (refused,) = session.refused()
    assert len(refused.text) == TEXT_CHARACTERS_MAX


@both_ways
@pytest.mark.parametrize(
    "value",
    [
        b"1e999", b"-1e999", b"1e-999", b"NaN", b"Infinity", b"-0", b"00", b"9" * 5000, b"-" + b"9" * 5000, b"0x10",
        b"1" + b"0" * 19, b"1.0", b'"1"', b"true", b"null", b"[1]", b'{"t":1}', rb'"\u0000"', rb'"\ud800"', b'"\xff"',
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", [b"t", b"E", b"T", b"s", b"e"])
def test_no_value_of_a_field_is_more_than_an_event_or_a_dead_letter(fast, field, value):
    frame = b'{"stream":"ethusdt@trade","data":{"e":"trade","E":1,"s":"ETHUSDT","t":7,"T":1,"%b":%b}}' % (field, value)
    for received in ([frame], [combined("ethusdt@trade", TRADE), frame]):
        parsed = EventParser(StreamTable(), fast=fast).parse(batch(*received))
        assert len(parsed.events) == len(received)
        made = parsed.events[-1]
        assert made[0] == frame if made[3].dead_letter else made[0].startswith(frame[frame.index(b'"data":') + 7 : -2])
        assert 0 < made[2] < 2**53


@both_ways
@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "A\u0000B", "<script>", "a\r\nb", "${jndi:x}", "\u202eevil", "%n"]
)
def test_strange_names_are_data_like_any_other(fast, name):
    event = json.dumps({"e": "trade", "s": name.upper(), "t": 1}).encode()
    frame = b'{"stream":%b,"data":%b}' % (json.dumps(f"{name}@trade").encode(), event)
    (made,) = EventParser(StreamTable(), fast=fast).parse(batch(frame)).events
    assert json.loads(made[0])["s"] == name.upper()
    assert made[1] == name.upper().encode()
