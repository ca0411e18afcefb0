"""Metrics of the way into Kafka: whether it is there, what waits for it, what its client tells, the spool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import Metric

from ingest_actors.console.families import counter, gauge, level
from ingest_actors.protocols import ClientStatus, SinkStatus, SpoolStatus
from ingest_actors.status import Status

TRANSACTION_STATES: Final = ("none", "starting", "ready", "open", "ending", "failed")

_NO_CLIENT: Final = ClientStatus((), 0, 0, 0, 0)
_NO_SPOOL: Final = SpoolStatus(0, 0)


def kafka_families(status: Status) -> Iterator[Metric]:
    """The sink's families; counts are there from the start, whatever the client has told yet."""
    sink = status.sink
    records = dict.fromkeys(status.topics, 0) | sink.records
    yield counter("records", "Records acknowledged by Kafka.", "topic", records)
    yield counter("kafka_errors", "Errors reported by the Kafka client.", None, {"": sink.errors})
    reachable = sink.reachable if sink.brokers_reachable is None else sink.brokers_reachable
    yield level("kafka_reachable", "1 while brokers acknowledge, or nothing waits for them; else 0.", reachable)
    text = "Records that the Kafka client has and that no broker has acknowledged."
    yield level("kafka_queue_records", text, sink.queue_records)
    yield level("kafka_queue_bytes", "The same in bytes, as they are counted in memory.", sink.queue_bytes)
    yield from _client(sink.client or _NO_CLIENT)
    yield from _spool(sink)


def _client(client: ClientStatus) -> Iterator[Metric]:
    counts = {
        "kafka_retries": ("Requests to brokers that were sent again.", client.retries),
        "kafka_request_timeouts": ("Requests that no broker answered in time.", client.timeouts),
        "kafka_connects": ("Connections to brokers that were opened.", client.connects),
        "kafka_disconnects": ("Connections to brokers that ended, be it for idleness.", client.disconnects),
    }
    for name, (text, count) in counts.items():
        yield counter(name, text, None, {"": count})
    up = {broker.name: float(broker.up) for broker in client.brokers}
    yield gauge("kafka_broker_up", "1 while the Kafka client is connected to this broker.", "broker", up)
    text = "99th percentile of the round trips to this broker within the client's last period of statistics."
    rtt = {broker.name: broker.rtt_p99_s for broker in client.brokers}
    yield gauge("kafka_broker_rtt_p99_seconds", text, "broker", rtt)
    waiting = {broker.name: broker.waiting_requests for broker in client.brokers}
    yield gauge("kafka_broker_requests", "Requests that wait to be sent, or answered.", "broker", waiting)
    states = {state: float(state == (client.transaction or "none")) for state in TRANSACTION_STATES}
    yield gauge("kafka_transaction", "1 for the state of the producer's transactions.", "state", states)


def _spool(sink: SinkStatus) -> Iterator[Metric]:
    spool = sink.spool or _NO_SPOOL
    yield level("spool_bytes", "Bytes of the spool on the disk.", spool.used_bytes)
    yield level("spool_bytes_max", "SPOOL_MAX_BYTES; 0 without a spool.", spool.bytes_max)
    yield level("spool_events", "Events on the disk that wait for Kafka, or for its acknowledgement.", spool.events)
    text = "1 while what comes goes by way of the disk: in an outage, and until it is caught up with."
    yield level("spooling", text, spool.spooling)
    text = "1 while the spool takes nothing in: it is full, or the disk does not work."
    yield level("spool_refusing", text, bool(spool.detail))
