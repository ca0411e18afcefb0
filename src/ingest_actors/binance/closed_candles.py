"""Closed candles: one an interval. What of them did not come is told, for it does not come again.

Between closes candles are samples. That one was closed is noted while a batch is parsed, and counts once the batch has
gone downstream: parsed again after a crash, it meets the same state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from ingest_actors.binance.candle_grid import Grid
from ingest_actors.binance.event_time import FUTURE_LIMIT_MS, to_ms
from ingest_actors.binance.sequence import Hole
from ingest_actors.binance.series import Series
from ingest_actors.messages import Event

KLINE = "kline"
"""The event type of candles."""

CLOSED = b'"x":true'
"""How a closed candle looks, as the exchange writes it: what looks so on the fast way is looked at with care."""


class _Candle(msgspec.Struct, gc=False):
    """What is read of a candle."""

    t: int
    i: str
    x: bool


class _Kline(msgspec.Struct, gc=False):
    k: _Candle
    stream: str = ""


class ClosedCandle(NamedTuple):
    """One that is closed."""

    stream: str
    """That it came by, where the event says so; else empty."""
    interval: str
    open_ms: int
    """When it opened, ms since the epoch."""


_decode = msgspec.json.Decoder(_Kline).decode


def closed_candle(value: bytes) -> ClosedCandle | None:
    """The candle of an event, if it is closed; None too of what is no candle."""
    try:
        event = _decode(value)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return ClosedCandle(event.stream, event.k.i, to_ms(event.k.t)) if event.k.x else None


class Candles:
    """The candles of one stream.

    Attributes:
        series: for the journal; its ids are not watched.
        last: number of the last closed one; None while there is none.
        ended_ms: when the last one opened that an earlier process has written, ms since the epoch; None: none is known.
        grid: numbers them.
    """

    __slots__ = ("ended_ms", "grid", "last", "series")

    def __init__(self, series: Series, ended_ms: int | None = None) -> None:
        self.series = series
        self.ended_ms = ended_ms
        self.last: int | None = None
        self.grid: Grid | None = None


class ClosedCandles:
    """All of them.

    Args:
        lost: told of closed candles that did not come: of which series, when the first and the last opened (ms), how
            many they are.
        clock_ms: wall clock, ms since the epoch.

    Attributes:
        noted: candles that were closed in the batch under way.
    """

    def __init__(self, lost: Callable[[Series, Hole, int], None], clock_ms: Callable[[], int]) -> None:
        self.noted: list[tuple[Candles, str, int]] = []
        self._lost = lost
        self._clock_ms = clock_ms

    def note(self, candles: Candles, event: Event) -> None:
        """An event of a stream of candles goes downstream with the batch under way."""
        closed = closed_candle(event[0])
        if closed is not None:
            self.noted.append((candles, closed.interval, closed.open_ms))

    def commit(self) -> None:
        """The batch has gone downstream."""
        noted, self.noted = self.noted, []
        for candles, interval, open_ms in noted:
            if 0 <= open_ms <= self._clock_ms() + FUTURE_LIMIT_MS:
                self._close(candles, interval, open_ms)

    def _close(self, candles: Candles, interval: str, open_ms: int) -> None:
        if candles.grid is None:
            try:
                candles.grid = Grid.of(interval, candles.series.stream, open_ms)
            except ValueError:
                return  # an interval that nobody knows: nothing can be said
        number = candles.grid.number(open_ms)
        last = candles.last
        if last is None and candles.ended_ms is not None:
            last = candles.grid.number(candles.ended_ms)
        if last is not None and number <= last:
            return
        candles.last = number
        if last is not None and number > last + 1:
            hole = Hole(candles.grid.open_ms(last + 1), candles.grid.open_ms(number - 1))
            self._lost(candles.series, hole, number - last - 1)
        candles.series.resumed = None
