"""One service from start to stop, on virtual time: against the simulated exchange in memory, and one driven by hand."""

import random
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise

import httpx
import pytest
import trio
from confluent_kafka import KafkaError
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from exchanges import HandDriven, numbers, trade
from ingest_actors.actors import batcher
from ingest_actors.binance.outcome import Notice
from ingest_actors.bounds import Bounds
from ingest_actors.console.cells import Toned
from ingest_actors.console.view import View
from ingest_actors.errors import ActorFailed, ExchangeUnreachable, SettingsError, SinkUnreachable
from ingest_actors.kafka import codes
from ingest_actors.kafka.health import Health
from ingest_actors.messages import EVENT_OVERHEAD_BYTES, FRAME_OVERHEAD_BYTES
from ingest_actors.network import real_network
from ingest_actors.service import DrainTimedOut, Service
from ingest_actors.settings import Settings
from ingest_actors.simulator import SimulatorConfig, open_exchange
from ingest_actors.simulator.config import Limits
from ingest_actors.sources import NOTICES_MAX, connections_max
from sinks import MemorySink

START_MS = 1_790_000_000_000


def settings(**given):
    defaults = {"binance_symbols": "BTCUSDT", "binance_stream_types": "trade"}
    return Settings(**(defaults | given))


def service_at(exchange, sink, **given):
    """A service whose only way out is an exchange that is driven by hand."""
    return Service(
        settings(**given), sink=sink, network=exchange.network, clock_ms=exchange.clock_ms, rng=random.Random(1)
    )


class Simulated:
    """The simulated exchange over streams in memory, and what the service asked of it."""

    def __init__(self, exchange, nursery):
        self.exchange = exchange
        self.nursery = nursery
        self.connections = 0

    async def connect(self, host, port, tls):
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        self.connections += 1
        self.nursery.start_soon(self.exchange.serve_stream, theirs)
        return ours

    def service(self, sink, **given):
        chosen = settings(**given)
        network = real_network(
            chosen,
            clock_ms=self.exchange.now_ms,
            connect=self.connect,
            rest_transport=httpx.ASGITransport(app=self.exchange.rest_app),
        )
        return Service(chosen, sink=sink, network=network, clock_ms=self.exchange.now_ms, rng=random.Random(1))


@asynccontextmanager
async def simulated(nursery, **config):
    given = {"ws_port": None, "rest_port": None, "start_ms": START_MS, "tick_s": 0.1, "symbols": ("BTCUSDT", "ETHUSDT")}
    async with open_exchange(SimulatorConfig(**(given | config))) as exchange:
        yield Simulated(exchange, nursery)


class Told:
    """What happened, in order."""

    def __init__(self, service):
        self.happened = []
        service.announcer.add(self)

    def tell(self, event):
        self.happened.append(event)
        return True

    def end(self):
        self.happened.append(None)

    def names(self):
        return [event.name for event in self.happened if event is not None]

    def all(self, name):
        return [event.fields for event in self.happened if event is not None and event.name == name]


def trade_ids(sink, symbol):
    key = symbol.encode()
    return [
        int(value.split(b'"t":', 1)[1].split(b",", 1)[0])
        for value, event_key, _, route in sink.written
        if event_key == key and route.event_type == "trade"
    ]


# The main job


async def test_everything_that_the_exchange_sends_arrives_once_and_in_order_and_the_ledger_balances(
    autojump_clock, nursery
):
    async with simulated(nursery) as world:
        sink = MemorySink(delay_s=0.01)
        service = world.service(
            sink, binance_symbols="BTCUSDT,ETHUSDT", binance_stream_types="trade,depth@100ms,kline_1m"
        )
        told = Told(service)
        nursery.start_soon(service.run)
        assert await service.wait_ready()
        await trio.sleep(60)
        service.stop()
        await service.wait_stopped()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        ids = trade_ids(sink, symbol)
        assert len(ids) > 100
        assert ids == list(range(ids[0], ids[0] + len(ids)))
    report = service.report
    assert (report.reason, report.unfinished, report.left, report.error) == ("stopped", (), {}, None)
    assert report.ledger.received + report.ledger.backfilled == report.ledger.delivered == len(sink.written)
    assert (report.ledger.in_flight, report.ledger.difference) == (0, 0)
    assert set(service.status().ledger) == {"trade", "depth_update", "depth_snapshot", "kline"}
    assert report.ledger.backfilled == service.status().ledger["depth_snapshot"].delivered == 2
    assert sink.closed
    assert "connection_opened" in told.names()
    assert [len(fields["rates"]) for fields in told.all("service_metrics")] == [3, 3]
    assert told.happened[-1] is None


async def test_the_end_of_a_connection_that_the_exchange_announces_costs_no_failure_and_no_wait(
    autojump_clock, nursery
):
    async with simulated(nursery) as world:
        sink = MemorySink()
        service = world.service(sink, max_retries=1)
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        for _ in range(3):
            world.exchange.server.announce_shutdown(lead_s=5)
            await trio.sleep(10)
            assert service.status().connected
        assert service.get_metrics()["reconnect_count"] == 0
        assert world.connections == 4
        assert [fields["by"] for fields in told.all("connection_replaced")] == ["ws-1.2", "ws-1.3", "ws-1.4"]
        assert told.all("connection_closed") == []
        assert {value for value, *_ in sink.written if b"serverShutdown" in value} == set()
        service.stop()
        await service.wait_stopped()


async def test_a_closed_connection_makes_the_service_unready_until_it_is_open_again(autojump_clock, nursery):
    async with simulated(nursery) as world:
        service = world.service(MemorySink())
        nursery.start_soon(service.run)
        await service.wait_ready()
        for connection in list(world.exchange.server.connections.values()):
            connection.close(1008, "because")
        await trio.sleep(1)
        assert service.status().unready() == ["connection ws-1 is waiting"]
        assert not service.get_metrics()["connected"]
        assert await service.wait_ready()
        assert service.status().unready() == []
        assert 3 < trio.current_time() < 8
        assert service.get_metrics()["reconnect_count"] == 1
        service.stop()
        await service.wait_stopped()


async def test_patterns_and_misspelt_symbols_are_looked_up_at_the_exchange(autojump_clock, nursery):
    async with simulated(nursery) as world:
        service = world.service(MemorySink(), binance_symbols="BTC*,ETHUSTD")
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        status = service.status()
        assert [connection.streams for connection in status.connections] == [1]
        assert (status.streams_wanted, status.streams_listed) == (2, 1)
        assert told.all("symbol_unlisted") == [{"symbol": "ETHUSTD", "nearest": "ETHUSDT"}]
        service.stop()
        await service.wait_stopped()


async def test_symbols_of_which_none_is_listed_are_refused(autojump_clock, nursery):
    async with simulated(nursery) as world:
        with pytest.raises(ActorFailed, match="the exchange lists none of these; near: ETHUSDT") as raised:
            await world.service(MemorySink(), binance_symbols="ETHUSTD").run()
    assert (raised.value.actor, raised.value.exit_code) == ("planner", 2)
    assert isinstance(raised.value.cause, SettingsError)


# Giving up


async def test_after_so_many_failures_it_gives_up_with_one_error_that_names_the_connection(autojump_clock, nursery):
    exchange = HandDriven(nursery, refuse=("a", "b"), endpoints=("ws://a", "ws://b"))
    sink = MemorySink()
    service = service_at(exchange, sink, max_retries=4)
    with pytest.raises(ActorFailed) as raised:
        await service.run()
    assert raised.value.actor == "connection ws-1"
    assert raised.value.exit_code == 75
    assert isinstance(raised.value.__cause__, ExchangeUnreachable)
    assert [host for _, host in exchange.asked] == ["a", "b", "a", "b"]
    times = [time for time, _ in exchange.asked]
    for gap, full in zip([after - before for before, after in pairwise(times)], (5, 10, 20), strict=True):
        assert 0.8 * full <= gap <= full + 0.25
    assert (service.report.reason, service.report.error) == ("failed", raised.value)
    assert sink.closed
    assert not await service.wait_ready()


async def test_what_was_read_is_delivered_before_it_gives_up(autojump_clock, nursery):
    async def play(line):
        for number in range(200):
            await line.send(trade(number))
        await line.cut()

    exchange = HandDriven(nursery, play=play)
    sink = MemorySink(delay_s=0.5, room=1)
    service = service_at(exchange, sink, max_retries=1, shutdown_timeout_seconds=600, batch_size=1)
    with pytest.raises(ActorFailed, match="connection ws-1"):
        await service.run()
    assert numbers(sink.written) == list(range(200))
    assert (service.report.ledger.in_flight, service.report.left) == (0, {})


async def test_an_actor_that_keeps_crashing_ends_as_one_error_that_names_it(autojump_clock, nursery):
    class Sick(MemorySink):
        async def accept(self, batch):
            await super().accept(batch)
            raise ZeroDivisionError("a bug")

    async def play(line):
        await line.send(trade(0))

    service = service_at(HandDriven(nursery, play=play), Sick())
    told = Told(service)
    with pytest.raises(ActorFailed) as raised:
        await service.run()
    assert (raised.value.actor, raised.value.restarts) == ("producer", 10)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert service.status().tallies.actor_restarts["producer"] == 10
    assert len(told.all("actor_restarted")) == 10
    assert service.report.ledger.in_flight == 1


async def test_a_failure_that_is_none_of_ours_is_reported_as_one(autojump_clock, nursery, monkeypatch):
    service = service_at(HandDriven(nursery), MemorySink())

    async def run(sink):
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(service._topology, "run", run)
    with pytest.raises(ZeroDivisionError):
        await service.run()
    assert (service.report.reason, service.report.error) == ("failed", None)


class Unclosable(MemorySink):
    async def aclose(self):
        raise OSError("disk full")


async def test_a_sink_that_cannot_be_closed_is_a_failure_of_its_own(autojump_clock, nursery):
    service = service_at(HandDriven(nursery), Unclosable())
    nursery.start_soon(stop_after, service, 1)
    with pytest.raises(ActorFailed) as raised:
        await service.run()
    assert raised.value.actor == "sink"
    assert isinstance(raised.value.cause, OSError)


async def test_a_sink_that_cannot_be_closed_hides_no_other_failure(autojump_clock, nursery):
    service = service_at(HandDriven(nursery, refuse=("exchange",)), Unclosable(), max_retries=1)
    with pytest.raises(ActorFailed, match="connection ws-1") as raised:
        await service.run()
    assert raised.value.__notes__ == ["and the sink could not be closed: OSError('disk full')"]


async def test_a_sink_whose_end_hangs_is_left_behind(autojump_clock, nursery):
    class Hanging(MemorySink):
        async def aclose(self):
            await trio.sleep_forever()

    service = service_at(HandDriven(nursery), Hanging())
    nursery.start_soon(stop_after, service, 1)
    await service.run()
    assert trio.current_time() == pytest.approx(3, abs=0.5)


# Stopping


async def stop_after(service, seconds):
    await trio.sleep(seconds)
    service.stop()


@pytest.mark.parametrize("given", [True, False], ids=["a given sink", "kafka"])
async def test_a_stop_before_the_start_ends_it_at_once_and_cleanly(autojump_clock, nursery, monkeypatch, given):
    opened = open_after(monkeypatch, 3)
    sink = MemorySink() if given else None
    service = service_at(HandDriven(nursery), sink)
    service.stop()
    await service.run()
    assert (service.report.reason, service.report.left) == ("stopped", {})
    assert trio.current_time() == 0
    assert sink.closed if given else opened == []


def open_after(monkeypatch, seconds, sink=None, failures=0):
    """Kafka answers after so long, after so many failures; returns the times of the attempts."""
    attempts = []

    async def open_sink(settings, *, queue_bytes, **others):
        attempts.append(trio.current_time())
        await trio.sleep(seconds)
        if len(attempts) <= failures:
            raise SinkUnreachable("kafka:9092", "no broker answers", hint="is it up?")
        return sink or MemorySink()

    monkeypatch.setattr("ingest_actors.service.open_sink", open_sink)
    return attempts


@pytest.mark.parametrize("stop_s", [1, 4, 12])
async def test_a_stop_while_kafka_is_being_opened_ends_it_at_once_and_cleanly(
    autojump_clock, nursery, monkeypatch, stop_s
):
    open_after(monkeypatch, 3, failures=100)
    service = service_at(HandDriven(nursery), None, max_retries=0)
    nursery.start_soon(stop_after, service, stop_s)
    await service.run()
    assert service.report.reason == "stopped"
    assert trio.current_time() == stop_s


async def test_a_stop_in_the_instant_in_which_kafka_answers_ends_it_cleanly(autojump_clock, nursery, monkeypatch):
    sink = MemorySink()
    open_after(monkeypatch, 3, sink=sink)
    service = service_at(HandDriven(nursery), None)
    nursery.start_soon(stop_after, service, 3)
    await service.run()
    assert service.report.reason == "stopped"
    assert trio.current_time() == pytest.approx(3, abs=0.5)


async def test_cancelled_in_the_instant_in_which_kafka_answers_nothing_is_left_open(
    autojump_clock, nursery, monkeypatch
):
    sink = MemorySink()
    host = trio.CancelScope()

    async def open_sink(settings, *, queue_bytes, **others):
        await trio.sleep(1)
        host.cancel()
        return sink

    monkeypatch.setattr("ingest_actors.service.open_sink", open_sink)
    service = service_at(HandDriven(nursery), None)
    with host:
        await service.run()
    assert host.cancelled_caught
    assert sink.closed
    assert service.report.reason == "cancelled"


async def test_an_outage_of_kafka_and_its_end_are_on_the_page_among_what_happened_lately(
    autojump_clock, nursery, monkeypatch, caplog
):
    caplog.set_level("INFO", "ingest_actors")
    opened = []

    async def open_sink(settings, *, announce, **others):
        await trio.lowlevel.checkpoint()
        opened.append(Health(lambda: 0.0, announce=announce))
        return MemorySink()

    monkeypatch.setattr("ingest_actors.service.open_sink", open_sink)
    service = service_at(HandDriven(nursery), None)
    told = Told(service)
    nursery.start_soon(service.run)
    await trio.sleep(1)
    opened[0].on_error(KafkaError(codes.AUTHENTICATION, "kafka:9092/1: <b>refused</b>"))
    opened[0].down("no broker answers")
    opened[0].answered()
    hint = "check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD (or its file) and KAFKA_SASL_MECHANISM"
    detail = "no broker answers; last error: kafka:9092/1: <b>refused</b>"
    view = View(service.status, service.details)
    assert [row[1:] for row in view.board().tables["happenings"].rows[:2]] == [
        ["kafka_recovered", "outage_s=0.0"],
        [Toned("kafka_unreachable", "warn"), f"detail={detail} hint={hint}"],
    ]
    assert told.all("kafka_unreachable") == [{"detail": detail, "hint": hint}]
    assert told.all("kafka_recovered") == [{"outage_s": 0.0}]
    lines = [record.getMessage().split()[0] for record in caplog.records]
    assert [line for line in lines if line.startswith("kafka_")] == ["kafka_unreachable", "kafka_recovered"]
    service.stop()
    await service.wait_stopped()


async def test_kafka_is_tried_again_as_often_as_the_settings_say(autojump_clock, nursery, monkeypatch):
    attempts = open_after(monkeypatch, 0, failures=100)
    service = service_at(HandDriven(nursery), None, max_retries=3)
    told = Told(service)
    with pytest.raises(SinkUnreachable) as raised:
        await service.run()
    assert raised.value.exit_code == 75
    assert len(attempts) == 3
    said = told.all("kafka_producer_creation_failed")
    assert [fields["failures"] for fields in said] == [1, 2, 3]
    assert (said[0]["target"], said[0]["cause"], said[0]["hint"]) == ("kafka:9092", "no broker answers", "is it up?")
    assert said[2]["retry_in_s"] is None
    assert 0.8 * 15 <= attempts[2] <= 15


async def test_with_zero_kafka_is_tried_for_ever(autojump_clock, nursery, monkeypatch):
    attempts = open_after(monkeypatch, 0, failures=50)
    service = service_at(HandDriven(nursery), None, max_retries=0)
    nursery.start_soon(service.run)
    await service.wait_ready()
    assert len(attempts) == 51
    service.stop()
    await service.wait_stopped()


def endless(*, every_s=0.01):
    async def play(line):
        number = 0
        while True:
            await line.send(trade(number))
            number += 1
            await trio.sleep(every_s)

    return play


async def test_a_second_stop_changes_nothing(autojump_clock, nursery):
    sink = MemorySink(delay_s=3)
    service = service_at(HandDriven(nursery, play=endless()), sink)
    nursery.start_soon(service.run)
    await trio.sleep(10)
    service.stop()
    await trio.sleep(1)
    service.stop()
    await service.wait_stopped()
    service.stop()
    assert service.report.reason == "stopped"
    assert service.report.ledger.delivered == sum(event[3].counted for event in sink.written) > 500
    assert numbers(sink.written) == list(range(len(sink.written)))


async def test_a_drain_that_takes_too_long_names_who_was_unfinished_and_what_was_in_flight(autojump_clock, nursery):
    sink = MemorySink()
    service = service_at(HandDriven(nursery, play=endless()), sink, shutdown_timeout_seconds=10)
    nursery.start_soon(stop_after, service, 5)
    sink.pause()
    with pytest.raises(DrainTimedOut) as raised:
        await service.run()
    report = service.report
    assert trio.current_time() == pytest.approx(15, abs=0.1)
    assert raised.value.exit_code == 1
    assert "producer" in report.unfinished
    assert report.unfinished == raised.value.unfinished
    assert report.ledger.in_flight == raised.value.in_flight == report.ledger.received > 0
    assert sum(report.left.values()) == report.ledger.in_flight
    assert str(raised.value).endswith(f"{report.ledger.in_flight} events in flight")


@pytest.mark.parametrize("how", ["by the service", "by the host"])
async def test_cancelled_during_the_drain_it_ends_at_once(autojump_clock, nursery, how):
    sink = MemorySink()
    exchange = HandDriven(nursery, play=endless())
    service = service_at(exchange, sink, shutdown_timeout_seconds=600)
    sink.pause()
    with trio.CancelScope() as host:
        async with trio.open_nursery() as inner:
            inner.start_soon(service.run)
            await trio.sleep(5)
            service.stop()
            await trio.sleep(5)
            assert service.report is None
            if how == "by the host":
                host.cancel()
            else:
                service.cancel()
    assert trio.current_time() == pytest.approx(10, abs=0.5)
    assert host.cancelled_caught == (how == "by the host")
    assert service.report.reason == "cancelled"
    assert service.report.ledger.difference == 0
    assert sink.closed


async def test_cancelled_before_the_start_nothing_is_opened(autojump_clock, nursery):
    exchange = HandDriven(nursery)
    service = service_at(exchange, MemorySink())
    service.cancel()
    await service.run()
    assert service.report.reason == "cancelled"
    assert exchange.asked == []


# Backpressure


class Gate(MemorySink):
    """Takes nothing until it is opened."""

    def __init__(self):
        super().__init__()
        self.opened = trio.Event()

    async def accept(self, batch):
        await self.opened.wait()
        await super().accept(batch)


BUFFER = 1024 * 1024


def room():
    """How many trades fit where, with batches of one event each, and who holds one besides."""
    bounds = Bounds.of(BUFFER)
    frame_bytes = len(trade(0)) + FRAME_OVERHEAD_BYTES
    data_bytes = len(trade(0)) - len(b'{"stream":"btcusdt@trade","data":}')
    tail = b',"ingestion_timestamp":1700000000000,"source":"binance_websocket","event_type":"trade"'
    event_bytes = data_bytes + len(tail) + EVENT_OVERHEAD_BYTES
    return {
        "batches": bounds.batches_mailbox // event_bytes,
        "events": bounds.events_mailbox // event_bytes,
        "frames": bounds.frames_mailbox // frame_bytes,
        "carried by the connection": 1,
        # reading stops once it is at its bound
        "read_ahead": -(-bounds.read_ahead_of_each(connections_max(1)) // frame_bytes),
    }


def held(service):
    return {mailbox.name: mailbox.events for mailbox in service.status().mailboxes}


async def test_a_sink_that_takes_nothing_stops_the_reading_when_everything_is_exactly_full(autojump_clock, nursery):
    exchange = HandDriven(nursery, play=endless(every_s=0))
    service = service_at(exchange, Gate(), buffer_max_bytes=BUFFER, ws_message_max_bytes=BUFFER, batch_size=1)
    nursery.start_soon(service.run)
    await service.wait_ready()
    await trio.sleep(3600)
    await wait_all_tasks_blocked()
    fits = room()
    assert held(service) == {name: fits[name] for name in ("frames", "events", "batches")}
    assert exchange.lines[0].sent == sum(fits.values())
    status = service.status()
    assert status.total.received == status.total.in_flight == fits["events"] + fits["batches"]
    assert status.buffer_bytes <= BUFFER
    assert status.total.difference == 0
    service.cancel()
    await service.wait_stopped()


async def test_a_full_pipeline_flows_on_by_itself_and_nothing_that_was_read_is_lost(autojump_clock, nursery):
    total = 3 * sum(room().values())

    async def play(line):
        for number in range(total):
            await line.send(trade(number))

    sink = Gate()
    exchange = HandDriven(nursery, play=play)
    service = service_at(exchange, sink, buffer_max_bytes=BUFFER, ws_message_max_bytes=BUFFER, batch_size=1)
    nursery.start_soon(service.run)
    await trio.sleep(3600)
    assert exchange.lines[0].sent < total
    sink.opened.set()
    await trio.sleep(30)
    assert numbers(sink.written) == list(range(total))
    assert held(service) == {"frames": 0, "events": 0, "batches": 0}
    service.stop()
    await service.wait_stopped()


async def test_a_ping_that_was_read_is_answered_although_every_mailbox_is_full(autojump_clock, nursery):
    fits = room()
    full = sum(fits.values()) - fits["read_ahead"] // 2

    async def play(line):
        for number in range(full):
            await line.send(trade(number))
        await line.ping(b"are you there")

    exchange = HandDriven(nursery, play=play)
    service = service_at(exchange, Gate(), buffer_max_bytes=BUFFER, ws_message_max_bytes=BUFFER, batch_size=1)
    nursery.start_soon(service.run)
    await service.wait_ready()
    await trio.sleep(60)
    assert held(service) == {name: fits[name] for name in ("frames", "events", "batches")}
    assert exchange.lines[0].pongs == [b"are you there"]
    service.cancel()
    await service.wait_stopped()


async def test_an_outage_of_the_sink_never_makes_it_give_up_though_the_exchange_cuts_it_again_and_again(
    autojump_clock, nursery
):
    """Minutes without Kafka, with an exchange that drops whoever falls behind: one failure would be one too many."""
    limits = Limits(outbox_bytes_max=1024 * 1024, ping_interval_s=20, pong_timeout_s=60)
    async with simulated(nursery, activity=5, limits=limits, symbols=("BTCUSDT",)) as world:

        async def connect(host, port, tls):
            ours, theirs = trio.testing.lockstep_stream_pair()
            world.connections += 1
            nursery.start_soon(world.exchange.serve_stream, theirs)
            await trio.lowlevel.checkpoint()
            return ours

        world.connect = connect
        sink = MemorySink(room=1)
        service = world.service(sink, max_retries=1, buffer_max_bytes=BUFFER, ws_message_max_bytes=BUFFER)
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        for _ in range(3):
            sink.pause()
            await trio.sleep(200)
            assert world.exchange.server.connections == {}
            before = len(sink.written)
            sink.resume()
            await trio.sleep(30)
            assert service.get_metrics()["connected"]
            assert len(sink.written) > before + 100
        cuts = [fields for fields in told.all("connection_closed") if "blocked_s" in fields]
        assert len(cuts) == 3
        assert all(fields["hint"].startswith("the exchange cuts readers that stop") for fields in cuts)
        assert dict(service.status().tallies.reconnects) == {"blocked": 3}
        service.stop()
        await service.wait_stopped()
    assert service.report.ledger.delivered == sum(event[3].counted for event in sink.written)
    ids = trade_ids(sink, "BTCUSDT")
    assert len(ids) == len(set(ids))
    late = {number for number, event in zip(ids, sink.written, strict=True) if event[0].endswith(b'"late":true}')}
    assert [number for number in ids if number not in late] == sorted(set(ids) - late)


# What cannot be handled


@pytest.mark.parametrize("eager", [True, False])
async def test_a_message_that_crashes_the_parser_and_an_event_that_crashes_the_batcher_cost_only_themselves(
    autojump_clock, nursery, monkeypatch, eager
):
    async def play(line):
        for number in range(1000):
            await line.send(trade(number))

    sink = MemorySink()
    service = service_at(HandDriven(nursery, play=play), sink, batch_eager=eager)
    told = Told(service)
    parse, add = service._topology._parser.parse, batcher._Collected.add

    def fragile_parse(batch):
        if trade(500) in batch.frames:
            raise ZeroDivisionError("poison")
        return parse(batch)

    def fragile_add(self, parcel):
        if 700 in numbers(parcel.events):
            raise ZeroDivisionError("poison")
        add(self, parcel)

    monkeypatch.setattr(service._topology._parser, "parse", fragile_parse)
    monkeypatch.setattr(batcher._Collected, "add", fragile_add)
    nursery.start_soon(service.run)
    await trio.sleep(40)
    service.stop()
    await service.wait_stopped()
    good = [event for event in sink.written if not event[3].dead_letter]
    dead = {dict(event[3].headers)["reason"]: event for event in sink.written if event[3].dead_letter}
    assert numbers(good) == [number for number in range(1000) if number not in {500, 700}]
    assert set(dead) == {b"parser_crashed", b"batcher_crashed"}
    assert dead[b"parser_crashed"][0] == trade(500)
    assert numbers([dead[b"batcher_crashed"]]) == [700]
    assert {event[3].topics for event in dead.values()} == {("binance-dead-letters",)}
    assert (service.report.ledger.delivered, service.report.ledger.dead_lettered) == (998, 2)
    assert [fields["reason"] for fields in told.all("dead_lettered")] == ["parser_crashed", "batcher_crashed"]
    restarts = service.status().tallies.actor_restarts
    assert restarts["parser"] >= 3
    assert restarts["batcher"] >= 3
    assert restarts.total() == len(told.all("actor_restarted"))


async def test_notices_beyond_what_the_planner_may_have_waiting_are_told_and_dropped(autojump_clock, nursery):
    service = service_at(HandDriven(nursery), MemorySink())
    told = Told(service)
    for number in range(NOTICES_MAX + 3):
        service._topology.sources.notify(Notice("control_reply", "ws-1", str(number)))
    assert [fields["kind"] for fields in told.all("exchange_notice")] == ["control_reply"] * 3


async def test_settings_that_the_exchange_has_no_stream_for_are_refused_when_it_is_made():
    with pytest.raises(SettingsError):
        Service(settings(binance_stream_types="nonsense"))


async def test_run_tells_its_starter_once_it_is_ready(autojump_clock, nursery):
    service = service_at(HandDriven(nursery), MemorySink())
    assert await nursery.start(partial(service.run)) is service
    assert service.status().unready() == []
    service.stop()
    await service.wait_stopped()
