"""The bookkeeper: book snapshots from REST, each in its place among the updates of its book."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import trio

from ingest_actors.announce import Announcer
from ingest_actors.errors import ExchangeUnreachable, IngestError
from ingest_actors.ledger import Ledger
from ingest_actors.messages import Event
from ingest_actors.nursery import open_nursery
from ingest_actors.supervision import Backoff

WORKERS = 4
"""Books that are asked for at the same time: while one waits for the exchange, or for its book to catch up with the
stream, others can go on. Also how many books' updates may wait at the same time."""

READY_MAX = 5_000
"""Events that may wait to be handed on before more books are asked for."""

AGAIN_FIRST_S = 0.5
AGAIN_MAX_S = 4.0
"""Between two questions about one book while its updates wait: the exchange's book lags by moments."""

RETRY_FIRST_S = 5.0
RETRY_MAX_S = 300.0
"""Before a book that could not be had is asked for again."""

AWAY_FIRST_S = 1.0
AWAY_MAX_S = 60.0
"""Before anything is asked again while the exchange does not answer."""


class Book(Protocol):
    """What is to be written."""

    @property
    def symbol(self) -> str:
        """Upper case."""
        ...


class Books(Protocol):
    """What is due; `ingest_actors.binance.books.Books` is one. It outlives the bookkeeper's lives."""

    def take(self) -> Any | None:
        """The next one that is due, claimed."""
        ...

    def next_due(self) -> float | None:
        """When another may be due, by trio's clock."""
        ...

    async def wait_changed(self) -> None:
        """Until something may be due sooner."""
        ...

    def crowded(self) -> int:
        """Events that wait to be handed on."""
        ...

    def withhold(self, book: Any) -> float:
        """Its updates wait from now on; until when, at most."""
        ...

    def waits(self, book: Any) -> bool:
        """Whether they wait still."""
        ...

    def insert(self, book: Any, number: int, event: Event) -> bool:
        """Put a snapshot in its place, if it has one."""
        ...

    def done(self, book: Any) -> None:
        """It is written."""
        ...

    def put_off(self, book: Any, seconds: float) -> None:
        """It is not written; it is due again later."""
        ...


class Fetch(Protocol):
    """Asks the exchange."""

    async def turn(self) -> None:
        """Wait until there is weight for a question."""
        ...

    async def __call__(self, symbol: str, *, sent: Callable[[], object]) -> tuple[int, Event]:
        """The id of the last update in a book, and its record; `sent` is called when the question is sent."""
        ...


class _NoPlace(IngestError):
    """No answer came that has a place, in the time and the room that the updates may wait."""

    def __str__(self) -> str:
        return "no book as new as its stream came for as long as the updates may wait"


class _Bookkeeper:
    """Its collaborators, and what its workers know together."""

    def __init__(
        self,
        books: Books,
        fetch: Fetch,
        ledger: Ledger,
        backoff: Callable[[float, float], Backoff],
        announce: Announcer,
    ) -> None:
        self._books = books
        self._fetch = fetch
        self._ledger = ledger
        self._backoff = backoff
        self._announce = announce
        self._turn = trio.Lock()
        self._away = backoff(AWAY_FIRST_S, AWAY_MAX_S)
        self._not_before_s = -math.inf
        self._failing: dict[str, Backoff] = {}

    async def work(self) -> None:
        """Write one book after the other, without end."""
        while True:
            book = await self._next()
            delay_s = 0.0
            written = False
            try:
                await self._write(book)
                written = True
            except ExchangeUnreachable as failure:
                delay_s = max(self._away.next_s(), failure.retry_after_s or 0.0)
                self._not_before_s = max(self._not_before_s, trio.current_time() + delay_s)
                self._tell(book, failure, delay_s)
            except IngestError as failure:
                failing = self._failing.setdefault(book.symbol, self._backoff(RETRY_FIRST_S, RETRY_MAX_S))
                delay_s = failing.next_s()
                self._tell(book, failure, delay_s)
            finally:
                if written:
                    self._failing.pop(book.symbol, None)
                    self._away.reset()
                    self._books.done(book)
                else:
                    self._books.put_off(book, delay_s)

    async def _next(self) -> Any:
        """Wait for a turn, and choose only then: what is most urgent may have become due meanwhile."""
        books = self._books
        async with self._turn:
            while True:
                await trio.lowlevel.checkpoint()
                due_s = books.next_due()
                now = trio.current_time()
                if due_s is None or due_s > now:
                    with trio.move_on_at(math.inf if due_s is None else due_s):
                        await books.wait_changed()
                elif self._not_before_s > now:
                    await trio.sleep_until(self._not_before_s)
                elif books.crowded() > READY_MAX:
                    await trio.sleep(AGAIN_FIRST_S)
                else:
                    await self._fetch.turn()
                    if self._not_before_s <= trio.current_time() and (book := books.take()) is not None:
                        return book

    async def _write(self, book: Any) -> None:
        """Ask until an answer has a place, for as long as the updates wait."""
        books, again = self._books, self._backoff(AGAIN_FIRST_S, AGAIN_MAX_S)
        with trio.CancelScope() as patience:

            def sent() -> None:
                patience.deadline = books.withhold(book)

            while True:
                number, event = await self._fetch(book.symbol, sent=sent)
                if books.insert(book, number, event):
                    self._ledger.backfilled[event[3].event_type] += 1
                    return
                if books.waits(book):
                    await trio.sleep(again.next_s())
                if not books.waits(book):
                    break
        raise _NoPlace

    def _tell(self, book: Any, failure: IngestError, delay_s: float) -> None:
        self._announce(
            "book_snapshot_failed",
            level="warning",
            symbol=book.symbol,
            cause=str(failure),
            retry_in_s=round(delay_s, 3),
        )


async def bookkeeper(
    books: Books,
    *,
    fetch: Fetch,
    ledger: Ledger,
    backoff: Callable[[float, float], Backoff],
    announce: Announcer,
) -> None:
    """Write book snapshots; ends only by cancellation, which lets go whatever waits.

    Args:
        books: what is due, and where it goes.
        fetch: asks the exchange.
        ledger: told of each snapshot that was brought.
        backoff: makes delays from the first and the longest of them, seconds.
        announce: told when one could not be had.
    """
    own = _Bookkeeper(books, fetch, ledger, backoff, announce)
    async with open_nursery() as nursery:
        for _ in range(WORKERS):
            nursery.start_soon(own.work)
