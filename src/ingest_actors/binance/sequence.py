"""One series' ids: what goes on where the last event ended, what came before, what is missing.

Knows nothing of bytes, clocks or connections. Any number of connections and REST may offer events of one series, in any
order, each as often as they like: every id leaves once, in order, except those that were given up and come late.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

I = TypeVar("I")  # noqa: E741 - what is kept of an event

LATE_HOLES_MAX = 1000
"""Holes of one series that were given up and may still be filled; an older one is lost. A thousand outages are no
outage any more, and each costs a place in the resume state."""


class Hole(NamedTuple):
    """Ids that are missing, both ends included."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


class Fate(Enum):
    """What becomes of an event that is offered."""

    FRESH = "it goes on where the series ended, or straddles the end"
    DUPLICATE = "all of it was there before"
    HELD = "something before it is missing"
    LATE = "it fills a hole that was given up"


class _Held(NamedTuple, Generic[I]):
    first: int
    last: int
    item: I


class GivenUp(NamedTuple, Generic[I]):
    """A hole that is no longer waited for."""

    hole: Hole
    released: list[I]
    """What had waited behind it, in order."""
    lost: Hole | None
    """The oldest hole of the series, if there were too many: it is not waited for in any way."""


class Sequence(Generic[I]):
    """The ids of one series.

    Args:
        next_id: the id that it goes on with; None: whatever comes first begins it.
        late: holes below it that may still be filled, ascending.
        known_to: the highest id that is known to be there, though nothing that follows it may have come; None: none is.

    Attributes:
        next_id: as above, kept up to date.
        late: likewise.
        known_to: as above.
        overtaken: events that had waited, and that nobody needs any more because another has all that they cover; for
            whoever counts them to take away.
    """

    __slots__ = ("_held", "known_to", "late", "next_id", "overtaken")

    def __init__(self, next_id: int | None = None, late: Iterable[Hole] = (), known_to: int | None = None) -> None:
        self.next_id = next_id
        self.late = list(late)
        self.known_to = known_to
        self.overtaken: list[I] = []
        self._held: list[_Held[I]] = []

    @property
    def held(self) -> int:
        """Events that wait for what is missing before them."""
        return len(self._held)

    @property
    def waits(self) -> bool:
        """Whether something is missing that is waited for, so that whoever brings it must ask before it goes on."""
        return bool(self._held) or (
            self.known_to is not None and self.next_id is not None and self.next_id <= self.known_to
        )

    def held_items(self) -> list[I]:
        """Those events, in order."""
        return [held.item for held in self._held]

    def offer(self, first: int, last: int, item: I) -> Fate:
        """Take an event that covers the ids `first` to `last`, which are the same for a trade.

        After `Fate.FRESH`, what waited for it is had by `release`.

        An event that overlaps one that waits and is not within it is held too: books are cut differently from
        connection to connection. Those that wait and are within it are overtaken, so firsts and lasts both ascend.
        """
        next_id = self.next_id
        if next_id is None or first <= next_id <= last:
            self.next_id = last + 1
            return Fate.FRESH
        if last < next_id:
            return Fate.LATE if self._fill(first, last) else Fate.DUPLICATE
        place = bisect_left(self._held, first, key=lambda held: held.first)
        if any(held.first <= first and last <= held.last for held in self._held[max(0, place - 1) : place + 1]):
            return Fate.DUPLICATE
        end = place
        while end < len(self._held) and self._held[end].last <= last:
            end += 1
        self.overtaken.extend(held.item for held in self._held[place:end])
        self._held[place:end] = [_Held(first, last, item)]
        return Fate.HELD

    def release(self) -> list[I]:
        """What no longer has to wait, in order."""
        released = []
        count = 0
        for first, last, item in self._held:
            if self.next_id is not None and first > self.next_id:
                break
            count += 1
            if self.next_id is None or last >= self.next_id:
                self.next_id = last + 1
                released.append(item)
            else:
                self.overtaken.append(item)
        del self._held[:count]
        return released

    def holes(self) -> list[Hole]:
        """What the held events wait for, or is known to be there, ascending."""
        holes = []
        next_id = self.next_id
        for first, last, _ in self._held:
            if next_id is not None and first > next_id:
                holes.append(Hole(next_id, first - 1))
            next_id = last + 1 if next_id is None else max(next_id, last + 1)
        if self.known_to is not None and next_id is not None and next_id <= self.known_to:
            holes.append(Hole(next_id, self.known_to))
        return holes

    def last_hole(self) -> Hole | None:
        """What the last of the held events waits for, after the one before it; None when it follows that."""
        if not self._held or self.next_id is None:
            return None
        before = self._held[-2].last if len(self._held) > 1 else self.next_id - 1
        first = self._held[-1].first
        return Hole(before + 1, first - 1) if first > before + 1 else None

    def give_up(self) -> GivenUp[I] | None:
        """Wait for the first hole no longer; None when there is none."""
        if not self._held or self.next_id is None:
            return None
        hole = Hole(self.next_id, self._held[0].first - 1)
        self.late.append(hole)
        self.next_id = hole.last + 1
        lost = self.late.pop(0) if len(self.late) > LATE_HOLES_MAX else None
        return GivenUp(hole, self.release(), lost)

    def missing(self, within: Hole) -> Hole | None:
        """The first ids of a range that may still come; None when none of them is missing."""
        for hole in (*self.late, *self.holes()):
            if _overlap(hole, within.first, within.last):
                return Hole(max(hole.first, within.first), min(hole.last, within.last))
        return None

    def skip(self, hole: Hole) -> list[I]:
        """Some missing ids will never come; what no longer has to wait for them leaves, in order."""
        self.late = [part for late in self.late for part in without(late, hole.first, hole.last)]
        if self.next_id is not None and hole.first <= self.next_id <= hole.last:
            self.next_id = hole.last + 1
        return self.release()

    def _fill(self, first: int, last: int) -> bool:
        for index, hole in enumerate(self.late):
            if hole.first <= first and last <= hole.last:
                self.late[index : index + 1] = without(hole, first, last)
                return True
        return False


def without(hole: Hole, first: int, last: int) -> list[Hole]:
    """What is left of a hole beside some ids, both ends included."""
    parts = (Hole(hole.first, min(hole.last, first - 1)), Hole(max(hole.first, last + 1), hole.last))
    return [part for part in parts if part.first <= part.last] if _overlap(hole, first, last) else [hole]


def _overlap(hole: Hole, first: int, last: int) -> bool:
    return first <= hole.last and hole.first <= last
