"""What had to wait for its turn: handed on, in order, as soon as it may go."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import trio

from ingest_actors.messages import Event, EventBatch
from ingest_actors.supervision import Mailbox

O_contra = TypeVar("O_contra", contravariant=True)

RELEASED_AT_ONCE_MAX = 500
"""Events of one release. A repaired gap may let tens of thousands go, which should not stand in anybody's way."""


class Order(Protocol[O_contra]):
    """Knows which events have to wait for others of their series. It outlives the actors that work with it.

    `ingest_actors.binance.continuity.Continuity` is one.
    """

    def commit(self, odd: Sequence[O_contra]) -> None:
        """A batch goes downstream; take what does not go on where its series ended."""
        ...

    def next_ready(self, count_max: int) -> list[Event]:
        """What may go now, in order, without taking it."""
        ...

    def took(self, count: int) -> None:
        """The first of these have gone."""
        ...

    def expire(self) -> None:
        """Let go what has waited long enough."""
        ...

    def next_expiry(self) -> float | None:
        """When that is due next, by trio's clock."""
        ...

    async def wait_room(self) -> None:
        """Until less waits than may."""
        ...

    def let_go(self) -> None:
        """Let go everything."""
        ...

    async def wait_changed(self) -> None:
        """Until something may be ready that was not, or due sooner."""
        ...


async def release(order: Order[O_contra], outbox: Mailbox[EventBatch], *, clock_ms: Callable[[], int]) -> None:
    """Hand on what may go; ends only by cancellation, which loses nothing.

    Args:
        order: knows what may go.
        outbox: gets it.
        clock_ms: wall clock, ms since the epoch.
    """
    while True:
        await flush(order, outbox, clock_ms=clock_ms)
        due = order.next_expiry()
        with trio.move_on_at(math.inf if due is None else due):
            await order.wait_changed()


async def flush(order: Order[O_contra], outbox: Mailbox[EventBatch], *, clock_ms: Callable[[], int]) -> None:
    """Hand on what may go now."""
    order.expire()
    while events := order.next_ready(RELEASED_AT_ONCE_MAX):
        batch = EventBatch(events, received_at_ms=clock_ms())
        await outbox.wait_for_room(batch)
        outbox.put_nowait(batch)
        order.took(len(batch))
        order.expire()
