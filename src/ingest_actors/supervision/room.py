"""Room for a bounded number of items and bytes, given out in the order in which it was asked for."""

from __future__ import annotations

from collections import deque

import trio


class _Asker:
    """A task's place in the line."""

    __slots__ = ("items", "size_bytes", "turn")

    def __init__(self, items: int, size_bytes: int) -> None:
        self.items = items
        self.size_bytes = size_bytes
        self.turn: trio.Event | None = None


class Room:
    """Counts what is occupied, and keeps the line of those who wait.

    Nothing is reserved: who comes to the head of the line and finds room leaves `wait` with the right to `occupy` it
    before anybody else, as long as no checkpoint lies between the two. A right that is not used passes on to the next.

    Attributes:
        items: items that occupy room.
        size_bytes: bytes that occupy room.
    """

    __slots__ = ("_bytes_max", "_closed", "_items_max", "_line", "_turn", "items", "size_bytes")

    def __init__(self, items_max: int, bytes_max: int) -> None:
        self._items_max = items_max
        self._bytes_max = bytes_max
        self._line: deque[_Asker] = deque()
        self._turn: trio.lowlevel.Task | None = None
        self._closed = False
        self.items = 0
        self.size_bytes = 0

    @property
    def unused(self) -> bool:
        """Whether it is open, nothing is in it, and nobody waits for it."""
        return not (self.items or self._line or self._closed)

    def fits(self, items: int, size_bytes: int) -> bool:
        """Whether there is room for this much; anything fits into an empty room, or it would wait for ever."""
        if not self.items:
            return True
        return self.items + items <= self._items_max and self.size_bytes + size_bytes <= self._bytes_max

    async def wait(self, items: int, size_bytes: int) -> None:
        """Wait until it is one's turn and there is room.

        Cancelled: the place in the line is given up, and those behind move up.

        Errors: `trio.ClosedResourceError` when the room is closed before that.
        """
        if not self._line and not self._closed and self.fits(items, size_bytes):
            await trio.lowlevel.checkpoint_if_cancelled()  # nobody to wait for: going round the scheduler costs 10 us
            return
        asker = _Asker(items, size_bytes)
        self._line.append(asker)
        try:
            await trio.lowlevel.checkpoint()
            while not self._closed and not (self._line[0] is asker and self.fits(items, size_bytes)):
                asker.turn = trio.Event()
                await asker.turn.wait()
        finally:
            self._line.remove(asker)
            self._call_next()
        if self._closed:
            raise trio.ClosedResourceError
        self._turn = trio.lowlevel.current_task() if self._line else None

    def occupy(self, items: int, size_bytes: int) -> None:
        """Take room at once.

        Errors: `trio.WouldBlock` when there is none, or others wait and it is not the caller's turn;
        `trio.ClosedResourceError`.
        """
        if self._closed:
            raise trio.ClosedResourceError
        if not self.fits(items, size_bytes):
            raise trio.WouldBlock
        if self._line and self._turn is not trio.lowlevel.current_task():
            raise trio.WouldBlock
        self._turn = None
        self.items += items
        self.size_bytes += size_bytes

    def release(self, items: int, size_bytes: int) -> None:
        """Give room back."""
        self.items -= items
        self.size_bytes -= size_bytes
        if self._line:
            self._call_next()

    def close(self) -> None:
        """Give out no more room; all who wait are told."""
        self._closed = True
        for asker in self._line:
            if asker.turn is not None:
                asker.turn.set()

    def _call_next(self) -> None:
        # An asker without an event has not looked yet, and will do so by itself.
        if self._line:
            head = self._line[0]
            if head.turn is not None and self.fits(head.items, head.size_bytes):
                head.turn.set()
