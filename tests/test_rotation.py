"""Connections that are replaced before they end, by a whole service on virtual time against the simulated exchange."""

import json
from collections import defaultdict
from functools import partial
from itertools import pairwise

import pytest
import trio

from ingest_actors import sources
from ingest_actors.actors.rotation import replacements_max
from ingest_actors.binance.planning import assign
from ingest_actors.messages import FrameBatch
from ingest_actors.service import Service
from ingest_actors.simulator.faults import Cut, Fault, HalfOpen, NoReply, RefuseHandshake, Slow
from sinks import MemorySink
from test_service import START_MS, Told, settings, simulated

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
    """By event type, symbol and what else tells series apart, the events of the streams in the order of the record."""
    found = defaultdict(list)
    for value, key, _, route in sink.everything:
        event = json.loads(value)
        if route.event_type == "depth_snapshot":
            continue
        if route.event_type == "kline":
            found["kline", key, event["k"]["i"]].append(event)
        elif route.event_type == "rolling_ticker":
            found["rolling_ticker", key, event["e"]].append(event)
        else:
            found[route.event_type, key, event.get("stream", "")].append(event)
    return found


def assert_whole(sink):
    """Ids once and in order, books without a hole or an overlap, samples rising, and nothing in the journal."""
    found = series_of(sink)
    assert [event for (kind, *_), events in found.items() if kind == "gap" for event in events] == []
    for (kind, *name), events in found.items():
        if kind in ONE_BY_ONE:
            ids = [ONE_BY_ONE[kind](event)[0] for event in events]
            assert ids == list(range(ids[0], ids[0] + len(ids))), (kind, name)
        elif kind == "depth_update":
            assert all(b["U"] <= a["u"] + 1 <= b["u"] for a, b in pairwise(events)), name
        elif kind in RISING:
            keys = [RISING[kind](event) for event in events]
            assert all(a < b for a, b in pairwise(keys)), (kind, name)
        if kind == "kline" and name[1] == "1s":
            closed = [event["k"]["t"] for event in events if event["k"]["x"]]
            assert closed == list(range(closed[0], closed[0] + 1000 * len(closed), 1000)), name
    return found


def assert_in_order(found, event_type):
    """Each id once and in order."""
    names = [name for name in found if name[0] == event_type]
    assert names
    for name in names:
        ids = [ONE_BY_ONE[event_type](event)[0] for event in found[name]]
        assert ids == list(range(ids[0], ids[0] + len(ids))), name


async def until(condition):
    while not condition():  # noqa: ASYNC110 - many things may make it true
        await trio.sleep(0.01)


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


@pytest.mark.parametrize(("connections", "at_once"), [(1, 1), (4, 1), (5, 2), (16, 4), (17, 4), (200, 4)])
def test_so_many_connections_are_replaced_at_the_same_time(connections, at_once):
    assert replacements_max(connections) == at_once


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


@pytest.mark.parametrize("lead_s", [0.2, 1.5, 30])
async def test_an_announced_end_of_all_connections_at_once_is_not_seen_in_the_record(
    autojump_clock, nursery, streams_max, lead_s
):
    streams_max(5)
    async with simulated(nursery) as world:
        sink = MemorySink()
        service = world.service(sink, binance_symbols="BTCUSDT,ETHUSDT", binance_stream_types=EVERY_TYPE)
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(10)
        world.exchange.server.announce_shutdown(lead_s=lead_s)
        await trio.sleep(60)
        assert service.status().connected
        assert service.get_metrics()["reconnect_count"] == 0
        assert len(told.all("server_shutdown")) == 5
        if lead_s == 30:
            assert len(told.all("connection_replaced")) == 5
            assert {fields["because"] for fields in told.all("connection_replacing")} == {"server_shutdown"}
        await stop(service)
    if lead_s == 30:
        assert_whole(sink)
    for event_type in ("trade", "aggregate_trade"):
        assert_in_order(series_of(sink), event_type)


async def test_a_replacement_that_fails_is_tried_again_and_the_old_one_goes_on(autojump_clock, nursery):
    async with simulated(nursery, activity=0.3) as world:
        sink = MemorySink()
        service = world.service(sink, binance_stream_types=EVERY_TYPE, ws_rotate_after_seconds=60, max_retries=1)
        told, looks = Told(service), Looks(service)
        nursery.start_soon(service.run)
        nursery.start_soon(looks.run)
        await service.wait_ready()
        world.exchange.inflict(Fault(RefuseHandshake(), for_s=200))
        await trio.sleep(190)
        assert [fields["retry_in_s"] for fields in told.all("replacement_failed")] == [60]
        assert [c.name for c in service.status().connections] == ["ws-1"]
        await trio.sleep(200)
        (replaced,) = told.all("connection_replaced")[:1]
        assert (replaced["connection"], replaced["by"]) == ("ws-1", "ws-1.2")
        assert service.get_metrics()["reconnect_count"] == 0
        assert looks.unready == []
        await stop(service)
    assert_whole(sink)


async def test_an_old_connection_that_dies_in_the_overlap_is_taken_over_from_at_once(autojump_clock, nursery):
    async with simulated(nursery) as world:
        sink = MemorySink()
        service = world.service(sink, binance_stream_types=EVERY_TYPE, ws_rotate_after_seconds=60, max_retries=1)
        told, looks = Told(service), Looks(service, every_s=0.01)
        nursery.start_soon(service.run)
        nursery.start_soon(looks.run)
        await service.wait_ready()
        fleet = service._topology.overview.fleet
        await until(lambda: any(new.subscribed_at_s for new in fleet.replacements.values()))
        await trio.sleep(0.5)  # both bring everything now
        world.exchange.inflict(Fault(Cut(), connections={1}))
        await trio.sleep(20)
        assert len(told.all("connection_closed")) == 1
        assert [fields["by"] for fields in told.all("connection_replaced")] == ["ws-1.2"]
        assert world.connections == 2
        assert service.get_metrics()["reconnect_count"] == 0
        assert looks.unready == []
        await stop(service)
    found = assert_whole(sink)
    assert len(found) == 13


async def test_a_replacement_that_dies_in_the_overlap_changes_nothing(autojump_clock, nursery):
    async with simulated(nursery) as world:
        sink = MemorySink()
        service = world.service(sink, binance_stream_types=EVERY_TYPE, ws_rotate_after_seconds=60, max_retries=1)
        looks = Looks(service, every_s=0.01)
        nursery.start_soon(service.run)
        nursery.start_soon(looks.run)
        await service.wait_ready()
        fleet = service._topology.overview.fleet
        await until(lambda: any(new.subscribed_at_s for new in fleet.replacements.values()))
        world.exchange.inflict(Fault(Cut(), connections={2}))
        await trio.sleep(30)
        assert list(fleet.connections) == ["ws-1.2"]
        assert service.get_metrics()["reconnect_count"] == 0
        assert looks.unready == []
        await stop(service)
    assert_whole(sink)


async def test_an_old_connection_that_dies_before_the_new_one_is_there_is_opened_again(autojump_clock, nursery):
    async with simulated(nursery) as world:
        sink = MemorySink()
        service = world.service(sink, binance_stream_types="trade,bookTicker", ws_rotate_after_seconds=60)
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        world.exchange.inflict(Fault(RefuseHandshake(), for_s=75))
        await until(lambda: told.all("connection_replacing"))
        world.exchange.inflict(Fault(Cut(), connections={1}))
        await trio.sleep(120)
        assert service.status().connected
        assert service.get_metrics()["reconnect_count"] >= 1
        assert len(service.status().connections) == 1
        await stop(service)
    assert_in_order(series_of(sink), "trade")


@pytest.mark.parametrize("fault", [Slow(latency_s=3), Slow(latency_s=0.7, jitter_s=0.5), NoReply()])
async def test_a_slow_line_is_read_to_its_end_before_it_is_left(autojump_clock, nursery, fault):
    types = EVERY_TYPE.replace("kline_1s,", "")  # samples, of which a line that is a second behind costs some
    async with simulated(nursery) as world:
        sink = MemorySink()
        service = world.service(sink, binance_stream_types=types, ws_rotate_after_seconds=60)
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        world.exchange.inflict(Fault(fault, connections={1}))
        await trio.sleep(100)
        assert len(told.all("connection_replaced")) == 1
        assert service.status().connections_draining == 0
        await stop(service)
    assert_whole(sink)


async def test_a_line_on_which_packets_vanish_costs_no_more_than_its_silence(autojump_clock, nursery):
    async with simulated(nursery) as world:
        sink = MemorySink()
        service = world.service(sink, binance_stream_types="trade,aggTrade,bookTicker", ws_rotate_after_seconds=60)
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(52)
        world.exchange.inflict(Fault(HalfOpen(), connections={1}))
        await trio.sleep(60)
        assert len(told.all("connection_replaced")) == 1
        await stop(service)
    found = series_of(sink)
    for event_type in ("trade", "aggregate_trade"):
        assert_in_order(found, event_type)


async def test_streams_that_come_and_go_in_the_overlap_are_on_the_new_connection(autojump_clock, nursery):
    async with simulated(nursery, symbols=("BTCUSDT", "ETHUSDT", "BNBUSDT")) as world:
        sink = MemorySink()
        given = {"binance_stream_types": "trade,bookTicker", "ws_rotate_after_seconds": 60}
        service = world.service(sink, binance_symbols="BTCUSDT,ETHUSDT", **given)
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await until(lambda: told.all("connection_replacing"))
        await service.reload(settings(binance_symbols="BTCUSDT,BNBUSDT", **given))
        await trio.sleep(20)
        (connection,) = world.exchange.server.connections.values()
        assert set(connection.session.control.streams) == {
            f"{symbol}@{kind}" for symbol in ("btcusdt", "bnbusdt") for kind in ("trade", "bookTicker")
        }
        assert list(service.streams()) == ["ws-1.2"]
        await stop(service)
    assert_whole(sink)


def recorded(stream, at, **fields):
    """A message as it stands in a recording."""
    data = {"E": START_MS + at, "s": "BTCUSDT"} | fields
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":")).encode()


async def test_a_recording_of_an_overlap_is_played_without_repetition_and_without_loss(autojump_clock):
    def trade(number):
        return recorded("btcusdt@trade", number, e="trade", t=number, p="1", q="1", T=START_MS)

    def ticker(number):
        return recorded("btcusdt@ticker", number, e="24hrTicker", p="1")

    async def play(outbox):
        for connection, numbers in (
            ("ws-1", (1, 2, 3)), ("ws-1.2", (5, 6)), ("ws-1", (4, 5)), ("ws-1.2", (7,)), ("ws-1", (6, 7)),
        ):  # fmt: skip
            frames = [make(number) for number in numbers for make in (trade, ticker)]
            await outbox.put(FrameBatch(frames, received_at_ms=START_MS, connection=connection))
            await trio.sleep(0.01)

    sink = MemorySink()
    service = Service(settings(backfill="off"), sink=sink, player=play, clock_ms=lambda: START_MS)
    await service.run()
    found = assert_whole(sink)
    assert [event["t"] for event in found["trade", b"BTCUSDT", ""]] == [1, 2, 3, 4, 5, 6, 7]
    assert [event["E"] - START_MS for event in found["ticker", b"BTCUSDT", ""]] == [1, 2, 3, 5, 6, 7]
    assert service.report.ledger.difference == 0
