"""Prometheus metrics, read off the `Status` at the moment of the scrape.

Nothing is counted twice: the actors keep their own tallies, and this module only names them. Each service has a
registry of its own, so that several run in one process.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from ingest_actors.status import Histogram, Status

PREFIX: Final = "ingest_actors_"

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
    """Turns a `Status` into metric families. `status` is called once a scrape, on the thread that scrapes."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def describe(self) -> Iterable[Metric]:
        """Nothing: it spares the registry a look at a service that may not be up yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every family, all from one and the same instant."""
        status = self._status()
        yield from _ledger(status)
        yield _counter("records", "Records acknowledged by Kafka.", "topic", status.sink.records)
        yield _counter("kafka_errors", "Errors reported by the Kafka client.", None, {"": status.sink.errors})
        restarts = dict.fromkeys(status.actors, 0) | dict(status.tallies.actor_restarts)
        yield _counter("actor_restarts", "Actors started again after a crash.", "actor", restarts)
        yield _counter("reconnects", "Unplanned reconnections.", "reason", status.tallies.reconnects)
        text = "Events whose own time lay too far ahead for a broker; they bear the time of receipt."
        yield _counter("future_timestamps", text, None, {"": status.tallies.future_timestamps})
        yield from _connections(status)
        yield _gauge("gaps_open", "Gaps in series that are not closed yet.", None, {"": status.gaps_open})
        yield _counter("gaps", "Gaps that were found in series, by reason.", "reason", status.tallies.gaps)
        text = "Ids of series that will never come; the gap journal has them one by one."
        yield _counter("gap_ids_lost", text, None, {"": status.tallies.gap_ids_lost})
        text = "Seconds in which nobody listened to streams of samples, summed over the streams."
        yield _counter("samples_missed_seconds", text, "event_type", status.samples_missed_s)
        text = "REST weight spent within the last minute; REST_WEIGHT_PER_MINUTE may be."
        yield _gauge("rest_weight_used", text, None, {"": status.rest_weight_used})
        yield from _buffers(status)
        yield from _times(status)
        info = InfoMetricFamily(PREFIX + "build", "What is running.")
        info.add_metric((), {"version": package_version(), "python": platform.python_version()})
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
    for name, text in _BY_EVENT_TYPE.items():
        counts = {event_type: getattr(entry, name) for event_type, entry in status.ledger.items()}
        yield _counter(name, text, "event_type", counts)
    held = {event_type: entry.in_flight for event_type, entry in status.ledger.items()}
    yield _gauge("in_flight", "Events held, counted where they are held.", "event_type", held)


def _connections(status: Status) -> Iterator[Metric]:
    states = dict.fromkeys(CONNECTION_STATES, 0)
    for connection in status.connections:
        states[connection.state] = states.get(connection.state, 0) + 1
    states |= {"replacing": status.connections_replacing, "draining": status.connections_draining}
    yield _gauge("connections", "Planned connections, and those that replace one or drain.", "state", states)
    streams = {
        "wanted": status.streams_wanted,
        "listed": status.streams_listed,
        "flowing": status.streams_flowing,
        "silent": status.streams_silent,
    }
    known = {state: count for state, count in streams.items() if count is not None}
    yield _gauge("streams", "Streams, by what is known of them.", "state", known)


def _buffers(status: Status) -> Iterator[Metric]:
    fill = {mailbox.name: mailbox.fill_ratio for mailbox in status.mailboxes}
    yield _gauge("mailbox_fill_ratio", "0 is empty, 1 is full: then whoever fills it waits.", "mailbox", fill)
    text = "Bytes held in memory, the Kafka client's queue included."
    yield _gauge("buffer_bytes", text, None, {"": status.buffer_bytes})
    spool = status.sink.spool
    yield _gauge("spool_bytes", "Bytes of the spool on the disk.", None, {"": 0 if spool is None else spool.used_bytes})


def _times(status: Status) -> Iterator[Metric]:
    newest_ms = max(status.tallies.last_event_ms.values(), default=status.started_at_ms)
    text = "Seconds since the newest event was received; since the start as long as there is none."
    yield _gauge("last_event_age_seconds", text, None, {"": max(0, status.at_ms - newest_ms) / 1000})
    text = "Exchange to receipt, receipt to the Kafka client (pipeline), from there to the acknowledgement (ack)."
    latency = HistogramMetricFamily(PREFIX + "latency_seconds", text, labels=["hop"])
    for hop, histogram in status.tallies.latency.items():
        latency.add_metric([hop], _buckets(histogram), histogram.total)
    yield latency


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = (*map(str, histogram.bounds), "+Inf")
    return list(zip(bounds, histogram.cumulative(), strict=True))


def _counter(name: str, text: str, label: str | None, counts: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=[label] if label else ())
    for key, count in counts.items():
        family.add_metric([key] if label else [], count)
    return family


def _gauge(name: str, text: str, label: str | None, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=[label] if label else ())
    for key, value in values.items():
        family.add_metric([key] if label else [], value)
    return family
