"""The sink that writes to Kafka in transactions: each batch once, together with the state that a restart needs."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import trio

from ingest_actors.errors import IngestError, SinkBroken
from ingest_actors.kafka.health import Health
from ingest_actors.kafka.letters import Letter, Letters
from ingest_actors.kafka.owner import HEARTBEAT_S
from ingest_actors.kafka.parcel import Parcel
from ingest_actors.kafka.writer import Writer
from ingest_actors.messages import EventBatch
from ingest_actors.protocols import Acknowledgement, Progress, SinkStatus

POLL_S = 0.05
"""How often is looked after what the brokers report while a transaction is open and not due."""

IDLE_POLL_S = 1.0

PARTIAL_S_MAX = 5.0
"""How long a batch that was handed over in part, and that nobody goes on with, may hold up a commit. Then what is
complete goes into a transaction without it."""

PARTIAL_POLL_S = 0.01


class TransactionalSink:
    """Fits `ingest_actors.protocols.Sink`; made by `open_sink` with ``KAFKA_DELIVERY=exactly_once``.

    A transaction holds whole batches, the dead letters of events that are refused, what has changed of the resume
    state, and the owner's record. It is committed every so often, and its batches are acknowledged then. Between two
    commits nothing is certain: an interrupted batch is never committed in part.

    Everything happens inside `accept` and `acknowledged`, so somebody must always be waiting in one of the two. A
    broker that cannot be reached is no error of the sink: it waits, and `status` says so.

    Errors, beside those of the Protocol: `SecondWriter` when another process with the same `INSTANCE_NAME` was started
    later; `SinkUnreachable` when a dead letter is refused.

    Args:
        writer: the transactions.
        commit_interval_s: how often to commit.
        letter: makes dead letters; None: refused events are reported, and whoever offered them sees to them.
        progress: the resume state, as it was read at start; the writer moves it on.
        away_s: how long nobody wrote before this sink was opened, seconds; None: nobody ever did.
        health: judges whether the brokers can be reached.
        bootstrap_servers: where the brokers are, for whoever wants to look in.
        on_close: called at the end of `aclose`.
        clock_ms: wall clock, ms since the epoch.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        commit_interval_s: float,
        letter: Letter | None,
        progress: Progress[Any] | None,
        away_s: float | None,
        health: Health,
        clock_ms: Callable[[], int],
        bootstrap_servers: str = "",
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.progress = progress
        self.away_s = away_s
        self._writer = writer
        self._commit_interval_s = commit_interval_s
        self._letter = letter
        self._health = health
        self._clock_ms = clock_ms
        self._on_close = on_close
        self._turn = trio.Lock()
        self._work = trio.Event()
        self._broken: IngestError | None = None
        self._known: dict[int, Parcel] = {}
        self._serial = 0
        self._committed_s = time.monotonic()
        self._oldest_s = math.inf
        self._partial_s = math.inf
        self._records: Counter[str] = Counter()

    async def accept(self, batch: EventBatch) -> None:
        """Write a batch into the transaction; waits while librdkafka's queue is full, or a commit is under way.

        Cancelled: what was handed over stays so; offer the same object again.

        Raises:
            SinkBroken: see `reset`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._turn.locked():
            await self._turn.acquire()
        else:
            self._turn.acquire_nowait()  # without going round the scheduler
        writer = self._writer
        try:
            self._raise_if_broken()
            parcel = writer.underway.get(id(batch)) or self._begin(batch)
            self._partial_s = math.inf
            try:
                await writer.write(parcel)
            except IngestError as error:
                self._broken = error
                raise
            finally:
                if writer.underway:
                    self._partial_s = time.monotonic()
            if self._oldest_s == math.inf:
                self._oldest_s = time.monotonic()
                self._health.began()
                self._work.set()
            writer.poll()
        finally:
            self._turn.release()

    async def acknowledged(self) -> Acknowledgement:
        """Wait until the oldest accepted batch is committed; commits what is due.

        Raises:
            SinkBroken: see `reset`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        committed = self._writer.committed
        while not committed:
            self._raise_if_broken()
            wait_s = self._due_s() - time.monotonic()
            if wait_s > 0:
                await self._wait(wait_s)
                continue
            async with self._turn:
                if not committed and self._whole():
                    await self._commit()
            if self._writer.underway:
                await trio.sleep(PARTIAL_POLL_S)
        parcel = committed.popleft()
        self._records.update(parcel.records_by_topic())
        return parcel.acknowledgement()

    async def reset(self) -> None:
        """Make a fresh producer; every unacknowledged batch is to be offered again, in order.

        What turns out to be committed is not written again. Waits until the brokers answer.

        Raises:
            SecondWriter: another process has taken over.
            SinkBroken: no producer can be made.
        """
        async with self._turn:
            writer = self._writer
            await writer.renew()
            self._known |= {id(parcel.batch): parcel for parcel in writer.committed}
            writer.committed.clear()
            writer.forget()
            self._broken = None
            self._oldest_s = self._partial_s = math.inf

    def status(self) -> SinkStatus:
        """A look at the sink; never blocks. Records of the state topic are not counted: they are no events."""
        writer = self._writer
        waiting = [*writer.parcels, *writer.underway.values()]
        return SinkStatus(
            reachable=self._health.reachable and self._broken is None,
            queue_records=writer.left,
            queue_bytes=sum(parcel.batch.size_bytes for parcel in waiting),
            errors=writer.errors + self._health.errors,
            records=dict(self._records),
            detail=self._health.detail if self._broken is None else str(self._broken),
        )

    async def aclose(self) -> None:
        """Take back what is not committed, and let go of the producer."""
        try:
            await self._writer.aclose()
        finally:
            self._on_close()

    def _begin(self, batch: EventBatch) -> Parcel:
        self._serial += 1
        known = self._known.pop(id(batch), None)
        if known is not None:
            return known.again(self._serial)
        letters = None if self._letter is None else Letters(self._letter, self._clock_ms)
        return Parcel(batch, self._serial, letters=letters, refused=self._writer.inquest.limits.screen(batch))

    def _due_s(self) -> float:
        """When something is to be done next, on the monotonic clock."""
        writer = self._writer
        if writer.trouble is not None or writer.closed:
            return 0.0
        return min(self._oldest_s + self._commit_interval_s, self._committed_s + HEARTBEAT_S)

    def _whole(self) -> bool:
        """Whether no batch is there in part; or a commit is due all the same, and then without it."""
        writer = self._writer
        if writer.underway and not writer.closed:
            if time.monotonic() - self._partial_s < PARTIAL_S_MAX:
                return False
            writer.drop_partial()
        return True

    async def _commit(self) -> None:
        writer = self._writer
        if self._oldest_s == math.inf:
            self._health.began()
        try:
            await writer.commit()
        except IngestError as error:
            self._broken = error
            raise
        self._committed_s = time.monotonic()
        self._oldest_s = math.inf

    async def _wait(self, seconds: float) -> None:
        """Wait for so long at most, or for work where there is none."""
        if not self._turn.locked():
            self._writer.poll()
            if self._writer.trouble is not None:
                return
        if self._oldest_s < math.inf:
            await trio.sleep(min(seconds, POLL_S))
            return
        self._work = trio.Event()
        with trio.move_on_after(min(seconds, IDLE_POLL_S)):
            await self._work.wait()

    def _raise_if_broken(self) -> None:
        if isinstance(self._broken, SinkBroken):
            raise SinkBroken(self._broken.cause, hint=self._broken.hint)
        if self._broken is not None:
            raise self._broken
