"""The book that a client builds from a snapshot and diffs, checked against the best prices that were published."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from invariant_tape import units

Report = Callable[[str], None]
_TICKERS_KEPT = 5000


class Side:
    """One side of a book; keys are prices in 1e-8, negative for asks, so that the best is the last."""

    def __init__(self, sign: int, levels: list[list[str]]) -> None:
        self.sign = sign
        self.levels = {sign * units(price): quantity for price, quantity, *_ in levels}
        self.keys = sorted(self.levels)

    def set(self, price: str, quantity: str) -> None:
        key = self.sign * units(price)
        if float(quantity) == 0:
            if self.levels.pop(key, None) is not None:
                del self.keys[bisect_left(self.keys, key)]
        else:
            if key not in self.levels:
                insort(self.keys, key)
            self.levels[key] = quantity

    def best(self) -> tuple[int, str] | None:
        return (abs(self.keys[-1]), self.levels[self.keys[-1]]) if self.keys else None


class BookCheck:
    """One symbol's book by one depth stream.

    Attributes:
        compared: events after which the book could be compared with a bookTicker.
        agreed: those where both were the same.
        borders: where snapshots fell: on the border of an event, inside one.
    """

    def __init__(self, name: str, report: Report) -> None:
        self.compared = self.agreed = 0
        self.borders = {"border": 0, "inside": 0, "old": 0}
        self._name = name
        self._report = report
        self._events: deque[dict[str, Any]] = deque(maxlen=3000)
        self._sides: tuple[Side, Side] | None = None
        self._book_id = 0
        self._tickers: list[tuple[int, dict[str, Any]]] = []
        self._tops: deque[tuple[int, int, Any]] = deque()

    def snapshot(self, body: dict[str, Any]) -> None:
        """REST's answer, as of this moment; the first one that fits begins the book, later ones are compared."""
        last_id = body["lastUpdateId"]
        if self._sides is None:
            self._begin(body)
        elif self._book_id == last_id:
            for side, name in zip(self._sides, ("bids", "asks"), strict=True):
                keys = side.keys[: -len(body[name]) - 1 : -1]
                told = [(units(price), units(quantity)) for price, quantity, *_ in body[name]]
                if [(abs(key), units(side.levels[key])) for key in keys] != told:
                    self._report(f"{self._name}: snapshot {last_id} is not the book of that id ({name})")

    def event(self, event: dict[str, Any]) -> None:
        """A diff, in its order."""
        if self._sides is None:
            self._events.append(event)
        else:
            self._apply(event)

    def ticker(self, ticker: dict[str, Any]) -> None:
        """A bookTicker."""
        self._tickers.append((ticker["u"], ticker))
        if len(self._tickers) > 2 * _TICKERS_KEPT:
            del self._tickers[:_TICKERS_KEPT]
        while self._tops and self._tops[0][1] < ticker["u"]:
            self._compare(*self._tops.popleft())

    def finish(self) -> None:
        """Nothing more comes."""
        while self._tops:
            self._compare(*self._tops.popleft())

    def _begin(self, body: dict[str, Any]) -> None:
        last_id = body["lastUpdateId"]
        events = list(self._events)
        if events and last_id < events[0]["U"] - 1:
            self.borders["old"] += 1
            return
        following = [event for event in events if event["u"] > last_id]
        if following and not following[0]["U"] <= last_id + 1 <= following[0]["u"]:
            self._report(f"{self._name}: the first event after snapshot {last_id} does not contain the next id")
            return
        inside = bool(following) and following[0]["U"] <= last_id
        self.borders["inside" if inside else "border"] += 1
        self._sides = Side(1, body["bids"]), Side(-1, body["asks"])
        self._book_id = last_id
        self._events.clear()
        for event in following:
            self._apply(event)

    def _apply(self, event: dict[str, Any]) -> None:
        assert self._sides is not None
        if event["u"] <= self._book_id:
            return
        for side, name in zip(self._sides, "ba", strict=True):
            for price, quantity in event[name]:
                side.set(price, quantity)
        self._book_id = event["u"]
        bid, ask = self._sides[0].best(), self._sides[1].best()
        if bid is None or ask is None or bid[0] >= ask[0]:
            self._report(f"{self._name}: best bid is not below best ask after {event['u']}: {bid} {ask}")
        if self._tickers:
            self._tops.append((event["U"], event["u"], (bid, ask)))

    def _compare(self, first_id: int, last_id: int, top: Any) -> None:
        position = bisect_left(self._tickers, last_id + 1, key=lambda item: item[0]) - 1
        if position < 0 or self._tickers[position][0] < first_id:
            return
        ticker = self._tickers[position][1]
        self.compared += 1
        self.agreed += top == ((units(ticker["b"]), ticker["B"]), (units(ticker["a"]), ticker["A"]))


def unordered(levels: list[list[str]], *, falling: bool) -> bool:
    """Whether prices do not come strictly best first."""
    prices = [units(level[0]) for level in levels]
    pairs = pairwise(prices)
    return any(a <= b for a, b in pairs) if falling else any(a >= b for a, b in pairs)
