import pytest

from ingest_actors.binance.names import (
    ARRAY_STREAMS,
    STREAM_TYPES,
    nearest_name,
    stream_type_problems,
    streams_for,
)


def test_the_defaults_and_every_type_alone_are_accepted():
    assert stream_type_problems(["aggTrade", "depth@100ms", "trade", "kline_1m"]) == []
    for name in STREAM_TYPES + ARRAY_STREAMS:
        assert stream_type_problems([name]) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("aggtrade", "did you mean aggTrade?"),
        ("AGGTRADE", "did you mean aggTrade?"),
        ("trades", "did you mean trade?"),
        ("kline_1H", "did you mean kline_1h?"),
        ("kline1m", "did you mean kline_1m?"),
        ("bookticker", "did you mean bookTicker?"),
        ("!miniticker@arr", "did you mean !miniTicker@arr?"),
        ("depth@500ms", "accepted: depth, depth@100ms"),
        ("depth20@250ms", "accepted: depth20, depth20@100ms"),
        ("btcusdt@trade", "leave the symbol out, it comes from BINANCE_SYMBOLS: trade"),
        ("!ticker@arr", "retired it on 2026-03-26"),
        ("!bookTicker", "retired it in December 2022"),
        ("zzzzzz", "accepted: aggTrade, trade,"),
    ],
)
def test_a_stream_that_is_not_there_is_refused_with_what_to_write_instead(name, text):
    [problem] = stream_type_problems(["trade", name])
    assert problem.startswith(f"BINANCE_STREAM_TYPES={name}: ")
    assert text in problem


@pytest.mark.parametrize(
    ("types", "named"),
    [
        (["depth", "trade", "depth@100ms"], "depth,depth@100ms"),
        (["!miniTicker@arr", "miniTicker"], "!miniTicker@arr,miniTicker"),
        (["ticker_4h", "!ticker_4h@arr"], "ticker_4h,!ticker_4h@arr"),
    ],
)
def test_two_types_that_cannot_be_told_apart_in_kafka_are_refused(types, named):
    [problem] = stream_type_problems(types)
    assert problem == f"BINANCE_STREAM_TYPES={named}: the two cannot be told apart in Kafka; choose one of them"


def test_types_that_bear_their_streams_name_may_stand_together():
    types = ["depth5", "depth5@100ms", "depth20", "depth", "kline_1d", "kline_1d@+08:00", "kline_1m", "ticker_1h"]
    assert stream_type_problems([*types, "!ticker_4h@arr", "ticker", "miniTicker", "trade", "trade"]) == []


def test_every_problem_is_told_at_once():
    assert len(stream_type_problems(["depth", "depth@100ms", "nope", "!ticker@arr"])) == 3
    assert len(stream_type_problems([])) == 1


def test_streams_are_lower_case_once_each_symbol_by_symbol_then_arrays():
    assert streams_for(["BTCUSDT", "ethusdt", "BtcUsdt"], ["trade", "!miniTicker@arr", "kline_1M@+08:00"]) == [
        "btcusdt@trade",
        "btcusdt@kline_1M@+08:00",
        "ethusdt@trade",
        "ethusdt@kline_1M@+08:00",
        "!miniTicker@arr",
    ]


def test_the_nearest_name_or_none():
    assert nearest_name("BTCUSD", ["ETHUSDT", "BTCUSDT"]) == "BTCUSDT"
    assert nearest_name("BTCUSD", []) == ""
    assert nearest_name("QQQ", ["BTCUSDT"]) == ""
