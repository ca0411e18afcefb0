"""`unicorn-binance-websocket-api` and its depth cache as their users run them. `peer_lines` says how it is called."""

import json
import logging
import os
import sys
import threading
import time
import traceback

import unicorn_binance_local_depth_cache
import unicorn_binance_websocket_api
from peer_lines import arguments, say
from unicorn_binance_rest_api import BinanceRestApiManager
from unicorn_binance_websocket_api.connection_settings import CONNECTION_SETTINGS

MARKET = "btcusdt"
BOOKS_COMPARED = 4
INTERVALS = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
NORMALISED = ("aggTrade", "bookTicker", "miniTicker", "ticker", "depth", "depth@100ms", "depth5", "depth10", "depth20")
"""Channels that the client's own normaliser, UnicornFy, knows. Of trades it still wants the order ids that the exchange
took out in 2024: the scenario `old_trades` has them."""
PASSED_ON = ("trade", "avgPrice", "referencePrice", "ticker_1h", "ticker_4h", "ticker_1d")
"""Channels that it passes on as they are."""


class Complaints(logging.Handler):
    """What the client logs as an error."""

    def emit(self, record):
        if record.levelno >= logging.ERROR:
            say("error", text=f"{record.name}: {record.getMessage()}"[:2000])


def manager(**options):
    """A manager as the documentation makes one, at the exchange's addresses."""
    return unicorn_binance_websocket_api.BinanceWebSocketApiManager(
        exchange="binance.com",
        websocket_base_uri=given.ws_url + "/",
        restful_base_uri=given.rest_url + "/",
        warn_on_update=False,
        **options,
    )


def wait_until(condition, most_s=20.0):
    """Whether something came true in time."""
    until = time.monotonic() + most_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def name_of(data):
    """The stream that something comes from: normalised, passed on with its envelope, or a bare array without one."""
    if isinstance(data, list):
        return f"!ticker_{data[0]['e'].removesuffix('Ticker')}@arr"
    return data.get("stream_type") or data.get("stream", "")


def fields_of(data):
    """The names of what the client hands on for one event."""
    inner = data if isinstance(data, list) else data.get("data", data)
    return sorted(inner[0] if isinstance(inner, list) else inner)


def subscriptions(ubwa, stream_id):
    """What the exchange lists, by the client's own methods.

    `get_result_by_request_id` is none of them: compiled as it is, it waits without letting the stream's thread run.
    """
    request_id = ubwa.get_stream_subscriptions(stream_id)

    def answers():
        results = map(json.loads, ubwa.get_results_from_endpoints())
        return [result["result"] for result in results if result["id"] == request_id]

    return sorted(answers()[0]) if wait_until(answers) else "no answer"


def streams():
    seen = set()
    lock = threading.Lock()

    def receive(data, *_rest, **_more):
        if not name_of(data):
            return
        with lock:
            fresh = name_of(data) not in seen
            seen.add(name_of(data))
        if fresh:
            say("received", stream=name_of(data), fields=fields_of(data))

    ubwa = manager(process_stream_data=receive)
    klines = [f"kline_{interval}" for interval in INTERVALS]
    normalised = ubwa.create_stream([*NORMALISED, *klines], [MARKET], output="UnicornFy")
    passed_on = ubwa.create_stream(list(PASSED_ON), [MARKET], output="dict")
    everybody = ubwa.create_stream(["arr"], ["!miniTicker"], output="UnicornFy")
    windows = [ubwa.create_stream(["arr"], [f"!ticker_{size}"], output="dict") for size in ("1h", "4h", "1d")]
    wait_until(lambda: len(seen) >= len(NORMALISED) + len(klines) + len(PASSED_ON) + 1 + len(windows))
    say("subscribed", listed=subscriptions(ubwa, normalised) + subscriptions(ubwa, passed_on))
    say("connected", streams=len(ubwa.get_active_stream_list()), everybody=bool(everybody))
    ubwa.stop_manager()


def old_trades():
    ubwa = manager(output_default="UnicornFy")
    ubwa.create_stream(["trade"], [MARKET])
    trades = []
    while len(trades) < 20:
        data = ubwa.pop_stream_data_from_stream_buffer()
        if data and data.get("event_type") == "trade":
            trades.append(data)
        time.sleep(0 if data else 0.01)
    ids = [trade["trade_id"] for trade in trades]
    say("trades", first=trades[0], consecutive=ids == list(range(ids[0], ids[0] + len(ids))))
    ubwa.stop_manager()


def unsubscribe():
    counts = {}

    def receive(data, *_rest, **_more):
        counts[name_of(data)] = counts.get(name_of(data), 0) + 1

    ubwa = manager(process_stream_data=receive, output_default="dict")
    stream = ubwa.create_stream(["trade", "bookTicker"], [MARKET])
    trade, top = f"{MARKET}@trade", f"{MARKET}@bookTicker"
    wait_until(lambda: counts.get(trade) and counts.get(top))
    before = subscriptions(ubwa, stream)
    ubwa.unsubscribe_from_stream(stream, channels=["trade"])
    wait_until(lambda: subscriptions(ubwa, stream) == [top])
    after = subscriptions(ubwa, stream)
    time.sleep(0.2)  # what was queued before the acknowledgement may still come
    counts.clear()
    time.sleep(2)
    say("unsubscribed", before=before, after=after, late=counts.get(trade, 0), others=counts.get(top, 0))
    ubwa.subscribe_to_stream(stream, channels=["trade"])
    wait_until(lambda: counts.get(trade))
    say("subscribed again", trades=counts.get(trade, 0))
    ubwa.stop_manager()


def rest():
    """The house's REST client, at the exchange's address."""
    BinanceRestApiManager.API_URL = given.rest_url + "/api"  # it asks for the time as soon as it is made,
    return BinanceRestApiManager(tld="com", warn_on_update=False)  # and this way it leaves the address alone


def book():
    settings = CONNECTION_SETTINGS["binance.com"]
    CONNECTION_SETTINGS["binance.com"] = (settings[0], given.ws_url + "/", *settings[2:])
    snapshots = rest()
    cache = unicorn_binance_local_depth_cache.BinanceLocalDepthCacheManager(
        exchange="binance.com", depth_cache_update_interval=1000, ubra_manager=rest(), warn_on_update=False
    )
    cache.create_depthcache(markets=MARKET.upper())
    say("synchronized", yes=wait_until(lambda: cache.is_depth_cache_synchronized(market=MARKET)))

    def look():
        return cache.depth_caches[MARKET]["last_update_id"], cache.get_bids(MARKET), cache.get_asks(MARKET)

    compared = set()
    while len(compared) < BOOKS_COMPARED:
        ours = look()
        time.sleep(0.05)
        if ours != look() or ours[0] in compared:
            continue  # an event came in between, or none since
        snapshot = snapshots.get_order_book(symbol=MARKET.upper(), limit=5000)
        if snapshot["lastUpdateId"] == ours[0]:
            theirs = [[[float(p), float(q)] for p, q in snapshot[side]] for side in ("bids", "asks")]
            pairs = zip(("bids", "asks"), ours[1:], theirs, strict=True)
            differences = [name for name, mine, its in pairs if [list(level) for level in mine] != its]
            compared.add(ours[0])
            sizes = {"bids": len(ours[1]), "asks": len(ours[2])}
            say("compared", update_id=ours[0], differences=differences, **sizes)
        time.sleep(0.2)
    say("restarts", count=cache.get_restart_count(MARKET))
    cache.stop_manager()


def cut():
    ids, connections = [], []

    def receive(data, *_rest, **_more):
        if "data" in data:
            ids.append(data["data"]["t"])

    ubwa = manager(
        process_stream_data=receive,
        process_stream_signals=lambda signal_type=None, **_more: connections.append(signal_type),
        output_default="dict",
        restart_timeout=1,
    )
    ubwa.create_stream(["trade"], [MARKET])
    wait_until(lambda: "DISCONNECT" in connections)
    before = len(ids)
    say("cut", received=before, signals=connections)
    last = ids[-1] if ids else None
    recovered = wait_until(lambda: len(ids) >= before + 10)
    after = ids[before:]
    say(
        "recovered",
        yes=recovered,
        reconnects=ubwa.get_reconnects(),
        consecutive=after == list(range(after[0], after[0] + len(after))),
        later=last < after[0],
    )
    ubwa.stop_manager()


SCENARIOS = {function.__name__: function for function in (streams, old_trades, unsubscribe, book, cut)}

if __name__ == "__main__":
    given = arguments(SCENARIOS)
    logging.basicConfig(level=logging.WARNING)
    for house in ("unicorn_binance_websocket_api", "unicorn_binance_local_depth_cache", "unicorn_fy"):
        logging.getLogger(house).addHandler(Complaints())
    try:
        SCENARIOS[given.scenario]()
    except BaseException:  # noqa: BLE001 - whatever it is, it is told
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # the client's threads would keep the process alive
    say("done")
    os._exit(0)
