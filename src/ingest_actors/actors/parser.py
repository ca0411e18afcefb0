"""The parser: frames in, events out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import trio

from ingest_actors.ledger import Ledger
from ingest_actors.messages import Event, EventBatch, FrameBatch
from ingest_actors.status import Tallies
from ingest_actors.supervision import Mailbox

N_co = TypeVar("N_co", covariant=True)


class Parsed(Protocol[N_co]):
    """What parsing a batch of frames gives."""

    @property
    def events(self) -> list[Event]:
        """In the order of the frames; what could not be parsed is among them, with a dead-letter route."""
        ...

    @property
    def size_bytes(self) -> int:
        """What the events are counted as in memory."""
        ...

    @property
    def future_timestamps(self) -> int:
        """How many events bear the time of receipt, because their own lies too far ahead."""
        ...

    @property
    def notices(self) -> Sequence[N_co]:
        """What was said by the exchange that is no event."""
        ...


async def parser(
    inbox: Mailbox[FrameBatch],
    outbox: Mailbox[EventBatch],
    *,
    parse: Callable[[FrameBatch], Parsed[N_co]],
    notify: Callable[[N_co], None],
    ledger: Ledger,
    tallies: Tallies,
) -> None:
    """Parse until the inbox ends.

    Events count as received in the step that puts them into the outbox, which is also the step that settles their
    frames: a crash before it leaves the frames on lease, a crash after it finds them gone.
    """
    while True:
        try:
            batch = await inbox.take()
        except trio.EndOfChannel:
            return
        parsed = parse(batch)
        if parsed.events:
            result = EventBatch(parsed.events, received_at_ms=batch.received_at_ms, size_bytes=parsed.size_bytes)
            await outbox.wait_for_room(result)
            outbox.put_nowait(result)
            routes = result.routes()
            ledger.receive(routes)
            tallies.future_timestamps += parsed.future_timestamps
            _observe(result, {route.event_type for route in routes}, tallies)
        inbox.settle(len(batch))
        for notice in parsed.notices:
            notify(notice)


def _observe(batch: EventBatch, event_types: set[str], tallies: Tallies) -> None:
    """One look a batch: the age of its newest event stands for all of them."""
    received_at_ms = batch.received_at_ms
    for event_type in event_types:
        tallies.last_event_ms[event_type] = received_at_ms
    tallies.latency["exchange"].observe(max(received_at_ms - batch.events[-1][2], 0) / 1000)
