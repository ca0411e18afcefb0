"""A sink made from a plain async function."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence

import trio

from ingest_actors.kafka.records import records
from ingest_actors.messages import EventBatch
from ingest_actors.protocols import Acknowledgement, Refusal, SinkStatus

Write = Callable[[EventBatch], Awaitable[Sequence[Refusal] | None]]
"""Writes a batch; on return it is written. It may return the events that it will never take."""

WAITING_MAX_DEFAULT = 8


class FunctionSink:
    """Fits `ingest_actors.protocols.Sink`: calls a function with one batch at a time, in order.

    At least once: a batch counts as written when the function returns. When it raises, or is cancelled, it is called
    again with the same batch; each exception counts as a crash of the producer actor, with its backoff and its limit.

    Args:
        write: writes one batch. It runs on trio's thread: what blocks belongs into `trio.to_thread.run_sync`.
        waiting_max: how many batches are taken in beyond the one being written.
        close: called once, at the end.
    """

    def __init__(
        self,
        write: Write,
        *,
        waiting_max: int = WAITING_MAX_DEFAULT,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        if waiting_max < 1:
            raise ValueError("waiting_max must be at least 1")
        self._write = write
        self._waiting_max = waiting_max
        self._close = close
        self._taken: deque[tuple[EventBatch, float]] = deque()
        self._changed = trio.Event()
        self._records: Counter[str] = Counter()
        self._errors = 0
        self._detail = ""

    async def accept(self, batch: EventBatch) -> None:
        """Take a batch in; waits while as many as may are waiting. Cancelled: it was not taken."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while len(self._taken) > self._waiting_max:
            await self._changed.wait()
        self._taken.append((batch, time.monotonic()))
        self._tell()

    async def acknowledged(self) -> Acknowledgement:
        """Write the oldest batch, and tell. Whatever the function raises comes out of here."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._taken:
            await self._changed.wait()
        batch, taken_s = self._taken[0]
        try:
            refused = tuple(await self._write(batch) or ())
        except Exception as error:
            self._errors += 1
            self._detail = f"{type(error).__name__}: {error}"
            raise
        self._detail = ""
        # No checkpoint from here on: what is written is told, or it would be written again.
        self._taken.popleft()
        self._tell()
        positions = {refusal.position for refusal in refused}
        kept = EventBatch(
            [event for position, event in enumerate(batch.events) if position not in positions],
            received_at_ms=batch.received_at_ms,
        )
        self._records.update(record.topic for record in records(kept))
        return Acknowledgement(batch, refused, time.monotonic() - taken_s)

    async def reset(self) -> None:
        """Forget what waits; it is offered again."""
        await trio.lowlevel.checkpoint()
        self._taken.clear()
        self._tell()

    def status(self) -> SinkStatus:
        """A look; unreachable after the function has raised, until it returns again."""
        return SinkStatus(
            reachable=not self._detail,
            queue_records=sum(len(batch) for batch, _ in self._taken),
            queue_bytes=sum(batch.size_bytes for batch, _ in self._taken),
            errors=self._errors,
            records=dict(self._records),
            detail=self._detail,
        )

    async def aclose(self) -> None:
        """Call `close`, if there is one."""
        if self._close is not None:
            await self._close()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
