"""All candles of one symbol, built up from seconds; any span of time is put together from the longest that fit."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from copy import copy

from ingest_actors.simulator.market.candles import (
    DAY_US,
    HOUR_US,
    LENGTHS_US,
    MINUTE_US,
    SECOND_US,
    Candle,
    bucket,
)
from ingest_actors.simulator.market.trades import Trade

_SECONDS_KEPT = 1500
"""Candles are kept for so many times their length. Of seconds REST gives 1000 at most, and may lag behind."""
_MINUTES_KEPT = 10_200
"""Seven days, the longest rolling window, and two hours."""
_LONGER_KEPT = 1500
_COLUMNS = 11


class _Series:
    """Candles of one length, in UTC: closed ones that had trades, and the open one as far as it is folded in.

    Closed ones are kept as rows of an array, for there may be thousands in each of thousands of symbols.
    """

    __slots__ = ("forgotten_us", "kept", "length_us", "open", "rows", "starts_us")

    def __init__(self, length_us: int, kept: int) -> None:
        self.length_us = length_us
        self.kept = kept
        self.open: Candle | None = None
        self.starts_us: array[int] = array("q")
        self.rows: array[int] = array("q")
        self.forgotten_us: int | None = None

    def fold(self, part: Candle) -> Candle | None:
        """Take in a shorter candle; the candle that this closes, if any."""
        if self.open is not None and part.open_us <= self.open.close_us:
            self.open.merge(part)
            return None
        finished = self.open
        if finished is not None:
            self.remember(finished)
        start_us = part.open_us // self.length_us * self.length_us
        self.open = copy(part)
        self.open.open_us, self.open.close_us = start_us, start_us + self.length_us - 1
        return finished

    def remember(self, c: Candle) -> None:
        """Keep a closed candle; those too old for being kept go, some at a time."""
        self.starts_us.append(c.open_us)
        self.rows.extend(
            (
                c.open, c.high, c.low, c.close, c.base, c.quote, c.taker_base, c.taker_quote,
                c.trades, c.first_id, c.last_id,
            )
        )  # fmt: skip
        oldest_us = c.open_us - (self.kept + self.kept // 8) * self.length_us
        if self.starts_us[0] < oldest_us:
            gone = bisect_left(self.starts_us, c.open_us - self.kept * self.length_us)
            self.forgotten_us = self.starts_us[gone - 1] + self.length_us - 1
            del self.starts_us[:gone]
            del self.rows[: gone * _COLUMNS]

    def at(self, position: int) -> Candle:
        """A copy of a closed candle."""
        open_us = self.starts_us[position]
        row = self.rows[position * _COLUMNS : (position + 1) * _COLUMNS]
        return Candle(open_us, open_us + self.length_us - 1, *row)

    def find(self, open_us: int) -> Candle | None:
        """A copy of the closed candle that begins at a time."""
        starts_us = self.starts_us
        if not starts_us or starts_us[-1] < open_us:
            return None
        position = bisect_left(starts_us, open_us)
        return self.at(position) if starts_us[position] == open_us else None

    def before(self, time_us: int) -> Candle | None:
        """The newest candle that begins before a time."""
        if self.open is not None and self.open.open_us < time_us:
            return self.open
        position = bisect_left(self.starts_us, time_us)
        return self.at(position - 1) if position else None


class CandleStore:
    """All candles of one symbol. Seconds are folded into minutes when they end, those into hours, those into days.

    Args:
        price: what traded last before the start.
        start_us: when the market opened.
        on_minute: called with each minute's candle that had trades, when it has ended.
    """

    __slots__ = ("_on_minute", "_open_price", "_series", "last_price", "last_trade_id", "last_trade_us", "start_us")

    def __init__(self, price: int, start_us: int, *, on_minute: Callable[[Candle], None] | None = None) -> None:
        self.last_price = price
        self.start_us = start_us
        self.last_trade_us = start_us
        self.last_trade_id = -1
        self._on_minute = on_minute
        self._open_price = price
        self._series = (
            _Series(DAY_US, _LONGER_KEPT),
            _Series(HOUR_US, _LONGER_KEPT),
            _Series(MINUTE_US, _MINUTES_KEPT),
            _Series(SECOND_US, _SECONDS_KEPT),
        )

    def add(self, trade: Trade) -> None:
        """Take in the next trade; their times never go back."""
        seconds = self._series[3]
        second = seconds.open
        if second is None or trade.time_us > second.close_us:
            if second is not None:
                seconds.remember(second)
                self._fold(second)
            start_us = trade.time_us // SECOND_US * SECOND_US
            price = trade.price
            second = seconds.open = Candle(start_us, start_us + SECOND_US - 1, price, price, price, price)
        second.add(trade)
        self.last_price = trade.price
        self.last_trade_us = trade.time_us
        self.last_trade_id = trade.trade_id

    def candle(self, interval: str, time_us: int, offset_us: int = 0) -> Candle:
        """A copy of the candle that a time falls into, with all that has traded in it so far."""
        return self.span(*bucket(interval, time_us, offset_us))

    def span(self, start_us: int, end_us: int) -> Candle:
        """All that traded between two times, both inclusive, as one candle; both are borders of seconds."""
        found: Candle | None = None
        at_us = start_us
        while at_us <= end_us:
            level = self._longest(at_us, end_us)
            for part in self._parts(level, at_us):
                if found is None:
                    found = copy(part)
                    found.open_us, found.close_us = start_us, end_us
                else:
                    found.merge(part)
            at_us += self._series[level].length_us
        if found is None:
            price = self.price_before(start_us)
            found = Candle(start_us, end_us, price, price, price, price)
        return found

    def first_us(self, interval: str, offset_us: int = 0) -> int:
        """Open time of the oldest candle that is remembered whole."""
        finest = SECOND_US if interval == "1s" else MINUTE_US
        if offset_us % HOUR_US == 0 and LENGTHS_US.get(interval, DAY_US) >= HOUR_US:
            finest = DAY_US if offset_us == 0 and LENGTHS_US.get(interval, DAY_US) >= DAY_US else HOUR_US
        forgotten_us = next(series.forgotten_us for series in self._series if series.length_us == finest)
        if forgotten_us is None:
            return bucket(interval, self.start_us, offset_us)[0]
        return bucket(interval, forgotten_us, offset_us)[1] + 1

    def minutes_since(self, start_us: int) -> list[Candle]:
        """The closed minutes since a time, as `on_minute` was told of them, oldest first."""
        minutes = self._series[2]
        first = bisect_left(minutes.starts_us, start_us)
        return [minutes.at(position) for position in range(first, len(minutes.starts_us))]

    def open_parts(self) -> Iterator[Candle]:
        """What has traded since the last minute that `on_minute` was told of, oldest first."""
        for series in self._series[2:]:
            if series.open is not None:
                yield series.open

    def price_before(self, time_us: int) -> int:
        """Price of the last trade before a time, as far as that is remembered."""
        for series in reversed(self._series):
            candle = series.before(time_us)
            if candle is not None:
                return candle.close
        return self._open_price

    def _longest(self, at_us: int, end_us: int) -> int:
        """The level of the longest candle that begins at a time and ends in time."""
        for level, series in enumerate(self._series):
            if at_us % series.length_us == 0 and at_us + series.length_us - 1 <= end_us:
                return level
        raise ValueError(f"{at_us} or {end_us} is no border of a second")

    def _parts(self, level: int, at_us: int) -> Iterator[Candle]:
        """What the candle of one level that begins at a time consists of: itself, or what is still open in it."""
        closed = self._series[level].find(at_us)
        if closed is not None:
            yield closed
            return
        end_us = at_us + self._series[level].length_us
        for series in self._series[level:]:
            if series.open is not None and at_us <= series.open.open_us < end_us:
                yield series.open

    def _fold(self, second: Candle) -> None:
        minute = self._series[2].fold(second)
        if minute is None:
            return
        hour = self._series[1].fold(minute)
        if hour is not None:
            self._series[0].fold(hour)
        if self._on_minute is not None:
            self._on_minute(minute)
