"""Batches into transactions, one transaction at a time, with the resume state and the owner's record in each.

Whatever goes wrong with one, its batches go into another: what is aborted was never written, and what was committed
without an answer is found out from the owner's record, which counts the commits. So each batch is in exactly one
committed transaction, as a whole, together with the state that says so.

A transaction that is aborted because a broker refuses a record is followed by trials (see `trials`), then by the same
batches without the refused events; their dead letters are in the same transaction.
"""

from __future__ import annotations

from collections import deque

from ingest_actors.kafka.attempt import Attempt, Trouble
from ingest_actors.kafka.diagnosis import broken
from ingest_actors.kafka.health import Health
from ingest_actors.kafka.inquest import Finding, Inquest
from ingest_actors.kafka.parcel import Parcel
from ingest_actors.kafka.renewal import Renewal
from ingest_actors.kafka.seal import Seal
from ingest_actors.kafka.transaction import Fate, Outcome, TransactionalHandle

REDO_MAX = 3
"""Transactions aborted in a row, for no record's fault, before the sink counts as broken."""


class Writer:
    """The transactions of one instance. One task at a time may call it; each call may be cancelled and made again.

    Args:
        handle: initialised, in no transaction.
        seal: the state, and who we are.
        inquest: finds out what is refused.
        renewal: makes other producers.
        health: judges whether the brokers can be reached.

    Attributes:
        parcels: complete batches of the transaction that is open, in order.
        underway: batches that are handed over in part, by identity.
        committed: batches that are written for good, in order, for somebody to take.
        inquest: as given.
    """

    def __init__(
        self, handle: TransactionalHandle, *, seal: Seal, inquest: Inquest, renewal: Renewal, health: Health
    ) -> None:
        self.parcels: list[Parcel] = []
        self.underway: dict[int, Parcel] = {}
        self.committed: deque[Parcel] = deque()
        self.inquest = inquest
        self._attempt = Attempt(handle, health, left=lambda: self.left)
        self._seal = seal
        self._renewal = renewal
        self._health = health
        self._number = 0
        self._redos = 0
        self._forgiven = False

    @property
    def trouble(self) -> Trouble | None:
        """What must be done before anything else."""
        return self._attempt.trouble

    @property
    def closed(self) -> bool:
        """Whether a commit is under way: nothing may be added to the transaction any more."""
        return self._seal.closed

    @property
    def errors(self) -> int:
        """Troubles so far."""
        return self._attempt.errors

    @property
    def left(self) -> int:
        """Records handed over and not reported yet."""
        return sum(parcel.left for parcel in (*self.parcels, *self.underway.values()))

    def poll(self) -> None:
        """Run the callbacks that are due, and see whether there is trouble."""
        self._attempt.poll()

    async def write(self, parcel: Parcel) -> None:
        """Write a batch into the transaction that is open, or open one; waits while the queue is full.

        Raises: as `commit`.

        Cancelled: what was handed over stays so; call it again with the same parcel.
        """
        self.underway[id(parcel.batch)] = parcel
        while True:
            if self.trouble is not None:
                await self.mend()
            if self.closed:
                await self.commit()
            if await self._hand_over(parcel):
                break
        del self.underway[id(parcel.batch)]
        self._apply(parcel)
        self.parcels.append(parcel)

    async def commit(self) -> None:
        """Commit the transaction that is open; with nothing in it but the owner's record where none is.

        Raises:
            SinkBroken: a fresh producer is needed: `renew`.
            SecondWriter: another one has taken over.
            SinkUnreachable: a dead letter is refused.

        Cancelled: whoever calls next goes on with it; until then nothing is added to it.
        """
        while True:
            if self.trouble is not None and await self.mend():
                return
            if await self._attempt.commit(self._seal):
                self._settle()
                return

    async def mend(self) -> bool:
        """Do what the trouble asks for; cancelled, it starts over when called again. Raises as `commit`.

        Returns:
            Whether a commit turned out to have been done.
        """
        settled = False
        while self.trouble is not None:
            if self.trouble is Trouble.REDO:
                await self._redo()
            elif self._attempt.fenced or self._forgiven:
                settled |= await self.renew()
            else:
                raise broken(self._attempt.cause)
        return settled

    async def renew(self) -> bool:
        """Make another producer, once it is clear what was committed and that nobody else has taken over.

        Waits as long as the brokers cannot be reached.

        Returns:
            Whether the commit that was under way is done.

        Raises:
            SecondWriter: somebody has.
            SinkBroken: no producer can be made.
        """
        attempt = self._attempt
        attempt.trouble = Trouble.RENEW
        await attempt.discard()
        try:
            attempt.handle, seen = await self._renewal.make(self.inquest.limits, fenced=attempt.fenced)
        finally:
            self._forgiven = False
        attempt.fenced = False
        attempt.trouble = Trouble.REDO
        if not self._seal.counted(seen.owner):
            return False
        attempt.trouble = None
        self._settle()
        self._number += 1  # what is handed over in part was part of nothing
        return True

    def drop_partial(self) -> None:
        """Take out of the transaction what is there in part; it is to be offered again from the beginning."""
        self.underway.clear()
        self._attempt.note(Outcome(Fate.ABORT))

    def forget(self) -> None:
        """Let go of all that is not committed, after `renew`."""
        self._attempt.trouble = None
        self._attempt.failing.clear()
        self.parcels.clear()
        self.underway.clear()
        self.inquest.clear()
        self._redos = 0
        self._seal.roll_back()

    async def aclose(self) -> None:
        """Take back what is not committed, as far as the brokers answer at once, and let go of the producer."""
        await self._attempt.aclose(self._seal)

    async def _hand_over(self, parcel: Parcel) -> bool:
        """Hand over a parcel, from its beginning in each transaction; False: there is trouble."""
        if parcel.attempt != self._number:
            parcel.begin(self._number, self._attempt.failing, self.inquest.limits)
        return await self._attempt.hand_over(parcel)

    def _apply(self, parcel: Parcel) -> None:
        if parcel.written:
            return
        try:
            self._seal.apply(parcel.batch)
        except BaseException:
            self._attempt.note(Outcome(Fate.ABORT))  # its records must not stay in the transaction
            raise

    def _settle(self) -> None:
        """The transaction is committed."""
        self._seal.settle()
        self.committed.extend(self.parcels)
        self.parcels.clear()
        self._redos = 0
        self._health.answered()

    async def _redo(self) -> None:
        """Abort, find out what was refused, and write the batches again."""
        attempt = self._attempt
        if not await attempt.abort():
            return
        self._seal.roll_back()
        if not await self._look_into_it():
            return
        self._number += 1
        attempt.failing.clear()
        attempt.trouble = None
        try:
            for parcel in self.parcels:
                if not await self._hand_over(parcel):
                    return
                self._apply(parcel)
        except BaseException:
            attempt.trouble = attempt.trouble or Trouble.REDO
            raise

    async def _look_into_it(self) -> bool:
        """What is refused of the aborted transaction; whether to write the rest with this producer."""
        attempt = self._attempt
        assert attempt.handle is not None
        parcels = [*self.parcels, *self.underway.values()]
        finding = await self.inquest.run(parcels, attempt.handle, begin=attempt.begin, abort=attempt.abort)
        attempt.cause = self.inquest.cause or attempt.cause
        if finding is Finding.REFUSED:
            self._redos = 0
        elif finding is Finding.OTHER_SIZE:
            self._forgiven = True
            attempt.trouble = Trouble.RENEW
        elif attempt.trouble is not Trouble.RENEW:
            self._spend()
        return finding is not Finding.OPEN and self.trouble is not Trouble.RENEW

    def _spend(self) -> None:
        """Another abort that no event is to blame for."""
        self._redos += 1
        fault, self._seal.fault = self._seal.fault, ""
        if fault:
            self._attempt.cause = f"topic {self._seal.topic}: {fault}"
        if fault or self._redos > REDO_MAX:
            self._redos = 0
            self._attempt.trouble = Trouble.RENEW
