"""A sink that puts the disk before another one: in an outage what comes is kept there, and goes out in order later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import trio

from ingest_actors.errors import SinkUnreachable
from ingest_actors.messages import Event, EventBatch
from ingest_actors.protocols import Acknowledgement, KnownProgress, Sink, SinkStatus, SpoolStatus
from ingest_actors.spool.disk import Disk
from ingest_actors.spool.queue import Slot, SpoolQueue
from ingest_actors.spool.writer import SpoolWriter

STALL_S = 2.0
"""Nothing was acknowledged for so long although something waits for it: an outage. Shorter than what fills the buffers
at a market's usual pace, so that the socket goes on being read; longer than a broker takes for anything but an outage
or an election - and to take one for an outage costs nothing but a detour by the disk."""

WATCH_S = 0.25
"""How often that is looked at."""

LETTER_TRIES_MAX = 2
"""A dead letter that is refused gets one more try, in a form that is easier to take; as in the producer."""

RefusedEvent = Callable[..., Event]
"""Makes the dead letter of an event that was refused, from a reason and a detail; of a dead letter, one that is more
likely to be taken, with `timestamp_ms` in place of its own."""


class SpoolBounds(NamedTuple):
    """How much a spooling sink may hold in memory, in bytes as batches are counted, and when it takes to the disk."""

    window: int
    """What the inner sink may have while batches go by way of the disk."""
    chunk: int
    """What is read or written at once."""
    stall_s: float = STALL_S

    @property
    def pending(self) -> int:
        """What may wait to be written."""
        return 2 * self.chunk

    @property
    def near(self) -> int:
        """So little on the disk is not written there again and again while it is being caught up with."""
        return self.window // 4


class SpoolingSink:
    """Fits `ingest_actors.protocols.DrivenSink`; decorates any `Sink`.

    As long as the inner sink acknowledges what it has, batches pass straight through. When it does not for `STALL_S`,
    or says that it cannot be reached, all that it has and all that comes is written to the disk and acknowledged as
    `Settled.SPOOLED`; the inner sink keeps what it has, and is offered the rest as it makes room. Whatever it
    acknowledges of that is told as `Settled.RECOVERED`, and then taken out of the file. When it has everything, batches
    go straight again.

    If the disk takes nothing - it is full, broken, or `SPOOL_MAX_BYTES` is reached - batches wait, as without a spool.

    Every batch gets a number, `EventBatch.spooled`, in the order in which the inner sink is given them: so a state that
    is written in one transaction with a batch says exactly which of those on the disk are written.

    Args:
        inner: where the batches go.
        disk: the file, open.
        bounds: see there.
        refused_event: makes dead letters of what the inner sink refuses of batches read back.
        announce: told of each outage.
        clock_ms: wall clock, ms since the epoch.
        last: highest number that is known to have been used, by whatever source.
        progress: the state that the inner sink moves on, if it writes it later than it acknowledges; see `SpoolWriter`.
        left_at_ms: when the newest of what an earlier process left on the disk was received; None: nothing is there.
        let_go: called at the end of `aclose`.
    """

    def __init__(
        self,
        inner: Sink,
        disk: Disk,
        *,
        bounds: SpoolBounds,
        refused_event: RefusedEvent,
        announce: Callable[..., None],
        clock_ms: Callable[[], int],
        last: int = 0,
        progress: KnownProgress[Any] | None = None,
        left_at_ms: int | None = None,
        let_go: Callable[[], None] = lambda: None,
    ) -> None:
        self.inner = inner
        self.left_at_ms = left_at_ms
        self._disk = disk
        self._bounds = bounds
        self._refused_event = refused_event
        self._announce = announce
        self._clock_ms = clock_ms
        self._let_go = let_go
        file = disk.file
        self._queue = SpoolQueue(
            last=max(file.last, last), left=file.last if file.batches else None, left_bytes=file.size_bytes
        )
        self._changed = trio.Event()
        self._writer = SpoolWriter(
            self._queue,
            disk,
            chunk_bytes=bounds.chunk,
            wanted=self._write_wanted,
            progress=progress,
            announce=announce,
            told=self._tell_ready,
            change=self._change,
        )
        self._touched: dict[int, EventBatch] = {}
        self._lending: trio.CancelScope | None = None
        self._settling: trio.CancelScope | None = None
        self._feeding = False
        self._finishing = False
        self._resetting = False
        self._stalled = False
        self._quiet_since = 0.0
        self._held_up_ms = 0
        self._holding_up = False

    # -- what the producer asks for

    async def accept(self, batch: EventBatch) -> None:
        """Take responsibility for a batch: the inner sink's, or, in an outage, that it gets onto the disk.

        Waits while the inner sink is full and there is no outage, or the disk takes nothing.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        queue = self._queue
        if queue.again and (known := queue.again.pop(id(batch), None)) is not None:
            queue.ready.append(known)
            self._tell_ready()
            return
        self._holding_up = False
        while True:
            if queue.straight:
                if not queue.next and not self._feeding:
                    if await self._lend(batch):
                        return
                    continue
            elif not queue.pending or queue.pending_bytes + batch.size_bytes <= self._bounds.pending:
                queue.put(batch, keep=self._touched.pop(id(batch), None) is not None)
                self._tell()
                return
            elif self._writer.trouble:
                self._holding_up = True
            await self._wait_for_room()

    async def acknowledged(self) -> Acknowledgement:
        """What became of the oldest batch; or of one that was read back, which comes beside these."""
        await trio.lowlevel.checkpoint_if_cancelled()
        ready = self._queue.ready
        while not ready:
            if self._resetting:
                await self._change()
                continue
            with trio.CancelScope() as scope:
                self._settling = scope
                try:
                    acknowledgement = await self.inner.acknowledged()
                finally:
                    self._settling = None
                self._take(acknowledgement)
        if self._finishing:
            self._tell()
        return ready.popleft()

    async def reset(self) -> None:
        """Have the inner sink start afresh. What is on the disk is not needed again from the caller.

        That may have to wait for the end of an outage; so `drive` does it, and what comes meanwhile goes to the disk.
        """
        await trio.lowlevel.checkpoint()
        self._touched |= {id(batch): batch for batch in self._queue.reset()}
        self._queue.straight = False
        self._resetting = True
        self._stalled = False
        self._quiet_since = trio.current_time()

    def status(self) -> SinkStatus:
        """That of the inner sink; reachable as well while the disk takes in what it does not."""
        status, file, trouble = self.inner.status(), self._disk.file, self._writer.trouble
        reachable = status.reachable or not trouble
        return status._replace(
            reachable=reachable,
            detail="" if reachable else f"{status.detail or 'no broker answers'}; and the spool does not: {trouble}",
            queue_bytes=status.queue_bytes + sum(slot.batch.size_bytes for slot in self._queue.next),
            spool=SpoolStatus(
                file.used_bytes,
                file.events,
                trouble,
                self._clock_ms() if self._holding_up else self._held_up_ms,
                spooling=not self._queue.straight,
                bytes_max=file.bytes_max,
            ),
            brokers_reachable=status.reachable,
        )

    async def drive(self) -> None:
        """Notice outages, write to the disk, read back; until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                nursery.start_soon(self._writer.run)
                nursery.start_soon(self._feed)
        finally:
            self._feeding = False

    async def finish(self) -> None:
        """Wait for what the inner sink has; not in an outage, for the disk has it too."""
        self._finishing = True
        queue = self._queue
        while (queue.lent and not self._stalled) or queue.ready:
            await self._change()

    async def aclose(self) -> None:
        """Take out of the file what is acknowledged, and let go of it and of the inner sink."""
        try:
            await self._writer.end()
            await self._disk.close()
        finally:
            self._let_go()
            await self.inner.aclose()

    # -- its own work

    async def _lend(self, batch: EventBatch) -> bool:
        """Hand a batch to the inner sink; False if an outage began meanwhile."""
        queue = self._queue
        queue.number(batch)
        self._touched[id(batch)] = batch
        self._note_waiting()
        with trio.CancelScope() as scope:
            self._lending = scope
            try:
                await self.inner.accept(batch)
            finally:
                self._lending = None
                self._tell()
            del self._touched[id(batch)]
            queue.lend(Slot(batch))
            return True
        return False

    async def _wait_for_room(self) -> None:
        try:
            await self._change()
        finally:
            if self._holding_up:
                self._held_up_ms = self._clock_ms()
                self._holding_up = False

    async def _feed(self) -> None:
        """Give the inner sink what lies on the disk, oldest first, and then what waits in memory."""
        queue, bounds = self._queue, self._bounds
        while True:
            if self._resetting:
                await self._reset_inner()
            elif self._lending is not None or self._finishing:
                await self._change()
            elif queue.next:
                if queue.lent and queue.lent_bytes + queue.next[0].batch.size_bytes > bounds.window - bounds.chunk:
                    await self._change()
                else:
                    await self._feed_next()
            elif queue.straight:
                await self._change()
            elif queue.unread:
                queue.load(await self._disk.read(queue.cursor, bounds.chunk))
            elif queue.writing or self._stalled:
                await self._change()
            else:
                queue.go_straight()
                self._tell()

    async def _reset_inner(self) -> None:
        await self.inner.reset()
        self._resetting = False
        self._stalled = False
        self._quiet_since = trio.current_time()
        self._tell()

    async def _feed_next(self) -> None:
        self._note_waiting()
        self._feeding = True
        try:
            await self.inner.accept(self._queue.next[0].batch)
        finally:
            self._feeding = False
        self._queue.lend_next()
        if not self._queue.next:
            self._tell()

    async def _watch(self) -> None:
        """Notice when nothing is acknowledged any more."""
        queue = self._queue
        while True:
            await trio.sleep(WATCH_S)
            waiting = bool(queue.lent) or self._lending is not None or self._feeding or self._resetting
            quiet_s = trio.current_time() - self._quiet_since
            unreachable = not (self._resetting or self.inner.status().reachable)
            stalled = waiting and (unreachable or quiet_s > self._bounds.stall_s)
            if stalled == self._stalled:
                continue
            self._stalled = stalled
            if stalled:
                self._leave_straight(quiet_s)
            self._tell()

    def _write_wanted(self) -> bool:
        return self._stalled or self._queue.unread_bytes > self._bounds.near

    def _leave_straight(self, quiet_s: float) -> None:
        queue = self._queue
        queue.straight = False
        if self._lending is not None:
            self._lending.cancel()
        cause = self.inner.status().detail or f"nothing was acknowledged for {quiet_s:.1f} s"
        self._writer.outage(cause, sum(len(slot.batch) for slot in queue.lent))

    def _take(self, acknowledgement: Acknowledgement) -> None:
        """Note what the inner sink has settled, in one synchronous step."""
        queue = self._queue
        self._quiet_since = trio.current_time()
        slot = queue.lent[0]
        if slot.told:
            owed = acknowledgement.refused and acknowledgement.letters is None
            letters = self._letters(slot, acknowledgement) if owed else None
            queue.take(acknowledgement, letters)
            self._writer.recovered += len(slot.batch)
        else:
            queue.take(acknowledgement)
        if self._stalled:
            self._stalled = False
            self._tell()
        elif not queue.straight or queue.next or slot.told or self._finishing:
            self._tell()

    def _letters(self, slot: Slot, acknowledgement: Acknowledgement) -> EventBatch:
        """The dead letters of what was refused of a batch that nobody waits for any more."""
        events = slot.batch.events
        if slot.tries >= LETTER_TRIES_MAX:
            refusal = acknowledgement.refused[0]
            raise SinkUnreachable(
                f"topic {events[refusal.position][3].topics[0]}",
                f"it refuses a dead letter: {refusal.detail}",
                hint="the topic of the dead letters must take whatever the others refuse",
            )
        again = {"timestamp_ms": self._clock_ms()} if slot.tries else {}
        return EventBatch(
            [
                self._refused_event(events[at], reason, detail, **again)
                for at, reason, detail in acknowledgement.refused
            ],
            received_at_ms=slot.batch.received_at_ms,
        )

    def _note_waiting(self) -> None:
        if not self._queue.lent:
            self._quiet_since = trio.current_time()

    def _tell_ready(self) -> None:
        """Something is ready to be acknowledged: whoever waits for the inner sink looks again."""
        if self._queue.ready and self._settling is not None:
            self._settling.cancel()
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _change(self) -> None:
        await self._changed.wait()
