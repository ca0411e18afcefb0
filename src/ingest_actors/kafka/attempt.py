"""One transaction at a time with one producer: opened, filled, committed or aborted; and what went wrong, if anything.

It decides nothing: see `writer` for what follows from trouble.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

import trio
from confluent_kafka import KafkaError, KafkaException

from ingest_actors.kafka import codes
from ingest_actors.kafka.accepted import Accepted
from ingest_actors.kafka.health import Health
from ingest_actors.kafka.owed import RECORD_FAULTS
from ingest_actors.kafka.parcel import Parcel
from ingest_actors.kafka.seal import Seal
from ingest_actors.kafka.transaction import Fate, Outcome, TransactionalHandle, fate_of
from ingest_actors.protocols import Refusal

EVENTS_BETWEEN_YIELDS = 1_000
"""Handing over keeps the loop for about 2.5 ms at most, however large the batch."""

QUEUE_FULL_POLL_S = 0.005
UNKNOWN_PAUSE_S = 0.02


class Trouble(Enum):
    """What must be done before anything else."""

    REDO = auto()
    """Abort, and write the batches again."""
    RENEW = auto()
    """The producer is finished: find out what was committed, whether anybody else writes, and make another."""


class Attempt:
    """A producer and the transaction that it has open. One task at a time may call its methods that wait.

    Args:
        handle: initialised, in no transaction.
        health: judges whether the brokers can be reached.
        left: how many records are not reported yet.

    Attributes:
        handle: the producer; None while there is none.
        begun: whether a transaction is open.
        trouble: see `Trouble`; while there is any, nothing is handed over or committed.
        cause: the first error of the trouble, for people.
        fenced: whether the producer was.
        errors: troubles so far.
        failing: errors of records that came back.
    """

    def __init__(self, handle: TransactionalHandle, health: Health, *, left: Callable[[], int]) -> None:
        self.handle: TransactionalHandle | None = handle
        self.begun = False
        self.trouble: Trouble | None = None
        self.cause = ""
        self.fenced = False
        self.errors = 0
        self.failing: list[KafkaError] = []
        self._health = health
        self._left = left

    def note(self, outcome: Outcome) -> None:
        """Something went wrong."""
        if self.trouble is None:
            self.errors += 1
            self.cause = ""
        self.cause = self.cause or self._cause(outcome)  # what follows is a consequence as a rule
        if outcome.fate is Fate.ABORT:
            self.trouble = self.trouble or Trouble.REDO
        else:
            self.trouble = Trouble.RENEW
            self.fenced = self.fenced or outcome.fate is Fate.FENCED

    def _cause(self, outcome: Outcome) -> str:
        own = next((error.str() for error in self.failing if error.code() not in codes.CONSEQUENCES), "")
        told = self.handle.transaction_error if self.handle is not None else ""
        return own or told or (outcome.error.str() if outcome.error is not None else "")

    def poll(self) -> None:
        """Run the callbacks that are due, and see whether there is trouble."""
        handle = self.handle
        if handle is None:
            return
        handle.poll()
        if self.trouble is not None:
            return
        if handle.fatal is not None:
            self.note(Outcome(fate_of(handle.fatal), handle.fatal))
        elif self.failing:
            self.note(Outcome(Fate.ABORT))

    def begin(self) -> bool:
        """Be in a transaction; whether that is so."""
        if not self.begun and self.handle is not None:
            outcome = self.handle.begin()
            self.begun = outcome.error is None
            if outcome.error is not None:
                self.note(outcome)
        return self.begun

    async def hand_over(self, parcel: Parcel) -> bool:
        """Hand over what is left of a parcel; waits while the queue is full. False: there is trouble.

        Cancelled: it goes on where it was.
        """
        self.begin()
        for part in parcel.parts:
            while self.trouble is None and not part.complete:
                assert self.handle is not None
                try:
                    part.hand_over(self.handle.produce, EVENTS_BETWEEN_YIELDS)
                except BufferError:
                    self.poll()
                    await self.breathe(QUEUE_FULL_POLL_S)
                    continue
                except KafkaException as error:
                    self._not_taken(part, error.args[0])
                    break
                if not part.complete:
                    self.poll()
                    await trio.lowlevel.checkpoint()
        return self.trouble is None

    async def commit(self, seal: Seal) -> bool:
        """Hand over the state and have it all committed; waits as long as that is open. False: there is trouble.

        Cancelled: it goes on where it was; until it is done nothing may be added.
        """
        self.begin()
        if not seal.closed and self.trouble is None:
            seal.close()
        while self.trouble is None and not seal.complete:
            await self._hand_over_state(seal)
        while self.trouble is None and self.handle is not None:
            outcome = await self.handle.commit()
            if outcome.fate is Fate.DONE:
                self.begun = False
                return True
            if outcome.fate is Fate.UNKNOWN:
                await self.breathe(UNKNOWN_PAUSE_S)
            else:
                self.note(outcome)
        return False

    async def abort(self) -> bool:
        """End the transaction; whether the producer may be used further."""
        while self.begun and self.handle is not None:
            outcome = await self.handle.abort()
            if outcome.fate is Fate.DONE:
                self.begun = False
                self.handle.poll()
            elif outcome.fate in (Fate.FENCED, Fate.BROKEN):
                self.note(outcome)
            else:
                await self.breathe(UNKNOWN_PAUSE_S)
            if self.trouble is Trouble.RENEW:
                return False
        return self.handle is not None

    async def discard(self) -> None:
        """Let go of the producer, and of what it has not sent."""
        handle, self.handle = self.handle, None
        self.begun = False
        if handle is not None:
            await handle.aclose()

    async def aclose(self, seal: Seal) -> None:
        """The same, with a word to the brokers if they answer at once."""
        handle = self.handle
        try:
            if self.begun and handle is not None and handle.fatal is None:
                # Left open, it would keep readers of committed records waiting for the transaction's timeout.
                await (handle.commit() if seal.complete else handle.abort())
        finally:
            await self.discard()

    async def breathe(self, seconds: float) -> None:
        """Wait a moment for the brokers."""
        self._health.check(max(self._left(), 1))
        await trio.sleep(seconds)

    async def _hand_over_state(self, seal: Seal) -> None:
        assert self.handle is not None
        try:
            seal.hand_over(self.handle.produce)
        except BufferError:
            await self.breathe(QUEUE_FULL_POLL_S)
        except KafkaException as error:
            self.note(Outcome(Fate.ABORT, error.args[0]))
        if not seal.complete:
            self.poll()
            await trio.lowlevel.checkpoint()

    def _not_taken(self, part: Accepted, error: KafkaError) -> None:
        """`produce` itself raised: the transaction is finished, or the record can be sent by no producer."""
        reason = RECORD_FAULTS.get(error.code())
        if reason is not None:
            part.refuse(Refusal(part.next_position, reason, error.str()))
        elif self.handle is not None:
            self.handle.poll()  # what the transaction died of may not have been told yet
        self.note(Outcome(Fate.ABORT, error))
