import json

import pytest
from exchange_frames import (
    AGG_TRADE,
    AVERAGE_PRICE,
    BOOK_TICKER,
    BY_STREAM,
    DEPTH,
    FORCE_ORDER,
    KLINE,
    MARK_PRICE,
    MINI_TICKER,
    NOW,
    OLD_TRADE,
    PARTIAL_DEPTH,
    REFERENCE_PRICE,
    ROLLING_TICKER,
    TRADE,
    batch,
    both_ways,
    combined,
    headers,
    parser,
    tail,
)

from ingest_actors.binance.outcome import Notice
from ingest_actors.binance.parser import EventParser
from ingest_actors.binance.stream_table import StreamTable, TopicNames

RAW, TRADES, DEPTH_TOPIC = "binance-raw-events", "binance-trades", "binance-depth"
ETH = b',"symbol":"ETHUSDT","stream":"%b"'


@pytest.mark.parametrize(
    ("stream", "event_type", "topics", "timestamp", "before"),
    [
        ("ethusdt@trade", "trade", (RAW, TRADES), 1790000000105, b""),
        ("ethusdt@aggTrade", "aggregate_trade", (RAW, TRADES), 1790000000105, b""),
        ("bnbusdt@blockTrade", "block_trade", (RAW,), 1790000000105, b""),
        ("ethusdt@depth@100ms", "depth_update", (RAW, DEPTH_TOPIC), 1790000000115, b""),
        ("ethusdt@depth", "depth_update", (RAW, DEPTH_TOPIC), 1790000000115, b""),
        ("ethusdt@depth20@100ms", "partial_depth", (RAW,), NOW, ETH % b"ethusdt@depth20@100ms"),
        ("ethusdt@bookTicker", "book_ticker", (RAW,), NOW, ETH % b"ethusdt@bookTicker"),
        ("ethusdt@kline_1m", "kline", (RAW,), 1790000002011, b""),
        ("ethusdt@kline_1m@+08:00", "kline", (RAW,), 1790000002011, ETH % b"ethusdt@kline_1m@+08:00"),
        ("ethusdt@miniTicker", "mini_ticker", (RAW,), 1790000000120, b""),
        ("ethusdt@ticker", "ticker", (RAW,), 1790000000121, b""),
        ("ethusdt@ticker_1h", "rolling_ticker", (RAW,), 1790000000122, b""),
        ("ethusdt@avgPrice", "average_price", (RAW,), 1790000000110, b""),
        ("abcusd@referencePrice", "reference_price", (RAW,), NOW, b""),
        ("btcusdt@depth@0ms", "depth_update", (RAW, DEPTH_TOPIC), 1680652700594, b""),
        ("btcusdt@markPrice@1s", "mark_price_update", (RAW,), 1680652701000, b""),
        ("btcusdt@forceOrder", "force_order", (RAW,), 1680652701000, b""),
    ],
)
def test_every_stream_becomes_the_record_that_the_table_says(stream, event_type, topics, timestamp, before):
    event = BY_STREAM[stream]
    [(value, key, time, route)] = both_ways(combined(stream, event))
    assert value == event[:-1] + tail(event_type, before=before)
    assert json.loads(value)["event_type"] == event_type
    assert key == stream.partition("@")[0].upper().encode()
    assert time == timestamp
    assert (route.event_type, route.topics, route.headers, route.dead_letter) == (event_type, topics, (), False)


def test_the_test_above_leaves_no_stream_out():
    types = {stream.partition("@")[2] for stream in BY_STREAM}
    kinds = {StreamTable().kind_of_stream(f"x@{name}") for name in types} - {None}
    assert {kind.event_type for kind in kinds} | {"depth_snapshot"} == set(StreamTable().routes)


def test_topics_are_those_of_the_settings_and_routes_are_shared():
    table = StreamTable(TopicNames("r", "t", "d", "dl"))
    frames = [combined("ethusdt@trade", TRADE), combined("ethusdt@depth", DEPTH), combined("ethusdt@trade", b"{}")]
    events = EventParser(table).parse(batch(*frames, *frames)).events
    assert [event[3].topics for event in events[:3]] == [("r", "t"), ("r", "d"), ("dl",)]
    assert events[0][3] is events[3][3] is table.routes["trade"]


def test_an_array_gives_one_record_an_element_with_the_elements_own_key():
    other = MINI_TICKER.replace(b"ETHUSDT", b"BNBUSDT")
    events = both_ways(combined("!miniTicker@arr", b"[%b,%b]" % (MINI_TICKER, other)))
    assert [(value, key) for value, key, _, _ in events] == [
        (MINI_TICKER[:-1] + tail("mini_ticker"), b"ETHUSDT"),
        (other[:-1] + tail("mini_ticker"), b"BNBUSDT"),
    ]
    [rolling] = both_ways(combined("!ticker_1h@arr", b"[%b]" % ROLLING_TICKER))
    assert rolling[3].event_type == "rolling_ticker"


def test_an_array_without_elements_is_no_event():
    assert both_ways(combined("!miniTicker@arr", b"[]")) == []


def test_only_the_bad_elements_of_an_array_are_dead_letters():
    frame = combined("!miniTicker@arr", b'[%b, 7 ,{},{"e":"24hrMiniTicker"},%b]' % (MINI_TICKER, MINI_TICKER))
    events = both_ways(frame, combined("ethusdt@trade", TRADE))
    assert [event[3].dead_letter for event in events] == [False, True, True, True, False, False]
    assert [event[0] for event in events[1:4]] == [b"7", b"{}", b'{"e":"24hrMiniTicker"}']
    assert [headers(event)["reason"] for event in events[1:4]] == ["not_an_object", "empty_event", "no_symbol"]
    assert {headers(event)["stream"] for event in events[1:4]} == {"!miniTicker@arr"}
    assert {event[3].event_type for event in events[1:4]} == {"mini_ticker"}


@pytest.mark.parametrize("event", [TRADE, AGG_TRADE, DEPTH, KLINE, MINI_TICKER, AVERAGE_PRICE, OLD_TRADE, MARK_PRICE])
def test_events_without_an_envelope_that_name_themselves_are_taken(event):
    [(value, key, _, route)] = both_ways(event)
    assert value == event[:-1] + tail(route.event_type)
    assert key == json.loads(event)["s"].encode()


def test_a_book_ticker_without_an_envelope_is_told_by_its_shape():
    [(value, key, _, route)] = both_ways(BOOK_TICKER)
    assert route.event_type == "book_ticker"
    assert value == BOOK_TICKER[:-1] + tail("book_ticker", before=ETH % b"ethusdt@bookTicker")
    assert key == b"ETHUSDT"


def test_a_bare_array_is_taken_element_by_element():
    assert [event[3].event_type for event in both_ways(b"[%b,%b]" % (TRADE, DEPTH))] == ["trade", "depth_update"]


def test_fields_that_were_removed_or_added_are_kept():
    added = TRADE[:-1] + b',"new":{"deep":[1,2,{"x":null}]},"ts":"now"}'
    events = both_ways(combined("ethusdt@trade", OLD_TRADE), combined("ethusdt@trade", added))
    assert [event[0] for event in events] == [OLD_TRADE[:-1] + tail("trade"), added[:-1] + tail("trade")]
    assert [event[3].event_type for event in events] == ["trade", "trade"]


def test_the_order_of_fields_and_blanks_between_them_do_not_matter():
    event = b'{ "s" : "ETHUSDT",\t"t":5, "M":true,\n "E":1790000000105 ,"e":"trade" }'
    frame = b' { "data" : %b , "stream":"ethusdt@trade"} \r\n' % event
    [(value, key, time, route)] = both_ways(frame)
    assert value == event[:-1] + tail("trade")
    assert json.loads(value)["t"] == 5
    assert (key, time, route.event_type) == (b"ETHUSDT", 1790000000105, "trade")


def test_names_that_differ_by_case_alone_are_not_mixed_up():
    event = b'{"E":1790000000001,"e":"depthUpdate","A":[],"B":"b","S":"NOT","s":"ETHUSDT","U":"x","u":9,"t":"x","T":1}'
    [(_, key, time, route)] = both_ways(combined("ethusdt@depth", event))
    assert (key, time, route.event_type) == (b"ETHUSDT", 1790000000001, "depth_update")


def test_of_a_name_that_is_there_twice_the_last_one_counts():
    event = b'{"e":"aggTrade","e":"trade","E":1,"E":1790000000105,"s":"A","s":"ETHUSDT","t":1,"a":2}'
    [(value, key, time, route)] = both_ways(combined("ethusdt@trade", event))
    assert value == event[:-1] + tail("trade")
    assert (key, time, route.event_type) == (b"ETHUSDT", 1790000000105, "trade")


def test_an_envelope_that_says_everything_twice_is_taken_by_its_last_words():
    frame = b'{"stream":"ethusdt@trade","data":%b,"data":%b}' % (AGG_TRADE, TRADE)
    events = both_ways(combined("ethusdt@trade", TRADE), frame, frame)
    assert [event[0] for event in events] == [TRADE[:-1] + tail("trade")] * 3


def test_a_symbol_of_any_alphabet_is_key_and_value():
    event = TRADE.replace(b"ETHUSDT", "币安人生USDT".encode())
    plain = both_ways(combined("币安人生usdt@trade", event))
    assert plain[0][:2] == (event[:-1] + tail("trade"), "币安人生USDT".encode())
    [(value, key, _, _)] = both_ways(combined("币安人生usdt@depth5", PARTIAL_DEPTH))
    assert key == "币安人生USDT".encode()
    assert json.loads(value)["symbol"] == "币安人生USDT"
    assert json.loads(value)["stream"] == "币安人生usdt@depth5"
    escaped = b'{"e":"trade","t":1,"s":"\\u5e01USDT"}'
    assert both_ways(combined("x@trade", escaped))[0][1] == "币USDT".encode()


def test_the_key_is_the_payloads_symbol_and_the_streams_where_it_has_none():
    event = b'{"e":"trade","t":1}'
    assert [e[1] for e in both_ways(combined("ethusdt@trade", TRADE), combined("ethusdt@trade", event))] == [
        b"ETHUSDT",
        b"ETHUSDT",
    ]
    assert both_ways(FORCE_ORDER)[0][1] is None


def test_a_stream_whose_events_change_is_never_given_another_events_key_or_type():
    frames = [
        combined("ethusdt@trade", event)
        for event in (TRADE, AGG_TRADE, TRADE.replace(b"ETHUSDT", b"BNBUSDT"), TRADE, b'{"t":1,"e":"trade"}')
    ]
    events = both_ways(*frames)
    assert [event[3].event_type for event in events] == ["trade", "aggregate_trade", "trade", "trade", "trade"]
    assert [event[1] for event in events] == [b"ETHUSDT", b"ETHUSDT", b"BNBUSDT", b"ETHUSDT", b"ETHUSDT"]


def test_a_partial_book_is_one_even_where_it_calls_itself_an_update():
    [event] = both_ways(combined("btcusdt@depth20@250ms", BY_STREAM["btcusdt@depth@0ms"]))
    assert event[3].event_type == "partial_depth"


@pytest.mark.parametrize(
    ("times", "timestamp"),
    [
        (b'"E":1790000000105,"T":5', 1790000000105),
        (b'"T":1790000000104', 1790000000104),
        (b'"E":null,"T":1790000000104', 1790000000104),
        (b'"E":"1790000000105","T":1790000000104', 1790000000104),
        (b'"E":0,"T":1790000000104', 1790000000104),
        (b'"x":1', NOW),
        (b'"E":-5', NOW),
        (b'"E":1.79e12', NOW),
        (b'"E":1790000000105999,"T":5', 1790000000105),
        (b'"E":1790000000105999999,"T":5', 1790000000105),
    ],
)
def test_the_timestamp_is_the_event_time_else_the_trade_time_else_the_time_of_receipt(times, timestamp):
    frame = combined("ethusdt@trade", b'{"e":"trade","s":"ETHUSDT","t":1,%b}' % times)
    assert both_ways(frame)[0][2] == timestamp


def test_a_time_that_a_broker_would_refuse_becomes_the_time_of_receipt_and_is_counted():
    edge = NOW + 50 * 60 * 1000
    times = [edge, edge + 1, 9 * 10**17, 10**30, edge * 1000 + 999]
    frames = [combined("ethusdt@trade", b'{"e":"trade","s":"ETHUSDT","t":1,"E":%d}' % time) for time in times]
    assert [event[2] for event in both_ways(*frames)] == [edge, NOW, 900_000_000_000, NOW, edge]
    for fast in (True, False):
        assert parser(fast=fast).parse(batch(*frames)).future_timestamps == 2


def test_order_is_kept_whichever_way_each_event_goes():
    frames = [
        combined("ethusdt@trade", TRADE),
        combined("!miniTicker@arr", b"[%b]" % MINI_TICKER),
        b"garbage",
        combined("ethusdt@depth20", PARTIAL_DEPTH),
        combined("abcusd@referencePrice", REFERENCE_PRICE),
    ] * 20
    types = [event[3].event_type for event in both_ways(*frames)]
    assert types == ["trade", "mini_ticker", "unparsed", "partial_depth", "reference_price"] * 20


@pytest.mark.parametrize(
    "frame",
    [
        b'{"result":null,"id":7}',
        b'{"id":"b-2","result":["ethusdt@trade"]}',
        b'{"error":{"code":2,"msg":"Invalid request: invalid stream"},"id":2}',
        b'{"code":3,"msg":"Invalid JSON: expected value at line 1 column 1"}',
    ],
)
def test_an_answer_to_a_control_message_is_a_notice_and_no_event(frame):
    for fast in (True, False):
        parsed = parser(fast=fast).parse(batch(combined("ethusdt@trade", TRADE), frame))
        assert len(parsed.events) == 1
        assert parsed.notices == [Notice("control_reply", "ws-1", frame.decode())]


@pytest.mark.parametrize(
    "frame",
    [
        b'{"e":"serverShutdown","E":1790000000123}',
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1790000000123}}',
    ],
)
def test_the_announced_end_of_a_connection_is_a_notice_and_not_written(frame):
    for fast in (True, False):
        parsed = parser(fast=fast).parse(batch(frame, frame))
        assert parsed.events == []
        assert parsed.notices == [Notice("server_shutdown", "ws-1", '{"e":"serverShutdown","E":1790000000123}')] * 2


def test_unknown_events_are_named_after_themselves_go_to_the_raw_topic_and_cannot_take_a_known_name():
    names = ["markPriceUpdate", "ETFInfo", "Trade", "unparsed", "depthSnapshot"]
    frames = [combined("btcusdt@x", b'{"e":"%b","s":"BTCUSDT"}' % name.encode()) for name in names]
    events = both_ways(*frames)
    assert [event[3].event_type for event in events] == [
        "mark_price_update",
        "etf_info",
        "unlisted_trade",
        "unlisted_unparsed",
        "unlisted_depth_snapshot",
    ]
    assert {event[3].topics for event in events} == {(RAW,)}


def test_unknown_events_cannot_make_up_names_without_end():
    frames = [combined("btcusdt@x", b'{"e":"new%d"}' % number) for number in range(100)]
    types = {event[3].event_type for event in both_ways(*frames)}
    assert len(types) == 65
    assert "unlisted" in types
