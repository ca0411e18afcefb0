"""What follows when records come back: find the one that the broker refuses, write all others, keep the order.

A broker refuses a request as a whole. The producer is gapless, so nothing that follows in the same partition is
written meanwhile, and it is finished with that. All that was not written is known exactly then: the records of the
refused requests (suspects) and those that were behind them. The suspects are sent again alone, in halves, one request
at a time, until single records remain that are refused; everything behind them goes to a fresh producer, in order.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException

from ingest_actors.errors import SinkBroken
from ingest_actors.kafka import codes
from ingest_actors.kafka.accepted import Accepted, RecordId
from ingest_actors.kafka.handle import ProducerHandle
from ingest_actors.kafka.limits import Limits
from ingest_actors.logs import get_logger
from ingest_actors.protocols import Refusal

log = get_logger()

RECORD_FAULTS = {
    KafkaError.MSG_SIZE_TOO_LARGE: "too_large",
    KafkaError.RECORD_LIST_TOO_LARGE: "too_large",
    KafkaError.INVALID_MSG_SIZE: "too_large",
    KafkaError.INVALID_TIMESTAMP: "timestamp_out_of_range",
    KafkaError.INVALID_RECORD: "invalid_record",
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT: "invalid_record",
    KafkaError.POLICY_VIOLATION: "policy_violation",
}
"""Errors that are the fault of a record in the request. All others are nobody's, and break the sink."""

UNANSWERED_S_MAX = 40.0
"""Longest wait for the answers to requests under way; librdkafka's own bound on an answer is 30 s."""


class _Owed(NamedTuple):
    """A record that must be written again, in the order of acceptance."""

    serial: int
    record: RecordId
    partition: int
    batch: Accepted

    @property
    def open(self) -> bool:
        return self.record in self.batch.owed


class Recovery:
    """One recovery. May be cancelled at any time and run again: it goes on where it was.

    Args:
        batches: all that hold records of the broken producer.
        broken: the producer that gave records back.
        make_handle: makes a producer; True for one that sends a single request at a time.
        read_limits: asks the topics again for what they take.
        pause: waits a moment.
    """

    def __init__(
        self,
        batches: Sequence[Accepted],
        broken: ProducerHandle,
        *,
        make_handle: Callable[[bool], ProducerHandle],
        read_limits: Callable[[], Awaitable[Limits]],
        pause: Callable[[], Awaitable[None]],
    ) -> None:
        self._batches = batches
        self._broken = broken
        self._make_handle = make_handle
        self._read_limits = read_limits
        self._pause = pause
        self._drained = False
        self._suspects: list[_Owed] | None = None
        self._stack: list[list[_Owed]] | None = None
        self._codes: dict[tuple[int, RecordId], tuple[int, str]] = {}
        self._trying = False
        self._careful: ProducerHandle | None = None
        self._fresh: ProducerHandle | None = None

    async def run(self) -> ProducerHandle:
        """Do it.

        Returns:
            The producer to go on with. It has been given everything that is owed, unless it broke too: then some is
            still owed and another recovery must follow.

        Raises:
            SinkBroken: the reason lies not in a record.
        """
        if not self._drained:
            await self._drain()
        if self._stack is None:
            await self._plan()
        await self._bisect()
        return await self._go_on()

    async def aclose(self) -> None:
        """Let go of the producers that `run` has not returned."""
        for handle in (self._broken, self._careful, self._fresh):
            if handle is not None:
                await handle.aclose()

    async def _drain(self) -> None:
        """Wait until the broken producer has told the fate of every record."""
        await self._reported(self._broken, self._batches)
        await self._broken.aclose()
        self._drained = True

    async def _reported(self, handle: ProducerHandle, batches: Sequence[Accepted]) -> None:
        left = sum(batch.left for batch in batches)
        since_s = time.monotonic()
        while left:
            # What was answered with an error goes back to librdkafka's queue, and from there to us. Purging what is in
            # flight as well would leave open whether it was written.
            overdue = time.monotonic() - since_s > UNANSWERED_S_MAX
            if overdue:
                log.warning("kafka_outcome_unknown", records=left, detail="they are sent again and may come twice")
            if handle.fatal or handle is self._broken:
                handle.purge(in_flight=overdue)
            await self._pause()
            handle.poll()
            before, left = left, sum(batch.left for batch in batches)
            if left < before:
                since_s = time.monotonic()

    async def _plan(self) -> None:
        if self._suspects is None:
            self._suspects = self._take_failures(self._batches)
        suspects = self._suspects
        if not suspects:
            raise SinkBroken(self._cause())
        limits = await self._read_limits()
        for batch in self._batches:
            for position in sorted({record.position for record in {*batch.owed, *batch.remaining()}}):
                refusal = limits.refusal(position, batch.batch.events[position])
                if refusal is not None:
                    batch.refuse(refusal)
        groups: dict[tuple[str, int], list[_Owed]] = defaultdict(list)
        for owed in suspects:
            groups[owed.batch.topic_of(owed.record), owed.partition].append(owed)
        log.warning("kafka_request_refused", suspects=len(suspects), detail=self._cause())
        self._stack = list(groups.values())

    async def _bisect(self) -> None:
        assert self._stack is not None
        while self._stack:
            group = [owed for owed in self._stack[-1] if owed.open or self._trying]
            if not group:
                self._stack.pop()
                continue
            failed = await self._try(group)
            self._stack.pop()
            self._stack.extend(self._parts([owed for owed in group if owed.open], failed))

    def _parts(self, rest: list[_Owed], failed: list[_Owed]) -> list[list[_Owed]]:
        """What to try next of a group, last part first, given what is left of it and what of that was refused."""
        if not rest:
            return []
        if not failed:
            if self._codes or (self._careful is not None and self._careful.fatal):
                raise SinkBroken(self._cause())
            return [rest]  # it did not fit into the queue at once
        refused = {(owed.serial, owed.record) for owed in failed}
        behind = [owed for owed in rest if (owed.serial, owed.record) not in refused]
        if len(failed) == 1:
            code, detail = self._codes[failed[0].serial, failed[0].record]
            failed[0].batch.refuse(Refusal(failed[0].record.position, RECORD_FAULTS[code], detail))
            return [behind]
        half = len(failed) // 2
        return [behind, failed[half:], failed[:half]]

    async def _try(self, group: list[_Owed]) -> list[_Owed]:
        """Send a group of one partition; what of it was refused comes back."""
        if self._careful is not None and self._careful.fatal and not self._trying:
            careful, self._careful = self._careful, None
            await careful.aclose()
        if self._careful is None:
            self._careful = self._make_handle(True)  # noqa: FBT003 - the parameter of a Callable has no name
        batches = list({owed.serial: owed.batch for owed in group}.values())
        if not self._trying:
            self._codes.clear()
            self._trying = True
            try:
                for owed in group:
                    owed.batch.produce(owed.record, self._careful.produce, owed.partition)
            except BufferError:
                pass  # what did not fit is tried after this
            except KafkaException as error:
                self._careful.fail(error.args[0])
        await self._reported(self._careful, batches)
        self._trying = False
        return self._take_failures(batches)

    async def _go_on(self) -> ProducerHandle:
        """Give a fresh producer all that is owed, in order."""
        if self._careful is not None:
            await self._careful.aclose()
            self._careful = None
        if self._fresh is None:
            self._fresh = self._make_handle(False)  # noqa: FBT003 - as above
        fresh = self._fresh
        queue = sorted((batch.serial, record) for batch in self._batches for record in batch.owed)
        by_serial = {batch.serial: batch for batch in self._batches}
        for serial, record in queue:
            while record in by_serial[serial].owed:
                try:
                    by_serial[serial].produce(record, fresh.produce)
                except BufferError:
                    await self._pause()
                    fresh.poll()
                except KafkaException as error:
                    fresh.fail(error.args[0])
                if fresh.fatal:
                    return fresh
        return fresh

    def _take_failures(self, batches: Sequence[Accepted]) -> list[_Owed]:
        """Note what came back; those that the broker refused are returned, in order."""
        suspects = []
        for batch in batches:
            for failure in batch.take_failures():
                self._codes[batch.serial, failure.record] = failure.code, failure.detail
                if failure.code in RECORD_FAULTS:
                    suspects.append(_Owed(batch.serial, failure.record, failure.partition, batch))
        return sorted(suspects, key=lambda owed: owed[:2])

    def _cause(self) -> str:
        """What to tell people: the first error that is not merely a consequence."""
        for handle in (self._careful, self._broken):
            if handle is not None and handle.fatal is not None:
                return handle.fatal.str()
        own = [detail for code, detail in self._codes.values() if code not in _CONSEQUENCES]
        return own[0] if own else "records were given back"


_CONSEQUENCES = frozenset({codes.PURGE_QUEUE, codes.PURGE_INFLIGHT, codes.FATAL})
