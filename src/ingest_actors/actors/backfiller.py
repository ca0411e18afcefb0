"""The backfiller: what is missing of series that can be fetched again is brought from REST."""

from __future__ import annotations

import math
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

REFUSALS_MAX = 5
"""An exchange that refuses the question so often (it wants a key, or does not know the symbol any more) will not answer
it."""

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

    def lose(self, gap: Any) -> None:
        """Nothing more of a gap can be had."""
        ...

    def ready(self) -> int:
        """Events that wait to be handed on."""
        ...

    def doubts(self) -> Mapping[str, Any]:
        """Series whose ids may have begun again, by name."""
        ...

    def answer(self, doubt: Any, newest: int | None) -> bool:
        """The exchange says which id is its newest, if any; whether that decides it."""
        ...

    async def wait_changed(self) -> None:
        """Until there may be another gap or doubt, or fewer events wait."""
        ...


class Fetch(Protocol):
    """Asks the exchange."""

    async def __call__(self, gap: Any, first: int) -> Sequence[tuple[int, Event]]:
        """Ids and events of the gap's series from an id on, in order; none when the database has none yet."""
        ...

    async def newest(self, doubt: Any) -> int | None:
        """The newest id of a series; None: there is none."""
        ...


class _Try:
    """What is known of a job from earlier tries."""

    def __init__(self, backoff: Backoff) -> None:
        self.backoff = backoff
        self.not_before_s = 0.0
        self.refusals = 0
        self.left_out: tuple[int, int] | None = None
        """Ids that an answer left out; they are believed not to be there when a second one leaves them out too."""


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
        self._tries: dict[str, _Try] = {}

    async def work(
        self, jobs: Callable[[], Mapping[str, Any]], do: Callable[[str, Any, _Try], Awaitable[None]]
    ) -> None:
        """Do what is due and nobody else does, one step after the other, without end."""
        while True:
            await trio.lowlevel.checkpoint()
            there = jobs()
            free = [name for name in there if name not in self._claimed]
            due = min(free, key=self._due_s, default=None)
            if due is None or self._due_s(due) > trio.current_time():
                with trio.move_on_at(math.inf if due is None else self._due_s(due)):
                    await self._repairs.wait_changed()
                continue
            self._claimed.add(due)
            known = self._tries.setdefault(due, _Try(self._backoff()))
            try:
                await do(due, there[due], known)
            finally:
                self._claimed.discard(due)
                if due not in jobs():
                    del self._tries[due]

    def _due_s(self, name: str) -> float:
        known = self._tries.get(name)
        return known.not_before_s if known else 0.0

    async def repair(self, name: str, gap: Any, known: _Try) -> None:
        """Bring one page of what is missing of a gap."""
        repairs = self._repairs
        while repairs.ready() > READY_MAX:
            await repairs.wait_changed()
        missing = repairs.missing(gap)
        if missing is None:
            repairs.lose(gap)  # there is nothing to wait for
            return
        try:
            rows = await self._fetch(gap, missing.first)
        except ExchangeUnreachable as failure:
            self._put_off(name, known, failure, failure.retry_after_s or 0.0)
        except IngestError as failure:
            known.refusals += 1
            self._put_off(name, known, failure)
            if known.refusals >= REFUSALS_MAX:
                repairs.lose(gap)
        else:
            self._take(gap, missing, rows, known)

    async def clear_up(self, name: str, doubt: Any, known: _Try) -> None:
        """Ask once whether the ids of a series have begun again."""
        try:
            decided = self._repairs.answer(doubt, await self._fetch.newest(doubt))
        except IngestError as failure:
            self._put_off(name, known, failure, getattr(failure, "retry_after_s", None) or 0.0)
            return
        if not decided:
            known.not_before_s = trio.current_time() + known.backoff.next_s()

    def _take(self, gap: Any, missing: Range, rows: Sequence[tuple[int, Event]], known: _Try) -> None:
        """Take a page. What it leaves out among what it has was skipped by the exchange, if the next says so too."""
        there = {number: event for number, event in rows if missing.first <= number <= missing.last}
        beyond = any(number > missing.last for number, _ in rows)
        brought = False
        for number in sorted(there):
            event = there[number]
            if self._repairs.fill(gap, number, event):
                self._ledger.backfilled[event[3].event_type] += 1
                brought = True
        left = self._repairs.missing(gap)
        last = missing.last if beyond else max(there, default=missing.first - 1)
        left_out = (left.first, min(left.last, last)) if left is not None and left.first <= last else None
        if left_out is not None and left_out == known.left_out:
            self._repairs.skipped(gap, *left_out)
            brought = True
        known.left_out = left_out
        if brought:
            known.backoff.reset()
        else:
            known.not_before_s = trio.current_time() + known.backoff.next_s()

    def _put_off(self, name: str, known: _Try, failure: IngestError, least_s: float = 0.0) -> None:
        delay_s = max(known.backoff.next_s(), least_s)
        known.not_before_s = trio.current_time() + delay_s
        self._announce("backfill_failed", level="warning", gap=name, cause=str(failure), retry_in_s=round(delay_s, 3))


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
