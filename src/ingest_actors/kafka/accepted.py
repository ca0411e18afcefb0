"""What became of a batch inside the sink: which of its records are handed over, and how many are not reported yet.

A delivery report for each record is what a client is taught to ask for, and it costs more than handing the record over:
a `Message` with copies of topic, key and value is made for it. All that is wanted of a report that is good is that it
was there. So the producers are told to report failures alone (``delivery.report.only.error``), and each record carries
the same `Receipt` as its callback. The client has to keep that object for as long as the fate of the record is open,
and lets go of it when it is settled; so the references to it are the records that are not settled, counted by CPython
itself. What fails is reported before its reference goes.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from confluent_kafka import KafkaError, Message

from ingest_actors.messages import EventBatch
from ingest_actors.protocols import Acknowledgement, Refusal

Produce = Callable[..., None]
"""`confluent_kafka.Producer.produce`, whose arguments are passed by position: by name they cost a fifth more."""


class RecordId(NamedTuple):
    """One record of a batch: an event, and one of the topics of its route. Sorts in the order of handing over."""

    position: int
    topic_index: int


class Failure(NamedTuple):
    """A record that librdkafka gave back."""

    record: RecordId
    code: int
    detail: str
    partition: int


class Receipt:
    """What the client holds of a batch, once for each record whose fate is open; called for those that come back."""

    __slots__ = ("failed", "failing")

    def __init__(self, failing: list[KafkaError]) -> None:
        self.failed: list[tuple[KafkaError, Message]] = []
        self.failing = failing

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        """A record came back."""
        if error is not None:
            self.failed.append((error, message))
            self.failing.append(error)


class Accepted:
    """One batch, from the first record handed over to its acknowledgement.

    Args:
        batch: as it was offered.
        serial: rises with each batch; the order of the records of different batches.
        failing: gets the error of each record that is given back.
        refused: events that are not to be written, by position.
        todo: the records that are to be written; all when left out.

    Attributes:
        complete: whether all records have been handed over once.
        owed: records that were given back and must be handed over again.
        refused: as above; `refuse` adds to it.
    """

    __slots__ = (
        "_held_by_us", "_lookup", "_next", "_receipt", "_todo", "accepted_at_s", "batch", "complete", "owed", "refused",
        "serial",
    )  # fmt: skip

    def __init__(
        self,
        batch: EventBatch,
        serial: int,
        failing: list[KafkaError],
        *,
        refused: dict[int, Refusal] | None = None,
        todo: list[RecordId] | None = None,
    ) -> None:
        self.batch = batch
        self.serial = serial
        self.complete = False
        self.owed: set[RecordId] = set()
        self.refused = refused or {}
        self.accepted_at_s = time.monotonic()
        self._next = RecordId(0, 0)
        self._todo = todo
        if todo is None and self.refused:
            self._todo = [record for record in _records(batch) if record.position not in self.refused]
        self._lookup: dict[tuple[str, bytes], list[RecordId]] | None = None
        self._receipt = Receipt(failing)
        self._held_by_us = sys.getrefcount(self._receipt)

    @property
    def left(self) -> int:
        """Records handed over and not reported by librdkafka yet."""
        return sys.getrefcount(self._receipt) - self._held_by_us

    @property
    def settled(self) -> bool:
        """Whether nothing is outstanding any more."""
        return self.complete and not (self.left or self._receipt.failed or self.owed)

    @property
    def failing(self) -> list[KafkaError]:
        """Of the records that were given back and that nobody has taken note of."""
        return [error for error, _ in self._receipt.failed]

    def hand_over(self, produce: Produce, events_max: int) -> None:
        """Hand over the next events; sets `complete` after the last.

        Raises:
            BufferError: the queue is full; call again later, the cursor stands at the record that did not fit.
            KafkaException: the producer is broken; likewise.
        """
        if self._todo is not None:
            self._hand_over_selected(produce, events_max)
            return
        events = self.batch.events
        position, done = self._next
        receipt = self._receipt
        try:
            for value, key, timestamp_ms, route in events[position : position + events_max]:
                headers = route.headers
                for topic in route.topics[done:] if done else route.topics:
                    if headers:
                        produce(topic, value, key, -1, receipt, None, timestamp_ms, list(headers))
                    else:
                        produce(topic, value, key, -1, receipt, None, timestamp_ms)
                    done += 1
                done = 0
                position += 1
        finally:
            del receipt  # or the traceback of an error would hold it
            self._next = RecordId(position, done)
        self.complete = position >= len(events)

    def produce(self, record: RecordId, produce: Produce, partition: int = -1) -> None:
        """Hand over one record (again). Raises as `hand_over`."""
        value, key, timestamp_ms, route = self.batch.events[record.position]
        topic = route.topics[record.topic_index]
        if route.headers:
            produce(topic, value, key, partition, self._receipt, None, timestamp_ms, list(route.headers))
        else:
            produce(topic, value, key, partition, self._receipt, None, timestamp_ms)
        self.owed.discard(record)

    def refuse(self, refusal: Refusal) -> None:
        """Write no more of an event, in none of its topics."""
        self.refused[refusal.position] = refusal
        self.owed = {record for record in self.owed if record.position != refusal.position}
        if not self.complete:
            self._todo = [record for record in self.remaining() if record.position != refusal.position]

    def take_failures(self) -> list[Failure]:
        """What librdkafka gave back since the last call, in the order of handing over; all of it is owed from now."""
        failures = []
        for error, message in self._receipt.failed:
            record = self._identify(message)
            failures.append(Failure(record, error.code(), error.str(), message.partition() or 0))
        self._receipt.failed = []
        self._lookup = None
        self.owed.update(failure.record for failure in failures)
        return sorted(failures)

    @property
    def next_position(self) -> int:
        """Position of the event that is to be handed over next."""
        return self._todo[0].position if self._todo else self._next.position

    def remaining(self) -> list[RecordId]:
        """The records that were not handed over yet, in order."""
        if self._todo is not None:
            return list(self._todo)
        return [record for record in _records(self.batch) if record >= self._next]

    def topic_of(self, record: RecordId) -> str:
        """The topic that a record goes to."""
        return self.batch.events[record.position][3].topics[record.topic_index]

    def records_by_topic(self) -> Counter[str]:
        """How many records the batch has in each topic, those of refused events left out."""
        routes = self.batch.routes()
        if self.refused:
            routes = routes - Counter([self.batch.events[position][3] for position in self.refused])
        counts: Counter[str] = Counter()
        for route, count in routes.items():
            for topic in route.topics:
                counts[topic] += count
        return counts

    def acknowledgement(self) -> Acknowledgement:
        """What the sink reports of a settled batch."""
        refused = [self.refused[position] for position in sorted(self.refused)]
        return Acknowledgement(self.batch, refused, time.monotonic() - self.accepted_at_s)

    def _hand_over_selected(self, produce: Produce, records_max: int) -> None:
        """As `hand_over`, for a batch of which only some records are to be written."""
        assert self._todo is not None
        done = 0
        try:
            for record in self._todo[:records_max]:
                self.produce(record, produce)
                done += 1
        finally:
            del self._todo[:done]
        self.complete = not self._todo

    def _identify(self, message: Message) -> RecordId:
        """Which record a report is about.

        Reports carry no mark of ours (that would cost each record a closure), but the bytes. Of records with equal
        bytes in one topic the last stands for any: those that fail are the last of their partition.
        """
        if self._lookup is None:
            self._lookup = {}
            for record in _records(self.batch):
                value = self.batch.events[record.position][0]
                self._lookup.setdefault((self.topic_of(record), value), []).append(record)
        candidates = self._lookup[message.topic() or "", message.value() or b""]
        return candidates.pop() if len(candidates) > 1 else candidates[0]


def _records(batch: EventBatch) -> Iterator[RecordId]:
    for position, event in enumerate(batch.events):
        for topic_index in range(len(event[3].topics)):
            yield RecordId(position, topic_index)
