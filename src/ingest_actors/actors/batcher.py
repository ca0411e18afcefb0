"""The batcher: events in whatever lists they come, out in batches of at most `BATCH_SIZE`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

import trio

from ingest_actors.messages import Event, EventBatch
from ingest_actors.supervision import Mailbox


async def batcher(
    inbox: Mailbox[EventBatch],
    outbox: Mailbox[EventBatch],
    *,
    batch_size: int,
    batch_timeout_s: float,
    eager: bool,
    clock: Callable[[], float] = trio.current_time,
) -> None:
    """Batch until the inbox ends, then hand on what is left.

    A batch is closed when it is full, when its oldest event has waited for `batch_timeout_s`, or, if `eager`, as soon
    as the producer has nothing else to do. If `eager`, a parcel that makes half a batch goes on as it is: under a flood
    the parser's parcels are of that size, and to cut them anew, one batch a turn, would be slower than they come, so
    that everything would wait in line before this.

    What is being collected stays on lease in the inbox, so that the next life of a crashed batcher begins with it.
    Events in isolation are handed on one by one: that finds the culprit soon.

    Args:
        inbox: events as the parser gave them.
        outbox: batches of 1 to `batch_size` events.
        batch_size: most events in a batch.
        batch_timeout_s: longest that an event waits here, seconds, while there is room downstream.
        eager: whether an idle producer closes a batch.
        clock: trio's clock, seconds.
    """
    collected = _Collected(inbox, outbox)
    if eager:
        inbox.pass_on(partial(_hand_through, outbox, batch_size))
    try:
        await _batch(collected, batch_size=batch_size, batch_timeout_s=batch_timeout_s, eager=eager, clock=clock)
    finally:
        inbox.pass_on(None)


def _hand_through(outbox: Mailbox[EventBatch], batch_size: int, parcel: EventBatch) -> bool:
    """While nothing is being collected, a parcel that is a batch already needs no batcher."""
    if not _is_batch(parcel, batch_size, idle=not outbox.waiting):
        return False
    try:
        outbox.put_nowait(parcel)
    except (trio.WouldBlock, trio.ClosedResourceError):
        return False
    return True


def _is_batch(parcel: EventBatch, batch_size: int, *, idle: bool) -> bool:
    """Whether a parcel that is alone may go as it is: to fill up half a batch costs more than it saves."""
    return (idle or 2 * len(parcel) >= batch_size) and len(parcel) <= batch_size


async def _batch(
    collected: _Collected, *, batch_size: int, batch_timeout_s: float, eager: bool, clock: Callable[[], float]
) -> None:
    inbox, outbox = collected.inbox, collected.outbox
    while True:
        try:
            parcel = await inbox.take()
        except trio.EndOfChannel:
            await collected.emit(batch_size, partial=True)
            return
        collected.add(parcel)
        deadline = clock() + batch_timeout_s
        ended = eager and _is_batch(parcel, batch_size, idle=not (outbox.waiting or inbox.waiting))
        while not ended:
            if eager:
                collected.add_waiting(batch_size)
            if await collected.emit(batch_size):
                deadline = clock() + batch_timeout_s
            idle = eager and not outbox.waiting  # to wait for that costs as much as all else that is done here
            if not collected.events or idle or inbox.isolating or (inbox.closed and not inbox.waiting):
                break
            with trio.move_on_at(deadline) as patience:
                if eager:
                    await outbox.wait_idle()
                    ended = True
                    collected.add_waiting(batch_size)
                else:
                    try:
                        collected.add(await inbox.take())
                    except trio.EndOfChannel:
                        ended = True
            if patience.cancelled_caught:
                ended = True
        await collected.emit(batch_size, partial=True)


class _Collected:
    """Events taken from the inbox and not yet handed on."""

    def __init__(self, inbox: Mailbox[EventBatch], outbox: Mailbox[EventBatch]) -> None:
        self.inbox = inbox
        self.outbox = outbox
        self.events: list[Event] = []
        self._whole: EventBatch | None = None
        """The one parcel that all events are of, if nothing of it is handed on: it can go as it is."""
        self._parcels: deque[tuple[int, int]] = deque()
        """Of each parcel that the events came in, how many are not handed on, and when it was received."""

    def add(self, parcel: EventBatch) -> None:
        self._parcels.append((len(parcel.events), parcel.received_at_ms))
        if not self.events:
            self.events, self._whole = parcel.events, parcel
        elif self._whole is not None:
            self.events, self._whole = [*self.events, *parcel.events], None
        else:
            self.events.extend(parcel.events)

    def add_waiting(self, enough: int) -> None:
        """Take what is there without waiting, until there is enough for a batch."""
        try:
            while len(self.events) < enough:
                self.add(self.inbox.take_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            pass

    async def emit(self, batch_size: int, *, partial: bool = False) -> bool:
        """Hand on every full batch; with `partial` the rest too. True if anything was handed on."""
        events, whole = self.events, self._whole
        start = 0
        while len(events) - start >= (1 if partial else batch_size):
            if whole is not None and len(events) <= batch_size:
                batch = whole
            else:
                batch = EventBatch(events[start : start + batch_size], received_at_ms=self._parcels[0][1])
            await self.outbox.wait_for_room(batch)
            self.outbox.put_nowait(batch)
            self.inbox.settle(len(batch))
            self._drop_front(len(batch))
            start += len(batch)
        if start:
            self.events, self._whole = events[start:], None
        return start > 0

    def _drop_front(self, count: int) -> None:
        parcels = self._parcels
        while count:
            events, received_at_ms = parcels.popleft()
            if events > count:
                parcels.appendleft((events - count, received_at_ms))
                return
            count -= events
