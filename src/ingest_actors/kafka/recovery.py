"""What follows when records come back: find the one that the broker refuses, write all others, keep the order.

A broker refuses a request as a whole. The producer is gapless, so nothing that follows in the same partition is
written meanwhile, and it is finished with that. All that was not written is known exactly then, and it is sent again by
a careful producer: one partition and one request at a time. Newer brokers name the offending records of a request
(KIP-467), but not for every error; where they do not, the request is halved until single records remain that are
refused. What comes afterwards goes to a fresh producer.

One hole is left. A broker knows nothing of a fresh producer before its first request to a partition, so it takes the
second although the first was refused (KIP-360): the companions of an offending record in that very first request are
then written after their successors. The topics' limits are read at start and at each recovery, and what they exclude
never gets so far.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

from confluent_kafka import KafkaException

from ingest_actors.kafka import codes
from ingest_actors.kafka.accepted import Accepted, RecordId
from ingest_actors.kafka.diagnosis import broken
from ingest_actors.kafka.handle import ProducerHandle
from ingest_actors.kafka.limits import Limits
from ingest_actors.kafka.owed import RECORD_FAULTS, Owed, Verdict, requests
from ingest_actors.logs import get_logger
from ingest_actors.protocols import Refusal

log = get_logger()

UNANSWERED_S_MAX = 40.0
"""Longest wait for the answers to requests under way; librdkafka's own bound on an answer is 30 s."""


class Recovery:
    """One recovery. May be cancelled at any time and run again: it goes on where it was.

    Args:
        batches: all that hold records of the broken producer.
        broken: the producer that gave records back.
        make_handle: makes a producer; True for one that sends a single request at a time.
        read_limits: asks the topics again for what they take.
        pause: waits a moment.
        answered: told whenever a broker has answered.
        request_bytes_max: what a group of records may weigh, so that it becomes one request.
    """

    def __init__(
        self,
        batches: Sequence[Accepted],
        broken: ProducerHandle,
        *,
        make_handle: Callable[[bool], ProducerHandle],
        read_limits: Callable[[], Awaitable[Limits]],
        pause: Callable[[], Awaitable[None]],
        answered: Callable[[], None],
        request_bytes_max: Callable[[], int],
    ) -> None:
        self._batches = batches
        self._broken = broken
        self._make_handle = make_handle
        self._read_limits = read_limits
        self._pause = pause
        self._answered = answered
        self._request_bytes_max = request_bytes_max
        self._drained = False
        self._verdict: Verdict | None = None
        self._stack: list[list[Owed]] | None = None
        self._codes: dict[tuple[int, RecordId], tuple[int, str]] = {}
        self._trying = False
        self._careful: ProducerHandle | None = None

    async def run(self) -> ProducerHandle:
        """Do it.

        Returns:
            The producer to go on with; nothing is owed any more.

        Raises:
            SinkBroken: the reason lies not in a record.
        """
        if not self._drained:
            await self._reported(self._broken, self._batches)
            await self._broken.aclose()
            self._drained = True
        if self._stack is None:
            self._stack = await self._plan()
        if self._careful is None:
            self._careful = self._make_handle(True)  # noqa: FBT003 - the parameter of a Callable has no name
        while self._stack:
            group = [owed for owed in self._stack[-1] if owed.open or self._trying]
            parts = await self._try(self._careful, group) if group else []
            self._stack.pop()
            self._stack.extend(parts)
        await self._careful.aclose()
        return self._make_handle(False)  # noqa: FBT003 - as above

    async def aclose(self) -> None:
        """Let go of the producers that `run` has not returned."""
        for handle in (self._broken, self._careful):
            if handle is not None:
                await handle.aclose()

    async def _plan(self) -> list[list[Owed]]:
        """The groups to send, each of one partition and no larger than a request; the last one first."""
        if self._verdict is None:
            self._verdict = self._take_failures(self._batches)
        verdict = self._verdict
        if not verdict.suspects:
            raise broken(self._cause())
        log.warning("kafka_request_refused", records=len(verdict.suspects), detail=self._cause())
        self._screen(await self._read_limits())
        by_place: dict[tuple[str, int], Verdict] = defaultdict(lambda: Verdict([], [], []))
        for owed in verdict.suspects:
            by_place[owed.place].suspects.append(owed)
        for owed in verdict.companions:
            by_place[owed.place].companions.append(owed)
        for owed in verdict.all:
            by_place[owed.place].all.append(owed)
        stack: list[list[Owed]] = []
        for place in by_place.values():
            if place.named:
                self._refuse(place.suspects)
            stack += reversed(requests([owed for owed in place.all if owed.open], self._request_bytes_max()))
        return stack

    def _screen(self, limits: Limits) -> None:
        """Refuse what the topics are known to refuse by now; it would come back again."""
        for batch in self._batches:
            for position in sorted({record.position for record in (*batch.owed, *batch.remaining())}):
                refusal = limits.refusal(position, batch.batch.events[position])
                if refusal is not None:
                    batch.refuse(refusal)

    async def _try(self, careful: ProducerHandle, group: list[Owed]) -> list[list[Owed]]:
        """Send a group, and tell what to try next of it, the last part first."""
        batches = list({owed.serial: owed.batch for owed in group}.values())
        if not self._trying:
            self._codes.clear()
            self._trying = True
            try:
                for owed in group:
                    owed.batch.produce(owed.record, careful.produce, owed.partition)
            except BufferError:
                pass  # what did not fit is tried after this
            except KafkaException as error:
                careful.fail(error.args[0])
        await self._reported(careful, batches)
        self._trying = False
        verdict = self._take_failures(batches)
        rest = [owed for owed in group if owed.open]
        if careful.fatal or (verdict.all and not verdict.suspects):
            raise broken(self._cause())
        if not verdict.suspects:
            return [rest]
        if verdict.named:
            self._refuse(verdict.suspects)
            return [rest]
        half = len(rest) // 2
        return [rest[half:], rest[:half]]

    async def _reported(self, handle: ProducerHandle, batches: Sequence[Accepted]) -> None:
        """Wait until a producer has told the fate of every record of these batches."""
        since_s = time.monotonic()
        left = sum(batch.left for batch in batches)
        while left:
            overdue = time.monotonic() - since_s > UNANSWERED_S_MAX
            if handle is self._broken:
                # What was answered with an error waits in librdkafka's queue. What is in flight is left alone as long
                # as there is hope: purged, it would remain open whether it was written.
                if overdue:
                    log.warning("kafka_outcome_unknown", records=left, detail="they are sent again and may come twice")
                handle.purge(in_flight=overdue)
                handle.poll()
            else:
                handle.send_now()
            before, left = left, sum(batch.left for batch in batches)
            if left < before:
                since_s = time.monotonic()
                if handle is not self._broken:
                    self._answered()
            if left:
                await self._pause()

    def _refuse(self, offenders: list[Owed]) -> None:
        for owed in offenders:
            code, detail = self._codes[owed.serial, owed.record]
            owed.batch.refuse(Refusal(owed.record.position, RECORD_FAULTS[code], detail))

    def _take_failures(self, batches: Sequence[Accepted]) -> Verdict:
        """Note what came back, and what of it shared a request with an offending record."""
        verdict = Verdict([], [], [])
        for batch in batches:
            for failure in batch.take_failures():
                self._codes[batch.serial, failure.record] = failure.code, failure.detail
                owed = Owed(batch.serial, failure.record, failure.partition, batch)
                verdict.all.append(owed)
                if failure.code in RECORD_FAULTS:
                    verdict.suspects.append(owed)
                elif failure.code == codes.INVALID_DIFFERENT_RECORD:
                    verdict.companions.append(owed)
        return verdict

    def _cause(self) -> str:
        """What to tell people: the first error that is not merely a consequence."""
        for handle in (self._careful, self._broken):
            if handle is not None and handle.fatal is not None:
                return handle.fatal.str()
        own = [detail for code, detail in self._codes.values() if code not in codes.CONSEQUENCES]
        return own[0] if own else "records were given back"
