"""Candles of one symbol, all intervals, built up from seconds."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from ingest_actors.simulator.market.decimals import quote
from ingest_actors.simulator.market.flow import Trade

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

_LENGTHS_US = {
    "1s": SECOND_US, "1m": MINUTE_US, "3m": 3 * MINUTE_US, "5m": 5 * MINUTE_US, "15m": 15 * MINUTE_US,
    "30m": 30 * MINUTE_US, "1h": HOUR_US, "2h": 2 * HOUR_US, "4h": 4 * HOUR_US, "6h": 6 * HOUR_US,
    "8h": 8 * HOUR_US, "12h": 12 * HOUR_US, "1d": DAY_US, "3d": 3 * DAY_US, "1w": 7 * DAY_US,
}  # fmt: skip

INTERVALS = (*_LENGTHS_US, "1M")
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
        length_us = _LENGTHS_US[interval]
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


class _Series:
    """The candles of one interval: closed ones that had trades, and the open one as far as it is folded in."""

    __slots__ = ("closed", "interval", "offset_us", "open")

    def __init__(self, interval: str, offset_us: int, kept: int) -> None:
        self.interval = interval
        self.offset_us = offset_us
        self.open: Candle | None = None
        self.closed: deque[Candle] = deque(maxlen=kept)

    def fold(self, part: Candle) -> Candle | None:
        """Take in a shorter candle; the candle that this closes, if any."""
        if self.open is not None and part.open_us <= self.open.close_us:
            self.open.merge(part)
            return None
        finished = self.open
        if finished is not None:
            self.closed.append(finished)
        start_us, end_us = bucket(self.interval, part.open_us, self.offset_us)
        self.open = copy(part)
        self.open.open_us, self.open.close_us = start_us, end_us
        return finished

    def find(self, open_us: int) -> Candle | None:
        if self.open is not None and self.open.open_us <= open_us:
            return self.open if self.open.open_us == open_us else None
        position = bisect_left(self.closed, open_us, key=_open_us)
        found = self.closed[position] if position < len(self.closed) else None
        return found if found is not None and found.open_us == open_us else None


def _open_us(candle: Candle) -> int:
    return candle.open_us


class CandleStore:
    """All candles of one symbol. Seconds are folded into minutes when they end, minutes into everything longer.

    Args:
        price: what traded last before the start.
        start_us: when the market opened.
        kept: how many closed candles of each interval are remembered.
        on_minute: called with each minute's candle that had trades, when it has ended.
    """

    def __init__(
        self, price: int, start_us: int, *, kept: int = 1500, on_minute: Callable[[Candle], None] | None = None
    ) -> None:
        self.last_price = price
        self.start_us = start_us
        self.last_trade_us = start_us
        self.last_trade_id = -1
        self._on_minute = on_minute
        self._seconds = _Series("1s", 0, kept)
        self._minutes = _Series("1m", 0, kept)
        self._longer = {
            (interval, offset_us): _Series(interval, offset_us, kept)
            for interval in INTERVALS[2:]
            for offset_us in (0, 8 * HOUR_US)
        }
        self._open_price = price

    def add(self, trade: Trade) -> None:
        """Take in the next trade; their times never go back."""
        second = self._seconds.open
        if second is None or trade.time_us > second.close_us:
            if second is not None:
                self._fold(second)
                self._seconds.closed.append(second)
            start_us, end_us = bucket("1s", trade.time_us)
            price = trade.price
            second = self._seconds.open = Candle(start_us, end_us, price, price, price, price)
        second.add(trade)
        self.last_price = trade.price
        self.last_trade_us = trade.time_us
        self.last_trade_id = trade.trade_id

    def candle(self, interval: str, time_us: int, offset_us: int = 0) -> Candle:
        """A copy of the candle that a time falls into, with all that has traded in it so far."""
        start_us, end_us = bucket(interval, time_us, offset_us)
        found: Candle | None = None
        for series in self._parts(interval, offset_us):
            part = series.open if series.interval != interval else series.find(start_us)
            if part is None or not start_us <= part.open_us <= end_us:
                continue
            if found is None:
                found = copy(part)
                found.open_us, found.close_us = start_us, end_us
            else:
                found.merge(part)
        if found is None:
            price = self._price_before(start_us)
            found = Candle(start_us, end_us, price, price, price, price)
        return found

    def first_us(self, interval: str, offset_us: int = 0) -> int:
        """Open time of the oldest candle that is remembered whole."""
        series = self._parts(interval, offset_us)[0]
        if len(series.closed) == series.closed.maxlen:
            return series.closed[0].open_us
        return bucket(interval, self.start_us, offset_us)[0]

    def open_parts(self) -> Iterator[Candle]:
        """What has traded since the last minute that `on_minute` was told of, oldest first."""
        for series in (self._minutes, self._seconds):
            if series.open is not None:
                yield series.open

    def _parts(self, interval: str, offset_us: int) -> tuple[_Series, ...]:
        if interval == "1s":
            return (self._seconds,)
        if interval == "1m":
            return self._minutes, self._seconds
        return self._longer[interval, offset_us], self._minutes, self._seconds

    def _fold(self, second: Candle) -> None:
        minute = self._minutes.fold(second)
        if minute is None:
            return
        for series in self._longer.values():
            series.fold(minute)
        if self._on_minute is not None:
            self._on_minute(minute)

    def _price_before(self, time_us: int) -> int:
        for series in (self._seconds, self._minutes):
            if series.open is not None and series.open.open_us < time_us:
                return series.open.close
            position = bisect_left(series.closed, time_us, key=_open_us)
            if position:
                return next(islice(series.closed, position - 1, None)).close
        return self._open_price
