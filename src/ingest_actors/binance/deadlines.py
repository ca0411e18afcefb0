"""When something is due for each of many, without a look at all of them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

STALE_MAX = 64
"""Entries beside twice the deadlines that there are, before those that were set anew since are swept out."""


class Deadlines(Generic[T]):
    """At most one deadline for each thing. Setting one, and taking what is due, costs the logarithm of their number."""

    def __init__(self) -> None:
        self._at: dict[T, float] = {}
        self._heap: list[tuple[float, int, T]] = []
        self._serial = 0

    def set(self, thing: T, at: float | None) -> None:
        """Something is due for a thing at this time, and at no other; None: nothing is."""
        if at is None:
            self._at.pop(thing, None)
        elif self._at.get(thing) != at:
            self._at[thing] = at
            self._serial += 1
            heapq.heappush(self._heap, (at, self._serial, thing))
            if len(self._heap) > 2 * len(self._at) + STALE_MAX:
                self._heap = [entry for entry in self._heap if self._at.get(entry[2]) == entry[0]]
                heapq.heapify(self._heap)

    def next(self) -> float | None:
        """The earliest; None when nothing is due ever."""
        while self._heap and self._at.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # it was set anew since
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> Iterator[T]:
        """The things for which something is due, earliest first; they have no deadline any more."""
        while (at := self.next()) is not None and at <= now:
            thing = heapq.heappop(self._heap)[2]
            del self._at[thing]
            yield thing
