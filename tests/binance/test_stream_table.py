import pytest

from ingest_actors.binance.stream_table import (
    INTERVALS,
    KINDS,
    Append,
    Continuity,
    Repair,
    StreamTable,
    TopicNames,
    symbol_of_stream,
)

BY_TYPE = {kind.event_type: kind for kind in KINDS}


def test_the_table_says_what_the_product_promises():
    assert {
        kind.event_type: (kind.copy, kind.identity, kind.continuity, kind.repair, kind.append) for kind in KINDS
    } == {
        "aggregate_trade": ("trades", ("a",), Continuity.CONSECUTIVE, Repair.AGG_TRADES, Append.NEVER),
        "trade": ("trades", ("t",), Continuity.CONSECUTIVE, Repair.HISTORICAL_TRADES, Append.NEVER),
        "block_trade": ("", ("t",), Continuity.MEASURED, Repair.JOURNAL, Append.NEVER),
        "depth_update": ("depth", ("u",), Continuity.OVERLAPPING, Repair.BOOK_SNAPSHOT, Append.NEVER),
        "depth_snapshot": ("depth", ("lastUpdateId",), Continuity.NONE, Repair.NONE, Append.SYMBOL),
        "partial_depth": ("", ("lastUpdateId",), Continuity.RISING, Repair.SECONDS, Append.ALWAYS),
        "book_ticker": ("", ("u",), Continuity.RISING, Repair.SECONDS, Append.ALWAYS),
        "kline": (
            "",
            ("k.i", "k.t", "k.L", "k.n", "k.x"),
            Continuity.CANDLES,
            Repair.CLOSED_CANDLES,
            Append.WITH_OFFSET,
        ),
        "mini_ticker": ("", ("E",), Continuity.RISING, Repair.SECONDS, Append.NEVER),
        "ticker": ("", ("E",), Continuity.RISING, Repair.SECONDS, Append.NEVER),
        "rolling_ticker": ("", ("e", "E"), Continuity.RISING, Repair.SECONDS, Append.NEVER),
        "average_price": ("", ("E",), Continuity.RISING, Repair.SECONDS, Append.NEVER),
        "reference_price": ("", ("t",), Continuity.RISING, Repair.SECONDS, Append.NEVER),
    }


def test_trades_can_be_fetched_again_and_samples_cannot():
    assert {kind.event_type for kind in KINDS if kind.repairable} == {"aggregate_trade", "trade"}
    neither = {"block_trade", "depth_update", "depth_snapshot"}
    assert {kind.event_type for kind in KINDS if kind.sample} == set(BY_TYPE) - neither - {"aggregate_trade", "trade"}


def test_no_event_name_and_no_stream_type_stands_in_two_rows():
    names = [name for kind in KINDS for name in kind.names]
    streams = [name for kind in KINDS for name in (*kind.stream_types, *kind.arrays)]
    assert len(set(names)) == len(names)
    assert len(set(streams)) == len(streams)


def test_every_stream_of_the_exchanges_catalogue_is_known():
    table = StreamTable()
    catalogue = {
        "aggTrade": "aggregate_trade",
        "trade": "trade",
        "blockTrade": "block_trade",
        "miniTicker": "mini_ticker",
        "ticker": "ticker",
        "bookTicker": "book_ticker",
        "avgPrice": "average_price",
        "referencePrice": "reference_price",
        "depth": "depth_update",
        "depth@100ms": "depth_update",
    }
    catalogue |= {f"depth{levels}{speed}": "partial_depth" for levels in (5, 10, 20) for speed in ("", "@100ms")}
    catalogue |= {f"kline_{interval}{offset}": "kline" for interval in INTERVALS for offset in ("", "@+08:00")}
    catalogue |= {f"ticker_{window}": "rolling_ticker" for window in ("1h", "4h", "1d")}
    streams = {f"btcusdt@{name}": event_type for name, event_type in catalogue.items()}
    streams |= {f"!ticker_{window}@arr": "rolling_ticker" for window in ("1h", "4h", "1d")}
    streams |= {"!miniTicker@arr": "mini_ticker"}
    assert {name: table.kind_of_stream(name).event_type for name in streams} == streams
    assert len(INTERVALS) == 16
    for name in ("btcusdt@depth50", "btcusdt@kline_2m", "!ticker@arr", "btcusdt", "", "trade"):
        assert table.kind_of_stream(name) is None


def test_a_book_snapshot_from_rest_has_its_place():
    table = StreamTable(TopicNames(raw="r", depth="d"))
    kind = table.kind("depth_snapshot")
    assert table.route(kind).topics == ("r", "d")
    assert table.kind("nothing") is None


@pytest.mark.parametrize(
    ("stream", "symbol"),
    [("btcusdt@trade", "BTCUSDT"), ("币usdt@depth5@100ms", "币USDT"), ("!miniTicker@arr", ""), ("x", ""), ("", "")],
)
def test_the_symbol_of_a_stream(stream, symbol):
    assert symbol_of_stream(stream) == symbol
