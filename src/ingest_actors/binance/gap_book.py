"""The gaps of all series: opened when ids are found missing, ended when nothing of them is waited for any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ingest_actors.binance.departures import Departures
from ingest_actors.binance.gaps import Gap, Reason, ResolvedBy, State
from ingest_actors.binance.sequence import Hole, without
from ingest_actors.binance.series import Journalled, Series


class GapBook:
    """Keeps the gaps, and has the journal told of them, in its place among the events.

    Args:
        leaving: takes the journal's records.
        clock_ms: wall clock, ms since the epoch.

    Attributes:
        open: those that are open, by name, oldest first.
        on_journal: told of every record of the journal.
        spool_full_ms: when a full spool last held up what came, ms since the epoch; 0: never.
    """

    def __init__(self, leaving: Departures, clock_ms: Callable[[], int]) -> None:
        self.open: dict[str, Gap] = {}
        self.on_journal: Callable[[Gap, State], None] = lambda _gap, _state: None
        self.spool_full_ms: Callable[[], int] = lambda: 0
        self._leaving = leaving
        self._clock_ms = clock_ms

    def make(self, series: Series, hole: Hole, reason: Reason) -> Gap:
        """A gap that is found now, and not entered yet."""
        if reason is Reason.DISCONNECTED and series.latest_ms <= self.spool_full_ms() > 0:
            reason = Reason.SPOOL_FULL  # nothing was read, so that the exchange hung up
        return Gap(
            series.stream,
            series.symbol,
            series.route.event_type,
            hole,
            reason,
            self._clock_ms(),
            repairable=series.repairable,
        )

    def enter(self, series: Series, gap: Gap) -> None:
        """A gap is open; the journal knows of it already."""
        series.gaps.append(gap)
        self.open[gap.name] = gap

    def begin(self, series: Series, hole: Hole, reason: Reason) -> None:
        """Open a gap, and tell."""
        gap = self.make(series, hole, reason)
        self.enter(series, gap)
        self.tell(series, gap, State.OPEN)

    def uncovered(self, series: Series) -> list[Hole]:
        """What is missing of a series before what has come, and in none of its gaps."""
        return [part for hole in series.sequence.holes() for part in _beside(hole, series.gaps)]

    def ahead(self, series: Series) -> int:
        """How many gaps of a series lie before something that has come and waits."""
        next_id = series.sequence.next_id
        return 0 if next_id is None else sum([gap.hole.last >= next_id for gap in series.gaps])

    def came(self, series: Series, first: int, last: int, by: ResolvedBy) -> None:
        """An event has come, perhaps of a gap."""
        for gap in series.gaps:
            if gap.hole.first <= last and first <= gap.hole.last:
                gap.resolved_by = by
                gap.recovered += series.by_ones

    def lost(self, series: Series, hole: Hole) -> None:
        """Ids that are all missing will never come."""
        for gap in series.gaps:
            if gap.hole.first <= hole.last and hole.first <= gap.hole.last:
                gap.lost += min(gap.hole.last, hole.last) - max(gap.hole.first, hole.first) + 1

    def close(self, series: Series) -> None:
        """End the gaps that are over, once what has come of them has left."""
        next_id = series.sequence.next_id
        for gap in list(series.gaps):
            over = gap.over if series.by_ones else series.sequence.missing(gap.hole) is None
            if over and next_id is not None and gap.hole.last < next_id:
                gap.recovered = gap.hole.size - gap.lost
                self.end(series, gap, State.LOST if gap.lost else State.CLOSED)

    def end(self, series: Series, gap: Gap, state: State) -> None:
        """A gap is over."""
        series.gaps = [other for other in series.gaps if other is not gap]
        self.open.pop(gap.name, None)
        self.tell(series, gap, state)

    def lose_at_once(self, series: Series, gap: Gap) -> None:
        """A gap of which nothing will come is found and over in the same instant; `lost` of it is counted."""
        self.tell(series, gap, State.OPEN)
        self.tell(series, gap, State.LOST)

    def tell(self, series: Series, gap: Gap, state: State) -> None:
        """Write a record of the journal, next behind what leaves of the series."""
        now_ms = self._clock_ms()
        value = gap.record(state, None if state is State.OPEN else now_ms)
        self._leaving.note(series, Journalled(gap, state, now_ms, value))
        self.on_journal(gap, state)


def _beside(hole: Hole, gaps: Iterable[Gap]) -> list[Hole]:
    """What of a hole is in none of these gaps."""
    parts = [hole]
    for gap in gaps:
        parts = [left for part in parts for left in without(part, gap.hole.first, gap.hole.last)]
    return parts
