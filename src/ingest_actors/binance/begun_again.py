"""Whether a series' ids have begun again, or what came was there before.

An exchange that is set up anew (test networks are, every month) begins its ids again: then everything new looks like
something old, and to drop it would be to lose the market. So what seems to be a duplicate is kept aside until something
new follows, which proves that it was one. If nothing does, whoever can asks the exchange where its ids are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice, pairwise

from ingest_actors.binance.departures import Departures
from ingest_actors.binance.event_time import FUTURE_LIMIT_MS
from ingest_actors.binance.series import Odd, Series, size_of
from ingest_actors.messages import Route

DOUBTED_FROM = 5
"""So many duplicates in a row are no longer taken for granted."""

DOUBT_S = 10.0
"""Nor is one that nothing new has followed for so long."""

DATABASE_LAG_MAX_S = 10.0
"""What REST tells of trades is not older than that, or nothing can be said."""

BELIEVED_FROM = 20
"""So many events in a row whose ids follow each other are a new beginning, when nobody can be asked; `DOUBTED_FROM` are
one as well once nothing else has come for `DOUBT_S`: the ids of a quiet symbol begin again too, and would be taken for
duplicates for ever if it had to send more within that time."""

TWIN_WITHIN = 64
"""By two connections the first events of a new beginning come twice, the second ones so few behind the first."""


class Doubts:
    """The series of which it is doubtful.

    Args:
        leaving: counts what waits in memory.
        held_max: events of one series that may wait.
        clock: seconds.
        begin_again: called with a series whose ids have begun again; its suspects are the first events.

    Attributes:
        open: the series that the exchange should be asked about, by the stream's name.
        on_drop: told of duplicates that are dropped.
    """

    def __init__(
        self, leaving: Departures, *, held_max: int, clock: Callable[[], float], begin_again: Callable[[Series], None]
    ) -> None:
        self.open: dict[str, Series] = {}
        self.on_drop: Callable[[Counter[Route]], None] = lambda _routes: None
        self._leaving = leaving
        self._held_max = held_max
        self._clock = clock
        self._begin_again = begin_again

    def drop(self, routes: Counter[Route]) -> None:
        """Tell of duplicates that are dropped."""
        self.on_drop(routes)

    def suspect(self, item: Odd) -> None:
        """An event seems to have been there before, or is too far ahead to be believed at once.

        One that is no younger than what is there already was there before, and is dropped. So is one whose ids another
        suspect has: another connection has brought it. One that seems to be older than the streams can be has the time
        of a clock that was set back instead of its own, which says nothing.
        """
        series = item.series
        older_ms = series.latest_ms - item.event[2]
        if 0 <= older_ms < FUTURE_LIMIT_MS or _has_a_twin(item, series.suspects):
            self.on_drop(Counter((item.event[3],)))
            return
        if not series.suspects:
            series.suspected_since = self._clock()
            self._leaving.ring()
        series.suspects.append(item)
        self._leaving.size_bytes += size_of(item.event)
        if len(series.suspects) >= DOUBTED_FROM:
            self._doubt(series)
        if self._leaving.crowded:
            self._leaving.ring()

    def dismiss(self, series: Series) -> None:
        """Something new has followed, or the exchange says so: suspects were duplicates."""
        if series.suspects:
            self._leaving.size_bytes -= sum(size_of(item.event) for item in series.suspects)
            self.on_drop(Counter(item.event[3] for item in series.suspects))
            series.suspects.clear()
        self.open.pop(series.stream, None)

    def expire(self, series: Series) -> None:
        """Nothing new has followed for a while, or there is no room to wait any longer."""
        if series.suspects and (self._leaving.crowded or self._clock() >= series.suspected_since + DOUBT_S):
            self._doubt(series)

    def due(self, series: Series) -> float | None:
        """When `expire` is due; None when it is not."""
        if not series.suspects or series.stream in self.open:
            return None
        if not series.repairable and len(series.suspects) < DOUBTED_FROM:
            return None  # too few to tell, and nobody to ask
        return series.suspected_since + DOUBT_S

    def answer(self, series: Series, newest: int | None) -> bool:
        """The exchange says which id of a series is its newest; None: it does not know any.

        That may be a little behind the stream. It belongs to the series as it was, or to the new one, whichever it is
        nearer to.

        Returns:
            Whether it is known now how things are. If not, ask again.
        """
        next_id = series.sequence.next_id
        if not series.suspects or next_id is None:
            self.dismiss(series)
            return True
        if newest is None:
            return False
        as_new = abs(newest - series.suspects[-1].last) < abs(newest - (next_id - 1))
        if not as_new and newest >= next_id - 1:
            self.dismiss(series)
            return True
        if as_new and self._clock() >= series.suspected_since + DATABASE_LAG_MAX_S:
            self._believe(series)
            return True
        return False

    def _doubt(self, series: Series) -> None:
        run = series.suspects
        crowded, waited = self._leaving.crowded, self._clock() >= series.suspected_since + DOUBT_S
        if series.repairable and len(run) <= self._held_max and not crowded:
            if series.stream not in self.open:
                self.open[series.stream] = series
                self._leaving.ring()
            return
        # Books are cut differently from connection to connection, so that their updates may overlap.
        follow = all(after.first <= before.last + 1 <= after.last for before, after in pairwise(run))
        if follow and len(run) >= (DOUBTED_FROM if waited else BELIEVED_FROM):
            self._believe(series)
        elif not follow or crowded or waited:
            self.dismiss(series)

    def _believe(self, series: Series) -> None:
        self.open.pop(series.stream, None)
        self._begin_again(series)


def _has_a_twin(item: Odd, suspects: list[Odd]) -> bool:
    """Whether the newest suspects, as far as they rise, have all ids of an event among theirs."""
    if not suspects or item.last > suspects[-1].last:
        return False
    first = suspects[-1].first
    for suspect in islice(reversed(suspects), TWIN_WITHIN):
        if suspect.first > first:
            break
        first = suspect.first
        if first <= item.first:
            return True
    return False
