"""Sets of whole numbers as spans: small where the numbers lie close together, as ids do."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Self

Span = tuple[int, int]
"""First and last, both included."""


class Spans:
    """Disjoint spans in rising order; neighbours that touch are one.

    Args:
        spans: in any order, may overlap.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in spans:
            self.add(first, last)

    def add(self, first: int, last: int) -> None:
        """Put in all numbers from `first` to `last`; nothing when `last` is less."""
        if last < first:
            return
        if not self._lasts or first > self._lasts[-1] + 1:
            self._firsts.append(first)
            self._lasts.append(last)
            return
        begin = bisect_left(self._lasts, first - 1)
        end = bisect_right(self._firsts, last + 1)
        if begin < end:
            first = min(first, self._firsts[begin])
            last = max(last, self._lasts[end - 1])
        self._firsts[begin:end] = [first]
        self._lasts[begin:end] = [last]

    def discard(self, first: int, last: int) -> None:
        """Take out all numbers from `first` to `last`."""
        begin = bisect_left(self._lasts, first)
        end = bisect_right(self._firsts, last)
        if begin >= end:
            return
        kept = [
            (low, high)
            for low, high in ((self._firsts[begin], first - 1), (last + 1, self._lasts[end - 1]))
            if low <= high
        ]
        self._firsts[begin:end] = [low for low, _ in kept]
        self._lasts[begin:end] = [high for _, high in kept]

    def overlaps(self, first: int, last: int) -> bool:
        """Whether any number from `first` to `last` is in it."""
        index = bisect_left(self._lasts, first)
        return index < len(self._firsts) and self._firsts[index] <= last

    def minus(self, other: Spans) -> Spans:
        """What is in this and not in the other."""
        left = Spans(self)
        for first, last in other:
            left.discard(first, last)
        return left

    def within(self, first: int, last: int) -> Spans:
        """What of it lies from `first` to `last`."""
        return Spans((max(low, first), min(high, last)) for low, high in self if low <= last and high >= first)

    def common(self, other: Spans) -> Spans:
        """What is in both."""
        return self.minus(self.minus(other))

    def plus(self, other: Iterable[Span]) -> Spans:
        """What is in either."""
        both = Spans(self)
        both.update(other)
        return both

    def update(self, other: Iterable[Span]) -> Self:
        """Put in all of the other."""
        for first, last in other:
            self.add(first, last)
        return self

    @property
    def numbers(self) -> int:
        """How many numbers are in it."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def __contains__(self, number: int) -> bool:
        return self.overlaps(number, number)

    def __iter__(self) -> Iterator[Span]:
        return iter(list(zip(self._firsts, self._lasts, strict=True)))

    def __len__(self) -> int:
        """How many spans."""
        return len(self._firsts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spans) and (self._firsts, self._lasts) == (other._firsts, other._lasts)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Spans({list(self)})"
