"""Book updates that wait for a snapshot, which has to stand before the first of them that goes beyond it.

While a snapshot is asked for, nothing of its series leaves. So whatever the answer contains, as long as it is no older
than what had left before, its place is still ahead. This is bounded in time, in events and in bytes: a reader who has
to wait for the next snapshot is better off than one to whom nothing comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from ingest_actors.binance.departures import WITHHELD_MAX, Departures
from ingest_actors.binance.series import Journalled, Series, size_of
from ingest_actors.messages import Event, Route


class _Update(msgspec.Struct, gc=False):
    """What is read of an update."""

    u: int


_last_id = msgspec.json.Decoder(_Update).decode


class _Withholding:
    """One series' waiting."""

    __slots__ = ("left_to", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.left_to = -1
        """The highest id that has left; known once no batch is under way that was begun before."""


class Withholdings:
    """The series that are withheld; what they withhold is in `Series.withheld`.

    Args:
        leaving: where it goes on.
        clock: seconds.

    Attributes:
        begun: series that were not withheld yet when a batch was begun that is still under way.
    """

    def __init__(self, leaving: Departures, clock: Callable[[], float]) -> None:
        self.begun: list[Series] = []
        self._leaving = leaving
        self._clock = clock
        self._series: dict[Series, _Withholding] = {}

    def all(self) -> list[Series]:
        """Those that are withheld."""
        return list(self._series)

    def routes(self) -> Iterator[Route]:
        """The route of each event that is withheld."""
        for series in self._series:
            for item in series.withheld or ():
                if not isinstance(item, Journalled):
                    yield item[3]

    def begin(self, series: Series, seconds: float) -> float:
        """Withhold a series, for so long at most, unless it is withheld already. Returns until when."""
        known = self._series.get(series)
        if known is None:
            known = self._series[series] = _Withholding(self._clock() + seconds)
            series.withheld = []
            known.left_to = (series.sequence.next_id or 0) - 1
            if series.touched:
                self.begun.append(series)
            self._leaving.ring()
        return known.until

    def under_way(self) -> Iterator[Series]:
        """Now that the batch has gone downstream that was under way when they began: those series."""
        begun, self.begun = self.begun, []
        for series in begun:
            known = self._series.get(series)
            if known is not None:
                known.left_to = (series.sequence.next_id or 0) - 1
            yield series

    def insert(self, series: Series, number: int, event: Event) -> bool:
        """Put an event before the first update beyond an id, and withhold the series no longer; whether there was room.

        There is none when the series is not withheld, or something beyond the id has left.
        """
        known, items = self._series.get(series), series.withheld
        if known is None or items is None or number < self._left_to(series, known):
            return False
        place = next((index for index, item in enumerate(items) if _beyond(item, number)), len(items))
        self._leaving.size_bytes += size_of(event)
        items.insert(place, event)
        self.end(series)
        return True

    def end(self, series: Series) -> None:
        """Withhold a series no longer."""
        del self._series[series]
        items, series.withheld = series.withheld or (), None
        self._leaving.put(series, items)

    def expired(self) -> list[Series]:
        """Those that have been withheld for long enough, or have too much withheld."""
        now, crowded = self._clock(), self._leaving.crowded
        return [
            series
            for series, known in self._series.items()
            if crowded or now >= known.until or len(series.withheld or ()) > WITHHELD_MAX
        ]

    def due(self) -> Iterator[float]:
        """When `expired` has something new."""
        return (known.until for known in self._series.values())

    def _left_to(self, series: Series, known: _Withholding) -> int:
        if series not in self.begun:
            return known.left_to
        reached = series.staged if series.staged is not None else series.reached  # what the batch under way brings
        return max(known.left_to, (reached or 0) - 1)


def _beyond(item: Event | Journalled, number: int) -> bool:
    return not isinstance(item, Journalled) and _last_id(item[0]).u > number
