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

    def status(self) -> ConnectionStatus:
        """A picture of it."""
        return ConnectionStatus(
            name=self.name,
            url=self.url,
            state=self.state,
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

    # -- what may be asked of it; nothing of this waits

    def carry_streams(self, streams: Iterable[str]) -> None:
        """Carry these from now on, and no others."""
        self.streams = tuple(streams)
        if self.subscriber is not None:
            self.subscriber.carry(self.streams)

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
        self.subscriber = subscriber
        self.told_to_reopen = trio.Event()
        self.reopen_reason = ""

    def end(self) -> None:
        """It is open no more."""
        self.subscriber = None
        self.opened_at_ms = None
        self.acknowledged = 0

    async def put_carried(self, outbox: Mailbox[FrameBatch]) -> None:
        """Put what was read and not put; cancelled, it keeps the rest."""
        while self.carry:
            await outbox.wait_for_room(self.carry[0])
            outbox.put_nowait(self.carry.popleft())
