"""Keeping what comes, on trio: blocks are written in a thread while more is taken in, bounded, and a block a moment."""

from __future__ import annotations

from collections.abc import Callable

import trio

from ingest_actors.messages import FrameBatch
from ingest_actors.recordings.writer import RecordingFailed, RecordingWriter

BLOCK_INTERVAL_S = 0.5
"""A block is begun to be written so long after its first message came: with the time that writing takes, what a killed
process loses stays below a second."""

BLOCK_BYTES = 1024 * 1024
"""... or when so much has come, before compression: larger blocks would hardly be smaller on the disk."""

WAITING_BYTES_MAX = 4 * 1024 * 1024
"""Most that waits to be written, before compression; then nothing more is taken in until there is room."""


class Tape:
    """What comes is kept in memory by `keep`, at once, and written by `run`.

    It belongs to the supervisor: what was kept is written by the next life of whoever runs it.

    Args:
        writer: of the files, open.

    Attributes:
        waiting_bytes: kept and not written yet.
        blank: nothing was ever kept, not even that a connection opened.
    """

    def __init__(self, writer: RecordingWriter) -> None:
        self.waiting_bytes = 0
        self.blank = True
        self._writer = writer
        self._waiting: list[FrameBatch | bytes] = []
        self._changed = trio.Event()
        self._failure: RecordingFailed | None = None

    def keep(self, batch: FrameBatch) -> None:
        """Take in messages; never waits. `wait_for_room` says when to."""
        self._take_in(batch, batch.size_bytes)

    def say(self, line: bytes) -> None:
        """Take in a line of another kind; never waits, and is few in number."""
        self._take_in(line, len(line))

    async def wait_for_room(self) -> None:
        """Wait until another batch may be kept."""
        await self._until(lambda: self.waiting_bytes < WAITING_BYTES_MAX)

    async def run(self) -> None:
        """Write block by block, until cancelled: a block that is being written then is finished first.

        Raises:
            RecordingFailed: a block could not be written; nothing of it was.
        """
        while True:
            await self._until(lambda: bool(self._waiting))
            with trio.move_on_after(BLOCK_INTERVAL_S):
                await self._until(lambda: self.waiting_bytes >= BLOCK_BYTES)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits. Raises RecordingFailed, and does so again and again once it did."""
        if self._failure is not None:
            raise self._failure
        block, self._waiting = self._waiting, []
        size_bytes = self.waiting_bytes
        if block:
            try:
                with trio.CancelScope(shield=True):  # what was taken out is written, whatever happens
                    await trio.to_thread.run_sync(self._writer.write, block)
            except RecordingFailed as failure:
                self._failure = failure
                raise
        self.waiting_bytes -= size_bytes
        self._tell()

    async def finish(self, reason: str) -> None:
        """Write what waits, and the foot."""
        await self.flush()
        await trio.to_thread.run_sync(self._writer.close, reason)

    def _take_in(self, entry: FrameBatch | bytes, size_bytes: int) -> None:
        self.blank = False
        self._waiting.append(entry)
        self.waiting_bytes += size_bytes
        self._tell()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
