"""A line of actors that is stopped from its source on, so that what is under way arrives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import trio

from ingest_actors.supervision.groups import sort_out
from ingest_actors.supervision.mailbox import Mailbox


@dataclass(frozen=True, slots=True)
class DrainReport:
    """How a line ended.

    Attributes:
        unfinished: sources and stages that had not ended when all were cancelled, in data order.
        left: items still held, by mailbox, in data order; empty mailboxes are not named.
        drained_s: seconds from the request to stop until the end; None if nobody asked.
    """

    unfinished: tuple[str, ...]
    left: dict[str, int]
    drained_s: float | None

    @property
    def clean(self) -> bool:
        """Whether everybody ended and nothing was left."""
        return not self.unfinished and not self.left


class _Member:
    """A source, a stage or an attendant."""

    def __init__(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        inbox: Mailbox[Any] | None = None,
        outboxes: Iterable[Mailbox[Any]] = (),
        farewell: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.name = name
        self.run = run
        self.farewell = farewell
        self.inbox = inbox
        self.outboxes = tuple(outboxes)
        self.finished = False
        self.scope = trio.CancelScope()


class Line:
    """Sources, the stages behind them in data order, and attendants beside them, as one thing to run and to stop.

    Declare the members in data order, then `await run()`::

        line = Line(drain_timeout_s=10)
        line.source("clock", tick, into=[ticks])
        line.stage("printer", show, out_of=ticks)
        line.attendant("watchdog", watch)
        report = await line.run()

    To stop, only the sources are cancelled. A mailbox is closed when the last member that puts into it has ended, so
    the end walks downstream: each stage handles what is there, meets the end of its inbox, and returns. Attendants are
    cancelled after the last stage. One deadline lies over it all; whoever has not ended by then is cancelled. The same
    happens, without a deadline, when all sources end by themselves.

    When a source fails, the line is drained as if it had been asked to stop: what was received is not to blame. When
    a stage or an attendant fails, all others are cancelled. Either way `run` raises that failure at the end.

    Attributes:
        drain_timeout_s: seconds from the request to stop to the deadline.
        draining: whether somebody asked to stop.
    """

    def __init__(self, *, drain_timeout_s: float) -> None:
        self.drain_timeout_s = drain_timeout_s
        self.draining = False
        self._sources: list[_Member] = []
        self._stages: list[_Member] = []
        self._attendants: list[_Member] = []
        self._writers: Counter[Mailbox[Any]] = Counter()
        self._scope = trio.CancelScope()
        self._failures: list[Exception] = []
        self._asked_at: float | None = None
        self._ended_at: float | None = None

    def source(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        *,
        into: Iterable[Mailbox[Any]],
        farewell: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Add a member that is cancelled when the line is stopped; it may put into each of `into`.

        `farewell` is awaited when it has ended, failed or been stopped, before its mailboxes are closed: the time to
        put what it still holds. It is part of the drain, and does not take place when everybody is cancelled at once.
        """
        member = self._admit(_Member(name, run, outboxes=into, farewell=farewell))
        self._sources.append(member)
        if self.draining:
            member.scope.cancel()

    def stage(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        *,
        out_of: Mailbox[Any],
        into: Iterable[Mailbox[Any]] = (),
    ) -> None:
        """Add a member that takes from `out_of` until its end, and may put into each of `into`."""
        self._stages.append(self._admit(_Member(name, run, out_of, into)))

    def attendant(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Add a member that looks on, and is cancelled when all others have ended."""
        self._attendants.append(self._admit(_Member(name, run)))

    async def run(self) -> DrainReport:
        """Run all members until the line has ended; can be called once.

        Returns: who was unfinished and what was left, when the deadline passed or `cancel` was called; otherwise a
        clean report.

        Errors: the failure of the first member that failed, the others added as notes; `report` tells what was left.

        Cancelled: so are all members, at once; `report` tells what was left.
        """
        try:
            with self._scope:
                await self._run_members()
        finally:
            self._ended_at = trio.current_time()
        if self._failures:
            first, *others = self._failures
            for other in others:
                first.add_note(f"and then: {other!r}")
            raise first
        return self.report()

    async def _run_members(self) -> None:
        async with trio.open_nursery() as beside:
            for member in self._attendants:
                beside.start_soon(self._run_member, member, name=member.name)
            async with trio.open_nursery() as nursery:
                for member in (*self._stages, *self._sources):
                    nursery.start_soon(self._run_member, member, name=member.name)
            beside.cancel_scope.cancel()

    def drain(self) -> None:
        """Ask the line to stop in order, within `drain_timeout_s`. Idempotent; returns at once."""
        if self.draining:
            return
        self.draining = True
        self._asked_at = trio.current_time()
        self._scope.deadline = self._asked_at + self.drain_timeout_s
        for member in self._sources:
            member.scope.cancel()

    def cancel(self) -> None:
        """Stop everybody at once. Idempotent."""
        self._scope.cancel()

    def stop(self) -> None:
        """What a signal does: the first drains, a second one cancels."""
        if self.draining:
            self.cancel()
        else:
            self.drain()

    def report(self) -> DrainReport:
        """How things stand now, or at the end."""
        drained_s = None
        if self._asked_at is not None:
            drained_s = (trio.current_time() if self._ended_at is None else self._ended_at) - self._asked_at
        return DrainReport(
            unfinished=tuple(member.name for member in (*self._sources, *self._stages) if not member.finished),
            left={mailbox.name: mailbox.events for mailbox in self._mailboxes() if mailbox.events},
            drained_s=drained_s,
        )

    def _admit(self, member: _Member) -> _Member:
        members = (*self._sources, *self._stages, *self._attendants)
        if any(member.name == other.name for other in members):
            raise ValueError(f"two members of the line are called {member.name}")
        self._writers.update(set(member.outboxes))
        return member

    def _mailboxes(self) -> Iterable[Mailbox[Any]]:
        """All of them, each once, in data order."""
        members = (*self._sources, *self._stages)
        lists = [(*([] if member.inbox is None else [member.inbox]), *member.outboxes) for member in members]
        return dict.fromkeys(mailbox for some in lists for mailbox in some)

    async def _run_member(self, member: _Member) -> None:
        healthy = await self._ended_well(member, self._live(member))
        if member.farewell is not None:
            healthy = await self._ended_well(member, member.farewell()) and healthy
        member.finished = healthy and not self._scope.cancel_called
        if member.finished or member in self._sources:
            self._leave(member)

    async def _ended_well(self, member: _Member, part: Awaitable[None]) -> bool:
        """Whether a part of a member's life ended by itself, or because it was stopped, and not by a failure."""
        try:
            await part
        except BaseException as raised:
            failure, passing = sort_out(raised)
            if failure is None:
                raise
            self._fail(member, failure)
            if passing is not None:
                raise passing from None
            return False
        return True

    async def _live(self, member: _Member) -> None:
        with member.scope:
            await member.run()
        if member.inbox is not None and not member.inbox.closed:
            raise RuntimeError(f"{member.name} ended before its mailbox {member.inbox.name} was closed")

    def _fail(self, member: _Member, failure: Exception) -> None:
        self._failures.append(failure)
        if member in self._sources:
            self.drain()
        else:
            self.cancel()

    def _leave(self, member: _Member) -> None:
        for mailbox in set(member.outboxes):
            self._writers[mailbox] -= 1
            if not self._writers[mailbox]:
                mailbox.close()
