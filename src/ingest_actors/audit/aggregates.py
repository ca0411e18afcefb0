"""Aggregate trades against the trades that they say they are made of. Exact, in one pass, over a bounded window."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from ingest_actors.audit.findings import Findings
from ingest_actors.audit.forms import AggregateTrade, Trade

WINDOW_MAX = 20_000
"""Trades, and aggregates, of one symbol that wait for the other side. One stream may run ahead of the other; this is
more than any symbol trades in the ten seconds that a gap may hold one of them back."""

HELD_MAX = 200_000
"""The same over all symbols, some 300 bytes each."""

_Terms = tuple[str, str, bool | None]


class Differing(NamedTuple):
    """An aggregate that its trades do not bear out."""

    id: int
    what: str
    """``price``, ``side`` or ``quantity``."""


class Held:
    """How much all pairings together hold.

    Args:
        held_max: beyond it, the pairing that would hold more lets go of its older half.
    """

    def __init__(self, held_max: int = HELD_MAX) -> None:
        self.held_max = held_max
        self.count = 0


class Pairing:
    """The aggregates and the trades of one symbol.

    Args:
        held: shared by all symbols.

    Attributes:
        compared: aggregates whose trades were all there.
        differing: those that do not agree with them.
        let_go: trades and aggregates that waited in vain; more of them than the window holds, or at its edges.
    """

    __slots__ = ("_held", "_trades", "_waiting", "compared", "differing", "let_go")

    def __init__(self, held: Held | None = None) -> None:
        self._held = held or Held()
        self._trades: dict[int, _Terms] = {}
        self._waiting: dict[int, AggregateTrade] = {}
        self.compared = 0
        self.differing: Findings[Differing] = Findings()
        self.let_go = 0

    def trade(self, event: Trade) -> None:
        """The next trade."""
        self._trades[event.id] = (event.price, event.quantity, event.maker)
        self._held.count += 1
        if event.id in self._waiting:
            self._held.count -= 1
            self.aggregate(self._waiting.pop(event.id))
        elif len(self._trades) > WINDOW_MAX or self._held.count > self._held.held_max:
            self._let_go(self._trades)

    def aggregate(self, event: AggregateTrade) -> None:
        """The next aggregate. It waits, if it must, for the first of its trades that is not there."""
        trades = self._trades
        first, last = event.first, event.last
        if first == last:
            terms = trades.pop(first, None)
            if terms is None:
                self._wait(first, event)
                return
            self._held.count -= 1
            self.compared += 1
            if terms != (event.price, event.quantity, event.maker):
                self._look_closer(event, [terms])
            return
        if last - first >= WINDOW_MAX or last < first:
            self.let_go += 1
            return
        for number in range(first, last + 1):
            if number not in trades:
                self._wait(number, event)
                return
        self._held.count -= last - first + 1
        self.compared += 1
        self._look_closer(event, [trades.pop(number) for number in range(first, last + 1)])

    def _wait(self, number: int, event: AggregateTrade) -> None:
        self._waiting[number] = event
        self._held.count += 1
        if len(self._waiting) > WINDOW_MAX or self._held.count > self._held.held_max:
            self._let_go(self._waiting)

    def _let_go(self, side: dict[int, _Terms] | dict[int, AggregateTrade]) -> None:
        """Forget the older half: the other stream is not there, or too far behind."""
        for number in list(side)[: len(side) // 2 + 1]:
            del side[number]
            self._held.count -= 1
            self.let_go += 1

    def _look_closer(self, event: AggregateTrade, terms: list[_Terms]) -> None:
        if any(maker != event.maker for _, _, maker in terms):
            self.differing.add(Differing(event.id, "side"))
        elif any(price != event.price and _number(price) != _number(event.price) for price, _, _ in terms):
            self.differing.add(Differing(event.id, "price"))
        elif sum((_number(quantity) for _, quantity, _ in terms), Decimal(0)) != _number(event.quantity):
            self.differing.add(Differing(event.id, "quantity"))


def _number(text: str) -> Decimal:
    """A decimal string; what is none equals nothing."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("NaN")
