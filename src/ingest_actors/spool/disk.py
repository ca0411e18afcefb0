"""The spool's file from trio: one thread at a time, never on the loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import trio

from ingest_actors.errors import SpoolCorrupt
from ingest_actors.spool.codec import BatchCodec
from ingest_actors.spool.file import Entry, Known, SpoolFile
from ingest_actors.spool.queue import Slot

T = TypeVar("T")


class Disk:
    """Reads and writes batches. What is begun is finished, whoever is cancelled meanwhile.

    Args:
        file: open.
        codec: for the contents.
        in_thread: runs what blocks; simulations on virtual time have it run on the spot. Once begun it is not cancelled
            (or what is on the disk would be taken for what is not, and written again).

    Attributes:
        file: for looks at its figures.
    """

    def __init__(
        self, file: SpoolFile, codec: BatchCodec, in_thread: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync
    ) -> None:
        self.file = file
        self._in_thread = in_thread
        self._codec = codec
        self._turn = trio.Lock()

    async def write(self, slots: Sequence[Slot], *, drained: int, known: Known | None = None) -> None:
        """Put batches on the disk, take out those up to a number, keep a state. Raises as `SpoolFile.write`."""

        def write() -> None:
            self.file.write([self._entry(slot) for slot in slots], drained=drained, known=known)

        await self._do(write)

    async def read(self, after: int, size_bytes: int) -> list[Slot]:
        """The next batches behind a number, about so many bytes of them. Raises as `SpoolFile.read`."""

        def read() -> list[Slot]:
            return [self._slot(entry) for entry in self.file.read(after, size_bytes=size_bytes)]

        return await self._do(read)

    async def known(self) -> Known:
        """See `SpoolFile.known`."""
        return await self._do(self.file.known)

    async def set_aside(self, number: int, before: tuple[int, int, int]) -> int:
        """See `SpoolFile.set_aside`."""
        return await self._do(lambda: self.file.set_aside(number, before))

    async def renew(self) -> None:
        """See `SpoolFile.renew`."""
        await self._do(self.file.renew)

    async def close(self) -> None:
        """Let go of the file."""
        await self._do(self.file.close)

    async def _do(self, job: Callable[[], T]) -> T:
        async with self._turn:
            done: T = await self._in_thread(job)  # not abandoned when cancelled: it waits for the end
            return done

    def _entry(self, slot: Slot) -> Entry:
        batch = slot.batch
        return Entry(
            slot.number, batch.received_at_ms, len(batch), batch.size_bytes, slot.tries, self._codec.encode(batch)
        )

    def _slot(self, entry: Entry) -> Slot:
        try:
            batch = self._codec.decode(
                entry.content,
                received_at_ms=entry.received_at_ms,
                size_bytes=entry.size_bytes,
                number=entry.number,
            )
        except (ValueError, RecursionError) as error:  # msgspec's errors are the former
            cause = f"batch {entry.number} cannot be read: {error}"
            raise SpoolCorrupt(str(self.file.path), cause, number=entry.number) from error
        if len(batch) != entry.events:
            cause = f"batch {entry.number} has {len(batch)} events and should have {entry.events}"
            raise SpoolCorrupt(str(self.file.path), cause, number=entry.number)
        return Slot(batch, on_disk=True, told=True, tries=entry.tries)
