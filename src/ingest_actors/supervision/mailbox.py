"""A bounded mailbox that lends what it carries, so that the crash of a taker neither loses nor doubles anything.

The way of a parcel: `put` -> waits -> `take` puts it on lease -> `settle` lets go of it. A taker that crashes settles
nothing more; `rewind` returns what it had on lease, in order, for its next life.

It is put together from three parts: `Room` counts what is occupied and keeps the line of the senders, `Outlet` is the
channel that leads to the taker, and `Leases` is the inventory of all that is held.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Generic

import trio

from ingest_actors.supervision.leases import Leases
from ingest_actors.supervision.outlet import Outlet
from ingest_actors.supervision.parcels import Entry, P, Parcel
from ingest_actors.supervision.room import Room

__all__ = ["Mailbox", "Parcel"]

TAKEN_IN_A_ROW_MAX = 7
"""Parcels that a taker may take before it lets others run: going round the scheduler for each costs as much as half of
what is done with it, and never would let one taker keep the loop."""


class Mailbox(Generic[P]):
    """Carries parcels from any number of senders to one taker.

    A parcel occupies its room from `put` until it is settled. One larger than the whole mailbox is admitted when the
    mailbox is empty. Senders are served in the order in which they came.

    Handing a result on is one synchronous step: `outbox.put_nowait(result)` and `inbox.settle(n)`, no await between,
    after `await outbox.wait_for_room(result)`. So everything is in exactly one place at every instant.

    A parcel that was the last one taken in `strikes_max` crashed lives is split, and handed out item by item. An item
    that then ends `strikes_max` lives more is poison: it is not handed out again, nor is anything behind it, until its
    supervisor has settled it or put something harmless in its place. A parcel that has strikes, or was split, is handed
    out only while nothing else is on lease (pinned leases aside), or a crash would be laid at the wrong door. So a
    taker must in time settle what it has, even if it is given nothing more.

    Attributes:
        name: for metrics and reports.
        events_max: most items that it holds.
        bytes_max: most bytes that it holds.
        strikes_max: see above.
        settled: items settled since the beginning.
    """

    def __init__(self, name: str, *, events_max: int, bytes_max: int, strikes_max: int = 3) -> None:
        if min(events_max, bytes_max, strikes_max) < 1:
            raise ValueError(f"the bounds of mailbox {name} must be positive")
        self.name = name
        self.events_max = events_max
        self.bytes_max = bytes_max
        self.strikes_max = strikes_max
        self.settled = 0
        self._room = Room(events_max, bytes_max)
        self._outlet = Outlet[P]()
        self._leases = Leases[P]()
        self._closed = self._taking = False
        self._in_a_row = 0  # parcels taken without giving others a turn
        self._idle: trio.Event | None = None
        self._onward: Callable[[P], bool] | None = None

    def __repr__(self) -> str:
        return f"<Mailbox {self.name}: {self.events}/{self.events_max} items, {self.bytes}/{self.bytes_max} bytes>"

    @property
    def events(self) -> int:
        """Items that it holds: waiting, returned, or on lease and not settled."""
        return self._room.items

    @property
    def bytes(self) -> int:
        """What they are counted as in memory."""
        return self._room.size_bytes

    @property
    def waiting(self) -> int:
        """Items that are not taken."""
        return self._room.items - self._leases.items

    @property
    def closed(self) -> bool:
        """Whether nothing more may be put."""
        return self._closed

    @property
    def isolating(self) -> bool:
        """Whether items of a split parcel are still here. They come singly: better to settle each without delay."""
        return self._leases.isolated > 0

    def held(self) -> Iterator[P]:
        """Everything that occupies room, oldest first; of a parcel settled in part, the rest."""
        return (entry.parcel for entry in self._leases.entries)

    async def wait_for_room(self, parcel: P) -> None:
        """Return when `put_nowait(parcel)` will succeed, if this task calls it before any other await.

        Cancelled: the place in the line is given up.

        Errors: `trio.ClosedResourceError` when the mailbox is closed.
        """
        await self._room.wait(len(parcel), parcel.size_bytes)

    def put_nowait(self, parcel: P) -> None:
        """Put a parcel in.

        Errors: `trio.WouldBlock` when there is no room for it, or others came first; `trio.ClosedResourceError`;
        `ValueError` when it holds no item, for then it could never be settled.
        """
        entry = Entry(parcel)
        if not entry.items:
            raise ValueError(f"an empty parcel was put into mailbox {self.name}")
        if self._onward is not None and self._room.unused and self._onward(parcel):
            self.settled += entry.items
            return
        self._room.occupy(entry.items, entry.size_bytes)
        self._leases.entries.append(entry)
        self._outlet.add(entry)

    async def put(self, parcel: P) -> None:
        """Wait for room and put a parcel in. Cancelled: the parcel was not taken. Errors: as `put_nowait`."""
        await self.wait_for_room(parcel)
        self.put_nowait(parcel)

    def pass_on(self, onward: Callable[[P], bool] | None) -> None:
        """Ask `onward` first, from now on, whether it hands a parcel on, in the step that puts it; None: no more.

        It is asked only while nothing is held here, so the order stays. What it hands on counts as settled: the taker
        is not woken, which spares half of what a small parcel costs. It must not wait, raise, or do work of its own:
        whoever puts would answer for its crash.
        """
        self._onward = onward

    def close(self) -> None:
        """Take no more parcels; what is here can still be taken, and taken again. Idempotent."""
        self._closed = True
        self._room.close()
        self._outlet.ring()

    async def take(self) -> P:
        """The next parcel, on lease. Cancelled: nothing was taken.

        Errors: `trio.EndOfChannel` when the mailbox is closed and everything is taken - though it may come back, if
        the taker crashes before all is settled; `trio.BusyResourceError` when another task waits here.
        """
        if self._taking:
            raise trio.BusyResourceError("a mailbox has one taker")
        self._taking = True
        try:
            if self._in_a_row < TAKEN_IN_A_ROW_MAX:
                self._in_a_row += 1
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                self._in_a_row = 0
                await trio.lowlevel.checkpoint()
            while (entry := self._next()) is None:
                await self._outlet.wait()
        finally:
            self._taking = False
        return self._lend(entry)

    def take_nowait(self) -> P:
        """The next parcel, on lease. Errors: `trio.WouldBlock` when there is none; otherwise as `take`."""
        if self._taking:
            raise trio.BusyResourceError("a mailbox has one taker")
        entry = self._next()
        if entry is None:
            raise trio.WouldBlock
        return self._lend(entry)

    def __aiter__(self) -> AsyncIterator[P]:
        return self

    async def __anext__(self) -> P:
        try:
            return await self.take()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def settle(self, count: int) -> None:
        """The oldest `count` items on lease are done for good; may end inside a parcel.

        A poison item that stands at the head may be settled along with them.

        Errors: `ValueError` when fewer are there.
        """
        settleable = self._leases.items + (self.poisoned() is not None)
        withheld = self._outlet.returned() is not None
        if not 0 <= count <= settleable:
            raise ValueError(f"{count} items settled in mailbox {self.name}, of {settleable} that may be")
        if count > self._leases.items:
            self._outlet.remove_first()
        freed_bytes = self._leases.settle(count)
        self.settled += count
        self._room.release(count, freed_bytes)
        self._note_idle()
        if withheld:
            self._outlet.ring()

    async def wait_idle(self) -> None:
        """Wait until nothing waits to be taken."""
        await trio.lowlevel.checkpoint()
        while not self._leases.all_lent:
            if self._idle is None:
                self._idle = trio.Event()
            await self._idle.wait()

    def pin(self) -> None:
        """All that is on lease now belongs to somebody who outlives the taker: `rewind` leaves it on lease."""
        self._leases.pin()
        if self._outlet.returned() is not None:
            self._outlet.ring()

    def unpin(self) -> None:
        """Nothing belongs to somebody else any more."""
        self._leases.unpin()

    def rewind(self, crashed: bool = True) -> bool:  # noqa: FBT001, FBT002 - the agreed seam
        """The taker's life is over: its leases return to the head, in order, pinned ones aside.

        Args:
            crashed: whether that was the fault of what it had; the parcel taken last gets a strike.

        Returns:
            Whether the strike fell on an item in isolation. The mailbox itself limits how often that can happen.
        """
        returned = self._leases.rewind()
        if not returned:
            return False
        last = returned[-1]
        struck_isolated = crashed and last.isolated
        if crashed:
            returned[-1:] = instead = last.strike(self.strikes_max)
            if instead[0] is not last:
                freed_bytes = self._leases.replace(self._leases.count + len(returned) - len(instead), instead)
                self._room.release(0, freed_bytes)
        self._outlet.put_back(returned)
        self._outlet.ring()
        return struck_isolated

    def poisoned(self) -> P | None:
        """The poison item that stands at the head, if one does. It stays there until `settle` or `readmit`."""
        entry = self._outlet.returned()
        return entry.parcel if entry is not None and entry.poison else None

    def readmit(self, substitute: P) -> None:
        """Put one harmless item in the place of the poison one, to be handed out in its stead.

        Errors: `ValueError` when no poison stands at the head, or `substitute` is not one item.
        """
        if self.poisoned() is None or len(substitute) != 1:
            raise ValueError(f"nothing in mailbox {self.name} can be replaced by {substitute!r}")
        replacement = Entry(substitute, isolated=True)
        self._outlet.remove_first()
        self._outlet.put_back([replacement])
        self._room.release(0, self._leases.replace(self._leases.count, [replacement]))
        self._outlet.ring()

    def _next(self) -> Entry[P] | None:
        """The entry to hand out; None while there is none or it must not go out yet."""
        if self._leases.all_lent:
            if self._closed:
                raise trio.EndOfChannel
            return None
        entry = self._outlet.first()
        return entry if self._leases.may_lend(entry) else None

    def _lend(self, entry: Entry[P]) -> P:
        self._outlet.remove_first()
        self._leases.lend(entry)
        self._note_idle()
        return entry.parcel

    def _note_idle(self) -> None:
        if self._idle is not None and self._leases.all_lent:
            self._idle.set()
            self._idle = None
