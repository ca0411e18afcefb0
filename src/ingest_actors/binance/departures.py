"""What leaves next: events that had to wait, in order, and records of the journal in their places between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeAlias

import trio

from ingest_actors.binance.series import Journalled, Series, size_of
from ingest_actors.messages import Event, Route

Departing: TypeAlias = Event | Journalled
"""What leaves."""

WITHHELD_MAX = 1000
"""Events of one series that may be withheld. A book is updated ten times a second at most, and withheld for seconds."""


class Departures:
    """A queue that outlives whoever empties it.

    A series may be withheld (`Series.withheld` is a list): then what would leave next is put there instead.

    Args:
        journal: makes the event of a record of the journal.
        bytes_max: what all events that wait, here or elsewhere, may be counted as in memory.

    Attributes:
        size_bytes: what they are counted as now. Whoever lets an event wait adds to it; it is taken off when the event
            has gone, or by whoever drops it.
    """

    def __init__(self, journal: Callable[[Journalled], Event], bytes_max: int) -> None:
        self.size_bytes = 0
        self._journal = journal
        self._bytes_max = bytes_max
        self._queue: deque[tuple[Series, Departing]] = deque()
        self._changed = trio.Event()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def crowded(self) -> bool:
        """Whether more waits than may."""
        return self.size_bytes > self._bytes_max

    def routes(self) -> Iterator[Route]:
        """The route of each event in the queue."""
        return (item[3] for _, item in self._queue if not isinstance(item, Journalled))

    def add(self, series: Series, events: Iterable[Event]) -> None:
        """Events of a series leave next; they are counted in memory already."""
        self.put(series, events)

    def note(self, series: Series, record: Journalled) -> None:
        """A record of the journal leaves next."""
        self.put(series, (record,))

    def put(self, series: Series, items: Iterable[Departing]) -> None:
        """Events, counted in memory already, and records of the journal leave next, or are withheld."""
        if series.withheld is not None:
            series.withheld.extend(items)
            if len(series.withheld) > WITHHELD_MAX or self.crowded:
                self.ring()
            return
        for item in items:
            series.queued += not isinstance(item, Journalled)
            self._queue.append((series, item))
        self.ring()

    def next(self, count_max: int) -> list[Event]:
        """The first ones, at most so many; they stay until `took` is called."""
        items = [item for _, item in islice(self._queue, count_max)]
        return [self._journal(item) if isinstance(item, Journalled) else item for item in items]

    def took(self, count: int) -> list[Series]:
        """The first ones have gone downstream. Returns the series that they were of."""
        gone: dict[Series, None] = {}
        for _ in range(count):
            series, item = self._queue.popleft()
            gone[series] = None
            if not isinstance(item, Journalled):
                series.queued -= 1
                self.size_bytes -= size_of(item)
        self.ring()
        return list(gone)

    def ring(self) -> None:
        """Something has changed that somebody may wait for."""
        self._changed.set()
        self._changed = trio.Event()

    async def wait_changed(self) -> None:
        """Until `ring` is called."""
        await self._changed.wait()

    async def wait_room(self) -> None:
        """Until no more waits than may."""
        while self.crowded:
            await self._changed.wait()
