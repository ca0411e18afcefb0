"""The seams: what the actors ask of the things they are given.

`Sink` is public: `serve(..., sink=...)` takes any object that fits it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

from ingest_actors.messages import EventBatch, FrameBatch


class Refusal(NamedTuple):
    """One event of a batch that the sink will never take, however often it is offered."""

    position: int
    """Which event of the batch, counted from 0."""
    reason: str
    """One word for metrics and headers, e.g. ``too_large``."""
    detail: str
    """For people."""


class Settled(Enum):
    """Where the events of a batch are that is acknowledged."""

    WRITTEN = "written in every topic of their routes, but for those that were refused"
    SPOOLED = "safe on the disk, to be written later; another acknowledgement will come then, as RECOVERED"
    RECOVERED = "as WRITTEN, but read back from a spool; what was refused is on the disk again, as dead letters"


class Acknowledgement(NamedTuple):
    """What became of the oldest batch that was accepted and not yet acknowledged.

    One that is `Settled.RECOVERED` comes beside these: its batch was acknowledged before, if not in an earlier process.
    """

    batch: EventBatch
    refused: Sequence[Refusal] = ()
    """Empty when every event is written in every topic of its route."""
    ack_s: float = 0.0
    """Seconds from acceptance to acknowledgement."""
    letters: EventBatch | None = None
    """Dead letters of the refused events, one each, that the sink has written already; None: others see to them."""
    settled: Settled = Settled.WRITTEN
    """Where the events are."""


class SpoolStatus(NamedTuple):
    """How full a spool is."""

    used_bytes: int
    """On the disk."""
    events: int
    """How many wait to be written to Kafka, or for its acknowledgement."""
    detail: str = ""
    """Why it takes nothing in, for people; empty when it would."""
    held_up_ms: int = 0
    """When it last held up what came because it took nothing in: wall clock, ms since the epoch; 0: never."""


class SinkStatus(NamedTuple):
    """For metrics and readiness."""

    reachable: bool
    queue_records: int
    queue_bytes: int
    errors: int
    records: dict[str, int]
    """Acknowledged records by topic."""
    detail: str = ""
    """Why it is not reachable, for people; empty when it is."""
    spool: SpoolStatus | None = None
    """None: there is none."""


@runtime_checkable
class Sink(Protocol):
    """Where batches go. Accepting a batch and acknowledging it are two things, so that many are under way at once.

    `accept` is called by one task at a time, `acknowledged` by another. Both may be cancelled at any time without loss:
    an interrupted `accept` is called again with the same batch object and goes on where it was, perhaps after another
    batch (of dead letters) was accepted; an interrupted `acknowledged` hands out the same acknowledgement again.
    Batches are acknowledged in the order in which their `accept` returned.

    Errors: either method raises `ingest_actors.errors.SinkBroken` when nothing accepted so far can be acknowledged any
    more. `reset` is called then, and after it every unacknowledged batch is offered again, oldest first. Any other
    exception counts as a crash of the producer actor.
    """

    async def accept(self, batch: EventBatch) -> None:
        """Take responsibility for a batch; waits while the sink is full."""
        ...

    async def acknowledged(self) -> Acknowledgement:
        """Wait until the oldest accepted batch is settled."""
        ...

    async def reset(self) -> None:
        """Forget all that was accepted and not acknowledged, and start afresh."""
        ...

    def status(self) -> SinkStatus:
        """A look at the sink; never blocks."""
        ...

    async def aclose(self) -> None:
        """Let go of resources. Called once, after the last acknowledgement or when time has run out."""
        ...


@runtime_checkable
class DrivenSink(Sink, Protocol):
    """A sink with work of its own to do beside what it is asked for."""

    async def drive(self) -> None:
        """Work until cancelled, which may be at any time; perhaps to be driven again.

        Raises what `accept` and `acknowledged` raise.
        """
        ...

    async def finish(self) -> None:
        """Nothing more will be accepted, and all that was is acknowledged: return when the rest can wait.

        `drive` and `acknowledged` go on meanwhile.
        """
        ...


@runtime_checkable
class PromptSink(Sink, Protocol):
    """A sink that can be asked without waiting, which spares its owner a wake-up for each batch under a steady flow."""

    def acknowledged_nowait(self) -> Acknowledgement | None:
        """What `acknowledged` would return at once; None when it would wait, raise, or have something to do first.

        Whoever asks does so after each `accept`, until there is nothing more: what is acknowledged within `accept`
        wakes nobody any more.
        """
        ...


C = TypeVar("C", bound="StateChange")


class StateChange(Protocol):
    """What of the resume state has changed."""

    @property
    def records(self) -> Sequence[tuple[bytes, bytes]]:
        """Keys and values for the state topic."""
        ...


class Progress(Protocol[C]):
    """What a restart has to know of what is written; `ingest_actors.binance.resume.ResumeState` is one.

    A transaction: `apply` to each of its batches, `change` into it, then `settle` or `roll_back`. Without transactions:
    `begin` of each batch before it is written, `apply` to each that is acknowledged, and from time to time `change`,
    `settle` once that is written.
    """

    def load(self, key: bytes, value: bytes | None) -> bool:
        """Take in a record of the state topic; whether it was one of ours."""
        ...

    def begin(self, batch: EventBatch) -> Sequence[tuple[bytes, bytes]]:
        """A batch is about to be written, without a transaction: keys and values that must be written before it."""
        ...

    def apply(self, batch: EventBatch) -> None:
        """A batch is written, or about to be in the same transaction; in the order of the batches."""
        ...

    def change(self) -> C:
        """What has changed since the last `settle`."""
        ...

    def settle(self, change: C) -> None:
        """That is written."""
        ...

    def roll_back(self) -> None:
        """Nothing since the last `settle` is."""
        ...


class KnownProgress(Progress[C], Protocol[C]):
    """One that can be kept elsewhere as well."""

    @property
    def spooled(self) -> int | None:
        """Highest number of a batch that is written."""
        ...

    def everything(self) -> list[tuple[bytes, bytes]]:
        """All of it, as records that `load` takes."""
        ...

    def take_over(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Go on from what was kept elsewhere, which is newer than what was read."""
        ...

    def go_further(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Take in what was written later, all but for some records: those that are older are passed over."""
        ...


class Feed(Protocol):
    """One open WebSocket connection to the exchange."""

    async def receive(self) -> FrameBatch:
        """The next messages; raises `ingest_actors.errors.FeedClosed` once all that was read is handed out."""
        ...

    async def send(self, message: str) -> None:
        """Send one text message."""
        ...

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close with a close frame, bounded in time; idempotent."""
        ...

    def unread(self) -> list[FrameBatch]:
        """Take what was read and not handed out; also after the end. The last to ask loses nothing."""
        ...


@runtime_checkable
class DirectFeed(Feed, Protocol):
    """A feed that can hand messages on in the step that reads them, which spares its owner a wake-up for each read."""

    def hand_to(self, offer: Callable[[FrameBatch], bool] | None) -> None:
        """Ask `offer` first, from now on, whether it takes what was just read; None: no more.

        What it does not take, and what comes while something is still to be received, is received as ever; so the
        order stays. It must not wait or raise.
        """
        ...


class Subscriber(Protocol):
    """The control protocol of one connection, for one life of it."""

    @property
    def acknowledged(self) -> AbstractSet[str]:
        """Streams whose subscription the exchange has acknowledged."""
        ...

    @property
    def missing(self) -> AbstractSet[str]:
        """Those of them that it did not name when it was last asked which it lists."""
        ...

    def intercept(self, frames: list[bytes]) -> list[bytes]:
        """Take the exchange's replies out of messages that were just read; never waits."""
        ...

    def subscribe(self, feed: Feed) -> AsyncIterator[int]:
        """Subscribe to all streams, paced, and to what comes later; yields how many are acknowledged when that changes.

        Raises `ingest_actors.errors.FeedClosed` when the exchange refuses or does not reply.
        """
        ...

    def carry(self, streams: Iterable[str]) -> None:
        """Carry these from now on, and no others; never waits."""
        ...

    def renew(self, streams: Iterable[str]) -> None:
        """Subscribe again to streams that are carried; never waits."""
        ...


class FrameTape(Protocol):
    """Keeps messages as they came."""

    async def wait_for_room(self) -> None:
        """Wait until `keep` may be called; it may still be called after further waiting."""
        ...

    def keep(self, batch: FrameBatch) -> None:
        """Take in messages, to be written soon; never waits."""
        ...

    async def run(self) -> None:
        """Write what is kept, as it comes, until cancelled."""
        ...

    async def flush(self) -> None:
        """Write what is kept, now."""
        ...
