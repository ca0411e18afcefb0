"""A fresh producer for a writer whose old one is finished; first it must be clear that nobody else has taken over.

A producer is fenced when another with its id has come, but also when its transaction outlived its timeout in an outage.
Which of the two it was, the owner's record tells: looked at before the new producer fences the other one in turn, and
once more afterwards, when nothing is undecided any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from ingest_actors.errors import JournalTooNew, SecondWriter, SinkUnreachable
from ingest_actors.kafka.diagnosis import broken
from ingest_actors.kafka.health import Health
from ingest_actors.kafka.limits import Limits
from ingest_actors.kafka.owner import Seen
from ingest_actors.kafka.seal import Seal
from ingest_actors.kafka.transaction import Fate, TransactionalHandle
from ingest_actors.logs import get_logger

log = get_logger()

FENCED_PAUSE_S = 0.5
"""What a fenced writer gives a rival to write its record before looking for it: several times what that takes."""

UNKNOWN_PAUSE_S = 0.02
OUTAGE_PAUSE_S = 1.0


class Renewal:
    """Makes producers for one writer.

    Args:
        make_handle: makes one.
        read_owner: who wrote last; waits until it is decided what is committed.
        instance: `INSTANCE_NAME`.
        seal: who we are.
        health: told while the brokers cannot be reached.
    """

    def __init__(
        self,
        make_handle: Callable[[Limits], TransactionalHandle],
        read_owner: Callable[[], Awaitable[Seen]],
        *,
        instance: str,
        seal: Seal,
        health: Health,
    ) -> None:
        self._make_handle = make_handle
        self._read_owner = read_owner
        self._instance = instance
        self._seal = seal
        self._health = health

    async def make(self, limits: Limits, *, fenced: bool) -> tuple[TransactionalHandle, Seen]:
        """Make one, and tell who wrote last; waits as long as the brokers cannot be reached.

        Raises:
            SecondWriter: somebody else has taken over.
            SinkBroken: no producer can be made.
        """
        if fenced:
            await trio.sleep(FENCED_PAUSE_S)
        await self._rival()
        handle = self._make_handle(limits)
        try:
            await self._init(handle)
            return handle, await self._rival()
        except BaseException:
            await handle.aclose()
            raise

    async def _init(self, handle: TransactionalHandle) -> None:
        while True:
            outcome = await handle.init()
            if outcome.error is None:
                return
            if outcome.fate is not Fate.UNKNOWN:
                raise broken(f"no transactions: {outcome.error.str()}")
            self._health.check(1)
            await trio.sleep(UNKNOWN_PAUSE_S)

    async def _rival(self) -> Seen:
        while True:
            try:
                seen = await self._read_owner()
            except SinkUnreachable as error:
                self._health.down(error.cause)
                await trio.sleep(OUTAGE_PAUSE_S)
            except JournalTooNew as error:
                raise self._second_writer("of a newer release") from error
            else:
                other = seen.owner
                if other is not None and not self._seal.ours(other) and other.rank > self._seal.owner.rank:
                    raise self._second_writer(str(other))
                return seen

    def _second_writer(self, other: str) -> SecondWriter:
        log.error("second_writer", instance=self._instance, other=other, own=str(self._seal.owner))
        return SecondWriter(self._instance, other)
