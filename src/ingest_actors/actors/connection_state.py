"""What is known of a planned connection, and what may be asked of it while it lives."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import trio

from ingest_actors.messages import FrameBatch
from ingest_actors.protocols import Subscriber
from ingest_actors.status import ConnectionStatus
from ingest_actors.supervision import Mailbox

_NONE: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False)
class Connection:
    """What is known of one planned connection. It belongs to the supervisor and outlives the actor's lives.

    Attributes:
        name: short and unique within the service.
        streams: what it carries.
        state: see `ingest_actors.status.ConnectionStatus`.
        url: the endpoint of the current or next attempt.
        acknowledged: how many streams' subscription the exchange has acknowledged.
        opened_at_ms: when it last opened; None while it is not open.
        failures: ends in a row without `HEALTHY_AFTER_S` of data between them, those aside that are no fault of the
            exchange: see `connection`.
        ending_expected: the exchange has said that it will end this connection.
        carry: batches that were read and have not found room downstream; the next life begins with them.
        life: how often it was opened.
        subscriber: of the current life; None while it is not open.
        told_to_reopen: set to end the current life.
        reopen_reason: why; empty unless it was told to.
        extra: it was opened for silent streams that were moved: the service does not give up for its sake, and is ready
            without it until it was open once.
        was_open: whether all that it carried was ever acknowledged.
        retirement: cancelled when nothing is left for it to carry.
        lane: which of the connections it is that carry the same streams, from 0.
        position: which of the endpoints it begins with.
        opened_at_s: when the current life began, trio's clock; None while it is not open.
        subscribed_at_s: since when all is acknowledged.
        heard_at_s: when the current life last brought data; None: it has not.
        due_at_s: when it is to be replaced, trio's clock; None: that was not decided for this life.
        not_before_s: it is not to be replaced earlier, because a replacement has failed.
        replacements_failed: how many in a row.
        since_s: when it was launched to replace another, or began to leave; trio's clock.
        relieves_life: the life of its predecessor that it is to relieve.
        successor: a connection that is about to take its place.
        predecessor: the one whose place it is about to take.
        leaving: its successor has taken its place; what it has read is put, and then it ends.
        lingering: what it may still bring though it does not carry it any more.
    """

    name: str
    streams: tuple[str, ...]
    state: str = "connecting"
    url: str = ""
    acknowledged: int = 0
    opened_at_ms: int | None = None
    failures: int = 0
    ending_expected: bool = False
    carry: deque[FrameBatch] = field(default_factory=deque)
    life: int = 0
    subscriber: Subscriber | None = None
    told_to_reopen: trio.Event = field(default_factory=trio.Event)
    reopen_reason: str = ""
    extra: bool = False
    was_open: bool = False
    retirement: trio.CancelScope = field(default_factory=trio.CancelScope)
    lane: int = 0
    position: int = 0
    opened_at_s: float | None = None
    subscribed_at_s: float | None = None
    heard_at_s: float | None = None
    due_at_s: float | None = None
    not_before_s: float = 0.0
    replacements_failed: int = 0
    since_s: float = 0.0
    relieves_life: int = 0
    successor: Connection | None = None
    predecessor: Connection | None = None
    leaving: bool = False
    lingering: tuple[str, ...] = ()

    def status(self) -> ConnectionStatus:
        """A picture of it, as its place among the planned ones is filled: by its successor, if it is gone itself."""
        taken_over = self.successor is not None and self.successor.state == "open"
        return ConnectionStatus(
            name=self.name,
            url=self.url,
            state="open" if taken_over else self.state,
            streams=len(self.streams),
            acknowledged=self.acknowledged,
            opened_at_ms=self.opened_at_ms,
            failures=self.failures,
            on_trial=self.extra and not self.was_open,
        )

    @property
    def acknowledged_streams(self) -> AbstractSet[str]:
        """Streams whose subscription the exchange has acknowledged."""
        return _NONE if self.subscriber is None else self.subscriber.acknowledged

    @property
    def missing_streams(self) -> AbstractSet[str]:
        """Those of them that it did not name when it was last asked which it lists."""
        return _NONE if self.subscriber is None else self.subscriber.missing

    @property
    def reading(self) -> bool:
        """Whether it is open and not held up for want of room downstream."""
        return self.subscriber is not None and not self.carry

    @property
    def drained(self) -> bool:
        """Whether nothing more can come: nothing is subscribed, and whatever was sent before that has been read."""
        return self.subscriber is None or not self.subscriber.acknowledged

    # -- what may be asked of it; nothing of this waits

    def carry_streams(self, streams: Iterable[str]) -> None:
        """Carry these from now on, and no others."""
        self.streams = tuple(streams)
        if self.subscriber is not None:
            self.subscriber.carry(self.streams)

    def leave(self, now_s: float) -> None:
        """Carry nothing any more; what was sent until the exchange says so is read."""
        self.leaving = True
        self.since_s = now_s
        self.lingering = self.streams
        self.carry_streams(())

    def renew(self, streams: Iterable[str]) -> None:
        """Subscribe again to some of its streams. One that is not open will subscribe to all of them anyway."""
        if self.subscriber is not None:
            self.subscriber.renew(streams)

    def reopen(self, reason: str) -> None:
        """Close it and open it again. One that is not open will be opened anyway."""
        if self.subscriber is not None:
            self.reopen_reason = reason
            self.told_to_reopen.set()

    # -- what its actor notes

    def begin(self, subscriber: Subscriber) -> None:
        """It is open."""
        self.state = "subscribing"
        self.life += 1
        self.subscribed_at_s = self.heard_at_s = self.due_at_s = None
        self.subscriber = subscriber
        self.told_to_reopen = trio.Event()
        self.reopen_reason = ""

    def end(self) -> None:
        """It is open no more."""
        self.subscriber = None
        self.opened_at_ms = self.opened_at_s = self.subscribed_at_s = None
        self.acknowledged = 0

    async def put_carried(self, outbox: Mailbox[FrameBatch]) -> None:
        """Put what was read and not put; cancelled, it keeps the rest."""
        while self.carry:
            await outbox.wait_for_room(self.carry[0])
            outbox.put_nowait(self.carry.popleft())
