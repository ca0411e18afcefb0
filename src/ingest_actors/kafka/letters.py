"""Dead letters that a sink writes itself, in place of the events that no broker takes.

So an event is never dealt with in the eyes of the resume state while its dead letter is still to be written: a crash in
between would lose both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ingest_actors.errors import SinkUnreachable
from ingest_actors.messages import Event, EventBatch
from ingest_actors.protocols import Refusal

Letter = Callable[[Event, str, str], Event]
"""Makes the dead letter of an event from a reason and a detail; of a dead letter, one that is easier to take."""


def wall_clock_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Letters:
    """The dead letters of one batch.

    Args:
        letter: makes one.
        clock_ms: wall clock, ms since the epoch: the time stamp of a letter that was refused itself.
    """

    def __init__(self, letter: Letter, clock_ms: Callable[[], int]) -> None:
        self._letter = letter
        self._clock_ms = clock_ms
        self._simpler: dict[int, Refusal] = {}

    def write(self, batch: EventBatch, refused: Mapping[int, Refusal]) -> EventBatch:
        """One letter for each refused event of a batch, by position."""
        return EventBatch(
            [self._of(batch.events[position], refused[position]) for position in sorted(refused)],
            received_at_ms=batch.received_at_ms,
        )

    def simplify(self, refused: Mapping[int, Refusal], letters: Mapping[int, Refusal], written: EventBatch) -> None:
        """Letters were refused too, by their own position; those are made simpler from now on.

        Raises:
            SinkUnreachable: one was simpler already. Nothing can be done with the event but to stop.
        """
        positions = sorted(refused)
        for place, refusal in letters.items():
            if positions[place] in self._simpler:
                raise SinkUnreachable(
                    f"topic {written.events[place][3].topics[0]}",
                    f"it refuses a dead letter: {refusal.detail}",
                    hint="the topic of the dead letters must take whatever the others refuse",
                )
            self._simpler[positions[place]] = refusal

    def _of(self, event: Event, refusal: Refusal) -> Event:
        letter = self._letter(event, refusal.reason, refusal.detail)
        again = self._simpler.get(refusal.position)
        if again is None:
            return letter
        value, key, _, route = self._letter(letter, again.reason, again.detail)
        return value, key, self._clock_ms(), route
