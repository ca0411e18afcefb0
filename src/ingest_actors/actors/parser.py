"""The parser: frames in, events out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

import trio

from ingest_actors.actors.release import Order, flush, release
from ingest_actors.ledger import Ledger
from ingest_actors.messages import Event, EventBatch, FrameBatch, Route
from ingest_actors.nursery import open_nursery
from ingest_actors.status import Tallies
from ingest_actors.supervision import Mailbox

PARSED_AT_ONCE_MIN: Final = 64
"""Messages. What is done once for all that are parsed together is felt in fewer; smaller batches the batcher cuts."""

PARSED_AT_ONCE_MAX: Final = 2048
"""Messages. One read brings a thousand of the exchange's at most, but a hundred thousand empty ones, of each of which
something is to be said: parsed together they would hold up everything for seconds and take a hundred megabytes."""

N_co = TypeVar("N_co", covariant=True)


class Odd(Protocol):
    """An event that does not go on where its series ended."""

    @property
    def event(self) -> Event:
        """It."""
        ...


O = TypeVar("O", bound=Odd)  # noqa: E741


class Parsed(Protocol[N_co, O]):
    """What parsing a batch of frames gives."""

    @property
    def events(self) -> list[Event]:
        """In the order of the frames; what could not be parsed is among them, with a dead-letter route."""
        ...

    @property
    def odd(self) -> list[O]:
        """Events of which something before is missing, or that were there before."""
        ...

    @property
    def future_timestamps(self) -> int:
        """How many events bear the time of receipt, because their own lies too far ahead."""
        ...

    @property
    def dropped(self) -> Mapping[Route, int]:
        """How many events need not be handed on, because another connection has brought them or will, by route."""
        ...

    @property
    def notices(self) -> Sequence[N_co]:
        """What was said by the exchange that is no event."""
        ...


async def parser(
    inbox: Mailbox[FrameBatch],
    outbox: Mailbox[EventBatch],
    *,
    batch_size: int,
    parse: Callable[[FrameBatch], Parsed[N_co, O]],
    order: Order[O],
    notify: Callable[[N_co], None],
    ledger: Ledger,
    tallies: Tallies,
    clock_ms: Callable[[], int],
) -> None:
    """Parse until the inbox ends, then hand on what has waited for its turn.

    Events count as received in the step that puts them into the outbox, or into the order's keeping, which is also the
    step that settles their frames: a crash before it leaves the frames on lease, a crash after it finds them gone.

    Args:
        inbox: messages, batch by batch.
        outbox: gets the events.
        batch_size: most events of a batch; about as many messages are parsed at once, so that nobody has to cut again.
        parse: makes events of messages.
        order: keeps events that have to wait for others of their series.
        notify: told of what is no event.
        ledger: told of what came in.
        tallies: told of times.
        clock_ms: wall clock, ms since the epoch.
    """
    async with open_nursery() as nursery:
        nursery.start_soon(partial(release, order, outbox, clock_ms=clock_ms))
        await _parse_all(
            inbox,
            outbox,
            parsed_max=min(max(batch_size, PARSED_AT_ONCE_MIN), PARSED_AT_ONCE_MAX),
            parse=parse,
            order=order,
            notify=notify,
            ledger=ledger,
            tallies=tallies,
        )
        nursery.cancel_scope.cancel()
    order.let_go()
    await flush(order, outbox, clock_ms=clock_ms)


async def _parse_all(
    inbox: Mailbox[FrameBatch],
    outbox: Mailbox[EventBatch],
    *,
    parsed_max: int,
    parse: Callable[[FrameBatch], Parsed[N_co, O]],
    order: Order[O],
    notify: Callable[[N_co], None],
    ledger: Ledger,
    tallies: Tallies,
) -> None:
    while True:
        try:
            batch = await inbox.take()
        except trio.EndOfChannel:
            return
        for part in batch.parts(parsed_max):
            parsed = parse(part)
            if parsed.events:
                result = EventBatch(parsed.events, received_at_ms=part.received_at_ms)
                await outbox.wait_for_room(result)
                outbox.put_nowait(result)
                routes = result.routes()
                ledger.receive(routes)
                _observe(result, {route.event_type for route in routes}, tallies)
            order.commit(parsed.odd)
            if parsed.odd:
                ledger.receive(Counter([item.event[3] for item in parsed.odd]))
            if parsed.dropped:
                ledger.receive(parsed.dropped)
                ledger.drop(parsed.dropped)
            tallies.future_timestamps += parsed.future_timestamps
            inbox.settle(len(part))
            for notice in parsed.notices:
                notify(notice)
            await order.wait_room()


def _observe(batch: EventBatch, event_types: set[str], tallies: Tallies) -> None:
    """One look a batch: the age of its newest event stands for all of them, if that one says when it was made."""
    received_at_ms = batch.received_at_ms
    for event_type in event_types:
        tallies.last_event_ms[event_type] = received_at_ms
    _, _, made_at_ms, route = batch.events[-1]
    if route.timed:
        on_their_clock_ms = received_at_ms + tallies.clock_offset_ms
        tallies.latency["exchange"].observe(max(on_their_clock_ms - made_at_ms, 0) / 1000)
