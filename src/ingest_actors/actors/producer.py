"""The producer: batches into the sink, acknowledgements back into leases and the ledger."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

import trio

from ingest_actors.actors.dead_letter_log import DeadLetterLog
from ingest_actors.errors import SinkBroken, SinkUnreachable
from ingest_actors.ledger import Ledger
from ingest_actors.messages import Event, EventBatch, Route
from ingest_actors.protocols import Acknowledgement, DrivenSink, PromptSink, Settled, Sink
from ingest_actors.status import Tallies
from ingest_actors.supervision import Mailbox

RefusedEvent = Callable[[Event, str, str], Event]
"""Makes the dead letter of an event that the sink refused, from a reason and a detail; of a dead letter, one that the
sink is more likely to take."""


class _Entry:
    """One batch of the inbox that the sink has accepted: what it will count as, and what it still waits for."""

    __slots__ = ("acknowledged", "batch", "dead_letters", "last_try", "routes", "spooled")

    def __init__(self, batch: EventBatch) -> None:
        self.batch = batch
        self.acknowledged = False
        self.dead_letters: EventBatch | None = None
        self.last_try = False
        self.routes: Counter[Route] = Counter()
        self.spooled: Counter[Route] = Counter()


class Handover:
    """What has been handed to the sink and is not settled.

    It belongs to the supervisor and outlives the producer's lives, so a batch that the sink has accepted is never
    offered to the same sink again: its lease is pinned, and a crash of the producer leaves it alone.

    Args:
        inbox: where the batches wait, on lease until they are acknowledged.
        sink: where they go.
        ledger: told of each settled event.
        tallies: told of latencies.
        refused_event: makes dead letters.
        breaks_max: how often in a row the sink may break before the service gives up.
        announce: told of dead letters, and of a sink that is reset.
        clock_ms: wall clock, ms since the epoch.
    """

    def __init__(
        self,
        inbox: Mailbox[EventBatch],
        sink: Sink,
        *,
        ledger: Ledger,
        tallies: Tallies,
        refused_event: RefusedEvent,
        breaks_max: int,
        announce: Callable[..., None],
        clock_ms: Callable[[], int],
    ) -> None:
        self.breaks = 0
        self._inbox = inbox
        self._sink = sink
        self._ledger = ledger
        self._tallies = tallies
        self._refused_event = refused_event
        self._breaks_max = breaks_max
        self._announce = announce
        self._clock_ms = clock_ms
        self._letters = DeadLetterLog(announce)
        self._entries: deque[_Entry] = deque()
        self._awaited: deque[_Entry] = deque()
        self._owed: deque[_Entry] = deque()
        self._again: deque[_Entry] = deque()
        self._turn = trio.Lock()
        self._broken: SinkBroken | None = None
        self._settled = trio.Event()
        self._refused = trio.Event()

    async def offer(self) -> None:
        """Hand over until the inbox ends, then wait until everything is settled."""
        while self._again:
            async with self._turn:
                entry = self._again[0]
                await self._sink.accept(entry.batch if entry.dead_letters is None else entry.dead_letters)
                self._awaited.append(self._again.popleft())
        prompt = self._sink if isinstance(self._sink, PromptSink) else None
        while True:
            try:
                batch = await self._inbox.take()
            except trio.EndOfChannel:
                break
            if self._turn.locked():
                await self._turn.acquire()
            else:
                self._turn.acquire_nowait()  # without going round the scheduler
            try:
                await self._sink.accept(batch)
                entry = _Entry(batch)
                self._entries.append(entry)
                self._awaited.append(entry)
                self._inbox.pin()
            finally:
                self._turn.release()
            self._tallies.latency["pipeline"].observe(max(self._clock_ms() - batch.received_at_ms, 0) / 1000)
            while prompt is not None and (acknowledgement := prompt.acknowledged_nowait()) is not None:
                self._take(acknowledgement)
        while self._entries:
            self._settled = trio.Event()
            await self._settled.wait()
        if isinstance(self._sink, DrivenSink):
            await self._sink.finish()

    async def drive(self) -> None:
        """Let the sink do the work that it has of its own; ends at once if it has none."""
        if isinstance(self._sink, DrivenSink):
            await self._sink.drive()

    async def settle(self) -> None:
        """Settle what the sink acknowledges, oldest first; ends only by cancellation or an error."""
        while True:
            self._take(await self._sink.acknowledged())

    async def bury(self) -> None:
        """Offer the dead letters that the sink's refusals make; ends only by cancellation or an error.

        A task of its own: settling must go on while this waits for room.
        """
        while True:
            while self._owed:
                await self._offer_dead_letters(self._owed[0])
            self._refused = trio.Event()
            await self._refused.wait()

    def broke(self, broken: SinkBroken) -> None:
        """Note that the sink broke; whoever lives next recovers."""
        if self._broken is None:
            self._broken = broken
            self.breaks += 1

    async def recover(self) -> None:
        """If the sink broke: give up when that happened too often in a row, else reset it.

        What it had not acknowledged is offered again, in order, before anything new.
        """
        if self._broken is None:
            return
        if self.breaks > self._breaks_max:
            mend = f"{self._broken.hint}; " if self._broken.hint else ""
            raise SinkUnreachable(
                "the configured brokers",
                f"{self.breaks} fatal producer errors in a row, the last: {self._broken.cause}",
                hint=f"{mend}KAFKA_RETRIES bounds them",
            ) from self._broken
        self._announce(
            "sink_reset",
            level="warning",
            cause=self._broken.cause,
            breaks=self.breaks,
            unacknowledged=sum(len(entry.batch) for entry in self._entries),
        )
        await self._sink.reset()
        self._broken = None
        self._awaited.clear()
        self._owed.clear()
        self._again = deque(entry for entry in self._entries if not entry.acknowledged)
        self._inbox.rewind(crashed=False)

    async def _offer_dead_letters(self, entry: _Entry) -> None:
        dead_letters = entry.dead_letters
        assert dead_letters is not None
        async with self._turn:
            await self._sink.accept(dead_letters)
            self._owed.popleft()
            self._awaited.append(entry)

    def _take(self, acknowledgement: Acknowledgement) -> None:
        """Account for one acknowledgement, in one synchronous step."""
        if acknowledgement.settled is Settled.SPOOLED:
            self._note_spooled(self._awaited.popleft(), acknowledgement.batch)
            return
        self.breaks = 0
        if acknowledgement.settled is Settled.RECOVERED:
            self._note_recovered(acknowledgement)
            return
        entry = self._awaited.popleft()
        batch = acknowledgement.batch
        self._tallies.latency["ack"].observe(acknowledgement.ack_s)
        if batch is entry.dead_letters:
            self._take_letters(entry, batch, acknowledgement)
        else:
            self._note_written(entry, batch, acknowledgement)
        self._settle_oldest()

    def _take_letters(self, entry: _Entry, letters: EventBatch, acknowledgement: Acknowledgement) -> None:
        """Dead letters are written; those that were refused too get one more try, in a form that is easier to take."""
        if acknowledgement.refused and entry.last_try:
            refusal = acknowledgement.refused[0]
            raise SinkUnreachable(
                f"topic {letters.events[refusal.position][3].topics[0]}",
                f"it refuses a dead letter: {refusal.detail}",
                hint="the topic of the dead letters must take whatever the others refuse",
            )
        entry.last_try = True
        self._note_written(entry, letters, acknowledgement)
        if entry.dead_letters is not None:
            entry.dead_letters.events = [
                (value, key, self._clock_ms(), route) for value, key, _, route in entry.dead_letters.events
            ]

    def _note_spooled(self, entry: _Entry, batch: EventBatch) -> None:
        """What is on the disk is off our hands; it counts as spooled until it comes back as recovered."""
        entry.spooled = entry.spooled + batch.routes()
        entry.dead_letters = None
        entry.acknowledged = True
        self._settle_oldest()

    def _note_recovered(self, acknowledgement: Acknowledgement) -> None:
        """A batch went from the disk to Kafka: all of it is recovered, and settled in the same step."""
        batch, refused = acknowledgement.batch, acknowledgement.refused
        self._tallies.latency["ack"].observe(acknowledgement.ack_s)
        self._ledger.recover(batch.routes())
        written = batch.routes()
        if refused:
            not_written = Counter([batch.events[refusal.position][3] for refusal in refused])
            written = written - not_written
            if acknowledgement.letters is None:
                self._ledger.spool(not_written)
            else:
                written = written + acknowledgement.letters.routes()
        self._ledger.settle(written)
        self._letters.tell(written)

    def _note_written(self, entry: _Entry, batch: EventBatch, acknowledgement: Acknowledgement) -> None:
        """Count what is written; what was refused is owed as dead letters."""
        refused = [(batch.events[refusal.position], refusal) for refusal in acknowledgement.refused]
        written = batch.routes()
        if refused:
            written = written - Counter([event[3] for event, _ in refused])
        entry.routes = entry.routes + written if entry.routes else written
        if refused and acknowledgement.letters is not None:
            entry.routes = entry.routes + acknowledgement.letters.routes()
        elif refused:
            entry.dead_letters = EventBatch(
                [self._refused_event(event, refusal.reason, refusal.detail) for event, refusal in refused],
                received_at_ms=batch.received_at_ms,
            )
            self._owed.append(entry)
            self._refused.set()
            return
        entry.dead_letters = None
        entry.acknowledged = True

    def _settle_oldest(self) -> None:
        entries = self._entries
        while entries and entries[0].acknowledged:
            entry = entries.popleft()
            self._ledger.settle(entry.routes)
            if entry.spooled:
                self._ledger.spool(entry.spooled)
            self._inbox.settle(len(entry.batch))
            self._letters.tell(entry.routes)
        if not entries:
            self._settled.set()


async def producer(handover: Handover) -> None:
    """Hand over and settle until the inbox ends and all is acknowledged.

    Raises:
        SinkUnreachable: the sink broke more often in a row than it may.
    """
    while True:
        await handover.recover()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(handover.drive)
                nursery.start_soon(handover.settle)
                nursery.start_soon(handover.bury)
                await handover.offer()
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            broken, others = group.split(SinkBroken)
            if broken is None:
                raise
            handover.broke(_first(broken))
            if others is not None:
                raise others from None
        else:
            return


def _first(group: BaseExceptionGroup[SinkBroken]) -> SinkBroken:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
