"""The records that a batch amounts to, for sinks of users' own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ingest_actors.messages import EventBatch


class Record(NamedTuple):
    """What one event is in one topic."""

    topic: str
    key: bytes | None
    """The symbol; None when the event has none."""
    value: bytes
    """The exchange's own bytes with the fields appended; JSON, unless `topic` is that of the dead letters."""
    timestamp_ms: int
    """Milliseconds since the epoch."""
    headers: tuple[tuple[str, bytes], ...] = ()


def records(batch: EventBatch) -> Iterator[Record]:
    """The records of a batch, event by event: one for each topic of the event's route."""
    for value, key, timestamp_ms, route in batch.events:
        for topic in route.topics:
            yield Record(topic, key, value, timestamp_ms, route.headers)
