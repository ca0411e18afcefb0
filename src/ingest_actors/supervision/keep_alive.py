"""Running an actor again after each crash, until it ends by itself or crashes too often."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic

import trio

from ingest_actors.errors import ActorFailed
from ingest_actors.supervision.groups import find, sort_out
from ingest_actors.supervision.mailbox import Mailbox
from ingest_actors.supervision.parcels import P
from ingest_actors.supervision.restart import Backoff, RestartWindow


async def keep_alive(
    actor: Callable[[], Awaitable[None]],
    *,
    name: str,
    inbox: Mailbox[P] | None = None,
    window: RestartWindow | None = None,
    backoff: Backoff | None = None,
    fatal: tuple[type[Exception], ...] = (),
    on_restart: Callable[[Exception, float], None] | None = None,
    on_poison: Callable[[P, Exception], Awaitable[None]] | None = None,
) -> None:
    """Run an actor, and run it again after each crash, with what it had not settled in its inbox again.

    An `Exception`, or a group of nothing else, is a crash. The first restart after a time of health is immediate; those
    that follow wait as `backoff` says. Healthy is who settled something since the last crash, or lived for longer than
    the window's period.

    The search for a poison item spends the window's budget once for a split parcel, however many items it convicts, as
    long as others are settled between them: an actor that fails on item after item is sick itself.

    Args:
        actor: one life of it; returning ends the supervision.
        name: for errors.
        inbox: the mailbox that the actor takes from, and nobody else.
        window: how many crashes in how long are answered by a restart; by default a fresh `RestartWindow()`.
        backoff: how long to wait before a restart; by default a fresh `Backoff()`.
        fatal: failures that no restart will mend: they escalate at once.
        on_restart: told of each crash, with the seconds until the next life. An actor that crashed while it was being
            cancelled is told of as well, though no life follows.
        on_poison: awaited with an item (a parcel of one) that crashes the actor whenever it is handled, and with that
            crash. It must settle the item, in one step with handing on what becomes of it, or readmit a harmless one
            in its place. When it crashes, that spends the budget, the item stays, and it is called again. Without it
            there is no verdict: the item is handed out again and again, and every crash spends the budget.

    Errors: `ActorFailed`, from the crash, when the budget is spent or the failure is fatal.

    Cancelled: the actor's leases return to its inbox. `trio.Cancelled`, `KeyboardInterrupt` and `SystemExit` pass
    untouched.
    """
    keeper = _Keeper(
        actor=actor,
        name=name,
        inbox=inbox,
        window=window or RestartWindow(),
        backoff=backoff or Backoff(),
        fatal=fatal,
        on_restart=on_restart,
        on_poison=on_poison,
    )
    while True:
        try:
            return await keeper.live()
        except BaseException as raised:  # noqa: BLE001 - what is no crash is raised again by what follows
            delay_s = keeper.judge(raised)
        await trio.sleep(delay_s)


@dataclass(kw_only=True)
class _Keeper(Generic[P]):
    """What is remembered from one life of an actor to the next."""

    actor: Callable[[], Awaitable[None]]
    name: str
    inbox: Mailbox[P] | None
    window: RestartWindow
    backoff: Backoff
    fatal: tuple[type[Exception], ...]
    on_restart: Callable[[Exception, float], None] | None
    on_poison: Callable[[P, Exception], Awaitable[None]] | None

    restarts: int = 0
    ailing: bool = False
    """Whether it has crashed and not been healthy since."""
    began_at: float = 0.0
    settled_at_crash: int = 0
    settled_at_verdict: int = -1
    search_paid: bool = False
    """Whether the search for a poison item that is under way has spent the budget."""
    evidence: Exception | None = None
    """The crash that made an item poison, until the item is dealt with."""

    async def live(self) -> None:
        """One life. What is poison is dealt with first, for the actor would wait behind it."""
        self.began_at = trio.current_time()
        if self.inbox is not None:
            while (item := self.inbox.poisoned()) is not None:
                await self._deal_with_poison(self.inbox, item)
        await self.actor()

    def judge(self, raised: BaseException) -> float:
        """Return the leases of the life that ended, and the seconds to wait before the next; or raise."""
        failure, passing = sort_out(raised)
        searching = self.inbox is not None and self.inbox.rewind(crashed=passing is None)
        if failure is None or passing is not None:
            if failure is not None:
                self._tell(failure, 0.0)
            raise passing or raised
        self._escalate_if_due(failure, searching=searching)
        self.restarts += 1
        delay_s = self._delay_s()
        self._tell(failure, delay_s)
        return delay_s

    def _escalate_if_due(self, failure: Exception, *, searching: bool) -> None:
        doomed = find(failure, self.fatal)
        if doomed is not None:
            raise ActorFailed(self.name, doomed, restarts=self.restarts) from doomed
        if self.evidence is None and self.inbox is not None and self.inbox.poisoned() is not None:
            self.evidence = failure
        free = searching and self.search_paid
        self.search_paid = searching and self.on_poison is not None
        if not free and not self.window.spend():
            raise ActorFailed(self.name, failure, restarts=self.restarts) from failure

    async def _deal_with_poison(self, inbox: Mailbox[P], item: P) -> None:
        if self.on_poison is None or self.evidence is None:  # no evidence: the verdict is of an earlier supervision
            inbox.readmit(item)
            return
        nothing_settled = inbox.settled == self.settled_at_verdict
        await self.on_poison(item, self.evidence)
        if inbox.poisoned() is item:
            raise RuntimeError(f"on_poison of {self.name} left the item where it was")
        self.evidence = None
        self.settled_at_verdict = inbox.settled
        if nothing_settled:
            self.search_paid = False

    def _delay_s(self) -> float:
        settled = 0 if self.inbox is None else self.inbox.settled
        lived_s = trio.current_time() - self.began_at
        if settled > self.settled_at_crash or lived_s > self.window.period_s:
            self.backoff.reset()
            self.ailing = False
        self.settled_at_crash = settled
        delay_s = self.backoff.next_s() if self.ailing else 0.0
        self.ailing = True
        return delay_s

    def _tell(self, failure: Exception, delay_s: float) -> None:
        if self.on_restart is not None:
            self.on_restart(failure, delay_s)
