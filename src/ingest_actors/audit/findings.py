"""Lists of defects that cannot grow without end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

FINDINGS_MAX = 10_000
"""Entries that one list of one series keeps; the rest are counted. More than a person reads, and a megabyte at most."""

T = TypeVar("T")


class Findings(Generic[T]):
    """The first `FINDINGS_MAX` entries, and how many there were.

    Attributes:
        total: of all that were added.
    """

    __slots__ = ("_kept", "total")

    def __init__(self) -> None:
        self._kept: list[T] = []
        self.total = 0

    def add(self, entry: T) -> None:
        """Add one."""
        self.total += 1
        if len(self._kept) < FINDINGS_MAX:
            self._kept.append(entry)

    def __iter__(self) -> Iterator[T]:
        return iter(self._kept)

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)


class Tally:
    """How often ids came again.

    Attributes:
        total: times that any of them came again.
    """

    __slots__ = ("_times", "total")

    def __init__(self) -> None:
        self._times: dict[int, int] = {}
        self.total = 0

    def again(self, number: int, times: int = 1) -> None:
        """It was there already, and came again."""
        self.total += times
        if number in self._times or len(self._times) < FINDINGS_MAX:
            self._times[number] = self._times.get(number, 1) + times

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The ids in rising order, each with how often it is there in all."""
        return iter(sorted(self._times.items()))

    def __len__(self) -> int:
        """How many ids are kept."""
        return len(self._times)
