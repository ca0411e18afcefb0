"""What was read from one connection and not yet taken by its owner, bounded in bytes."""

from __future__ import annotations

from collections import deque

import trio

from ingest_actors.messages import FrameBatch

MERGE_BYTES_MAX = 256 * 1024
"""Batches are not merged beyond this, so that a mailbox behind need not split them."""


class ReadAhead:
    """A queue of batches between the reader of a connection and its owner.

    The reader never waits in `put`: it looks at `room_bytes` before it reads and waits in `wait_room`. So the bound is
    met to within what one read brings, and whatever was read is always dealt with at once.

    Args:
        bytes_max: reading is to stop when so much is held, counted as in `FrameBatch.size_bytes`.

    Attributes:
        size_bytes: how much is held.
    """

    def __init__(self, bytes_max: int) -> None:
        self.size_bytes = 0
        self._bytes_max = bytes_max
        self._batches: deque[FrameBatch] = deque()
        self._end: Exception | None = None
        self._lifted = False
        self._taker = trio.lowlevel.ParkingLot()
        self._reader = trio.lowlevel.ParkingLot()

    @property
    def room_bytes(self) -> int:
        """How much may still be read; 0 or less when reading is to stop."""
        return self._bytes_max - self.size_bytes

    @property
    def full(self) -> bool:
        """Whether reading is to stop until something is taken."""
        return self.size_bytes >= self._bytes_max and not self._lifted

    def put(self, batch: FrameBatch) -> None:
        """Add a batch; the one before takes it in when both were read in the same millisecond."""
        self.size_bytes += batch.size_bytes
        last = self._batches[-1] if self._batches else None
        if (
            last is not None
            and last.received_at_ms == batch.received_at_ms
            and last.binary == batch.binary
            and last.size_bytes + batch.size_bytes <= MERGE_BYTES_MAX
        ):
            last.frames += batch.frames
            last.size_bytes += batch.size_bytes
        else:
            self._batches.append(batch)
        self._taker.unpark_all()

    async def take(self) -> FrameBatch:
        """The oldest batch. Cancelled: nothing was taken.

        Raises:
            Exception: what `end` was given, once all is taken.
        """
        await trio.lowlevel.checkpoint()
        while not self._batches:
            if self._end is not None:
                raise self._end.with_traceback(None)
            await self._taker.park()
        batch = self._batches.popleft()
        self.size_bytes -= batch.size_bytes
        if not self.full:
            self._reader.unpark_all()
        return batch

    def drain(self) -> list[FrameBatch]:
        """Everything that is held, oldest first, without waiting."""
        batches = list(self._batches)
        self._batches.clear()
        self.size_bytes = 0
        self._reader.unpark_all()
        return batches

    async def wait_room(self) -> None:
        """Wait until there is room, or until the bound is lifted."""
        while self.full:
            await self._reader.park()

    def lift(self) -> None:
        """The bound holds no more: the connection is closing, and what comes now is dropped by the reader."""
        self._lifted = True
        self._reader.unpark_all()

    def end(self, reason: Exception) -> None:
        """Nothing more comes. The first reason stays."""
        if self._end is None:
            self._end = reason
        self._taker.unpark_all()
