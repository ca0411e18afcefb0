"""`binance-sdk-spot`, the exchange's own SDK, against the simulated exchange."""

import pytest
from peer_support import run_peer

CLIENT = "sdk_spot"

INTERVALS = ["1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"]
CALLS = [
    *("agg_trade", "trade", "block_trade", "book_ticker", "mini_ticker", "ticker", "avg_price", "reference_price"),
    *("all_mini_ticker", "diff_book_depth", "diff_book_depth 100ms"),
    *(f"all_market_rolling_window_ticker {size}" for size in ("1h", "4h", "1d")),
    *(f"rolling_window_ticker {size}" for size in ("1h", "4h", "1d")),
    *(f"partial_book_depth {levels}{speed}" for levels in (5, 10, 20) for speed in ("", " 100ms")),
    *(f"kline {interval}" for interval in INTERVALS),
    *(f"kline_offset {interval}" for interval in INTERVALS),
]


@pytest.fixture(scope="module")
def streams(exchange):
    return run_peer(CLIENT, "streams", exchange, time_s=75)


def test_it_connects_and_the_exchange_lists_what_it_subscribed(streams):
    streams.check()
    assert streams.one("connected")
    subscribed = streams.one("subscribed")
    assert subscribed["listed"] == subscribed["wanted"]


def test_no_stream_of_the_client_is_left_out_here(streams):
    assert len(streams.one("subscribed")["wanted"]) == len(CALLS)


@pytest.mark.parametrize("call", CALLS)
def test_each_stream_that_it_knows_arrives_and_fills_every_field_of_its_model(streams, call):
    found = [told for told in streams.all("received") if told["call"] == call]
    assert found, f"nothing came for {call}\n{streams.failure}"
    assert found[0]["empty"] == []


def test_data_stops_when_it_unsubscribes_and_comes_again_when_it_subscribes_again(exchange):
    report = run_peer(CLIENT, "unsubscribe", exchange).check()
    told = report.one("unsubscribed")
    assert (told["before"], told["after"]) == (["btcusdt@trade", "btcusdt@bookTicker"], ["btcusdt@bookTicker"])
    assert told["late"] == 0
    assert told["others"] > 0
    assert report.one("subscribed again")["trades"] > 0


def test_a_book_from_its_depth_stream_and_its_rest_calls_is_the_exchange_s_own(exchange):
    compared = run_peer(CLIENT, "book", exchange).check().all("compared")
    assert len(compared) == 5
    assert [told["differences"] for told in compared] == [[]] * 5
    assert all(told["bids"] > 100 and told["asks"] > 100 for told in compared)


def test_it_survives_a_cut_in_the_middle_of_a_frame(exchange_that_cuts):
    report = run_peer(CLIENT, "cut", exchange_that_cuts)
    assert report.events[-1]["event"] == "done", report.failure
    assert report.one("cut")["received"] > 0
    recovered = report.one("recovered")
    assert recovered["received"] >= 10
    assert recovered["consecutive"] is True
