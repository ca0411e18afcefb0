"""A producer that writes in transactions: begun, committed, aborted; and what became of each attempt.

The calls that talk to the coordinator run in a thread (on the loop they would hold it up: 6 ms in the median, 40 ms at
worst), for a short while each: one that is not done yet is called again and goes on. Delivery callbacks run in that
thread meanwhile, so nobody else may use the producer.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

import trio
from confluent_kafka import KafkaError, KafkaException

from ingest_actors.kafka import codes
from ingest_actors.kafka.handle import ProducerHandle

SLICE_S = 0.5
"""How long one call may take: as long as cancelling may be held up."""

_FENCED = frozenset({codes.FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})


class Fate(Enum):
    """What became of an attempt."""

    DONE = auto()
    UNKNOWN = auto()
    """Not done yet: only the same call again will tell."""
    ABORT = auto()
    """The transaction must be aborted, and its records sent again in another."""
    FENCED = auto()
    """The producer is finished: another with its id has come, or the transaction outlived its timeout."""
    BROKEN = auto()
    """The producer is finished for another reason."""


class Outcome(NamedTuple):
    """What became of an attempt, and what librdkafka said."""

    fate: Fate
    error: KafkaError | None = None


class TransactionalHandle(ProducerHandle):
    """See `ProducerHandle`; its options name a ``transactional.id``."""

    async def init(self, timeout_s: float = SLICE_S) -> Outcome:
        """Fence whoever had this id, and end what they left open. Committed records are complete then."""
        return await self._attempt(lambda: self._live.init_transactions(timeout_s))

    @property
    def transaction_error(self) -> str:
        """Why the transaction that is open failed, in librdkafka's words; empty: nothing was told."""
        return self._log.transaction_error

    def begin(self) -> Outcome:
        """Begin a transaction; records may be handed over from now on."""
        self._log.transaction_error = ""
        return _outcome(self._live.begin_transaction)

    async def commit(self) -> Outcome:
        """Send what waits and commit it. `Fate.UNKNOWN`: only calling this again tells whether it is committed."""
        return await self._attempt(lambda: self._live.commit_transaction(SLICE_S))

    async def flush(self) -> None:
        """Send what waits, and wait a while for the answers."""
        await self._attempt(lambda: self._live.flush(SLICE_S))

    async def abort(self) -> Outcome:
        """Take everything back since `begin`."""
        return await self._attempt(lambda: self._live.abort_transaction(SLICE_S))

    async def _attempt(self, call: Callable[[], object]) -> Outcome:
        # Once begun it is not cancelled: its outcome must not get lost.
        outcome = await trio.to_thread.run_sync(_outcome, call)
        if outcome.fate is Fate.UNKNOWN:
            self.poll()  # whoever calls again and again may be kept out meanwhile, by a password that has changed
        if outcome.error is not None and outcome.fate in (Fate.FENCED, Fate.BROKEN):
            self.fail(outcome.error)
        return outcome


def _outcome(call: Callable[[], object]) -> Outcome:
    try:
        call()
    except KafkaException as raised:
        error: KafkaError = raised.args[0]
        return Outcome(fate_of(error), error)
    return Outcome(Fate.DONE)


def fate_of(error: KafkaError) -> Fate:
    """What an error of a transactional call means. Being fenced says nothing of what was committed before."""
    if error.code() in _FENCED:
        return Fate.FENCED
    if error.fatal():
        return Fate.BROKEN
    if error.txn_requires_abort():
        return Fate.ABORT
    if error.retriable():
        return Fate.UNKNOWN
    return Fate.BROKEN
