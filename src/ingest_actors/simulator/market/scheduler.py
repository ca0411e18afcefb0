"""What happens next: a queue of calls by market time."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any


class Scheduler:
    """Calls functions in the order of their times; of equal times, in the order in which they were scheduled.

    Args:
        now_us: market time at the start, microseconds since the epoch.

    Attributes:
        now_us: how far the market has got.
    """

    __slots__ = ("_numbers", "_queue", "now_us")

    def __init__(self, now_us: int) -> None:
        self.now_us = now_us
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = count()

    def at(self, at_us: int, call: Callable[..., None], *args: Any) -> None:
        """Call ``call(*args)`` when the market gets to `at_us`, at once if it is there already."""
        heappush(self._queue, (at_us, next(self._numbers), call, args))

    @property
    def next_us(self) -> int | None:
        """When the next call is due; None when there is none."""
        return self._queue[0][0] if self._queue else None

    def advance(self, to_us: int) -> None:
        """Make all calls that are due until `to_us`, inclusive. Calls may schedule more."""
        queue = self._queue
        while queue and queue[0][0] <= to_us:
            at_us, _, call, args = heappop(queue)
            self.now_us = max(self.now_us, at_us)
            call(*args)
        self.now_us = max(self.now_us, to_us)
