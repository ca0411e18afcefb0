"""`unicorn-binance-websocket-api` and its depth cache against the simulated exchange."""

import pytest
from peer_support import run_peer, simulated_exchange

CLIENT = "ubwa"

INTERVALS = ["1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"]
DEPTH_UPDATE = {"first_update_id_in_event", "final_update_id_in_event", "bids", "asks", "event_time", "symbol"}
PARTIAL_DEPTH = {"last_update_id", "bids", "asks", "symbol"}
ROLLING = {"e", "E", "s", "p", "P", "o", "h", "l", "c", "w", "v", "q", "O", "C", "F", "L", "n"}
NORMALISED = {
    "aggTrade": {"aggregate_trade_id", "first_trade_id", "last_trade_id", "price", "quantity", "is_market_maker"},
    "bookTicker": {"order_book_update_id", "best_bid_price", "best_bid_quantity", "best_ask_price", "symbol"},
    "miniTicker": {"close_price", "open_price", "high_price", "low_price", "symbol", "event_time"},
    "ticker": {"weighted_average_price", "trade_before_24h_window", "first_trade_id", "total_nr_of_trades"},
    "depth": DEPTH_UPDATE,
    "depth@100ms": DEPTH_UPDATE,
    "depth5": PARTIAL_DEPTH,
    "depth10": PARTIAL_DEPTH,
    "depth20": PARTIAL_DEPTH,
    **{f"kline_{interval}": {"kline", "symbol", "event_time"} for interval in INTERVALS},
}
PASSED_ON = {
    "trade": {"e", "E", "s", "t", "p", "q", "T", "m", "M"},
    "avgPrice": {"e", "E", "s", "i", "w", "T"},
    "referencePrice": {"e", "s", "r", "t"},
    **{f"ticker_{size}": ROLLING for size in ("1h", "4h", "1d")},
}
STREAMS = {f"btcusdt@{channel}": fields for channel, fields in (NORMALISED | PASSED_ON).items()}
ARRAYS = {
    "!miniTicker@arr": NORMALISED["miniTicker"],
    **{f"!ticker_{size}@arr": ROLLING for size in ("1h", "4h", "1d")},
}


@pytest.fixture(scope="module")
def streams(exchange):
    return run_peer(CLIENT, "streams", exchange)


def test_it_connects_several_times_and_the_exchange_lists_what_it_subscribed(streams):
    streams.check()
    assert streams.one("connected")["streams"] == 6
    assert streams.one("subscribed")["listed"] == sorted([f"btcusdt@{channel}" for channel in NORMALISED]) + sorted(
        [f"btcusdt@{channel}" for channel in PASSED_ON]
    )


@pytest.mark.parametrize("stream", STREAMS | ARRAYS)
def test_each_stream_that_it_knows_arrives_and_is_understood(streams, stream):
    found = [told for told in streams.all("received") if told["stream"] == stream]
    assert found, f"nothing came of {stream}\n{streams.failure}"
    assert (STREAMS | ARRAYS)[stream] <= set(found[0]["fields"])


def test_trades_of_the_old_schema_pass_its_normaliser_which_wants_the_order_ids_of_before_2024():
    with simulated_exchange("--old-trade-schema") as addresses:
        trades = run_peer(CLIENT, "old_trades", addresses).check().one("trades")
    assert trades["consecutive"] is True
    assert trades["first"]["buyer_order_id"] != trades["first"]["seller_order_id"]


def test_data_stops_when_it_unsubscribes_and_comes_again_when_it_subscribes_again(exchange):
    report = run_peer(CLIENT, "unsubscribe", exchange).check()
    told = report.one("unsubscribed")
    assert (told["before"], told["after"]) == (["btcusdt@bookTicker", "btcusdt@trade"], ["btcusdt@bookTicker"])
    assert told["late"] == 0
    assert told["others"] > 0
    assert report.one("subscribed again")["trades"] > 0


def test_its_own_depth_cache_agrees_with_the_exchange_and_never_restarts(exchange):
    report = run_peer(CLIENT, "book", exchange).check()
    assert report.one("synchronized")["yes"] is True
    compared = report.all("compared")
    assert len(compared) == 4
    assert [told["differences"] for told in compared] == [[]] * 4
    assert all(told["bids"] > 100 and told["asks"] > 100 for told in compared)
    assert report.one("restarts")["count"] == 0


def test_it_reconnects_by_itself_after_a_cut_in_the_middle_of_a_frame(exchange_that_cuts):
    report = run_peer(CLIENT, "cut", exchange_that_cuts)
    assert report.events[-1]["event"] == "done", report.failure
    assert report.one("cut")["signals"] == ["CONNECT", "FIRST_RECEIVED_DATA", "DISCONNECT"]
    recovered = report.one("recovered")
    assert recovered["yes"] is True
    assert recovered["reconnects"] == 1
    assert (recovered["consecutive"], recovered["later"]) == (True, True)
