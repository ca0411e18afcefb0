"""Klines: samples between closes, and one closed candle an interval."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from ingest_actors.audit.digests import Digest
from ingest_actors.audit.records import SeriesName
from ingest_actors.audit.samples import Rising
from ingest_actors.audit.sequences import Consecutive
from ingest_actors.audit.spans import Span, Spans
from ingest_actors.binance.event_time import to_ms
from ingest_actors.binance.stream_table import OFFSET

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_INTERVAL = re.compile(r"(\d+)([smhdwM])")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OFFSET_MS = 8 * 3_600_000


class Grid:
    """The intervals of one kind of candle, numbered without gaps.

    Args:
        interval: as the exchange names it, e.g. ``1m``, ``1M``.
        phase_ms: how far after a multiple of the interval candles open; of months: how far ahead of UTC their days are.
    """

    def __init__(self, interval: str, phase_ms: int) -> None:
        found = _INTERVAL.fullmatch(interval)
        if found is None:
            raise ValueError(f"{interval!r} is no interval")
        self._months = int(found[1]) if found[2] == "M" else 0
        self._step_ms = 0 if self._months else int(found[1]) * _SECONDS[found[2]] * 1000
        self._phase_ms = phase_ms

    @classmethod
    def of(cls, interval: str, stream: str, open_ms: int) -> Grid:
        """The grid that a candle lies on."""
        grid = cls(interval, _OFFSET_MS if stream.endswith(OFFSET) else 0)
        if not grid._months:
            grid._phase_ms = open_ms % grid._step_ms
        return grid

    def number(self, open_ms: int) -> int:
        """Of the candle that opens then."""
        if not self._months:
            return (open_ms - self._phase_ms) // self._step_ms
        day = _EPOCH + timedelta(milliseconds=open_ms + self._phase_ms)
        return (day.year * 12 + day.month - 1) // self._months

    def open_ms(self, number: int) -> int:
        """When a candle opens."""
        if not self._months:
            return number * self._step_ms + self._phase_ms
        year, month = divmod(number * self._months, 12)
        return int((datetime(year, month + 1, 1, tzinfo=UTC) - _EPOCH).total_seconds() * 1000) - self._phase_ms


class Candles(Rising):
    """Klines of one interval. Ids in the report are opening times, ms.

    What must grow is the candle, then whether it is closed, then its trades. Two samples that are alike in all that
    tells them apart are one that was written twice.
    """

    __slots__ = ("_closed", "_grid")

    def __init__(self, name: SeriesName, *, resets: int = 0, digest: Digest | None = None) -> None:
        super().__init__(name, resets=resets, digest=digest)
        self._grid: Grid | None = None
        self._closed = Consecutive(name)

    def take(self, event: Any, offset: int, value: bytes, time: int) -> bool:  # noqa: ARG002 - no other topic has klines
        """See `Sequence.take`."""
        self.records += 1
        candle = event.candle
        open_ms = to_ms(candle.open_time)
        grid = self._grid
        if grid is None:
            grid = self._grid = Grid.of(candle.interval, event.stream, open_ms)
        if candle.closed:
            number = grid.number(open_ms)
            if self._closed.last is not None and number <= self._closed.last:
                return self._closed_again(number, open_ms, time, late=event.late)
            self._closed.odd(number, number, late=False, time=time)
        return self.step((open_ms, candle.closed, candle.last_trade or 0, candle.trades), open_ms, time)

    def _closed_again(self, number: int, open_ms: int, time: int, *, late: bool) -> bool:
        assert self.last is not None
        fresh = self._closed.odd(number, number, late=late, time=time)
        if not fresh:
            self.duplicates.again(open_ms)
        else:
            (self.late if late else self.out_of_order).add((open_ms, self.last))
        return fresh

    def numberings(self) -> list[tuple[Span, Spans]]:
        """From the first sample to the last; what is missing is closed candles, by their opening times."""
        if self._grid is None or self.first is None or self.last is None:
            return []
        missing = Spans()
        for first, last in self._closed.holes:
            missing.add(self._grid.open_ms(first), self._grid.open_ms(last))
        return [((self.first, self.last), missing)]
