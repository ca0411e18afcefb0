"""What was traded in one symbol, as the stream `trade` or `aggTrade` told it, compact, to check everything else by."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import Any

ONE = 100_000_000


def units(decimal: str) -> int:
    """A decimal with eight places in 1e-8; others are slower."""
    whole, _, fraction = decimal.partition(".")
    if len(fraction) == 8:
        return int(whole + fraction)
    return int(whole + fraction.ljust(8, "0"))


class Tape:
    """Rows in the order of their ids; a row is a trade, or an aggregate when nothing finer is there.

    Attributes:
        first_ids: of each row; likewise `last_ids`, `times`, `prices`, `quantities`, `makers`.
        base: all that was traded up to and including each row, in 1e-8; likewise `quote`, `taker_base`, `taker_quote`.
    """

    def __init__(self) -> None:
        self.first_ids, self.last_ids = array("q"), array("q")
        self.times, self.prices, self.quantities = array("q"), array("q"), array("q")
        self.makers = array("b")
        self.base, self.quote = [0], [0]
        self.taker_base, self.taker_quote = [0], [0]

    def __len__(self) -> int:
        return len(self.times)

    def add(self, event: dict[str, Any], first_id: int, last_id: int) -> None:
        """One more row: a trade or an aggregate with these first and last trade ids."""
        time, maker = event["T"], event["m"]
        price, quantity = units(event["p"]), units(event["q"])
        value = price * quantity // ONE
        self.first_ids.append(first_id)
        self.last_ids.append(last_id)
        self.times.append(time)
        self.prices.append(price)
        self.quantities.append(quantity)
        self.makers.append(maker)
        self.base.append(self.base[-1] + quantity)
        self.quote.append(self.quote[-1] + value)
        self.taker_base.append(self.taker_base[-1] + (0 if maker else quantity))
        self.taker_quote.append(self.taker_quote[-1] + (0 if maker else value))

    def rows(self, first_id: int, last_id: int) -> tuple[int, int] | None:
        """Positions (start, end) of the rows that are exactly these trades; None: they are not all here."""
        start = bisect_left(self.first_ids, first_id)
        end = bisect_left(self.last_ids, last_id)
        if start >= len(self) or end >= len(self) or start > end:
            return None
        if self.first_ids[start] != first_id or self.last_ids[end] != last_id:
            return None
        return start, end + 1

    def figures(self, start: int, end: int, *, extremes: bool = True) -> dict[str, int]:
        """What rows amount to, by the names of the kline's keys."""
        figures = {
            "o": self.prices[start], "c": self.prices[end - 1],
            "v": self.base[end] - self.base[start], "q": self.quote[end] - self.quote[start],
            "V": self.taker_base[end] - self.taker_base[start], "Q": self.taker_quote[end] - self.taker_quote[start],
        }  # fmt: skip
        if extremes:
            part = self.prices[start:end]
            figures |= {"h": max(part), "l": min(part)}
        return figures
