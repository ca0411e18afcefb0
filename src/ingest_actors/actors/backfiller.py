"""The backfiller: what is missing of series that can be fetched again is brought from REST."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import trio

from ingest_actors.announce import Announcer
from ingest_actors.errors import ExchangeUnreachable, IngestError
from ingest_actors.ledger import Ledger
from ingest_actors.messages import Event
from ingest_actors.nursery import open_nursery
from ingest_actors.supervision import Backoff

WORKERS = 4
"""Gaps that are repaired at the same time: while one waits for the exchange, another can go on."""

READY_MAX = 5_000
"""Events that may wait to be handed on before more are fetched."""

RETRY_FIRST_S = 0.25
RETRY_MAX_S = 30.0
"""Between two questions about one gap while the exchange's database has not caught up, or does not answer. It lags
behind the stream by seconds at most."""


class Range(Protocol):
    """Ids, both ends included."""

    @property
    def first(self) -> int:
        """The first."""
        ...

    @property
    def last(self) -> int:
        """The last."""
        ...


class Repairs(Protocol):
    """What is to be repaired; `ingest_actors.binance.repairs.Repairs` is one. It outlives the backfiller's lives."""

    def open(self) -> Mapping[str, Any]:
        """Gaps that can be repaired, by name, oldest first."""
        ...

    def missing(self, gap: Any) -> Range | None:
        """What of a gap is missing still."""
        ...

    def fill(self, gap: Any, number: int, event: Event) -> bool:
        """Bring an event; whether it was missing."""
        ...

    def skipped(self, gap: Any, first: int, last: int) -> None:
        """The exchange does not have these ids either."""
        ...

    def ready(self) -> int:
        """Events that wait to be handed on."""
        ...

    def doubts(self) -> Mapping[str, Any]:
        """Series whose ids may have begun again, by name."""
        ...

    def answer(self, doubt: Any, newest: int) -> bool:
        """The exchange says which id is its newest; whether that decides it."""
        ...

    async def wait_changed(self) -> None:
        """Until there may be another gap or doubt, or fewer events wait."""
        ...


class Fetch(Protocol):
    """Asks the exchange."""

    async def __call__(self, gap: Any, first: int) -> Sequence[tuple[int, Event]]:
        """Ids and events of the gap's series from an id on, in order; none when the database has none yet."""
        ...

    async def newest(self, doubt: Any) -> int:
        """The newest id of a series."""
        ...


class _Backfiller:
    """Its collaborators, and what its tasks have claimed."""

    def __init__(
        self,
        repairs: Repairs,
        fetch: Fetch,
        ledger: Ledger,
        backoff: Callable[[], Backoff],
        announce: Announcer,
    ) -> None:
        self._repairs = repairs
        self._fetch = fetch
        self._ledger = ledger
        self._backoff = backoff
        self._announce = announce
        self._claimed: set[str] = set()

    async def work(self, jobs: Callable[[], Mapping[str, Any]], do: Callable[[str, Any], Awaitable[None]]) -> None:
        """Do what nobody else does, one after the other, without end."""
        while True:
            name, job = next(((name, job) for name, job in jobs().items() if name not in self._claimed), ("", None))
            if job is None:
                await self._repairs.wait_changed()
                continue
            self._claimed.add(name)
            try:
                await do(name, job)
            finally:
                self._claimed.discard(name)

    async def repair(self, name: str, gap: Any) -> None:
        """Bring what is missing of a gap, page by page. What REST leaves out among what it has is not there at all."""
        repairs, backoff = self._repairs, self._backoff()
        while (missing := repairs.missing(gap)) is not None:
            while repairs.ready() > READY_MAX:
                await repairs.wait_changed()
            try:
                rows = await self._fetch(gap, missing.first)
            except IngestError as failure:
                await self._wait_after(name, failure, backoff)
                continue
            if not rows:
                await trio.sleep(backoff.next_s())
                continue
            backoff.reset()
            self._take(gap, missing, rows)

    async def clear_up(self, name: str, doubt: Any) -> None:
        """Find out whether the ids of a series have begun again."""
        backoff = self._backoff()
        while name in self._repairs.doubts():
            try:
                decided = self._repairs.answer(doubt, await self._fetch.newest(doubt))
            except IngestError as failure:
                await self._wait_after(name, failure, backoff)
                continue
            if not decided:
                await trio.sleep(backoff.next_s())

    def _take(self, gap: Any, missing: Range, rows: Sequence[tuple[int, Event]]) -> None:
        expected = missing.first
        for number, event in rows:
            if number > expected and expected <= missing.last:
                self._repairs.skipped(gap, expected, min(number - 1, missing.last))
            if number > missing.last:
                return
            if self._repairs.fill(gap, number, event):
                self._ledger.backfilled[event[3].event_type] += 1
            expected = number + 1

    async def _wait_after(self, name: str, failure: IngestError, backoff: Backoff) -> None:
        delay_s = backoff.next_s()
        if isinstance(failure, ExchangeUnreachable):
            delay_s = max(delay_s, failure.retry_after_s or 0.0)
        self._announce("backfill_failed", level="warning", gap=name, cause=str(failure), retry_in_s=round(delay_s, 3))
        await trio.sleep(delay_s)


async def backfiller(
    repairs: Repairs,
    *,
    fetch: Fetch,
    ledger: Ledger,
    backoff: Callable[[], Backoff],
    announce: Announcer,
) -> None:
    """Repair gaps; ends only by cancellation, which loses nothing that was brought.

    Args:
        repairs: what is missing, and where it goes.
        fetch: asks the exchange.
        ledger: told of each event that was brought.
        backoff: makes the delays between questions about one gap.
        announce: told when the exchange does not answer.
    """
    own = _Backfiller(repairs, fetch, ledger, backoff, announce)
    async with open_nursery() as nursery:
        for _ in range(WORKERS):
            nursery.start_soon(own.work, repairs.open, own.repair)
        nursery.start_soon(own.work, repairs.doubts, own.clear_up)
