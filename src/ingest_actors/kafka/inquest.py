"""Why a transaction had to be aborted: because of a record, of which one then, or of none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto

from ingest_actors.kafka.limits import Limits
from ingest_actors.kafka.parcel import Parcel
from ingest_actors.kafka.transaction import TransactionalHandle
from ingest_actors.kafka.trials import Trials
from ingest_actors.logs import get_logger

log = get_logger()


class Finding(Enum):
    """What came out."""

    REFUSED = auto()
    """Events are refused that were not refused before: the rest can be written."""
    NOTHING = auto()
    """No record is to blame."""
    OTHER_SIZE = auto()
    """A topic takes larger or smaller records than it did: requests must be of another size."""
    OPEN = auto()
    """The producer failed meanwhile, for another reason."""


class Inquest:
    """The search for what is to blame. May be cancelled and run again: it goes on where it was.

    Args:
        limits: what the topics take.
        read_limits: asks again.

    Attributes:
        limits: what they take as far as is known now.
        cause: what the brokers said of the first record that they refused.
    """

    def __init__(self, limits: Limits, read_limits: Callable[[], Awaitable[Limits]]) -> None:
        self.limits = limits
        self.cause = ""
        self._read_limits = read_limits
        self._trials: Trials | None = None

    def clear(self) -> None:
        """Forget what was begun."""
        self._trials = None

    async def run(
        self,
        parcels: Sequence[Parcel],
        handle: TransactionalHandle,
        *,
        begin: Callable[[], bool],
        abort: Callable[[], Awaitable[bool]],
    ) -> Finding:
        """Find out; the parcels know afterwards what of them is refused.

        Args:
            parcels: what was in the transaction that is aborted.
            handle: in no transaction.
            begin: see `Trials.run`.
            abort: likewise.

        Raises:
            SinkUnreachable: a dead letter is refused.
        """
        if self._trials is None:
            self._trials = Trials()
            self._trials.note([part for parcel in parcels for part in parcel.parts], self.limits.message_bytes[0] // 2)
        trials, self.cause = self._trials, self._trials.cause
        resized = False
        if trials.blamed:
            log.warning("kafka_request_refused", detail=trials.cause)
            known, self.limits = self.limits, await self._read_limits()
            resized = known.message_bytes != self.limits.message_bytes
            for parcel in parcels:
                parcel.screen(self.limits)
        if not resized and trials.open and not await trials.run(handle, begin=begin, abort=abort):
            self._take_refusals(parcels)
            return Finding.OPEN
        self._trials = None
        refused = self._take_refusals(parcels)
        if resized:
            return Finding.OTHER_SIZE
        return Finding.REFUSED if refused else Finding.NOTHING

    def _take_refusals(self, parcels: Sequence[Parcel]) -> bool:
        return True in [parcel.take_refusals() for parcel in parcels]
