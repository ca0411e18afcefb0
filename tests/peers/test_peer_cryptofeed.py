"""`cryptofeed` against the simulated exchange, over TLS: it takes nothing else."""

import pytest
from peer_support import run_peer

CLIENT = "cryptofeed"

INTERVALS = ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"]
CALLS = {
    "trades": ("Trade", {"side", "amount", "price", "id", "timestamp"}),
    "ticker": ("Ticker", {"bid", "ask", "timestamp"}),
    "l2_book 100ms": ("OrderBook", {"book"}),  # the first is REST's snapshot, which has no time
    "l2_book 1000ms": ("OrderBook", {"book"}),
    **{
        f"candles {interval}": ("Candle", {"start", "stop", "trades", "open", "close", "high", "low", "volume"})
        for interval in INTERVALS
    },
}


@pytest.fixture(scope="module")
def streams(tls_exchange):
    return run_peer(CLIENT, "streams", tls_exchange)


def test_it_connects_over_tls_and_no_channel_of_the_client_is_left_out_here(streams):
    streams.check()
    assert streams.one("connected")["wanted"] == sorted(CALLS)


@pytest.mark.parametrize("call", CALLS)
def test_each_channel_that_it_knows_arrives_as_its_own_type(streams, call):
    found = [told for told in streams.all("received") if told["call"] == call]
    assert found, f"nothing came for {call}\n{streams.failure}"
    kind, fields = CALLS[call]
    update = found[0]["update"]
    assert (found[0]["type"], update["symbol"]) == (kind, "BTC-USDT")
    assert fields <= {name for name, value in update.items() if value is not None}


def test_data_stops_when_a_feed_is_stopped_and_comes_again_with_another(tls_exchange):
    report = run_peer(CLIENT, "unsubscribe", tls_exchange).check()
    told = report.one("unsubscribed")
    assert told["late"] == 0
    assert told["others"] > 0
    assert report.one("subscribed again")["trades"] > 0


def test_its_own_book_agrees_with_the_exchange(tls_exchange):
    report = run_peer(CLIENT, "book", tls_exchange).check()
    compared = report.all("compared")
    assert len(compared) == 5
    assert [told["differences"] for told in compared] == [[]] * 5
    assert all(told["bids"] > 100 and told["asks"] > 100 for told in compared)
    assert report.one("begun again")["times"] == 0


def test_it_reconnects_by_itself_after_a_cut_in_the_middle_of_a_frame(tls_exchange_that_cuts):
    report = run_peer(CLIENT, "cut", tls_exchange_that_cuts)
    assert report.events[-1]["event"] == "done", report.failure
    assert report.one("cut")["received"] > 0
    recovered = report.one("recovered")
    assert recovered["received"] >= 10
    assert (recovered["consecutive"], recovered["later"]) == (True, True)
