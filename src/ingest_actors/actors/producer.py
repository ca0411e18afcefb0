"""The producer: batches into the sink, acknowledgements back into leases and the ledger."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

import trio

from ingest_actors.errors import SinkBroken, SinkUnreachable
from ingest_actors.ledger import Ledger
from ingest_actors.logs import get_logger
from ingest_actors.messages import Event, EventBatch, Route
from ingest_actors.protocols import Acknowledgement, Sink
from ingest_actors.status import Tallies
from ingest_actors.supervision import Mailbox

log = get_logger()

RefusedEvent = Callable[[Event, str, str], Event]
"""Makes the dead letter of an event that the sink refused, from a reason and a detail."""


class _Entry:
    """One batch of the inbox that the sink has accepted: what it will count as, and what it still waits for."""

    __slots__ = ("acknowledged", "batch", "dead_letters", "routes")

    def __init__(self, batch: EventBatch) -> None:
        self.batch = batch
        self.acknowledged = False
        self.dead_letters: EventBatch | None = None
        self.routes: Counter[Route] = Counter()


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
        clock_ms: Callable[[], int],
    ) -> None:
        self.breaks = 0
        self._inbox = inbox
        self._sink = sink
        self._ledger = ledger
        self._tallies = tallies
        self._refused_event = refused_event
        self._breaks_max = breaks_max
        self._clock_ms = clock_ms
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
        while True:
            try:
                batch = await self._inbox.take()
            except trio.EndOfChannel:
                break
            async with self._turn:
                await self._sink.accept(batch)
                entry = _Entry(batch)
                self._entries.append(entry)
                self._awaited.append(entry)
                self._inbox.pin()
            self._tallies.latency["pipeline"].observe(max(self._clock_ms() - batch.received_at_ms, 0) / 1000)
        while self._entries:
            self._settled = trio.Event()
            await self._settled.wait()

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
            raise SinkUnreachable(
                "the configured brokers",
                f"{self.breaks} fatal producer errors in a row, the last: {self._broken.cause}",
                hint="KAFKA_RETRIES bounds them",
            ) from self._broken
        log.warning("sink_reset", cause=self._broken.cause, breaks=self.breaks, unacknowledged=len(self._entries))
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
        self.breaks = 0
        entry = self._awaited.popleft()
        batch = acknowledgement.batch
        self._tallies.latency["ack"].observe(acknowledgement.ack_s)
        if batch is entry.dead_letters:
            self._close(entry, batch, acknowledgement)
        elif acknowledgement.refused:
            entry.routes = batch.routes()
            for refusal in acknowledgement.refused:
                entry.routes[batch.events[refusal.position][3]] -= 1
            entry.dead_letters = EventBatch(
                [
                    self._refused_event(batch.events[refusal.position], refusal.reason, refusal.detail)
                    for refusal in acknowledgement.refused
                ],
                received_at_ms=batch.received_at_ms,
            )
            self._owed.append(entry)
            self._refused.set()
        else:
            entry.routes = batch.routes()
            entry.acknowledged = True
        self._settle_oldest()

    def _close(self, entry: _Entry, dead_letters: EventBatch, acknowledgement: Acknowledgement) -> None:
        """The dead letters of a batch are written; or refused too, which nothing can mend."""
        if acknowledgement.refused:
            refusal = acknowledgement.refused[0]
            raise SinkUnreachable(
                f"topic {dead_letters.events[refusal.position][3].topics[0]}",
                f"it refuses a dead letter: {refusal.detail}",
                hint="the topic of the dead letters must take whatever the others refuse",
            )
        entry.routes += dead_letters.routes()
        entry.acknowledged = True
        for event in dead_letters.events:
            log.warning("dead_lettered", **{name: value.decode("utf-8", "replace") for name, value in event[3].headers})

    def _settle_oldest(self) -> None:
        entries = self._entries
        while entries and entries[0].acknowledged:
            entry = entries.popleft()
            self._ledger.settle(entry.routes)
            self._inbox.settle(len(entry.batch))
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
