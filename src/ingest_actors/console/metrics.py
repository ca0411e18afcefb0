"""Prometheus metrics, read off the `Status` at the moment of the scrape.

Nothing is counted twice: the actors keep their own tallies, and this module only names them. Each service has a
registry of its own, so that several run in one process.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from ingest_actors.console.families import PREFIX, counter, gauge, histograms, level
from ingest_actors.console.kafka_metrics import kafka_families
from ingest_actors.ledger import LedgerEntry
from ingest_actors.status import GAP_REASONS, RECONNECT_REASONS, Offenders, Status

CONNECTION_STATES: Final = ("connecting", "subscribing", "open", "waiting", "closed")
"""Shown even when no connection is in them, so that a query never meets a missing series."""

_BY_EVENT_TYPE: Final = {
    "received": "Events received from the exchange.",
    "backfilled": "Events fetched from REST to close a gap.",
    "delivered": "Events that are acknowledged in every topic that they belong to.",
    "dead_lettered": "Events that are written to the topic of dead letters instead.",
    "duplicates": "Events that came again and were dropped.",
    "spooled": "Events that were put on the disk in an outage of Kafka.",
    "recovered": "Events that went from the disk to Kafka.",
}


class StatusCollector(Collector):
    """Turns a `Status` into metric families. `status` is called once a scrape, on the thread that scrapes.

    Whatever can be counted is there from the first scrape on, at 0: of a counter that appears with its first increment
    nobody sees that increment. Names of streams are labels of the worst few alone.
    """

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def describe(self) -> Iterable[Metric]:
        """Nothing: it spares the registry a look at a service that may not be up yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every family, all from one and the same instant."""
        status = self._status()
        yield level(
            "ready", "1 while the service is ready, as /readyz says and explains; else 0.", not status.unready()
        )
        yield from _ledger(status)
        yield from kafka_families(status)
        restarts = dict.fromkeys(status.actors, 0) | dict(status.tallies.actor_restarts)
        yield counter("actor_restarts", "Actors started again after a crash.", "actor", restarts)
        yield from _connections(status)
        yield from _gaps(status)
        text = "REST weight spent within the last minute; REST_WEIGHT_PER_MINUTE may be."
        yield level("rest_weight_used", text, status.rest_weight_used)
        yield level("rest_weight_max", "REST_WEIGHT_PER_MINUTE.", status.rest_weight_max)
        yield from _buffers(status)
        yield from _times(status)
        yield from _offenders(status.offenders())
        info = InfoMetricFamily(PREFIX + "build", "What is running.")
        info.add_metric((), {"version": package_version(), "python": platform.python_version()})
        yield info
        info = InfoMetricFamily(PREFIX + "instance", "Who is running: INSTANCE_NAME, which two must not share.")
        info.add_metric((), {"instance_name": status.instance_name})
        yield info


def metrics_registry(status: Callable[[], Status]) -> CollectorRegistry:
    """A registry with the service's metrics and those of its process (CPU, memory, file descriptors)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatusCollector(status))
    ProcessCollector(registry=registry)
    return registry


def render_metrics(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The exposition that an ``Accept`` header asks for: OpenMetrics, or Prometheus' text format.

    Returns:
        The body, and its content type.
    """
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type


def package_version() -> str:
    """The version of this package as installed; ``unknown`` when run from a bare source tree."""
    try:
        return version("ingest-actors")
    except PackageNotFoundError:
        return "unknown"


def _ledger(status: Status) -> Iterator[Metric]:
    entries = {event_type: LedgerEntry() for event_type in status.event_types} | status.ledger
    for name, text in _BY_EVENT_TYPE.items():
        counts = {event_type: getattr(entry, name) for event_type, entry in entries.items()}
        yield counter(name, text, "event_type", counts)
    held = {event_type: entry.in_flight for event_type, entry in entries.items()}
    yield gauge("in_flight", "Events held, counted where they are held.", "event_type", held)
    text = "Events whose own time lay too far ahead for a broker; they bear the time of receipt."
    yield counter("future_timestamps", text, None, {"": status.tallies.future_timestamps})


def _connections(status: Status) -> Iterator[Metric]:
    reconnects = dict.fromkeys(RECONNECT_REASONS, 0) | dict(status.tallies.reconnects)
    yield counter("reconnects", "Unplanned reconnections.", "reason", reconnects)
    states = dict.fromkeys(CONNECTION_STATES, 0)
    for connection in status.connections:
        states[connection.state] = states.get(connection.state, 0) + 1
    states |= {"replacing": status.connections_replacing, "draining": status.connections_draining}
    yield gauge("connections", "Planned connections, and those that replace one or drain.", "state", states)
    streams = {
        "wanted": status.streams_wanted,
        "listed": status.streams_listed,
        "flowing": status.streams_flowing,
        "silent": status.streams_silent,
    }
    known = {state: count for state, count in streams.items() if count is not None}
    yield gauge("streams", "Streams, by what is known of them.", "state", known)


def _gaps(status: Status) -> Iterator[Metric]:
    yield level("gaps_open", "Gaps in series that are not closed yet.", status.gaps_open)
    gaps = dict.fromkeys(GAP_REASONS, 0) | dict(status.tallies.gaps)
    yield counter("gaps", "Gaps that were found in series, by reason.", "reason", gaps)
    text = "Ids of series that will never come; the gap journal has them one by one."
    yield counter("gap_ids_lost", text, None, {"": status.tallies.gap_ids_lost})
    text = "Seconds in which nobody listened to streams of samples, summed over the streams."
    yield counter("samples_missed_seconds", text, "event_type", status.samples_missed_s)


def _buffers(status: Status) -> Iterator[Metric]:
    fill = {mailbox.name: mailbox.fill_ratio for mailbox in status.mailboxes}
    yield gauge("mailbox_fill_ratio", "0 is empty, 1 is full: then whoever fills it waits.", "mailbox", fill)
    yield level("buffer_bytes", "Bytes held in memory, the Kafka client's queue included.", status.buffer_bytes)
    yield level("buffer_bytes_max", "BUFFER_MAX_BYTES.", status.buffer_bytes_max)


def _times(status: Status) -> Iterator[Metric]:
    newest_ms = max(status.tallies.last_event_ms.values(), default=status.started_at_ms)
    text = "Seconds since the newest event was received; since the start as long as there is none."
    yield level("last_event_age_seconds", text, max(0, status.at_ms - newest_ms) / 1000)
    text = (
        "Exchange to receipt by the exchange's clock, receipt to the Kafka client (pipeline), from there to the"
        " acknowledgement (ack). One observation a batch."
    )
    yield histograms("latency_seconds", text, "hop", status.tallies.latency)
    clock = status.tallies.clock
    text = "How far the exchange's clock is ahead of ours; NaN while nobody could ask."
    yield level("clock_offset_seconds", text, math.nan if clock is None else clock.seconds)
    text = "The truth lies within this of the offset; infinite while nobody could ask."
    yield level("clock_offset_uncertainty_seconds", text, math.inf if clock is None else clock.uncertainty_s)


def _offenders(worst: Offenders) -> Iterator[Metric]:
    text = "Seconds since these streams brought anything: the silent ones, and the quietest; ten at most."
    quiet = GaugeMetricFamily(PREFIX + "stream_quiet_seconds", text, labels=["stream", "verdict"])
    for stream in worst.streams:
        quiet.add_metric([stream.stream, "silent" if stream.silent else "quiet"], stream.quiet_s)
    yield quiet
    text = "Age of the oldest gap that is open; 0 when none is."
    yield level("gap_oldest_seconds", text, max((gap.age_s for gap in worst.gaps), default=0.0))
    text = "Age of the oldest open gap of these streams; the ten oldest."
    yield gauge("gap_open_seconds", text, "stream", {gap.stream: gap.age_s for gap in worst.gaps})
    text = "Ids that are missing in all open gaps of the same streams."
    yield gauge("gap_open_ids", text, "stream", {gap.stream: gap.ids for gap in worst.gaps})
