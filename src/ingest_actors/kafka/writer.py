"""Batches into transactions, one transaction at a time, with the resume state and the owner's record in each.

Whatever goes wrong with one, its batches go into another: what is aborted was never written, and what was committed
without an answer is found out from the owner's record, which counts the commits. So each batch is in exactly one
committed transaction, as a whole, together with the state that says so.

A transaction that is aborted because a broker refuses a record is followed by trials (see `trials`), then by the same
batches without the refused events; their dead letters are in the same transaction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Any

import msgspec
import trio
from confluent_kafka import KafkaError, KafkaException, Message

from ingest_actors.errors import JournalTooNew, SecondWriter, SinkBroken, SinkUnreachable
from ingest_actors.kafka import codes
from ingest_actors.kafka.accepted import Accepted
from ingest_actors.kafka.health import Health
from ingest_actors.kafka.limits import Limits
from ingest_actors.kafka.owed import RECORD_FAULTS
from ingest_actors.kafka.owner import Owner, Seen, encode, owner_key
from ingest_actors.kafka.parcel import Parcel
from ingest_actors.kafka.transaction import Fate, Outcome, TransactionalHandle, fate_of
from ingest_actors.kafka.trials import Trials
from ingest_actors.logs import get_logger
from ingest_actors.protocols import Progress, Refusal, StateChange

log = get_logger()

EVENTS_BETWEEN_YIELDS = 1_000
"""Handing over keeps the loop for about 2.5 ms at most, however large the batch."""

QUEUE_FULL_POLL_S = 0.005
REDO_MAX = 3
"""Transactions aborted in a row, for no record's fault, before the sink counts as broken."""

FENCED_PAUSE_S = 0.5
"""What a fenced writer gives a rival to write its record before looking for it: several times what that takes."""

UNKNOWN_PAUSE_S = 0.02
OUTAGE_PAUSE_S = 1.0


class Trouble(Enum):
    """What must be done before anything else."""

    REDO = auto()
    """Abort, and write the batches again."""
    RENEW = auto()
    """The producer is finished: find out what was committed, whether anybody else writes, and make another."""


class Seal:
    """What concludes a transaction: the changes of the state, and the owner's record."""

    def __init__(self, change: StateChange | None, owner: Owner, key: bytes) -> None:
        self.change = change
        self.owner = owner
        self.todo = [*(() if change is None else change.records), (key, encode(owner))]


class Writer:
    """The transactions of one instance. One task at a time may call it; each call may be cancelled and made again.

    Args:
        handle: initialised, in no transaction.
        make_handle: makes another.
        owner: who we are; already written.
        instance: `INSTANCE_NAME`.
        state_topic: where the state goes.
        progress: the state; None: there is none.
        limits: what the topics take.
        read_limits: asks again.
        read_owner: who wrote last, once no transaction of ours is open.
        health: judges whether the brokers can be reached.
        clock_ms: wall clock, ms since the epoch.

    Attributes:
        parcels: complete batches of the transaction that is open, in order.
        underway: batches that are handed over in part, by identity.
        committed: batches that are written for good, in order, for somebody to take.
        trouble: see `Trouble`.
        limits: what the topics take, as far as is known.
        errors: troubles so far.
    """

    def __init__(
        self,
        handle: TransactionalHandle,
        *,
        make_handle: Callable[[Limits], TransactionalHandle],
        owner: Owner,
        instance: str,
        state_topic: str,
        progress: Progress[Any] | None,
        limits: Limits,
        read_limits: Callable[[], Awaitable[Limits]],
        read_owner: Callable[[], Awaitable[Seen]],
        health: Health,
        clock_ms: Callable[[], int],
    ) -> None:
        self.parcels: list[Parcel] = []
        self.underway: dict[int, Parcel] = {}
        self.committed: deque[Parcel] = deque()
        self.trouble: Trouble | None = None
        self.limits = limits
        self.errors = 0
        self._handle: TransactionalHandle | None = handle
        self._make_handle = make_handle
        self._owner = owner
        self._instance = instance
        self._key = owner_key(instance)
        self._state_topic = state_topic
        self._progress = progress
        self._read_limits = read_limits
        self._read_owner = read_owner
        self._health = health
        self._clock_ms = clock_ms
        self._attempt = 0
        self._begun = False
        self._seal: Seal | None = None
        self._failing: list[Accepted] = []
        self._trials: Trials | None = None
        self._redos = 0
        self._forgiven = False
        self._fenced = False
        self._state_fault = ""
        self._cause = ""

    @property
    def sealed(self) -> bool:
        """Whether a commit is under way: nothing may be added to the transaction any more."""
        return self._seal is not None

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
            if self.sealed:
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
        if self._fenced:
            await trio.sleep(FENCED_PAUSE_S)
        await self._rival()
        handle = self._make_handle(self.limits)
        try:
            await self._init(handle)
            seen = await self._rival()
        except BaseException:
            await handle.aclose()
            raise
        self._handle = handle
        self._fenced = self._forgiven = False
        self.trouble = Trouble.REDO
        seal = self._seal
        if seal is None or seen.owner is None or seen.owner.commits != seal.owner.commits or not self._ours(seen.owner):
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
        self._trials = None
        self._redos = 0
        self._roll_back()

    async def aclose(self) -> None:
        """Take back what is not committed, as far as the brokers answer at once, and let go of the producer."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        try:
            if self._begun and handle.fatal is None:
                # Left open, it would keep readers of committed records waiting for the transaction's timeout.
                await (handle.commit() if self._seal is not None and not self._seal.todo else handle.abort())
        finally:
            await handle.aclose()

    # -- writing

    def _begin(self) -> None:
        if not self._begun and self._handle is not None:
            outcome = self._handle.begin()
            self._begun = outcome.error is None
            if outcome.error is not None:
                self._note(outcome)

    async def _hand_over(self, parcel: Parcel) -> bool:
        """Hand over all of a parcel; False: there is trouble."""
        if parcel.attempt != self._attempt:
            parcel.begin(self._attempt, self._failing, self.limits)
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
        if self._progress is None or parcel.written:
            return
        try:
            self._progress.apply(parcel.batch)
        except BaseException:
            self._note(Outcome(Fate.ABORT))  # its records must not stay in the transaction
            raise

    # -- committing

    async def _conclude(self) -> None:
        """Hand over the state and have it all committed, or tell what trouble there is."""
        self._begin()
        if self._seal is None and self.trouble is None:
            self._owner = msgspec.structs.replace(self._owner, at=self._clock_ms(), commits=self._owner.commits + 1)
            change = None if self._progress is None else self._progress.change()
            self._seal = Seal(change, self._owner, self._key)
        while self.trouble is None and self._seal is not None and self._seal.todo:
            await self._hand_over_state(self._seal)
        while self.trouble is None and self._handle is not None:
            outcome = await self._handle.commit()
            if outcome.fate is Fate.DONE:
                self._begun = False
                return
            if outcome.fate is Fate.UNKNOWN:
                await self._breathe(UNKNOWN_PAUSE_S)
            else:
                self._note(outcome)

    async def _hand_over_state(self, seal: Seal) -> None:
        assert self._handle is not None
        produce, topic, at = self._handle.produce, self._state_topic, seal.owner.at
        done = 0
        try:
            for key, value in seal.todo[:EVENTS_BETWEEN_YIELDS]:
                produce(topic, value, key, -1, self._state_report, None, at)
                done += 1
        except BufferError:
            await self._breathe(QUEUE_FULL_POLL_S)
        except KafkaException as error:
            self._state_fault = error.args[0].str()
            self._note(Outcome(Fate.ABORT, error.args[0]))
        finally:
            del seal.todo[:done]
        self.poll()
        await trio.lowlevel.checkpoint()

    def _state_report(self, error: KafkaError | None, _: Message) -> None:
        if error is not None and error.code() not in _CONSEQUENCES and not self._state_fault:
            self._state_fault = error.str()

    def _settle(self) -> None:
        """The transaction is committed."""
        assert self._seal is not None
        if self._progress is not None and self._seal.change is not None:
            self._progress.settle(self._seal.change)
        self._seal = None
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
        self._roll_back()
        if not await self._find_refused():
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

    def _roll_back(self) -> None:
        self._seal = None
        if self._progress is not None:
            self._progress.roll_back()

    async def _find_refused(self) -> bool:
        """Which events of the aborted transaction are refused; whether to go on with this producer."""
        assert self._handle is not None
        parcels = [*self.parcels, *self.underway.values()]
        if self._trials is None:
            self._trials = Trials()
            self._trials.note([part for parcel in parcels for part in parcel.parts], self._request_bytes_max())
        trials = self._trials
        tried = True
        if trials.cause:
            log.warning("kafka_request_refused", detail=trials.cause)
            self._cause = trials.cause
            limits = await self._read_limits()
            for parcel in parcels:
                parcel.screen(limits)
            if limits.message_bytes != self.limits.message_bytes:
                self._forgiven = True
                self.trouble = Trouble.RENEW  # with requests of another size
            self.limits = limits
        if trials.open and self.trouble is not Trouble.RENEW:
            tried = await trials.run(self._handle, begin=self._try_begin, abort=self._abort)
        if tried:
            self._trials = None
        found = [parcel.take_refusals() for parcel in parcels]
        if True in found:
            self._redos = 0
        elif self.trouble is not Trouble.RENEW:
            self._spend()
        return tried and self.trouble is not Trouble.RENEW

    def _try_begin(self) -> bool:
        self._begin()
        return self._begun

    def _spend(self) -> None:
        """Another abort that no record is to blame for."""
        self._redos += 1
        fault, self._state_fault = self._state_fault, ""
        if fault:
            self._cause = f"topic {self._state_topic}: {fault}"
        if fault or self._redos > REDO_MAX:
            self._redos = 0
            self.trouble = Trouble.RENEW

    async def _init(self, handle: TransactionalHandle) -> None:
        while True:
            outcome = await handle.init()
            if outcome.fate is Fate.DONE:
                return
            if outcome.fate is not Fate.UNKNOWN:
                self._forgiven = False
                raise SinkBroken(f"no transactions: {outcome.error and outcome.error.str()}")
            await self._breathe(UNKNOWN_PAUSE_S)

    async def _rival(self) -> Seen:
        """Who wrote last; waits until the brokers answer. Raises SecondWriter."""
        while True:
            try:
                seen = await self._read_owner()
            except SinkUnreachable as error:
                self._health.down(error.cause)
                await trio.sleep(OUTAGE_PAUSE_S)
            except JournalTooNew as error:
                raise self._second_writer("of a newer release") from error
            else:
                if seen.owner is not None and not self._ours(seen.owner) and seen.owner.rank > self._owner.rank:
                    raise self._second_writer(str(seen.owner))
                return seen

    def _ours(self, owner: Owner) -> bool:
        return owner.token == self._owner.token

    def _second_writer(self, other: str) -> SecondWriter:
        log.error("second_writer", instance=self._instance, other=other, own=str(self._owner))
        return SecondWriter(self._instance, other)

    def _request_bytes_max(self) -> int:
        return max(self.limits.message_bytes[0] // 2, 1)

    async def _breathe(self, seconds: float) -> None:
        self._health.check(max(self.left, 1))
        await trio.sleep(seconds)


_CONSEQUENCES = frozenset({codes.PURGE_QUEUE, codes.PURGE_INFLIGHT, codes.FATAL})
