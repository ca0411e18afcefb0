"""One batch inside a transaction: its records, and the dead letters of the events that are refused."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from confluent_kafka import KafkaError

from ingest_actors.kafka.accepted import Accepted, RecordId
from ingest_actors.kafka.letters import Letters
from ingest_actors.kafka.limits import Limits
from ingest_actors.messages import EventBatch
from ingest_actors.protocols import Acknowledgement, Refusal


class Parcel:
    """A batch from its acceptance until its transaction is committed; may be written several times until then.

    Args:
        batch: as it was offered.
        serial: rises with each batch.
        letters: makes the dead letters; None: whoever offered the batch sees to them.
        refused: events that are known to be refused, by position.

    Attributes:
        written: it is committed already, and only to be acknowledged.
        accepted_at_s: on the monotonic clock.
        refused: events that are not written, by position.
        attempt: which one it was begun for.
    """

    def __init__(
        self, batch: EventBatch, serial: int, *, letters: Letters | None, refused: dict[int, Refusal] | None = None
    ) -> None:
        self.batch = batch
        self.serial = serial
        self.written = False
        self.refused = refused or {}
        self.attempt = -1
        self.accepted_at_s = time.monotonic()
        self._letters = letters
        self._main: Accepted | None = None
        self._replies: Accepted | None = None

    def again(self, serial: int) -> Parcel:
        """The same, of which it is known by now that it is committed: nothing of it is written any more."""
        self.serial = serial
        self.written = True
        self.attempt = -1
        return self

    def begin(self, attempt: int, failing: list[KafkaError], limits: Limits) -> None:
        """Get ready to be written from the first record on, without what is refused.

        Raises:
            SinkUnreachable: a dead letter is refused.
        """
        self.attempt = attempt
        letters = None
        if self.written:
            letters = None if self._replies is None else self._replies.batch
        elif self.refused and self._letters is not None:
            letters = self._letters.write(self.batch, self.refused)
            screened = limits.screen(letters)
            if screened:
                self._letters.simplify(self.refused, screened, letters)
                letters = self._letters.write(self.batch, self.refused)
        todo: list[RecordId] | None = [] if self.written else None
        self._main = Accepted(self.batch, self.serial, failing, refused=dict(self.refused), todo=todo)
        todo = [] if self.written else None
        self._replies = None if letters is None else Accepted(letters, self.serial, failing, todo=todo)

    def screen(self, limits: Limits) -> None:
        """Refuse what the topics are known by now to refuse; `take_refusals` tells."""
        if self._main is not None and not self.written:
            for position, refusal in limits.screen(self.batch).items():
                if position not in self._main.refused:
                    self._main.refuse(refusal)

    def take_refusals(self) -> bool:
        """Take up what was refused since `begin`; whether there was anything. Then `begin` again.

        Raises:
            SinkUnreachable: a dead letter was refused again.
        """
        found = False
        if self._replies is not None and self._replies.refused and self._letters is not None:
            self._letters.simplify(self.refused, self._replies.refused, self._replies.batch)
            self._replies.refused = {}
            found = True
        if self._main is not None and self._main.refused.keys() - self.refused.keys():
            self.refused = self._main.refused | self.refused
            found = True
        return found

    @property
    def parts(self) -> Iterator[Accepted]:
        """What is to be handed over, in this order."""
        if self._main is not None:
            yield self._main
        if self._replies is not None:
            yield self._replies

    @property
    def left(self) -> int:
        """Records handed over and not reported yet."""
        return sum(part.left for part in self.parts)

    def records_by_topic(self) -> Counter[str]:
        """How many records it has in each topic."""
        counts: Counter[str] = Counter()
        for part in self.parts:
            counts += part.records_by_topic()
        return counts

    def acknowledgement(self) -> Acknowledgement:
        """What is reported once it is committed."""
        return Acknowledgement(
            self.batch,
            [self.refused[position] for position in sorted(self.refused)],
            time.monotonic() - self.accepted_at_s,
            None if self._replies is None else self._replies.batch,
        )
