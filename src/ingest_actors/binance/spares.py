"""Events that overlap the end of their series, cut differently by another connection: kept for a while.

What is expected next may still come by itself; then nobody needs them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ingest_actors.binance.departures import Departures
from ingest_actors.binance.series import Odd, Series, size_of
from ingest_actors.messages import Route


class Spares:
    """What is kept is in `Series.spares`.

    Args:
        leaving: counts what waits in memory.
        clock: seconds.
        on_drop: told of those that nobody needs any more.
    """

    def __init__(
        self, leaving: Departures, clock: Callable[[], float], on_drop: Callable[[Counter[Route]], None]
    ) -> None:
        self._leaving = leaving
        self._clock = clock
        self._on_drop = on_drop

    def keep(self, item: Odd) -> bool:
        """Keep an event that overlaps the end of its series; whether it is one."""
        series = item.series
        next_id = series.sequence.next_id
        if next_id is None or series.sequence.held or not item.first < next_id <= item.last:
            return False
        self.drop_overtaken(series)
        if not series.spares:
            series.spare_since = self._clock()
            self._leaving.ring()
        series.spares.append(item)
        self._leaving.size_bytes += size_of(item.event)
        return True

    def take(self, series: Series) -> list[Odd]:
        """What is expected next has not come by itself: those that overlap the end have their turn."""
        self.drop_overtaken(series)
        spares, series.spares = series.spares, []
        self._leaving.size_bytes -= sum(size_of(item.event) for item in spares)
        return spares

    def drop_overtaken(self, series: Series) -> None:
        """Drop those that the series has passed."""
        next_id = series.sequence.next_id
        series.spares.sort(key=lambda item: item.last)
        overtaken = [item for item in series.spares if next_id is None or item.last < next_id]
        if overtaken:
            series.spares = series.spares[len(overtaken) :]
            series.spare_since = self._clock()
            self._leaving.size_bytes -= sum(size_of(item.event) for item in overtaken)
            self._on_drop(Counter(item.event[3] for item in overtaken))
