"""From the settings to a sink that is known to work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import trio
from confluent_kafka import KafkaException
from confluent_kafka.admin import AclOperation

from ingest_actors.errors import SinkUnreachable
from ingest_actors.kafka.cluster import Cluster
from ingest_actors.kafka.config import client_options, producer_options
from ingest_actors.kafka.credentials import Credentials
from ingest_actors.kafka.diagnosis import GUIDE, lacks_right, refused
from ingest_actors.kafka.embedded import EmbeddedCluster
from ingest_actors.kafka.health import Health, write_line
from ingest_actors.kafka.letters import Letter, wall_clock_ms
from ingest_actors.kafka.librdkafka import LibrdkafkaSink
from ingest_actors.kafka.limits import Limits
from ingest_actors.kafka.opening_state import open_state
from ingest_actors.kafka.opening_transactional import TRANSACTION_TIMEOUT_MS, open_transactional
from ingest_actors.kafka.topics import create_missing, desired_topics, read_limits
from ingest_actors.kafka.transactional import TransactionalSink
from ingest_actors.protocols import Progress
from ingest_actors.settings import Settings

EMBEDDED = "embedded"

KafkaSink = LibrdkafkaSink | TransactionalSink


async def open_sink(
    settings: Settings,
    *,
    queue_bytes: int | None = None,
    timeout_s: float = 8.0,
    progress: Progress[Any] | None = None,
    letter: Letter | None = None,
    transaction_timeout_ms: int = TRANSACTION_TIMEOUT_MS,
    clock_ms: Callable[[], int] = wall_clock_ms,
    announce: Callable[..., None] = write_line,
) -> KafkaSink:
    """Make the producer, once the cluster has answered, every topic is there, and the resume state is read.

    With ``KAFKA_BOOTSTRAP_SERVERS=embedded`` the in-process cluster is started too and ends with the sink; the sink's
    `bootstrap_servers` tells where it listens. It keeps nothing, so there is no state to read or write.

    Args:
        settings: where, how, which topics.
        queue_bytes: bound on librdkafka's queue; half of ``BUFFER_MAX_BYTES`` when left out.
        timeout_s: bound on reaching the cluster, and on each question to it.
        progress: takes in the resume state, and is moved on with what is written; None: no state is read or written.
        letter: makes dead letters of events that the brokers refuse, which the sink then writes itself, before or
            together with whatever says that those events are dealt with; None: whoever offered them sees to that.
        transaction_timeout_ms: how long a transaction may stay open.
        clock_ms: wall clock, ms since the epoch.
        announce: told when the brokers cannot be reached any more, and when they can again.

    Returns:
        The sink. Its `progress` is the one given, and its `away_s` tells how many seconds ago a writer of this
        instance last wrote; None: never.

    Raises:
        SinkUnreachable: one attempt failed, and why. Told within 10 s, unless much of the state topic is to be read.
        SettingsError: the password file cannot be read.
        JournalTooNew, StateUnreadable: see `state_topic.read_state`.
    """
    with ExitStack() as undo:
        embedded = None
        if settings.kafka_bootstrap_servers == EMBEDDED:
            embedded = await trio.to_thread.run_sync(EmbeddedCluster)
            undo.callback(embedded.close)
        credentials = Credentials(settings)
        servers = embedded.bootstrap_servers if embedded else settings.kafka_bootstrap_servers
        ask = (
            partial(_ask_embedded, servers)
            if embedded
            else partial(
                _ask_cluster,
                settings,
                timeout_s,
                reads_state=progress is not None or settings.kafka_delivery == "exactly_once",
            )
        )
        limits = await trio.to_thread.run_sync(
            partial(ask, create=settings.kafka_create_topics), abandon_on_cancel=True
        )

        async def read_again() -> Limits:
            try:
                return await trio.to_thread.run_sync(partial(ask, create=False), abandon_on_cancel=True)
            except SinkUnreachable:
                return limits  # it will be asked again when a record is refused again

        def make_options(limits: Limits) -> dict[str, Any]:
            return dict(
                producer_options(
                    settings,
                    queue_bytes=queue_bytes or settings.buffer_max_bytes // 2,
                    message_bytes=limits.message_bytes,
                    bootstrap_servers=servers,
                )
            )

        if settings.kafka_delivery == "exactly_once":
            return await open_transactional(
                settings,
                make_options=make_options,
                limits=limits,
                read_limits=read_again,
                progress=progress,
                letter=letter,
                credentials=credentials,
                timeout_s=timeout_s,
                transaction_timeout_ms=transaction_timeout_ms,
                clock_ms=clock_ms,
                health=Health(announce=announce),
            )
        kept = None
        if progress is not None and not embedded:
            kept = await open_state(
                settings,
                make_options=make_options,
                limits=limits,
                progress=progress,
                credentials=credentials,
                timeout_s=timeout_s,
                clock_ms=clock_ms,
            )
        try:
            sink = LibrdkafkaSink(
                make_options,
                limits,
                read_limits=read_again,
                letter=letter,
                state=kept and kept.writer,
                progress=progress,
                away_s=kept and kept.away_s,
                clock_ms=clock_ms,
                health=Health(announce=announce),
                credentials=credentials,
                bootstrap_servers=servers,
                on_close=undo.pop_all().close,
            )
        except KafkaException as error:
            raise refused(servers, error.args[0]) from error
        return sink


def _ask_embedded(servers: str, *, create: bool) -> Limits:  # noqa: ARG001 - it creates topics by itself
    with Cluster({"bootstrap.servers": servers}, timeout_s=5.0) as cluster:
        cluster.connect()
    return Limits({})


def _ask_cluster(settings: Settings, timeout_s: float, *, create: bool, reads_state: bool) -> Limits:
    desired = desired_topics(settings)
    written = [
        settings.kafka_topic_raw_events,
        settings.kafka_topic_trades,
        settings.kafka_topic_depth,
        settings.kafka_topic_dead_letters,
        settings.kafka_topic_gaps,
    ]
    needed = [*written, settings.kafka_topic_state]
    with Cluster(client_options(settings), timeout_s=timeout_s) as cluster:
        if create:
            create_missing(cluster, desired=desired)
        there = cluster.connect().topics
        missing = [topic for topic in needed if topic not in there]
        if missing:
            raise SinkUnreachable(
                cluster.target,
                f"topics that do not exist, or that we may not see: {', '.join(missing)}",
                hint="run `python -m ingest_actors setup-topics`, or set KAFKA_CREATE_TOPICS=true; where there are"
                f" access rules, ask for the right WRITE on them: {GUIDE}",
            )
        for topic, operations in cluster.operations(needed).items():
            wanted = [AclOperation.WRITE]
            if reads_state and topic == settings.kafka_topic_state:
                # Nothing is asked of an empty topic: it would show at the next start only, when it is needed.
                wanted.append(AclOperation.READ)
            for right in wanted:
                if right not in operations and AclOperation.ALL not in operations:
                    raise lacks_right(cluster.target, topic, right.name)
        return read_limits(cluster, written)
