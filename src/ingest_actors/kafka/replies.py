"""The dead letters that a sink without transactions writes before it acknowledges what was refused."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import KafkaError

from ingest_actors.kafka.accepted import Accepted, RecordId
from ingest_actors.kafka.letters import Letter, Letters
from ingest_actors.kafka.limits import Limits
from ingest_actors.messages import EventBatch


class Replies:
    """The dead letters of all batches that wait for theirs.

    Args:
        letter: makes one.
        clock_ms: wall clock, ms since the epoch.
    """

    def __init__(self, letter: Letter, clock_ms: Callable[[], int]) -> None:
        self._letter = letter
        self._clock_ms = clock_ms
        self._waiting: dict[int, tuple[Letters, Accepted]] = {}

    @property
    def batches(self) -> list[Accepted]:
        """Those under way."""
        return [written for _, written in self._waiting.values()]

    def to(self, accepted: Accepted, failing: list[KafkaError], limits: Limits, serial: int) -> Accepted:
        """The dead letters of a batch that is settled but for what was refused; settled themselves when it is done.

        Args:
            accepted: the batch.
            failing: see `Accepted`.
            limits: what the topic of the dead letters takes.
            serial: see `Accepted`; for letters that are begun by this call.

        Raises:
            SinkUnreachable: one was refused twice, simplified the second time.
        """
        waiting = self._waiting.get(accepted.serial)
        if waiting is None:
            letters = Letters(self._letter, self._clock_ms)
            batch = letters.write(accepted.batch, accepted.refused)
            return self._begin(accepted, letters, Accepted(batch, serial, failing, refused=limits.screen(batch)))
        letters, written = waiting
        if not (written.settled and written.refused):
            return written
        letters.simplify(accepted.refused, written.refused, written.batch)
        batch = letters.write(accepted.batch, accepted.refused)
        todo = [
            RecordId(position, index)  # the others are written
            for position in sorted(written.refused)
            for index in range(len(batch.events[position][3].topics))
        ]
        again = Accepted(batch, serial, failing, todo=todo)
        for position, refusal in limits.screen(batch).items():
            if position in written.refused:
                again.refuse(refusal)
        return self._begin(accepted, letters, again)

    def done(self, accepted: Accepted) -> EventBatch:
        """They are written."""
        return self._waiting.pop(accepted.serial)[1].batch

    def clear(self) -> None:
        """Forget them all; they are made again when their batch is."""
        self._waiting.clear()

    def _begin(self, accepted: Accepted, letters: Letters, written: Accepted) -> Accepted:
        self._waiting[accepted.serial] = letters, written
        return written
