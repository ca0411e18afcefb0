"""Finding the records that a broker refuses, in transactions that are aborted in any case: nobody ever sees them.

A broker refuses a request as a whole. Newer ones name the offending records (KIP-467), but not for every error; where
they do not, the request is halved until single records remain that are refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable

from confluent_kafka import KafkaException

from ingest_actors.kafka import codes
from ingest_actors.kafka.accepted import Accepted, Failure
from ingest_actors.kafka.owed import RECORD_FAULTS, Owed, Verdict, requests
from ingest_actors.kafka.transaction import TransactionalHandle
from ingest_actors.protocols import Refusal

FLUSHES_MAX = 4
"""After an error librdkafka sends nothing more of a transaction: what is not answered by then is tried by itself."""

STUMBLES_MAX = 3
"""Tries of one group that fail for no record's fault."""


class Trials:
    """What came back from a transaction, and the search for those that are to blame.

    Attributes:
        cause: what librdkafka said of the first record that came back for a reason of its own; empty: none did.
        blamed: whether a broker refused a record.
    """

    def __init__(self) -> None:
        self.cause = ""
        self.blamed = False
        self._told: dict[tuple[int, Owed], Failure] = {}
        self._stack: list[list[Owed]] = []
        self._stumbles = 0

    @property
    def open(self) -> bool:
        """Whether there is anything left to try."""
        return bool(self._stack)

    def note(self, parts: Iterable[Accepted], bytes_max: int) -> None:
        """Take up what came back of an aborted transaction; those that are known to be to blame are refused."""
        by_place: dict[tuple[str, int], Verdict] = defaultdict(lambda: Verdict([], [], []))
        verdict = self._verdict(parts)
        for owed in verdict.suspects:
            by_place[owed.place].suspects.append(owed)
        for owed in verdict.companions:
            by_place[owed.place].companions.append(owed)
        for place in by_place.values():
            if place.named:
                self._refuse(place.suspects)
            elif place.suspects:
                self._stack += reversed(requests(place.suspects, bytes_max))

    async def run(
        self, handle: TransactionalHandle, *, begin: Callable[[], bool], abort: Callable[[], Awaitable[bool]]
    ) -> bool:
        """Try until all that came back is refused or known to be innocent.

        Args:
            handle: in no transaction.
            begin: begins one; whether it could.
            abort: aborts it; whether the handle may be used further.

        Returns:
            False: the handle is finished, or fails for other reasons. Cancelled, or False: may be run again.
        """
        while self._stack:
            group = [owed for owed in self._stack[-1] if owed.record.position not in owed.batch.refused]
            if not group:
                self._stack.pop()
                continue
            batches = list({id(owed.batch): owed.batch for owed in group}.values())
            for batch in batches:
                batch.take_failures()  # of a try that was cut short
            if not begin():
                return False
            whole = await self._try(handle, group, batches)
            if not await abort():
                return False
            verdict = self._verdict(batches)
            if whole and verdict.all and not verdict.suspects:
                # The broker never saw the numbers of the records that it refused last time: librdkafka 2.16 stumbles
                # over the gap once, and begins to count anew with the abort.
                self._stumbles += 1
                if self._stumbles > STUMBLES_MAX:
                    return False
                continue
            self._stumbles = 0
            self._stack.pop()
            self._stack += self._next(group, verdict, whole=whole)
        return True

    def _next(self, group: list[Owed], verdict: Verdict, *, whole: bool) -> list[list[Owed]]:
        """What to try next of a group, the last part first."""
        if verdict.suspects and verdict.named:
            self._refuse(verdict.suspects)
            guilty = {(owed.serial, owed.record) for owed in verdict.suspects}
            rest = [owed for owed in group if (owed.serial, owed.record) not in guilty]
            return [rest] if rest else []
        if len(group) == 1 or (whole and not verdict.suspects):
            return []  # all of it is taken
        half = len(group) // 2
        return [group[half:], group[:half]]

    async def _try(self, handle: TransactionalHandle, group: list[Owed], batches: list[Accepted]) -> bool:
        """Send a group; whether all of it could be handed over."""
        whole = True
        try:
            for owed in group:
                owed.batch.produce(owed.record, handle.produce, owed.partition)
        except BufferError:
            whole = False
        except KafkaException as error:
            whole = False  # as a rule because an error was reported before all were handed over
            if error.args[0].code() in RECORD_FAULTS:
                owed.batch.refuse(
                    Refusal(owed.record.position, RECORD_FAULTS[error.args[0].code()], error.args[0].str())
                )
        for _ in range(FLUSHES_MAX):
            await handle.flush()
            if not sum(batch.left for batch in batches) or any(batch.failing for batch in batches):
                break
        return whole

    def _refuse(self, offenders: list[Owed]) -> None:
        for owed in offenders:
            failure = self._told[id(owed.batch), owed]
            owed.batch.refuse(Refusal(owed.record.position, RECORD_FAULTS[failure.code], failure.detail))

    def _verdict(self, parts: Iterable[Accepted]) -> Verdict:
        verdict = Verdict([], [], [])
        for part in parts:
            for failure in part.take_failures():
                owed = Owed(part.serial, failure.record, failure.partition, part)
                verdict.all.append(owed)
                self._told[id(part), owed] = failure
                if failure.code in RECORD_FAULTS:
                    verdict.suspects.append(owed)
                    self.blamed = True
                elif failure.code == codes.INVALID_DIFFERENT_RECORD:
                    verdict.companions.append(owed)
                if not self.cause and failure.code not in codes.CONSEQUENCES:
                    self.cause = failure.detail
        return verdict
