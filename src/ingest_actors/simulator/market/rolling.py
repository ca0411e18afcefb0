"""Statistics over a rolling window, by the minute."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ingest_actors.simulator.market.candle_store import CandleStore
from ingest_actors.simulator.market.candles import MINUTE_US, Candle
from ingest_actors.simulator.market.decimals import ONE, percent_text


@dataclass(frozen=True, slots=True)
class WindowStatistics:
    """A window's figures. Decimals in 1e-8; without trades the ids are -1 and the prices the last one."""

    open_us: int
    open: int
    high: int
    low: int
    close: int
    base: int
    quote: int
    trades: int
    first_id: int
    last_id: int
    before: int
    """Price of the last trade before the window."""
    last_quantity: int

    @property
    def change(self) -> int:
        """From the open to the close."""
        return self.close - self.open

    @property
    def percent(self) -> str:
        """The change in percent, three decimals."""
        return percent_text(self.change, self.open)

    @property
    def average(self) -> int:
        """Price weighted by volume."""
        return self.quote * ONE // self.base if self.base else self.close


def window_start(now_us: int, length_us: int) -> int:
    """When the window that ends now began: on a full minute."""
    return (now_us - length_us) // MINUTE_US * MINUTE_US


def statistics_of(span: Candle, before: int, last_quantity: int) -> WindowStatistics:
    """The figures of a span of time whose trades were put together into one candle."""
    return WindowStatistics(
        open_us=span.open_us,
        open=span.open,
        high=span.high,
        low=span.low,
        close=span.close,
        base=span.base,
        quote=span.quote,
        trades=span.trades,
        first_id=span.first_id,
        last_id=span.last_id,
        before=before,
        last_quantity=last_quantity if span.trades else 0,
    )


class RollingWindow:
    """Sums over the minutes of a window, kept up to date as minutes come and go.

    Args:
        length_us: of the window; it begins on a full minute, so it is up to a minute longer.
        candles: what has traded so far.
        now_us: market time.
    """

    def __init__(self, length_us: int, candles: CandleStore, now_us: int) -> None:
        self.length_us = length_us
        start_us = window_start(now_us, length_us)
        self._before = candles.price_before(start_us)
        self._minutes: deque[Candle] = deque()
        self._highs: deque[Candle] = deque()
        self._lows: deque[Candle] = deque()
        self._base = self._quote = self._trades = 0
        for minute in candles.minutes_since(start_us):
            self.add(minute)

    def add(self, minute: Candle) -> None:
        """A minute has ended."""
        self._minutes.append(minute)
        self._base += minute.base
        self._quote += minute.quote
        self._trades += minute.trades
        while self._highs and self._highs[-1].high <= minute.high:
            self._highs.pop()
        self._highs.append(minute)
        while self._lows and self._lows[-1].low >= minute.low:
            self._lows.pop()
        self._lows.append(minute)

    def statistics(self, now_us: int, candles: CandleStore, last_quantity: int) -> WindowStatistics:
        """The window that ends now."""
        start_us = window_start(now_us, self.length_us)
        self._forget(start_us)
        recent = [part for part in candles.open_parts() if part.trades and part.open_us >= start_us]
        before = self._before
        for part in candles.open_parts():
            if part.trades and part.open_us < start_us:
                before = part.close
        parts = [*([self._minutes[0], self._minutes[-1]] if self._minutes else []), *recent]
        if not parts:
            price = candles.last_price
            return WindowStatistics(start_us, price, price, price, price, 0, 0, 0, -1, -1, before, 0)
        highs = [*([self._highs[0].high] if self._highs else []), *(part.high for part in recent)]
        lows = [*([self._lows[0].low] if self._lows else []), *(part.low for part in recent)]
        return WindowStatistics(
            open_us=start_us,
            open=parts[0].open,
            high=max(highs),
            low=min(lows),
            close=parts[-1].close,
            base=self._base + sum(part.base for part in recent),
            quote=self._quote + sum(part.quote for part in recent),
            trades=self._trades + sum(part.trades for part in recent),
            first_id=parts[0].first_id,
            last_id=parts[-1].last_id,
            before=before,
            last_quantity=last_quantity,
        )

    def _forget(self, start_us: int) -> None:
        while self._minutes and self._minutes[0].open_us < start_us:
            gone = self._minutes.popleft()
            self._before = gone.close
            self._base -= gone.base
            self._quote -= gone.quote
            self._trades -= gone.trades
            if self._highs[0] is gone:
                self._highs.popleft()
            if self._lows[0] is gone:
                self._lows.popleft()
