"""Taking over: fence whoever wrote under this name, read what they left, and say that we write from now on."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
from confluent_kafka import KafkaError, KafkaException

from ingest_actors.errors import SinkUnreachable
from ingest_actors.kafka.config import transactional_id, transactional_options
from ingest_actors.kafka.credentials import Credentials
from ingest_actors.kafka.diagnosis import lacks_id, refused
from ingest_actors.kafka.health import Health
from ingest_actors.kafka.inquest import Inquest
from ingest_actors.kafka.letters import Letter
from ingest_actors.kafka.limits import Limits
from ingest_actors.kafka.owner import Owner, encode, new_owner, owner_key
from ingest_actors.kafka.renewal import Renewal
from ingest_actors.kafka.seal import Seal
from ingest_actors.kafka.state_topic import StateRead, read_owner, read_state
from ingest_actors.kafka.statistics import ClientStatistics
from ingest_actors.kafka.transaction import Fate, Outcome, TransactionalHandle
from ingest_actors.kafka.transactional import TransactionalSink
from ingest_actors.kafka.writer import Writer
from ingest_actors.protocols import Progress
from ingest_actors.settings import Settings

TRANSACTION_TIMEOUT_MS = 60_000
"""How long readers of committed records may have to wait for a writer that died and is not started again. Shorter would
make more outages outlive their transaction, which is survived but costs a new producer."""

TAKE_OVER_ATTEMPTS_MAX = 10
"""The one whom we fence may fence us once more before it has read who we are; it waits then, and we do not."""

_NO_COORDINATOR = (
    "the brokers may be just starting; else transaction.state.log.replication.factor must not exceed their number"
)


async def open_transactional(
    settings: Settings,
    *,
    make_options: Callable[[Limits], dict[str, Any]],
    limits: Limits,
    read_limits: Callable[[], Awaitable[Limits]],
    progress: Progress[Any] | None,
    letter: Letter | None,
    credentials: Credentials,
    timeout_s: float,
    transaction_timeout_ms: int,
    clock_ms: Callable[[], int],
    health: Health,
) -> TransactionalSink:
    """Take over and make the sink; see `opening.open_sink`.

    The order matters. Our record is committed right after the fencing: whoever was fenced looks for it a moment later,
    and would fence us in turn if it found none. From then on nobody else adds to the state, and nothing is held back by
    a transaction that somebody left open; so the state that is read then is complete.
    """
    statistics = ClientStatistics(transactional=True)

    def make_handle(limits: Limits) -> TransactionalHandle:
        # As long as the settings let a transaction be open anyway, and then what an outage may take.
        timeout_ms = transaction_timeout_ms + settings.kafka_commit_interval_ms
        options = transactional_options(make_options(limits), instance=settings.instance_name, timeout_ms=timeout_ms)
        return TransactionalHandle(statistics.options(dict(options)), health.on_error, credentials)

    for _ in range(TAKE_OVER_ATTEMPTS_MAX):
        try:
            handle = make_handle(limits)
        except KafkaException as error:
            raise refused(settings.kafka_bootstrap_servers, error.args[0]) from error
        try:
            taken = await _take_over(settings, handle, progress, timeout_s=timeout_s, clock_ms=clock_ms)
        except BaseException:
            await handle.aclose()
            raise
        if taken is not None:
            break
        await handle.aclose()
    else:
        raise SinkUnreachable(
            settings.kafka_bootstrap_servers,
            f"another writer with INSTANCE_NAME={settings.instance_name} fences this one again and again",
            hint="give each instance a name of its own",
        )
    owner, read = taken
    seal = Seal(
        owner,
        instance=settings.instance_name,
        topic=settings.kafka_topic_state,
        progress=progress,
        clock_ms=clock_ms,
    )
    writer = Writer(
        handle,
        seal=seal,
        inquest=Inquest(limits, read_limits),
        renewal=Renewal(
            make_handle,
            partial(read_owner, settings),
            instance=settings.instance_name,
            seal=seal,
            health=health,
        ),
        health=health,
    )
    return TransactionalSink(
        writer,
        commit_interval_s=settings.kafka_commit_interval_ms / 1000,
        letter=letter,
        progress=progress,
        away_s=None if read.seen.at is None else max(owner.started - read.seen.at, 0) / 1000,
        health=health,
        statistics=statistics,
        clock_ms=clock_ms,
        bootstrap_servers=settings.kafka_bootstrap_servers,
    )


async def _take_over(
    settings: Settings,
    handle: TransactionalHandle,
    progress: Progress[Any] | None,
    *,
    timeout_s: float,
    clock_ms: Callable[[], int],
) -> tuple[Owner, StateRead] | None:
    """Who we are and what was read; None: somebody fenced us meanwhile."""
    seen = await read_owner(settings, decided=True, timeout_s=timeout_s)
    if not await _done(settings, handle.init, timeout_s):
        return None
    owner = new_owner(seen.owner, clock_ms=clock_ms())
    handle.begin()
    handle.produce(settings.kafka_topic_state, encode(owner), owner_key(settings.instance_name))
    if not await _done(settings, handle.commit, timeout_s):
        return None
    return owner, await read_state(settings, progress, own=owner.token, timeout_s=timeout_s)


async def _done(settings: Settings, call: Callable[[], Awaitable[Outcome]], timeout_s: float) -> bool:
    """Call until it is done; False: fenced. Raises SinkUnreachable."""
    deadline = time.monotonic() + timeout_s
    while True:
        outcome = await call()
        if outcome.error is None:
            return True
        if outcome.fate is Fate.FENCED:
            return False
        if outcome.fate is not Fate.UNKNOWN:
            raise _cannot(settings, outcome.error)
        if time.monotonic() > deadline:
            raise SinkUnreachable(
                settings.kafka_bootstrap_servers,
                f"no transaction within {timeout_s:g} s: {outcome.error.str()}",
                hint=_NO_COORDINATOR,
            )
        await trio.sleep(0.02)


def _cannot(settings: Settings, error: KafkaError) -> SinkUnreachable:
    name = transactional_id(settings.instance_name)
    if error.code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        return lacks_id(settings.kafka_bootstrap_servers, name, error)
    return refused(settings.kafka_bootstrap_servers, error, topic=settings.kafka_topic_state)
