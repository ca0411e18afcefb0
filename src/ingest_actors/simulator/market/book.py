"""One symbol's order book, with every change under an id of its own."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

Level = tuple[int, int]
"""Price and quantity, both in 1e-8."""

_MARK_EVERY_US = 1_000_000
_MARKS_KEPT = 12
_OPENING_SHARE = 16
"""One in so many of the changes that made the opening book are kept: snapshots older than the first event need some."""


class OrderBook:
    """Price levels of both sides. A change is one level getting one new quantity, and takes the next update id.

    The recent changes are kept, so that any of the last seconds' books can be told: a snapshot may be older than now.

    Args:
        update_id: id of the last change so far.

    Attributes:
        update_id: id of the last change.
        opened_id: id of the last change when the book was opened for trading.
        quantities: by key; a bid's key is its price, an ask's the negative price.
        bids: keys of the bids, best last.
        asks: keys of the asks, best last.
        mark_us: when `mark` should be called again; not before.
    """

    __slots__ = ("_log", "_log_start", "_marks", "asks", "bids", "mark_us", "opened_id", "quantities", "update_id")

    def __init__(self, update_id: int) -> None:
        self.update_id = self.opened_id = update_id
        self.mark_us = 0
        self.quantities: dict[int, int] = {}
        self.bids: list[int] = []
        self.asks: list[int] = []
        self._log: list[tuple[int, int]] = []
        self._log_start = update_id + 1
        self._marks: list[int] = []

    def set(self, key: int, quantity: int) -> None:
        """Give a level its new quantity; 0 removes it."""
        old = self.quantities.get(key, 0)
        side = self.bids if key > 0 else self.asks
        if quantity:
            self.quantities[key] = quantity
            if not old:
                insort(side, key)
        elif old:
            del self.quantities[key]
            if side[-1] == key:
                side.pop()
            else:
                del side[bisect_left(side, key)]
        self.update_id += 1
        self._log.append((key, old))

    @property
    def best_bid(self) -> Level:
        """The highest bid."""
        key = self.bids[-1]
        return key, self.quantities[key]

    @property
    def best_ask(self) -> Level:
        """The lowest ask."""
        key = self.asks[-1]
        return -key, self.quantities[key]

    def top(self, levels: int) -> tuple[list[Level], list[Level]]:
        """The best bids and asks, best first."""
        quantities = self.quantities
        return (
            [(key, quantities[key]) for key in self.bids[: -levels - 1 : -1]],
            [(-key, quantities[key]) for key in self.asks[: -levels - 1 : -1]],
        )

    def changes(self, first_id: int) -> tuple[list[Level], list[Level]]:
        """Bids and asks that changed since `first_id`, inclusive, with the quantities they have now; best first."""
        keys = {key for key, _ in self._log[max(0, first_id - self._log_start) :]}
        quantities = self.quantities
        return (
            [(key, quantities.get(key, 0)) for key in sorted((key for key in keys if key > 0), reverse=True)],
            [(-key, quantities.get(key, 0)) for key in sorted((key for key in keys if key < 0), reverse=True)],
        )

    def at(self, update_id: int, levels: int) -> tuple[int, list[Level], list[Level]]:
        """The book as it was after a change of the last seconds: the id, then bids and asks, best first.

        An id that is not remembered any more gives the oldest book that is.
        """
        position = max(0, update_id + 1 - self._log_start)
        if position >= len(self._log):
            return self.update_id, *self.top(levels)
        undone = dict(self._log[: position - 1 if position else None : -1])
        return (self._log_start + position - 1, *self._patched(undone, levels))

    def open(self) -> None:
        """Let what the book holds by now be its beginning; of what led to it little is remembered."""
        del self._log[: -len(self._log) // _OPENING_SHARE]
        self._log_start = self.update_id + 1 - len(self._log)
        self.opened_id = self.update_id

    def mark(self, now_us: int) -> None:
        """Forget changes of more than some ten seconds ago. To be called at `mark_us` or soon after."""
        self.mark_us = now_us + _MARK_EVERY_US
        self._marks.append(self.update_id)
        if len(self._marks) > _MARKS_KEPT:
            oldest_id = self._marks.pop(0)
            del self._log[: oldest_id + 1 - self._log_start]
            self._log_start = oldest_id + 1

    def _patched(self, undone: dict[int, int], levels: int) -> tuple[list[Level], list[Level]]:
        return (
            self._side(self.bids, [key for key in undone if key > 0], undone, levels),
            self._side(self.asks, [key for key in undone if key < 0], undone, levels),
        )

    def _side(self, side: Sequence[int], touched: list[int], undone: dict[int, int], levels: int) -> list[Level]:
        keys = sorted(set(side[-levels - len(touched) :]).union(touched), reverse=True)
        quantities = self.quantities
        patched = ((key, undone[key] if key in undone else quantities[key]) for key in keys)
        return [(abs(key), quantity) for key, quantity in patched if quantity][:levels]
