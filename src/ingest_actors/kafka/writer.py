"""Batches into transactions, one transaction at a time, with the resume state and the owner's record in each.

Whatever goes wrong with one, its batches go into another: what is aborted was never written, and what was committed
without an answer is found out from the owner's record, which counts the commits. So each batch is in exactly one
committed transaction, as a whole, together with the state that says so.

A transaction that is aborted because a broker refuses a record is followed by trials (see `trials`), then by the same
batches without the refused events; their dead letters are in the same transaction.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto

import trio
from confluent_kafka import KafkaError, KafkaException

from ingest_actors.errors import SinkBroken
from ingest_actors.kafka.accepted import Accepted
from ingest_actors.kafka.health import Health
from ingest_actors.kafka.inquest import Finding, Inquest
from ingest_actors.kafka.owed import RECORD_FAULTS
from ingest_actors.kafka.parcel import Parcel
from ingest_actors.kafka.renewal import Renewal
from ingest_actors.kafka.seal import Seal
from ingest_actors.kafka.transaction import Fate, Outcome, TransactionalHandle, fate_of
from ingest_actors.protocols import Refusal

EVENTS_BETWEEN_YIELDS = 1_000
"""Handing over keeps the loop for about 2.5 ms at most, however large the batch."""

QUEUE_FULL_POLL_S = 0.005
UNKNOWN_PAUSE_S = 0.02

REDO_MAX = 3
"""Transactions aborted in a row, for no record's fault, before the sink counts as broken."""


class Trouble(Enum):
    """What must be done before anything else."""

    REDO = auto()
    """Abort, and write the batches again."""
    RENEW = auto()
    """The producer is finished: find out what was committed, whether anybody else writes, and make another."""


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
        trouble: see `Trouble`.
        errors: troubles so far.
    """

    def __init__(
        self, handle: TransactionalHandle, *, seal: Seal, inquest: Inquest, renewal: Renewal, health: Health
    ) -> None:
        self.parcels: list[Parcel] = []
        self.underway: dict[int, Parcel] = {}
        self.committed: deque[Parcel] = deque()
        self.trouble: Trouble | None = None
        self.errors = 0
        self.inquest = inquest
        self._handle: TransactionalHandle | None = handle
        self._seal = seal
        self._renewal = renewal
        self._health = health
        self._attempt = 0
        self._begun = False
        self._failing: list[Accepted] = []
        self._redos = 0
        self._forgiven = False
        self._fenced = False
        self._cause = ""

    @property
    def closed(self) -> bool:
        """Whether a commit is under way: nothing may be added to the transaction any more."""
        return self._seal.closed

    @property
    def left(self) -> int:
        """Records handed over and not reported yet."""
        return sum(parcel.left for parcel in (*self.parcels, *self.underway.values()))

    def poll(self) -> None:
        """Run the callbacks that are due, and see whether there is trouble."""
        handle = self._handle
        if handle is None:
            return
        handle.poll()
        if self.trouble is not None:
            return
        if handle.fatal is not None:
            self._note(Outcome(fate_of(handle.fatal), handle.fatal))
        elif self._failing:
            self._note(Outcome(Fate.ABORT))

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
            await self._conclude()
            if self.trouble is None:
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
            elif self._fenced or self._forgiven:
                settled |= await self.renew()
            else:
                raise SinkBroken(self._cause)
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
        self.trouble = Trouble.RENEW
        if self._handle is not None:
            await self._handle.aclose()
            self._handle = None
        self._begun = False
        try:
            self._handle, seen = await self._renewal.make(self.inquest.limits, fenced=self._fenced)
        finally:
            self._forgiven = False
        self._fenced = False
        self.trouble = Trouble.REDO
        if not self._seal.counted(seen.owner):
            return False
        self.trouble = None
        self._settle()
        self._attempt += 1  # what is handed over in part was part of nothing
        return True

    def drop_partial(self) -> None:
        """Take out of the transaction what is there in part; it is to be offered again from the beginning."""
        self.underway.clear()
        self._note(Outcome(Fate.ABORT))

    def forget(self) -> None:
        """Let go of all that is not committed, after `renew`."""
        self.trouble = None
        self.parcels.clear()
        self.underway.clear()
        self._failing.clear()
        self.inquest.clear()
        self._redos = 0
        self._seal.roll_back()

    async def aclose(self) -> None:
        """Take back what is not committed, as far as the brokers answer at once, and let go of the producer."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        try:
            if self._begun and handle.fatal is None:
                # Left open, it would keep readers of committed records waiting for the transaction's timeout.
                await (handle.commit() if self._seal.complete else handle.abort())
        finally:
            await handle.aclose()

    # -- writing

    def _begin(self) -> bool:
        """Be in a transaction; whether that is so."""
        if not self._begun and self._handle is not None:
            outcome = self._handle.begin()
            self._begun = outcome.error is None
            if outcome.error is not None:
                self._note(outcome)
        return self._begun

    async def _hand_over(self, parcel: Parcel) -> bool:
        """Hand over all of a parcel; False: there is trouble."""
        if parcel.attempt != self._attempt:
            parcel.begin(self._attempt, self._failing, self.inquest.limits)
        self._begin()
        for part in parcel.parts:
            while self.trouble is None and not part.complete:
                assert self._handle is not None
                try:
                    part.hand_over(self._handle.produce, EVENTS_BETWEEN_YIELDS)
                except BufferError:
                    self.poll()
                    await self._breathe(QUEUE_FULL_POLL_S)
                    continue
                except KafkaException as error:
                    self._not_taken(part, error.args[0])
                    break
                if not part.complete:
                    self.poll()
                    await trio.lowlevel.checkpoint()
        return self.trouble is None

    def _not_taken(self, part: Accepted, error: KafkaError) -> None:
        """`produce` itself raised: the transaction is finished, or the record can be sent by no producer."""
        reason = RECORD_FAULTS.get(error.code())
        if reason is not None:
            part.refuse(Refusal(part.next_position, reason, error.str()))
        self._note(Outcome(Fate.ABORT, error))

    def _apply(self, parcel: Parcel) -> None:
        if parcel.written:
            return
        try:
            self._seal.apply(parcel.batch)
        except BaseException:
            self._note(Outcome(Fate.ABORT))  # its records must not stay in the transaction
            raise

    # -- committing

    async def _conclude(self) -> None:
        """Hand over the state and have it all committed, or tell what trouble there is."""
        self._begin()
        if not self._seal.closed and self.trouble is None:
            self._seal.close()
        while self.trouble is None and not self._seal.complete:
            await self._hand_over_state()
        while self.trouble is None and self._handle is not None:
            outcome = await self._handle.commit()
            if outcome.fate is Fate.DONE:
                self._begun = False
                return
            if outcome.fate is Fate.UNKNOWN:
                await self._breathe(UNKNOWN_PAUSE_S)
            else:
                self._note(outcome)

    async def _hand_over_state(self) -> None:
        assert self._handle is not None
        try:
            self._seal.hand_over(self._handle.produce)
        except BufferError:
            await self._breathe(QUEUE_FULL_POLL_S)
        except KafkaException as error:
            self._note(Outcome(Fate.ABORT, error.args[0]))
        if not self._seal.complete:
            self.poll()
            await trio.lowlevel.checkpoint()

    def _settle(self) -> None:
        """The transaction is committed."""
        self._seal.settle()
        self.committed.extend(self.parcels)
        self.parcels.clear()
        self._redos = 0
        self._health.answered()

    # -- trouble

    def _note(self, outcome: Outcome) -> None:
        """Something went wrong."""
        if self.trouble is None:
            self.errors += 1
        if outcome.error is not None:
            self._cause = outcome.error.str()
        if outcome.fate is Fate.ABORT:
            self.trouble = self.trouble or Trouble.REDO
        else:
            self.trouble = Trouble.RENEW
            self._fenced = self._fenced or outcome.fate is Fate.FENCED

    async def _redo(self) -> None:
        """Abort, find out what was refused, and write the batches again."""
        if not await self._abort():
            return
        self._seal.roll_back()
        if not await self._look_into_it():
            return
        self._attempt += 1
        self._failing.clear()
        self.trouble = None
        try:
            for parcel in self.parcels:
                if not await self._hand_over(parcel):
                    return
                self._apply(parcel)
        except BaseException:
            self.trouble = self.trouble or Trouble.REDO
            raise

    async def _abort(self) -> bool:
        """End the transaction; whether the producer may be used further."""
        while self._begun and self._handle is not None:
            outcome = await self._handle.abort()
            if outcome.fate is Fate.DONE:
                self._begun = False
                self._handle.poll()
            elif outcome.fate in (Fate.FENCED, Fate.BROKEN):
                self._note(outcome)
            else:
                await self._breathe(UNKNOWN_PAUSE_S)
            if self.trouble is Trouble.RENEW:
                return False
        return self._handle is not None

    async def _look_into_it(self) -> bool:
        """What is refused of the aborted transaction; whether to write the rest with this producer."""
        assert self._handle is not None
        parcels = [*self.parcels, *self.underway.values()]
        finding = await self.inquest.run(parcels, self._handle, begin=self._begin, abort=self._abort)
        self._cause = self.inquest.cause or self._cause
        if finding is Finding.REFUSED:
            self._redos = 0
        elif finding is Finding.OTHER_SIZE:
            self._forgiven = True
            self.trouble = Trouble.RENEW
        elif self.trouble is not Trouble.RENEW:
            self._spend()
        return finding is not Finding.OPEN and self.trouble is not Trouble.RENEW

    def _spend(self) -> None:
        """Another abort that no event is to blame for."""
        self._redos += 1
        fault, self._seal.fault = self._seal.fault, ""
        if fault:
            self._cause = f"topic {self._seal.topic}: {fault}"
        if fault or self._redos > REDO_MAX:
            self._redos = 0
            self.trouble = Trouble.RENEW

    async def _breathe(self, seconds: float) -> None:
        self._health.check(max(self.left, 1))
        await trio.sleep(seconds)
