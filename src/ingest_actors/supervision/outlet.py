"""The way of parcels to the taker: a trio memory channel with a slot for redelivery in front."""

from __future__ import annotations

import math
from collections import deque
from typing import Generic

import trio

from ingest_actors.supervision.parcels import Entry, P


class Outlet(Generic[P]):
    """Entries in the order in which they are to be handed out, to one taker.

    A channel takes nothing back at its front and cannot be looked into, hence the slot. It never refuses anything:
    bounds are kept elsewhere, and it stays open, since what was handed out may come back after the end.
    """

    __slots__ = ("_parked", "_receive", "_send", "_slot")

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Entry[P] | None](math.inf)
        self._slot: deque[Entry[P]] = deque()
        self._parked = False

    def add(self, entry: Entry[P]) -> None:
        """Put an entry behind all others; wakes the taker."""
        self._send.send_nowait(entry)

    def put_back(self, entries: list[Entry[P]]) -> None:
        """Put entries before all others, in their order."""
        self._slot.extendleft(reversed(entries))

    def returned(self) -> Entry[P] | None:
        """The first entry, if it was put back or looked at; None says nothing about those that were not."""
        return self._slot[0] if self._slot else None

    def first(self) -> Entry[P]:
        """The first entry. There must be one, and no taker that waits, or it might be on its way to that one."""
        while not self._slot:
            self._arrived(self._receive.receive_nowait())
        return self._slot[0]

    def remove_first(self) -> None:
        """The first entry, which somebody has looked at, is handed out."""
        self._slot.popleft()

    async def wait(self) -> None:
        """Wait for one more entry, or for `ring`. Cancelled: nothing is lost."""
        self._parked = True
        try:
            self._arrived(await self._receive.receive())
        finally:
            self._parked = False

    def ring(self) -> None:
        """Have the taker, if it waits, look again."""
        if self._parked:
            self._parked = False
            self._send.send_nowait(None)

    def _arrived(self, arrival: Entry[P] | None) -> None:
        if arrival is not None:
            self._slot.append(arrival)
