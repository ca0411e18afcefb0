"""Putting batches on the disk, and taking out those that are drained; what is said of an outage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from ingest_actors.errors import IngestError, SpoolCorrupt, SpoolUnusable
from ingest_actors.protocols import KnownProgress
from ingest_actors.spool.disk import Disk
from ingest_actors.spool.file import Known, SpoolFull
from ingest_actors.spool.queue import SpoolQueue

RETRY_S = 5.0
"""How long to wait before the disk is tried again: somebody may have made room."""

DELETE_S = 0.1
"""How often drained batches are taken out of the file when nothing is to be written: each time costs the disk a sync,
and waiting costs nothing but that more may come twice after a crash (without transactions)."""


DELETE_WITH_STATE_S = 1.0
"""The same when the whole state is kept each time: of ten thousand series that takes some 20 ms."""


class SpoolWriter:
    """The one that changes the file. It belongs to a `SpoolingSink`.

    Args:
        queue: what to write.
        disk: where.
        chunk_bytes: most that is written in one transaction, as counted in memory.
        wanted: whether pending batches are to be written now.
        progress: the state that the inner sink moves on by what it acknowledges, and writes some time later; it is kept
            in the file too, for what is there is to be seen from where it begins. None: it needs no such thing.
        announce: told of outages and of troubles with the disk.
        told: called when something has become ready to be acknowledged.
        change: waits until anything has changed.

    Attributes:
        trouble: why nothing can be written; empty: it can.
        recovered: events that went from the disk to Kafka since the outage began.
    """

    def __init__(
        self,
        queue: SpoolQueue,
        disk: Disk,
        *,
        chunk_bytes: int,
        wanted: Callable[[], bool],
        progress: KnownProgress[Any] | None,
        announce: Callable[..., None],
        told: Callable[[], None],
        change: Callable[[], Awaitable[None]],
    ) -> None:
        self._wanted = wanted
        self._progress = progress
        self._delete_s = DELETE_S if progress is None else DELETE_WITH_STATE_S
        self.trouble = ""
        self.recovered = 0
        self._queue = queue
        self._disk = disk
        self._chunk_bytes = chunk_bytes
        self._announce = announce
        self._told = told
        self._change = change
        self._since = trio.current_time() if disk.file.batches else None
        self._retry_at = self._delete_at = 0.0

    def outage(self, cause: str, unacknowledged: int) -> None:
        """Batches go to the disk from now on."""
        if self._since is None:
            self._since = trio.current_time()
            self._announce(
                "spool_started",
                level="warning",
                cause=cause,
                unacknowledged=unacknowledged,
                file=str(self._disk.file.path),
            )

    async def run(self) -> None:
        """Write what is to be written, until cancelled."""
        queue = self._queue
        while True:
            now = trio.current_time()
            slots = queue.to_write(self._chunk_bytes) if not queue.straight and self._wanted() else []
            deletable = queue.deletable > queue.deleted
            if (slots or deletable) and self.trouble and now < self._retry_at:
                await self._change_or(self._retry_at)
            elif slots:
                queue.begin(slots)
                await self._write(delete=now >= self._delete_at)
            elif deletable and now >= self._delete_at:
                await self._write()
            elif deletable:
                await self._change_or(self._delete_at)
            elif self._drained():
                await self._rest()
            else:
                await self._change()

    async def end(self) -> None:
        """Take out what is drained, if the disk lets us; say what is left."""
        queue = self._queue
        if queue.deletable > queue.deleted:
            await self._write()
        file = self._disk.file
        if self._drained():
            await self._rest()
        elif file.batches:
            self._announce("spool_left", events=file.events, used_bytes=file.used_bytes, file=str(file.path))

    async def _write(self, *, delete: bool = True) -> None:
        """One transaction: what was begun, and what is drained."""
        queue = self._queue
        deletable = queue.deletable if delete else queue.deleted
        if delete:
            self._delete_at = trio.current_time() + self._delete_s
        known = None
        if self._progress is not None and (deletable > queue.deleted or (queue.writing and queue.passed_by)):
            known = Known(self._progress.spooled or 0, self._progress.everything())
            queue.passed_by = False
        try:
            await self._disk.write(queue.writing, drained=deletable, known=known)
        except BaseException as error:
            queue.undo()
            queue.passed_by = queue.passed_by or known is not None
            if not isinstance(error, (SpoolUnusable, SpoolCorrupt)):
                raise
            self._fail(error)
            return
        queue.deleted = deletable
        queue.written()
        if self.trouble:
            self.trouble = ""
            self._announce("spool_writes_again")
        self._told()

    def _fail(self, error: IngestError) -> None:
        """Nothing was written; it is tried again later. Meanwhile what comes waits, as without a spool."""
        full = isinstance(error, SpoolFull)
        name = "spool_full" if full else "spool_failed"
        self._retry_at = trio.current_time() + RETRY_S
        if not self.trouble:
            hint = (
                "what comes waits, as without a spool: trades that are missed come from REST later, other events do not"
            )
            self._announce(name, level="error", cause=str(error), hint=hint, retry_in_s=RETRY_S)
        self.trouble = str(error)
        self._told()

    def _drained(self) -> bool:
        return self._since is not None and self._queue.straight and not self._disk.file.batches

    async def _rest(self) -> None:
        """Everything that was on the disk is written to Kafka: the file gives its room back."""
        assert self._since is not None
        self._queue.passed_by = True  # what the file knew of it is gone
        try:
            await self._disk.renew()
        except (SpoolUnusable, SpoolCorrupt) as error:
            self._fail(error)
        spooling_s = trio.current_time() - self._since
        self._announce("spool_drained", events=self.recovered, spooling_s=round(spooling_s, 1))
        self._since = None
        self.recovered = 0

    async def _change_or(self, at: float) -> None:
        with trio.move_on_at(at):
            await self._change()
