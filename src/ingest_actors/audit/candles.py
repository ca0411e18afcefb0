"""Klines: samples between closes, and one closed candle an interval."""

from __future__ import annotations

from typing import Any

from ingest_actors.audit.digests import Digest
from ingest_actors.audit.records import SeriesName
from ingest_actors.audit.samples import Rising
from ingest_actors.audit.sequences import Consecutive
from ingest_actors.audit.spans import Span, Spans
from ingest_actors.binance.candle_grid import Grid
from ingest_actors.binance.event_time import to_ms


class Candles(Rising):
    """Klines of one interval. Ids in the report are opening times, ms.

    What must grow is the candle, then whether it is closed, then its trades, then the time of the event: a candle in
    which nothing was traded meanwhile may be told again, as it is to whoever subscribes again. Two samples that are
    alike in all that are one that was written twice.
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
        return self.step(
            (open_ms, candle.closed, candle.last_trade or 0, candle.trades, event.event_time), open_ms, time
        )

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
