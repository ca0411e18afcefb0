"""The parser notes which streams bring something, whatever it is and whichever way it goes."""

import pytest
from exchange_frames import BY_STREAM, NOW, combined

from ingest_actors.binance.parser import NEVER, EventParser
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.messages import FrameBatch


def parse(parser, *frames, **options):
    return parser.parse(FrameBatch(list(frames), received_at_ms=NOW, connection="ws-1", **options))


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("stream", BY_STREAM)
def test_every_stream_is_heard_when_it_brings_something(stream, fast):
    parser = EventParser(StreamTable(), fast=fast)
    assert parser.heard(stream) == NEVER
    for mark in (1.0, 2.0, 5.0):
        parser.mark = mark
        parse(parser, *[combined(stream, BY_STREAM[stream])] * 3)
        assert parser.heard(stream) == mark
    parser.mark = 6.0
    assert parser.heard(stream) == 5.0
    assert parser.heard("other@trade") == NEVER


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    "frame",
    [
        b'{"stream":"ethusdt@trade","data":{"e":"trade","E":1,"s":"ETHUSDT"',
        b'{"stream":"ethusdt@trade","data":{}}',
        b'{"stream":"ethusdt@trade","data":{"e":"trade","s":"ETHUSDT"}}',
        b'{"data":{"e":"trade","s":"ETHUSDT"},"stream":"ethusdt@trade"}',
        b'{"stream":"ethusdt@trade","data":7}',
    ],
    ids=["cut short", "empty", "no identity", "another order", "no object"],
)
def test_a_dead_letter_is_a_sign_of_life_of_its_stream(frame, fast):
    parser = EventParser(StreamTable(), fast=fast)
    parser.mark = 3.0
    parsed = parse(parser, frame)
    assert [event[3].dead_letter for event in parsed.events] == [True]
    assert parser.heard("ethusdt@trade") == 3.0


def test_a_stream_that_goes_now_the_fast_way_and_now_the_slow_is_heard_by_both():
    parser = EventParser(StreamTable())
    frame = combined("ethusdt@trade", BY_STREAM["ethusdt@trade"])
    for mark, sent in enumerate([frame, frame, frame.replace(b",", b" ,"), frame, b'{"stream":"ethusdt@trade"'], 1):
        parser.mark = float(mark)
        parse(parser, sent)
        assert parser.heard("ethusdt@trade") == mark


def test_what_names_no_stream_is_heard_of_none():
    parser = EventParser(StreamTable())
    parse(parser, b"garbage", b'{"e":"serverShutdown","E":1}', BY_STREAM["ethusdt@trade"])
    parse(parser, b"\x00\x01", binary=True)
    assert parser._heard == {}
