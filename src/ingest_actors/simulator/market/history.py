"""What REST remembers of one symbol: the newest trades and aggregates, in the order of their ids."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class History(Generic[T]):
    """A bounded list whose oldest items fall off; items have consecutive ids and times that never fall.

    Args:
        kept: most items that are remembered; an eighth more may be held in passing.
        id_of: an item's id.
        time_of: an item's time, microseconds.
    """

    __slots__ = ("_held_max", "_id_of", "_items", "_kept", "_published_us", "_time_of")

    def __init__(self, kept: int, id_of: Callable[[T], int], time_of: Callable[[T], int]) -> None:
        self._kept = kept
        self._held_max = kept + kept // 8
        self._id_of = id_of
        self._time_of = time_of
        self._items: list[T] = []
        self._published_us: list[int] = []

    def extend(self, items: Sequence[T], published_us: int) -> None:
        """Remember items that are published now."""
        self._items.extend(items)
        self._published_us.extend([published_us] * len(items))
        if len(self._items) > self._held_max:
            del self._items[: -self._kept]
            del self._published_us[: -self._kept]

    def newest(self, limit: int, *, until_us: int) -> list[T]:
        """The newest items of those published until a time."""
        end = bisect_right(self._published_us, until_us)
        return self._items[max(0, end - limit) : end]

    def from_id(self, first_id: int, limit: int, *, until_us: int) -> list[T]:
        """Items from an id on, of those published until a time."""
        end = bisect_right(self._published_us, until_us)
        start = bisect_left(self._items, first_id, hi=end, key=self._id_of)
        return self._items[start : min(end, start + limit)]

    def between(self, start_us: int | None, end_us: int | None, limit: int, *, until_us: int) -> list[T]:
        """Items by their own times, both inclusive: the oldest when there is a start, else the newest."""
        end = bisect_right(self._published_us, until_us)
        if end_us is not None:
            end = bisect_right(self._items, end_us, hi=end, key=self._time_of)
        if start_us is None:
            return self._items[max(0, end - limit) : end]
        start = bisect_left(self._items, start_us, hi=end, key=self._time_of)
        return self._items[start : min(end, start + limit)]
