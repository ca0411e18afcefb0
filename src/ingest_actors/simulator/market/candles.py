"""One candle, and the intervals that candles are cut by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from ingest_actors.simulator.market.decimals import quote
from ingest_actors.simulator.market.trades import Trade

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

LENGTHS_US = {
    "1s": SECOND_US, "1m": MINUTE_US, "3m": 3 * MINUTE_US, "5m": 5 * MINUTE_US, "15m": 15 * MINUTE_US,
    "30m": 30 * MINUTE_US, "1h": HOUR_US, "2h": 2 * HOUR_US, "4h": 4 * HOUR_US, "6h": 6 * HOUR_US,
    "8h": 8 * HOUR_US, "12h": 12 * HOUR_US, "1d": DAY_US, "3d": 3 * DAY_US, "1w": 7 * DAY_US,
}  # fmt: skip
"""Intervals of a fixed length."""

INTERVALS = (*LENGTHS_US, "1M")
"""Every interval that the exchange has."""

_MONDAY_US = 4 * DAY_US
"""The epoch was a Thursday; weeks begin on Mondays."""


def bucket(interval: str, time_us: int, offset_us: int = 0) -> tuple[int, int]:
    """First and last microsecond of the candle that a time falls into.

    Args:
        interval: one of `INTERVALS`.
        time_us: microseconds since the epoch.
        offset_us: how far the candles' own time zone is ahead of UTC.
    """
    local_us = time_us + offset_us
    if interval == "1M":
        day = datetime.fromtimestamp(local_us // SECOND_US, tz=UTC)
        first = datetime(day.year, day.month, 1, tzinfo=UTC)
        following = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
        start_us, end_us = int(first.timestamp()) * SECOND_US, int(following.timestamp()) * SECOND_US
    else:
        length_us = LENGTHS_US[interval]
        shift_us = _MONDAY_US if interval == "1w" else 0
        start_us = (local_us - shift_us) // length_us * length_us + shift_us
        end_us = start_us + length_us
    return start_us - offset_us, end_us - offset_us - 1


@dataclass(slots=True)
class Candle:
    """What traded between two times. Decimals in 1e-8; without trades the ids are -1 and the prices the last one."""

    open_us: int
    close_us: int
    open: int
    high: int
    low: int
    close: int
    base: int = 0
    quote: int = 0
    taker_base: int = 0
    taker_quote: int = 0
    trades: int = 0
    first_id: int = -1
    last_id: int = -1

    def add(self, trade: Trade) -> None:
        """Take in the next trade."""
        trade_id, price, quantity, _, maker = trade
        if not self.trades:
            self.open = self.high = self.low = price
            self.first_id = trade_id
        elif price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        value = quote(price, quantity)
        self.close = price
        self.base += quantity
        self.quote += value
        if not maker:
            self.taker_base += quantity
            self.taker_quote += value
        self.trades += 1
        self.last_id = trade_id

    def merge(self, later: Candle) -> None:
        """Take in all that traded in a later candle."""
        if not later.trades:
            return
        if not self.trades:
            self.open, self.high, self.low, self.first_id = later.open, later.high, later.low, later.first_id
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.base += later.base
        self.quote += later.quote
        self.taker_base += later.taker_base
        self.taker_quote += later.taker_quote
        self.trades += later.trades
        self.last_id = later.last_id
