"""What the topics refuse: records too large, with a wrong time stamp, or without a key. Known before anything is sent.

One record that a topic refuses takes all records of its request with it, so it is much cheaper to know.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ingest_actors.kafka.config import MESSAGE_MAX_BYTES_DEFAULT
from ingest_actors.messages import Event, EventBatch
from ingest_actors.protocols import Refusal

RECORD_FRAMING_BYTES = 128
"""More than what a record and its batch take beside key, value and headers (61 bytes a batch, up to 40 a record)."""

KEY_AND_HEADERS_BYTES = 16 * 1024
"""More than the key and the headers of any event of ours take."""

_AHEAD_MS_USUAL = 3_600_000
_AGE_MS_USUAL = 10 * 365 * 86_400_000


class TopicLimits(NamedTuple):
    """What one topic takes; the defaults are Kafka's own.

    Sources: ``max.message.bytes``, ``message.timestamp.before.max.ms`` and ``message.timestamp.after.max.ms`` of the
    topic (KIP-937 for the two latter).
    """

    message_bytes_max: int = MESSAGE_MAX_BYTES_DEFAULT
    age_ms_max: int = 2**63 - 1
    ahead_ms_max: int = _AHEAD_MS_USUAL
    keys_wanted: bool = False
    """A compacted topic takes no record without a key."""

    @property
    def picky(self) -> bool:
        """Whether it may refuse events of ordinary size."""
        return self.ahead_ms_max < _AHEAD_MS_USUAL or self.age_ms_max < _AGE_MS_USUAL or self.keys_wanted


class Limits:
    """The limits of all topics that are written to.

    Args:
        topics: by name; a topic that is not among them has Kafka's defaults.
        clock_ms: wall clock, ms since the epoch.
    """

    def __init__(self, topics: Mapping[str, TopicLimits], *, clock_ms: Callable[[], int] | None = None) -> None:
        self.topics = dict(topics)
        self._clock_ms = clock_ms or (lambda: int(time.time() * 1000))
        sizes = [limits.message_bytes_max for limits in topics.values()] or [MESSAGE_MAX_BYTES_DEFAULT]
        self.message_bytes = (min(sizes), max(sizes))
        # Below this no event of a batch can be too large, since the sum of all values is not.
        self._safe_bytes = self.message_bytes[0] - KEY_AND_HEADERS_BYTES
        self._picky = any(limits.picky for limits in topics.values())

    def screen(self, batch: EventBatch) -> dict[int, Refusal]:
        """The events of a batch that one of their topics would refuse, by position. Costs next to nothing as a rule."""
        if batch.size_bytes < self._safe_bytes and not self._picky:
            return {}
        refusals = (self.refusal(position, event) for position, event in enumerate(batch.events))
        return {refusal.position: refusal for refusal in refusals if refusal is not None}

    def refusal(self, position: int, event: Event) -> Refusal | None:
        """Why an event would be refused; None when every topic of its route takes it."""
        value, key, timestamp_ms, route = event
        size = len(value) + len(key or b"") + sum(len(name) + len(text) + 8 for name, text in route.headers)
        for topic in route.topics:
            limits = self.topics.get(topic, TopicLimits())
            if size + RECORD_FRAMING_BYTES > limits.message_bytes_max:
                detail = f"{size} bytes; topic {topic} takes {limits.message_bytes_max}"
                return Refusal(position, "too_large", detail)
            if key is None and limits.keys_wanted:
                return Refusal(position, "invalid_record", f"no key; topic {topic} is compacted and wants one")
            age_ms = self._clock_ms() - timestamp_ms
            if age_ms > limits.age_ms_max or -age_ms > limits.ahead_ms_max:
                detail = f"time stamp {timestamp_ms} ms is {age_ms} ms old; topic {topic} does not take that"
                return Refusal(position, "timestamp_out_of_range", detail)
        return None
