"""The resume state of a sink without transactions: written every so often from what is acknowledged.

It has a producer of its own, since a record that the state topic refuses must not break the one of the events. What
cannot be written is tried again and again, and told now and then; the record of the exchange does not wait for it. So
the state may lag behind the events, never run ahead of them, and a restart after a crash writes some events again.
Only where a series begins is written before its first event: a successor that knew nothing of it would begin it anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import trio
from confluent_kafka import KafkaError, KafkaException, Message

from ingest_actors.errors import IngestError
from ingest_actors.kafka.handle import ProducerHandle
from ingest_actors.kafka.owner import HEARTBEAT_S, Owner, encode, owner_key
from ingest_actors.kafka.rival import RivalWatch
from ingest_actors.logs import get_logger
from ingest_actors.messages import EventBatch
from ingest_actors.protocols import Progress

log = get_logger()

STATE_INTERVAL_S = 1.0
"""How often the state is written while it changes: what a crash may write twice."""

RETRY_S = 5.0
"""After a failure."""

TOLD_AGAIN_S = 300.0
"""How often is told that the state cannot be written, while that lasts."""

LAST_WRITE_S_MAX = 1.2
"""What the last state of a clean stop may take; well within what closing the sink may."""

CLAIM_S_MAX = 2.0
"""How long a start waits until it is known that we have come; after that it is told with the next state."""

BEGIN_S_MAX = 2.0
"""How long the first events of a series wait for the state to know of it; then the record goes before the state."""

RECORDS_BETWEEN_POLLS = 1_000


class StateWriter:
    """Writes the state of one instance. Nothing here raises but for `SecondWriter`.

    Args:
        make_handle: makes the producer.
        progress: the state.
        owner: who we are.
        instance: `INSTANCE_NAME`.
        topic: where to.
        watch: looks out for others of that name.
        clock_ms: wall clock, ms since the epoch.
        clock: monotonic, seconds.
    """

    def __init__(
        self,
        make_handle: Callable[[], ProducerHandle],
        *,
        progress: Progress[Any],
        owner: Owner,
        instance: str,
        topic: str,
        watch: RivalWatch,
        clock_ms: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_handle = make_handle
        self._handle: ProducerHandle | None = None
        self._progress = progress
        self._owner = owner
        self._key = owner_key(instance)
        self._topic = topic
        self._watch = watch
        self._clock_ms = clock_ms
        self._clock = clock
        self._change: Any = None
        self._todo: list[tuple[bytes, bytes]] = []
        self._left = 0
        self._error = ""
        self._lost = False
        self._due_s = 0.0
        self._beat_s = 0.0
        self._told_s = -TOLD_AGAIN_S

    async def claim(self) -> None:
        """Say that we write from now on, within `CLAIM_S_MAX`: whoever wrote before notices, and stops."""
        self._begin(self._clock())
        with trio.move_on_after(CLAIM_S_MAX):
            while self._change is not None:
                await trio.sleep(0.005)
                self._go_on(self._clock())

    async def begin(self, batch: EventBatch) -> None:
        """A batch is about to be handed over: write first what must be known of it, within `BEGIN_S_MAX`.

        Cancelled: it is not waited for again.
        """
        records = [] if self._lost else self._progress.begin(batch)
        if not records:
            return
        waiting = set()
        failed: list[str] = []

        def report(error: KafkaError | None, message: Message) -> None:
            waiting.discard(message.key())
            if error is not None:
                failed.append(error.str())

        deadline = self._clock() + BEGIN_S_MAX
        try:
            if self._handle is None:
                self._handle = self._make_handle()
            for key, value in records:
                waiting.add(key)
                self._handle.produce(self._topic, value, key, -1, report, None, self._clock_ms())
            while waiting and not failed and self._handle.fatal is None and self._clock() < deadline:
                self._handle.poll()
                await trio.sleep(0.002)
        except (KafkaException, IngestError, BufferError) as error:
            failed.append(str(error))
        if waiting or failed:
            self._tell(failed[0] if failed else f"no answer within {BEGIN_S_MAX:g} s")

    def acknowledged(self, batch: EventBatch) -> None:
        """A batch is written in all its topics, and the dead letters of what was refused are too."""
        if self._lost:
            return
        try:
            self._progress.apply(batch)
        except Exception as error:
            # From here on the state says nothing that is true; the last one written still does.
            self._lost = True
            log.exception("state_lost", cause=repr(error), detail="a restart begins where the state was last written")

    def drive(self) -> None:
        """Do what is due; never waits.

        Raises:
            SecondWriter: another process with the same name was started later.
        """
        now_s = self._clock()
        self._watch.look(now_s)  # first: whoever was frozen meanwhile has no business to write what it knew then
        if self._change is not None:
            self._go_on(now_s)
        elif now_s >= self._due_s and not self._lost:
            self._begin(now_s)

    async def aclose(self) -> None:
        """Write the last state, within `LAST_WRITE_S_MAX`, and let go of the producer."""
        try:
            if not self._watch.found and not self._lost:
                await self._write_last()
        finally:
            handle, self._handle = self._handle, None
            if handle is not None:
                await handle.aclose()
            await self._watch.aclose()

    def _begin(self, now_s: float) -> None:
        change = self._progress.change()
        self._due_s = now_s + STATE_INTERVAL_S
        if not change.records and now_s < self._beat_s:
            return
        self._beat_s = now_s + HEARTBEAT_S
        self._owner = msgspec.structs.replace(self._owner, at=self._clock_ms(), commits=self._owner.commits + 1)
        self._change = change
        self._todo = [*change.records, (self._key, encode(self._owner))]
        self._error = ""
        self._go_on(now_s)

    def _go_on(self, now_s: float) -> None:
        """Hand over what fits, and see what was reported."""
        try:
            if self._handle is None:
                self._handle = self._make_handle()
            self._hand_over(self._handle)
            self._handle.poll()
        except (KafkaException, IngestError) as error:
            self._error = self._error or str(error)
            self._todo = []
        broken = self._handle is None or self._handle.fatal is not None
        if self._todo or (self._left and not broken):
            return
        change, self._change = self._change, None
        if self._error or broken:
            self._fail(now_s)
        else:
            self._progress.settle(change)

    def _hand_over(self, handle: ProducerHandle) -> None:
        stamp = self._owner.at
        done = 0
        try:
            for key, value in self._todo[:RECORDS_BETWEEN_POLLS]:
                handle.produce(self._topic, value, key, -1, self._report, None, stamp)
                done += 1
        except BufferError:
            pass  # the rest when there is room
        finally:
            self._left += done
            del self._todo[:done]

    def _report(self, error: KafkaError | None, message: Message) -> None:
        self._left -= 1
        if error is not None:
            self._error = self._error or error.str()
        elif message.key() == self._key:
            partition, offset = message.partition(), message.offset()
            if partition is not None and offset is not None:
                self._watch.begin(partition, offset + 1, self._owner)

    def _fail(self, now_s: float) -> None:
        """It stays unsettled, so that the next change contains it."""
        self._due_s = now_s + RETRY_S
        self._beat_s = self._due_s
        self._tell(self._error)

    def _tell(self, cause: str) -> None:
        if self._clock() - self._told_s >= TOLD_AGAIN_S:
            self._told_s = self._clock()
            log.warning(
                "state_not_written",
                topic=self._topic,
                cause=cause,
                detail="events go on; after a crash those since the last state are written again",
            )

    async def _write_last(self) -> None:
        with trio.move_on_after(LAST_WRITE_S_MAX):
            while self._change is not None:
                self._go_on(self._clock())
                await trio.sleep(0.005)
            self._beat_s = 0.0
            self._begin(self._clock())
            while self._change is not None:
                if self._handle is not None:
                    self._handle.send_now()
                self._go_on(self._clock())
                await trio.sleep(0.005)
