"""Connections that are replaced before they end, by a whole service on virtual time against the simulated exchange."""

import json
from collections import defaultdict
from functools import partial
from itertools import pairwise

import pytest
import trio

from ingest_actors import sources
from ingest_actors.binance.planning import assign
from sinks import MemorySink
from test_service import Told, simulated

EVERY_TYPE = (
    "trade,aggTrade,depth@100ms,depth5@100ms,bookTicker,kline_1s,kline_1m,miniTicker,ticker,ticker_1h,avgPrice,"
    "!ticker_4h@arr"
)
RISING = {
    "partial_depth": lambda e: (e["lastUpdateId"],),
    "book_ticker": lambda e: (e["u"],),
    "kline": lambda e: (e["k"]["t"], e["k"]["x"], e["k"]["L"], e["k"]["n"]),
    "mini_ticker": lambda e: (e["E"],),
    "ticker": lambda e: (e["E"],),
    "rolling_ticker": lambda e: (e["E"],),
    "average_price": lambda e: (e["E"],),
}
ONE_BY_ONE = {"trade": lambda e: (e["t"], e["t"]), "aggregate_trade": lambda e: (e["a"], e["a"])}


def series_of(sink):
    """By event type, symbol and what else tells series apart, the events in the order of the record."""
    found = defaultdict(list)
    for value, key, _, route in sink.everything:
        event = json.loads(value)
        if route.event_type == "kline":
            found["kline", key, event["k"]["i"]].append(event)
        elif route.event_type == "rolling_ticker":
            found["rolling_ticker", key, event["e"]].append(event)
        else:
            found[route.event_type, key, event.get("stream", "")].append(event)
    return found


def assert_whole(sink, *, gaps=0):
    """Ids once and in order, books without a hole or an overlap, samples rising, and nothing in the journal."""
    found = series_of(sink)
    assert sum(len(events) for (kind, *_), events in found.items() if kind == "gap") == gaps
    for (kind, *name), events in found.items():
        if kind in ONE_BY_ONE:
            ids = [ONE_BY_ONE[kind](event)[0] for event in events]
            assert ids == list(range(ids[0], ids[0] + len(ids))), (kind, name)
        elif kind == "depth_update":
            assert all(b["U"] <= a["u"] + 1 <= b["u"] for a, b in pairwise(events)), name
        elif kind in RISING:
            keys = [RISING[kind](event) for event in events]
            assert all(a < b for a, b in pairwise(keys)), (kind, name)
    return found


async def stop(service):
    service.stop()
    await service.wait_stopped()
    total = service.report.ledger
    assert (total.difference, total.in_flight) == (0, 0)
    assert not service._topology.overview.ledger.unbalanced()
    return total


class Looks:
    """What was seen of the service again and again."""

    def __init__(self, service, every_s=0.05):
        self.service = service
        self.every_s = every_s
        self.unready = []
        self.most = 0

    async def run(self):
        await self.service.wait_ready()
        while True:
            self.unready += self.service.status().unready()
            status = self.service.status()
            self.most = max(
                self.most, len(status.connections) + status.connections_replacing + status.connections_draining
            )
            await trio.sleep(self.every_s)


@pytest.fixture
def streams_max(monkeypatch):
    """Has connections carry few streams, so that there are several."""
    return lambda most: monkeypatch.setattr(sources, "assign", partial(assign, streams_max=most))


async def test_five_connections_are_replaced_and_nothing_is_missing_doubled_or_out_of_order(
    autojump_clock, nursery, streams_max
):
    streams_max(10)
    async with simulated(nursery, symbols=("BTCUSDT", "ETHUSDT", "BNBUSDT", "ADAUSDT")) as world:
        sink = MemorySink(delay_s=0.01)
        service = world.service(
            sink,
            binance_symbols="BTCUSDT,ETHUSDT,BNBUSDT,ADAUSDT",
            binance_stream_types=EVERY_TYPE,
            ws_rotate_after_seconds=60,
        )
        told, looks = Told(service), Looks(service)
        nursery.start_soon(service.run)
        nursery.start_soon(looks.run)
        await service.wait_ready()
        assert len(service.status().connections) == 5
        await trio.sleep(100)
        replaced = told.all("connection_replaced")
        assert {fields["connection"] for fields in replaced} == {f"ws-{n}" for n in range(1, 6)}
        assert {fields["by"] for fields in replaced} == {f"ws-{n}.2" for n in range(1, 6)}
        assert service.get_metrics()["reconnect_count"] == 0
        assert looks.unready == []
        assert looks.most <= 7
        total = await stop(service)
    assert total.duplicates > 50
    found = assert_whole(sink)
    assert len(found) == 4 * 12
