"""Continuity: every series goes on where it ended, whichever connection or way its events come by.

Owned by the supervisor, behind all connections, without input or output. Three who work with it:

- The parser asks nothing as long as each event goes on where its series ended: it compares the id with `Series.staged`.
  What does not fit it collects, and hands over in the step in which its batch goes downstream (`commit`). Until then
  nothing has happened: a batch that is parsed again meets the same state (`begin`).
- Whatever had to wait leaves by `next_ready`, in order. As long as something of a series is there, its new events queue
  up behind it.
- Whoever repairs takes from `gaps` and brings what was missing (`fill`), or says that it will not come (`skip`).
- Whoever writes book snapshots has a series withheld while it asks for one (`withhold`), and puts it in (`insert`).

Times are seconds of one clock for holding, and ms of the wall clock for the journal.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as Sequence_

from ingest_actors.binance.begun_again import Doubts
from ingest_actors.binance.closed_candles import ClosedCandles
from ingest_actors.binance.deadlines import Deadlines
from ingest_actors.binance.departures import Departures
from ingest_actors.binance.gap_book import GapBook
from ingest_actors.binance.gaps import Gap, Reason, ResolvedBy, State
from ingest_actors.binance.register import Register
from ingest_actors.binance.restart import go_on
from ingest_actors.binance.resume import Mark, Place
from ingest_actors.binance.sequence import Fate, Hole, Sequence
from ingest_actors.binance.series import Journalled, Odd, Series, size_of
from ingest_actors.binance.spares import Spares
from ingest_actors.binance.stream_table import EventKind, StreamTable
from ingest_actors.binance.withholdings import Withholdings
from ingest_actors.messages import Event, Route

JUMP_MAX = 10_000_000
"""Ids that may be missing at once and be believed: more than any symbol trades in a day. What lies beyond may be one
garbled number, or a new sequence; it waits for what follows."""


GAPS_HELD_MAX = 100
"""Gaps of one series that may hold it up at once. A disconnection makes one, a repair that lags a handful; a series in
which every other id is missing goes on, and what can be had of it comes late. What is done for an event grows with the
gaps of its series, so without a bound a few thousand of them would hold up everything."""


class Continuity:
    """All series of a service.

    Args:
        hold_s: by the kind of event, how long a hole may hold up what comes after it, seconds; None: nobody fetches
            what is missing, so nothing is held up.
        late: makes the event of one that comes after those that should follow it.
        journal: makes the event of a record of the journal.
        held_max: events of one series that may wait behind a hole.
        bytes_max: what all events that wait may be counted as in memory.
        clock: seconds.
        clock_ms: wall clock, ms since the epoch.

    Attributes:
        gaps: open gaps by name, oldest first.
        gap_book: what keeps them, and tells of them.
        series, begun, candles: see `Register`.
        doubts: series of which it is doubtful whether their ids have begun again.
        closed_candles: told of candles that are handed on.
        touched: series of which the batch that is being parsed moves `Series.staged`, or takes it away; each once, as
            `touch` does it.
        on_commit: called when a batch has gone downstream.
        on_book: told of the series of a book when its first update has gone on.
        on_book_hole: told of what will never come of such a series, before anything behind it has left.
    """

    def __init__(
        self,
        *,
        hold_s: Callable[[EventKind], float | None],
        late: Callable[[Event], Event],
        journal: Callable[[Journalled], Event],
        held_max: int,
        bytes_max: int,
        clock: Callable[[], float],
        clock_ms: Callable[[], int],
    ) -> None:
        self._leaving = Departures(journal, bytes_max)
        self.gap_book = GapBook(self._leaving, clock_ms)
        self.gaps = self.gap_book.open
        self.doubts = Doubts(self._leaving, held_max=held_max, clock=clock, begin_again=self._begin_again)
        self._holding: dict[Series, None] = {}
        self._deadlines: Deadlines[Series] = Deadlines()
        self._late = late
        self.on_commit: Callable[[], None] = lambda: None
        self._held_max = held_max
        self._clock = clock
        self._register = Register(hold_s, self._begin)
        self.series = self._register.series
        self.begun = self._register.begun
        self.candles = self._register.candles
        self._spares = Spares(self._leaving, clock, self.doubts.drop)
        self.touched: list[Series] = []
        self.on_book: Callable[[Series], None] = lambda _series: None
        self.on_book_hole: Callable[[Series, Hole], None] = lambda _series, _hole: None
        self._withholdings = Withholdings(self._leaving, clock)
        self._new_books: list[Series] = []
        self.closed_candles = ClosedCandles(self._lose_candles, clock_ms)

    def resume(self, marks: Mapping[Place, Mark], table: StreamTable, *, too_old: bool = False) -> None:
        """Go on where an earlier process ended, before anything has come.

        Gaps that it left open are open again at once; whether anything was missed beyond them shows when a series goes
        on.

        Args:
            marks: where each series ended.
            table: the stream table.
            too_old: it was so long ago that what was missed is not fetched.
        """
        self._register.marks = marks
        self._register.resumed = Reason.TOO_OLD if too_old else Reason.RESTARTED
        for place, mark in marks.items():
            kind = table.kind(place.event_type)
            if mark.gaps and kind is not None:
                self.series(kind, mark.gaps[0].stream, place.symbol, table.route(kind))

    def share(self, waits_s: Mapping[str, float]) -> None:
        """These streams, and no others, come by more than one connection.

        Args:
            waits_s: by stream, how long what one connection lacks is left to the others, seconds.
        """
        for series in self._register.share(waits_s):
            self._set_deadline(series)
        self._leaving.ring()

    def share_everything(self, wait_s: float) -> None:
        """Any stream may come by more than one connection, for good."""
        for series in self._register.share_everything(wait_s):
            self._set_deadline(series)
        self._leaving.ring()

    def known(self, stream: str) -> Series | None:
        """The series of a stream; None when nothing has begun one."""
        return self._register.get(stream)

    def waits(self, streams: Iterable[str]) -> bool:
        """Whether anything of these streams waits for something that is missing before it."""
        return any(series.sequence.held for name in streams if (series := self._register.get(name)))

    @property
    def size_bytes(self) -> int:
        """What the events that wait are counted as in memory."""
        return self._leaving.size_bytes

    @property
    def waiting(self) -> int:
        """Events, and records of the journal, that may go and have not gone yet."""
        return len(self._leaving)

    def routes(self) -> Iterator[Route]:
        """The route of each event that is held or ready; for the ledger."""
        for series in self._holding:
            for _ in range(series.sequence.held + len(series.suspects) + len(series.spares)):
                yield series.route
        yield from self._withholdings.routes()
        yield from self._leaving.routes()

    # -- for the parser

    def begin(self) -> None:
        """A batch is parsed, perhaps again: what was staged and not committed is forgotten."""
        self.closed_candles.noted.clear()
        for series in self.touched:
            series.touched = False
            self._stage(series)
            if series.spares:
                self._set_deadline(series)
        self.touched.clear()

    def touch(self, series: Series) -> None:
        """The parser moves `staged`, or takes it away; once a batch is enough."""
        series.touched = True
        self.touched.append(series)

    def commit(self, odd: Sequence_[Odd]) -> None:
        """The batch has gone downstream; what did not fit is taken now."""
        self.on_commit()
        for series in self.touched:
            series.touched = False
            reached = series.staged if series.staged is not None else series.reached
            if reached is not None:  # else nothing of it went straight on
                series.sequence.next_id = reached
            if series.spares:
                self._set_deadline(series)
                self._leaving.ring()
        self.touched.clear()
        if self._new_books or self._withholdings.begun:
            self._look_at_books()
        if self.closed_candles.noted:
            self.closed_candles.commit()
        changed = dict.fromkeys(item.series for item in odd)
        for item in odd:
            if item.series.wait_s and self._spares.keep(item):
                self._holding[item.series] = None
            else:
                self._take(item)
        for series in changed:
            self._settle(series)

    # -- for whoever hands on what is ready

    def next_ready(self, count_max: int) -> list[Event]:
        """What may go now, in order, at most so many; it stays until `took` is called."""
        return self._leaving.next(count_max)

    async def wait_changed(self) -> None:
        """Until something may be ready that was not, or due sooner, or a gap was opened, or there is more room."""
        await self._leaving.wait_changed()

    async def wait_room(self) -> None:
        """Until no more waits than may."""
        await self._leaving.wait_room()

    def took(self, count: int) -> None:
        """The first of what was ready have gone downstream."""
        for series in self._leaving.took(count):
            if not series.touched:
                self._stage(series)

    # -- for repair

    def fill(self, gap: Gap, first: int, last: int, event: Event) -> bool:
        """An event that was missing is brought from REST; whether it was missing still.

        What is in no open gap is left to the stream, which has it or will have it.
        """
        series = self._of(gap)
        if gap.name not in self.gaps or not gap.hole.first <= first <= last <= gap.hole.last:
            return False
        fate = self._offer(Odd(series, first, last, event), ResolvedBy.REST_BACKFILL)
        self._settle(series)
        return fate is not Fate.DUPLICATE

    def expect(self, series: Series, newest: int) -> None:
        """Ids of a series up to this one are there, though nothing has come to tell."""
        next_id = series.sequence.next_id
        if next_id is None or newest < next_id or (newest > next_id + JUMP_MAX and series.resumed is None):
            return
        reason = series.resumed or Reason.DISCONNECTED
        series.sequence.known_to = newest
        self._open_gaps(series, reason)
        self._settle(series)

    def missing(self, gap: Gap) -> Hole | None:
        """The first ids of a gap that are missing still; None when none is, and it is over."""
        return self._of(gap).sequence.missing(gap.hole) if gap.name in self.gaps else None

    def skip(self, gap: Gap, hole: Hole, reason: Reason | None = None) -> None:
        """Some ids of a gap, as far as they are missing, will never come: what waits for them goes on.

        Args:
            gap: what they belong to.
            hole: the ids.
            reason: why, if that is known better than when the gap was found.
        """
        series = self._of(gap)
        within = Hole(max(hole.first, gap.hole.first), min(hole.last, gap.hole.last))
        while gap.name in self.gaps and (part := series.sequence.missing(within)) is not None:
            if reason is not None:
                gap.reason = reason
            self._skip(series, part)
        self._settle(series)

    def lose(self, gap: Gap) -> None:
        """Nothing more of a gap will come."""
        self.skip(gap, gap.hole)

    def expire(self) -> None:
        """Holes that have held up their series for long enough hold it up no more."""
        for series in self._withholdings.expired():
            self.let_leave(series)
        now, leaving = self._clock(), self._leaving
        for series in list(self._holding if leaving.crowded else self._deadlines.take_due(now)):
            if series.spares and not series.touched and (leaving.crowded or now >= series.spare_since + series.wait_s):
                self._splice(series)
            if self._untold_at(series) <= now:
                self._tell_holes(series)
            while self._held_up_at(series) <= now or (series.sequence.held and leaving.crowded):
                self._go_on(series)
            self.doubts.expire(series)
            self._settle(series)

    def let_go(self) -> None:
        """Nothing more will come: hold nothing up any longer."""
        for series in self._withholdings.all():
            self.let_leave(series)
        for series in list(self._holding):
            self.doubts.dismiss(series)
            self._splice(series)
            while series.sequence.held:
                self._go_on(series)
            self._settle(series)

    def next_expiry(self) -> float | None:
        """When `expire` is due next."""
        due = self._deadlines.next()
        return min((*self._withholdings.due(), *(() if due is None else (due,))), default=None)

    # -- for whoever writes book snapshots

    def withhold(self, series: Series, seconds: float) -> float:
        """Let nothing of a series leave from now on, until something is put in, or it is let go, or time is over.

        Args:
            series: of book updates.
            seconds: how long, at most; no longer if it is withheld already.

        Returns:
            When time is over.
        """
        until = self._withholdings.begin(series, seconds)
        if not series.touched:
            self._stage(series)
        return until

    def insert(self, series: Series, number: int, event: Event) -> bool:
        """Put a book snapshot before the first update beyond it, and let the series leave.

        Args:
            series: withheld.
            number: id of the last update that is in the snapshot.
            event: its record.

        Returns:
            Whether it was done: not if the series is not withheld any more, or something beyond the snapshot has left
            already, or the snapshot is too far ahead to be of the same sequence.
        """
        next_id = series.sequence.next_id
        if next_id is None or number > next_id + JUMP_MAX or not self._withholdings.insert(series, number, event):
            return False
        self._settle(series)
        return True

    def withheld(self, series: Series) -> bool:
        """Whether a series is withheld."""
        return series.withheld is not None

    def let_leave(self, series: Series) -> None:
        """Withhold a series no longer."""
        if series.withheld is not None:
            self._withholdings.end(series)
            self._settle(series)

    # -- for whoever can ask the exchange where its ids are

    def answer(self, series: Series, newest: int | None) -> bool:
        """The exchange says which id of a series is its newest; see `Doubts.answer`."""
        decided = self.doubts.answer(series, newest)
        self._settle(series)
        return decided

    # --

    def _of(self, gap: Gap) -> Series:
        series = self._register.get(gap.stream)
        assert series is not None
        return series

    def _begin(self, series: Series, mark: Mark | None) -> None:
        """A series is new."""
        if not series.by_ones:
            self._new_books.append(series)
        if mark is None:
            return
        book = self.gap_book
        for gap in go_on(series, mark, self._register.resumed):
            book.enter(series, gap)
        self._open_gaps(series, self._register.resumed)  # what had waited behind a gap is gone too
        for gap in list(series.gaps):
            if gap.reason is Reason.EXCHANGE_RESET:
                gap.lost = gap.hole.size
                book.end(series, gap, State.LOST)
            elif not series.repairable:
                self.lose(gap)
            elif series.sequence.missing(gap.hole) is None:
                book.end(series, gap, State.CLOSED)  # what came last was written, and no more

    def _take(self, item: Odd) -> None:
        """An event that the parser could not place."""
        series = item.series
        if not self._far(item) and self._offer(item, ResolvedBy.OTHER_CONNECTION) is not Fate.DUPLICATE:
            series.resumed = None
            self.doubts.dismiss(series)
            series.latest_ms = max(series.latest_ms, item.event[2])
        elif series.knows(item.last, series.sequence.next_id):
            self.doubts.drop(Counter((item.event[3],)))
        else:
            self._holding[series] = None
            self.doubts.suspect(item)

    def _offer(self, odd: Odd, by: ResolvedBy) -> Fate:
        series, first, last, event = odd
        sequence = series.sequence
        fate = sequence.offer(first, last, event)
        if fate is Fate.FRESH:
            self._leave(series, event)
            if released := sequence.release():
                self._leaving.add(series, released)
                series.held_since = self._clock()
            self._forget_overtaken(series)
        elif fate is Fate.LATE:
            self._leave(series, self._late(event))
        elif fate is Fate.HELD:
            self._leaving.size_bytes += size_of(event)
            self._holding[series] = None
            self._forget_overtaken(series)
            self._open(series, series.resumed or Reason.DISCONNECTED)
            if sequence.held > self._held_max or self._leaving.crowded or len(series.gaps) > GAPS_HELD_MAX:
                self._leaving.ring()
        if fate is not Fate.DUPLICATE:
            self.gap_book.came(series, first, last, by)
        return fate

    def _far(self, odd: Odd) -> bool:
        """Whether an event is so far ahead that it is hard to believe."""
        next_id = odd.series.sequence.next_id
        return next_id is not None and odd.first > next_id + JUMP_MAX and odd.series.resumed is None

    def _open(self, series: Series, reason: Reason) -> None:
        """Open a gap for what is newly missing."""
        if series.sequence.held == 1:
            series.held_since = self._clock()
        hole = series.sequence.last_hole()
        if hole is None:
            return
        hole = Hole(max([hole.first, *(gap.hole.last + 1 for gap in series.gaps)]), hole.last)
        if hole.size > 0 and series.wait_s and series.holes_untold < GAPS_HELD_MAX:
            series.untold = reason
            series.holes_untold += 1
            self._leaving.ring()
        elif hole.size > 0 and series.untold is not None:
            self._tell_holes(series)
        elif hole.size > 0:
            self._open_gap(series, hole, reason)

    def _open_gap(self, series: Series, hole: Hole, reason: Reason) -> None:
        self.gap_book.begin(series, hole, reason)
        if reason is Reason.TOO_OLD:
            self._skip(series, hole)

    def _open_gaps(self, series: Series, reason: Reason) -> None:
        for hole in self.gap_book.uncovered(series):
            self._open_gap(series, hole, reason)

    def _tell_holes(self, series: Series) -> None:
        """No other connection has brought what is missing: open gaps."""
        reason, series.untold, series.holes_untold = series.untold, None, 0
        if reason is not None:
            self._open_gaps(series, reason)

    def _splice(self, series: Series) -> None:
        """What is expected next has not come by itself: those that overlap the end have their turn."""
        for item in self._spares.take(series):
            if self._offer(item, ResolvedBy.OTHER_CONNECTION) is Fate.DUPLICATE:
                self.doubts.drop(Counter((item.event[3],)))
            else:
                series.latest_ms = max(series.latest_ms, item.event[2])

    def _go_on(self, series: Series) -> None:
        """The first hole of a series is not waited for any longer."""
        self._tell_holes(series)
        if not series.sequence.held:
            return  # what was missed too long ago is not waited for at all
        if series.repairable:
            given_up = series.sequence.give_up()
            assert given_up is not None
            self._leaving.add(series, given_up.released)
            self._forget_overtaken(series)
            if given_up.lost is not None:
                self.gap_book.lost(series, given_up.lost)
        else:
            self._skip(series, series.sequence.holes()[0])
        series.held_since = self._clock()

    def _skip(self, series: Series, hole: Hole) -> None:
        """Ids that are all missing will never come."""
        if not series.by_ones:
            self.on_book_hole(series, hole)
        if released := series.sequence.skip(hole):
            self._leaving.add(series, released)
            series.held_since = self._clock()
        self._forget_overtaken(series)
        self.gap_book.lost(series, hole)

    def _forget_overtaken(self, series: Series) -> None:
        overtaken = series.sequence.overtaken
        if overtaken:
            self._leaving.size_bytes -= sum(map(size_of, overtaken))
            self.doubts.drop(Counter(event[3] for event in overtaken))
            overtaken.clear()

    def _leave(self, series: Series, event: Event) -> None:
        self._leaving.size_bytes += size_of(event)
        self._leaving.add(series, (event,))

    def _begin_again(self, series: Series) -> None:
        """Suspects are the first of a new sequence."""
        suspects, series.suspects = series.suspects, []
        self._splice(series)
        while series.sequence.held:
            self._go_on(series)
        for gap in list(series.gaps):
            self.lose(gap)
        fell = [index for index in range(1, len(suspects)) if suspects[index].first < suspects[index - 1].first]
        first = fell[-1] if fell else 0
        ids = sorted((suspects[first].first, (series.sequence.next_id or 1) - 1))
        gap = self.gap_book.make(series, Hole(*ids), Reason.EXCHANGE_RESET)
        gap.lost = gap.hole.size
        self.let_leave(series)
        self.gap_book.lose_at_once(series, gap)
        if not series.by_ones:
            self.on_book_hole(series, Hole(suspects[first].first, suspects[first].first))
        series.sequence = Sequence()
        series.resumed = None
        dropped: Counter[Route] = Counter()
        for index, item in enumerate(suspects):
            self._leaving.size_bytes -= size_of(item.event)
            if index < first or self._offer(item, ResolvedBy.OTHER_CONNECTION) is Fate.DUPLICATE:
                dropped[item.event[3]] += 1
            else:
                series.latest_ms = max(series.latest_ms, item.event[2])
        if dropped:
            self.doubts.drop(dropped)

    def _lose_candles(self, series: Series, hole: Hole, count: int) -> None:
        """Closed candles did not come: told at once, since they do not come again."""
        gap = self.gap_book.make(series, hole, series.resumed or Reason.DISCONNECTED)
        gap.count = gap.lost = count
        self.gap_book.lose_at_once(series, gap)

    def _look_at_books(self) -> None:
        """What began while a batch was under way holds from here on."""
        for series in self._withholdings.under_way():
            self._stage(series)
        books, self._new_books = self._new_books, []
        for series in books:
            if series.sequence.next_id is None:
                self._new_books.append(series)
            else:
                self.on_book(series)

    def _settle(self, series: Series) -> None:
        """After anything was done to a series."""
        self.gap_book.close(series)
        if series.spares:
            self._spares.drop_overtaken(series)
        if not series.sequence.held:
            series.untold, series.holes_untold = None, 0
            if not series.suspects and not series.spares:
                self._holding.pop(series, None)
        self._set_deadline(series)
        if not series.touched:
            self._stage(series)

    def _set_deadline(self, series: Series) -> None:
        """When `expire` has something to do for a series."""
        due = min(self._held_up_at(series), self._untold_at(series))
        if series.spares and not series.touched:
            due = min(due, series.spare_since + series.wait_s)
        doubted_at = self.doubts.due(series)
        due = due if doubted_at is None else min(due, doubted_at)
        self._deadlines.set(series, None if due == math.inf else due)

    def _held_up_at(self, series: Series) -> float:
        """Until when a hole may hold up its series; infinite when none does."""
        held = series.sequence.held
        if not held:
            return math.inf
        if held > self._held_max or self.gap_book.ahead(series) > GAPS_HELD_MAX:
            return -math.inf
        return series.held_since + max(series.hold_s, series.wait_s)

    def _untold_at(self, series: Series) -> float:
        """Until when what is missing is left to another connection; infinite when it is not, or was."""
        waits = series.untold is not None and series.sequence.held
        return series.held_since + series.wait_s if waits else math.inf

    def _stage(self, series: Series) -> None:
        next_id = series.sequence.next_id
        series.staged = next_id if series.smooth else None
        series.reached = None
