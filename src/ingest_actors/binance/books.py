"""Which books are to be written next, and where their snapshots go.

A book is due when the first update of its stream has come, after each hole of it, and again whenever the interval is
over. What is due is asked for one after the other, as the weight budget allows: books with a hole first, then those
that never were written, then the others, each in the order in which they became due.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import IntEnum
from heapq import heappop, heappush
from itertools import count

import trio

from ingest_actors.binance.continuity import Continuity
from ingest_actors.binance.sequence import Hole
from ingest_actors.binance.series import Series
from ingest_actors.messages import Event

WITHHOLD_S = 10.0
"""How long updates may wait for their snapshot. The exchange's book lags behind its stream by little; an answer older
than what has left is asked for again until then. Whoever reads wants the updates more than the snapshot by then."""

UNWANTED_LOOK_S = 60.0
"""A book whose stream is not wanted any more is looked at again after so long: it may be wanted again."""


class Urgency(IntEnum):
    """Why a book is due; the lowest goes first."""

    HOLE = 0
    START = 1
    PERIOD = 2


class Book:
    """What is known of one series' snapshots.

    Attributes:
        series: its updates.
        urgency: why it is due, or will be next.
        least: a snapshot with a lower id is of no use, since readers could not go on from it.
        claimed: whether somebody asks for it.
        turn: the place in the queue that counts; earlier ones are void.
    """

    __slots__ = ("claimed", "least", "series", "turn", "urgency")

    def __init__(self, series: Series) -> None:
        self.series = series
        self.urgency = Urgency.START
        self.least = 0
        self.claimed = False
        self.turn = 0

    @property
    def symbol(self) -> str:
        """Upper case."""
        return self.series.symbol


class Books:
    """All books of a service. They outlive whoever asks for snapshots.

    Args:
        continuity: the series; tells of new ones, and of holes.
        interval_s: how often each book is written, seconds.
        wanted: whether a stream is wanted still.
        clock: seconds, the same as the continuity's.
    """

    def __init__(
        self,
        continuity: Continuity,
        *,
        interval_s: float,
        wanted: Callable[[str], bool],
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._continuity = continuity
        self._interval_s = interval_s
        self._wanted = wanted
        self._clock = clock
        self._books: dict[Series, Book] = {}
        self._turns = count(1)
        self._due: dict[Urgency, deque[tuple[int, Book]]] = {urgency: deque() for urgency in Urgency}
        self._later: list[tuple[float, int, Book]] = []
        self._changed = trio.Event()
        continuity.on_book = self._begun
        continuity.on_book_hole = self._hole

    def take(self) -> Book | None:
        """The book that is to be written next, claimed; None when none is due."""
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            _, turn, book = heappop(self._later)
            self._due[book.urgency].append((turn, book))
        for queue in self._due.values():
            while queue:
                turn, book = queue.popleft()
                if turn != book.turn or book.claimed:
                    continue
                if self._wanted(book.series.stream):
                    book.claimed = True
                    return book
                self._place(book, now + UNWANTED_LOOK_S)
        return None

    def next_due(self) -> float | None:
        """When another may be due; None: nobody knows."""
        if any(self._due.values()):
            return self._clock()
        return self._later[0][0] if self._later else None

    async def wait_changed(self) -> None:
        """Until something may be due sooner."""
        await self._changed.wait()

    def crowded(self) -> int:
        """Events that are ready and have not left yet."""
        return self._continuity.waiting

    # -- for whoever has taken one

    def withhold(self, book: Book) -> float:
        """The question is sent: its updates wait from now on. Returns until when, at most."""
        return self._continuity.withhold(book.series, WITHHOLD_S)

    def waits(self, book: Book) -> bool:
        """Whether its updates wait still."""
        return self._continuity.withheld(book.series)

    def insert(self, book: Book, number: int, event: Event) -> bool:
        """The answer is there: put it in its place.

        Args:
            book: of which it is.
            number: id of the last update in it.
            event: its record.

        Returns:
            Whether it has a place. If not, it is too old; or its updates do not wait any more.
        """
        return number >= book.least and self._continuity.insert(book.series, number, event)

    def done(self, book: Book) -> None:
        """It is written."""
        book.claimed = False
        book.urgency = Urgency.PERIOD
        self._place(book, self._clock() + self._interval_s)

    def put_off(self, book: Book, seconds: float) -> None:
        """It is not written: its updates go on, and it is due again later."""
        self._continuity.let_leave(book.series)
        book.claimed = False
        self._place(book, self._clock() + seconds)

    # --

    def _begun(self, series: Series) -> None:
        if series not in self._books:
            self._books[series] = Book(series)
            self._place(self._books[series], self._clock())

    def _hole(self, series: Series, hole: Hole) -> None:
        book = self._books.get(series)
        if book is None:
            return  # it has not begun, and will be due when it has
        book.least = hole.last
        book.urgency = Urgency.HOLE
        if not book.claimed:
            self._place(book, self._clock())

    def _place(self, book: Book, at: float) -> None:
        book.turn = next(self._turns)
        if at <= self._clock():
            self._due[book.urgency].append((book.turn, book))
        else:
            heappush(self._later, (at, book.turn, book))
        self._changed.set()
        self._changed = trio.Event()
