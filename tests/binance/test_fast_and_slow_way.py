"""The fast way is a short cut: whatever comes, it arrives where the slow way does."""

import json

import pytest
from exchange_frames import BY_STREAM, MINI_TICKER, ROLLING_TICKER, batch, combined, comparable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_actors.binance.parser import EventParser
from ingest_actors.binance.stream_table import StreamTable
from json_pieces import PIECES

GOOD = [
    *(combined(stream, event) for stream, event in BY_STREAM.items()),
    combined("!miniTicker@arr", b"[%b,%b]" % (MINI_TICKER, MINI_TICKER)),
    combined("!ticker_1h@arr", b"[%b]" % ROLLING_TICKER),
    combined("币usdt@trade", BY_STREAM["ethusdt@trade"].replace(b"ETHUSDT", "币USDT".encode())),
    *BY_STREAM.values(),
]
TRADE, KLINE = BY_STREAM["ethusdt@trade"], BY_STREAM["ethusdt@kline_1m"]
ODD = [
    b"",
    b"[]",
    b'{"result":null,"id":1}',
    combined("!miniTicker@arr", b"[]"),
    combined("ethusdt@trade", b"{}"),
    combined("ethusdt@depth20", b"{}"),
    b'{"stream":"ethusdt@trade","data":[],"data":{"e":"trade","s":"ETHUSDT","t":1}}',
    b'{"stream":"ethusdt@trade","data":{"e":"trade","s":"ETHUSDT","t":1},"data":[{"e":"trade"}]}',
    b'{"stream":"ethusdt@trade","data":{"e":"trade","s":"ETHUSDT","t":1},"stream":"ethusdt@trade"}',
    b'{"stream":"a","stream":"ethusdt@trade","data":{"e":"trade","s":"ETHUSDT","t":1}}',
    b'{"data":{"e":"kline","s":"ETHUSDT","k":{}},"stream":"ethusdt@kline_1m"}',
    b'{"stream":"ethusdt@kline_1m","data":{"e":"kline"},"data":{"e":"kline","s":"ETHUSDT"}}',
    b'{"stream":"ethusdt@kline_1m","data":{"e":"kline","s":"ETHUSDT","k":{}},"data":{"e":"kline","s":"ETHUSDT"}}',
    b'{"stream":"ethusdt@trade","d\\u0061ta":{"e":"trade","s":"ETHUSDT","t":1}}',
    b'{"stream":"ethusdt@trade","data":{"e":"trade","s":"ETHUSDT","t":1} }',
    b'{"stream":"ethusdt@trade","data":{"e":"trade","s":"ETHUSDT","t":1}} ',
    b'{"stream":"ethusdt@trade","data":{"e":"trade","s":"ETHUSDT","t":1},"extra":{}}',
    b'{"stream":"ethusdt@trade","data":{"e":"trade","s":"ETHUSDT","t":1,"E":%b}}' % (b"9" * 5000),
    combined("ethusdt@trade", TRADE) + b"\n",
    b"\n" + combined("ethusdt@trade", TRADE),
    combined("ethusdt@trade", TRADE) + b"\n\n",
    combined("ethusdt@trade", TRADE[:-1]) + b"\n}",
    combined("ethusdt@kline_1m", KLINE) + b"\n",
    b'{"stream":"ethusdt@trade","extra":1,"data":%b}' % TRADE,
    b'{"stream":"ethusdt@trade","data":%b,"extra":1}' % TRADE,
    b'{"stream":"ethusdt@trade","data":%b,"extra":[]}' % TRADE,
    b'{"extra":1,"stream":"ethusdt@trade","data":%b}' % TRADE,
    b'{"data":%b,"stream":"ethusdt@trade"}' % TRADE,
    b'{"stream":"ethusdt\\u0040trade","data":%b}' % TRADE,
    b'{"stream":"ethusdt@trade","data":%b,"str\\u0065am":"ethusdt@trade"}' % TRADE,
    combined("ethusdt@trade", TRADE.replace(b'"p":"4', b'"p":"{')),
    combined("ethusdt@trade", TRADE.replace(b'"p":"4', b'"p":"\xff')),
    combined("ethusdt@trade", TRADE.replace(b'"p":"4', b'"p":"\\u0034')),
    b'{"stream":"ethusdt@kline_1m","extra":1,"data":%b}' % KLINE,
    b'{"extra":1,"stream":"ethusdt@kline_1m","data":%b}' % KLINE,
    b'{"stream":"ethusdt@kline_1m","data":%b,"extra":1}' % KLINE,
    b'{"data":%b,"stream":"ethusdt@kline_1m"}' % KLINE,
    b'{"stream":"ethusdt@kline_1m","data":%b,"stream":"ethusdt@kline_1m"}' % KLINE,
    b'{"stream":5,"data":{"e":"trade","s":"ETHUSDT","t":1}}',
]


@pytest.mark.parametrize("odd", ODD, ids=lambda frame: frame[:60].decode("latin-1"))
def test_each_form_that_the_exchange_does_not_write_comes_to_the_same_both_ways(odd):
    trade, kline = combined("ethusdt@trade", TRADE), combined("ethusdt@kline_1m", KLINE)
    for around in ([], [trade], [kline], [trade, kline], [combined("!miniTicker@arr", b"[%b]" % MINI_TICKER)]):
        table = StreamTable()
        fast, slow = EventParser(table), EventParser(table, fast=False)
        fast.parse(batch(trade, kline))
        for received in (batch(*around, odd, *around), batch(*around, odd), batch(odd, odd)):
            quick = fast.parse(received)
            assert comparable(quick) == comparable(slow.parse(received))
            assert all(event[3].dead_letter or json.loads(event[0], parse_int=str) for event in quick.events)


@st.composite
def frames(draw):
    frame = draw(st.sampled_from(GOOD + ODD))
    for _ in range(draw(st.integers(0, 2))):
        position = draw(st.integers(0, len(frame)))
        match draw(st.integers(0, 5)):
            case 0:
                frame = frame[:position]
            case 1:
                frame = frame[:position] + draw(st.sampled_from((*PIECES, b"null"))) + frame[position:]
            case 2:
                frame = frame[:position] + frame[position + draw(st.integers(1, 12)) :]
            case 3:
                other = draw(st.sampled_from(GOOD + ODD))
                frame = frame[:position] + other[position:]
            case 4:
                old, new = draw(st.sampled_from([(b'"e"', b'"E"'), (b"ETH", b"BNB"), (b'"t"', b'"e"'), (b"@", b"")]))
                frame = frame.replace(old, new)
            case 5:
                frame = reordered(frame, draw)
    return frame


def reordered(frame, draw):
    try:
        value = json.loads(frame, parse_int=int)
    except ValueError:
        return frame
    if not isinstance(value, dict):
        return frame
    for part in (value, value.get("data")):
        if isinstance(part, dict):
            members = draw(st.permutations(list(part.items())))
            part.clear()
            part.update(members)
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    return json.dumps(value, separators=separators, ensure_ascii=draw(st.booleans())).encode()


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(frames(), max_size=24), min_size=1, max_size=3))
def test_both_ways_come_to_the_same_whatever_came_before(batches):
    table = StreamTable()
    fast, slow = EventParser(table), EventParser(table, fast=False)
    for received in batches:
        quick, careful = fast.parse(batch(*received)), slow.parse(batch(*received))
        assert comparable(quick) == comparable(careful)
        for value, _, _, route in quick.events:
            assert route.dead_letter or json.loads(value, parse_int=str)["event_type"] == route.event_type


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=80), frames()), max_size=12))
def test_parsing_never_raises_and_every_message_becomes_something(received):
    for fast in (True, False):
        parser = EventParser(StreamTable(), fast=fast)
        whole = parser.parse(batch(*received))
        alone = [parser.parse(batch(frame)) for frame in received]
        assert comparable(whole)[0] == [event for one in alone for event in comparable(one)[0]]
        assert whole.notices == [notice for one in alone for notice in one.notices]
        for frame, one in zip(received, alone, strict=True):
            assert one.events or one.notices or b"[" in frame


def test_the_fast_way_is_taken_for_all_that_the_exchange_writes(monkeypatch):
    parser = EventParser(StreamTable())
    usual = [combined(stream, event) for stream, event in BY_STREAM.items() if "forceOrder" not in stream]
    parser.parse(batch(*usual))
    monkeypatch.setattr(parser, "_parse_one", None)
    assert len(parser.parse(batch(*usual)).events) == len(usual)
    flat = [frame for frame in usual if b'"k":' not in frame]
    assert len(parser.parse(batch(*flat)).events) == len(flat)


def test_one_bad_message_does_not_send_the_others_the_slow_way(monkeypatch):
    parser = EventParser(StreamTable())
    trade = combined("ethusdt@trade", BY_STREAM["ethusdt@trade"])
    parser.parse(batch(trade))
    slow = []
    careful = parser._parse_one
    monkeypatch.setattr(parser, "_parse_one", lambda *arguments: slow.append(careful(*arguments)))
    parser.parse(batch(*[trade] * 500, b"garbage", *[trade] * 500))
    assert len(slow) == 16
