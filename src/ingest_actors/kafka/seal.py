"""What concludes a transaction: what has changed of the resume state, and the owner's record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message

from ingest_actors.kafka.accepted import Produce
from ingest_actors.kafka.owed import RECORD_FAULTS
from ingest_actors.kafka.owner import Owner, encode, owner_key
from ingest_actors.messages import EventBatch
from ingest_actors.protocols import Progress

RECORDS_BETWEEN_YIELDS = 1_000


class Seal:
    """The state of one writer, moved on with each transaction.

    Args:
        owner: who we are; already written.
        instance: `INSTANCE_NAME`.
        topic: where the state goes.
        progress: the state; None: there is none, only the owner's record.
        clock_ms: wall clock, ms since the epoch.

    Attributes:
        owner: what our record said last.
        closed: whether the transaction that is open has its state; nothing may be added to it any more.
        fault: why the state topic refused a record; empty: it did not.
    """

    def __init__(
        self,
        owner: Owner,
        *,
        instance: str,
        topic: str,
        progress: Progress[Any] | None,
        clock_ms: Callable[[], int],
    ) -> None:
        self.owner = owner
        self.topic = topic
        self.closed = False
        self.fault = ""
        self._key = owner_key(instance)
        self._progress = progress
        self._clock_ms = clock_ms
        self._change: Any = None
        self._todo: list[tuple[bytes, bytes]] = []

    def apply(self, batch: EventBatch) -> None:
        """A batch is part of the transaction that is open."""
        if self._progress is not None:
            self._progress.apply(batch)

    def close(self) -> None:
        """Nothing is added any more: count the commit, and see what has changed."""
        self.closed = True
        self.owner = msgspec.structs.replace(self.owner, at=self._clock_ms(), commits=self.owner.commits + 1)
        self._change = None if self._progress is None else self._progress.change()
        self._todo = [*([] if self._change is None else self._change.records), (self._key, encode(self.owner))]

    @property
    def complete(self) -> bool:
        """Whether it is closed and all of it handed over, so that the commit may have been sent."""
        return self.closed and not self._todo

    def hand_over(self, produce: Produce) -> None:
        """Hand over the next records; raises BufferError and KafkaException as `produce` does."""
        done = 0
        try:
            for key, value in self._todo[:RECORDS_BETWEEN_YIELDS]:
                produce(self.topic, value, key, -1, self._report, None, self.owner.at)
                done += 1
        except KafkaException as error:
            self._report(error.args[0])
            raise
        finally:
            del self._todo[:done]

    def settle(self) -> None:
        """The transaction is committed."""
        if self._progress is not None and self._change is not None:
            self._progress.settle(self._change)
        self.closed = False

    def roll_back(self) -> None:
        """It is not, and never will be."""
        if self._progress is not None:
            self._progress.roll_back()
        self.closed = False

    def counted(self, found: Owner | None) -> bool:
        """Whether the commit under way is done, given the last record that an owner wrote."""
        return self.closed and found is not None and self.ours(found) and found.commits == self.owner.commits

    def ours(self, owner: Owner) -> bool:
        """Whether a record is one of our own."""
        return owner.token == self.owner.token

    def _report(self, error: KafkaError | None, _: Message | None = None) -> None:
        if error is not None and error.code() in RECORD_FAULTS:
            self.fault = self.fault or error.str()
