"""What the brokers say to a plan: are they there, which topics have they got, would they take what we write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio
from confluent_kafka.admin import AclOperation, ClusterMetadata, ConfigEntry

from ingest_actors.errors import SinkUnreachable
from ingest_actors.kafka.cluster import Cluster
from ingest_actors.kafka.config import client_options
from ingest_actors.kafka.topics import DesiredTopic, Drift, desired_topics, find_drift, read_limits
from ingest_actors.settings import Settings
from ingest_actors.settings.addresses import EMBEDDED

ASK_TIMEOUT_S: Final = 8.0
"""For each question to the brokers: somebody waits at a terminal."""

MESSAGE_BYTES_MIN: Final = 256 * 1024
"""A topic that takes less than this would refuse depth updates of a busy minute; those go to dead letters."""

_REPLICATION: Final = "default.replication.factor"
_IN_SYNC: Final = "min.insync.replicas"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic, as it is or as it would be made.

    Attributes:
        name: of the topic.
        state: ``exists``, ``drift``, ``to be created``, ``missing``, ``in memory`` (the embedded cluster's), or
            ``unknown`` when nobody was asked.
        partitions: how many.
        replication: how many replicas; -1 = as the broker has it by default, which could not be read.
        in_sync_min: replicas that must have a record before it is acknowledged; None = not known.
        retention_ms: how long records are kept; None = compacted.
        message_bytes_max: the largest record that it takes; None = not known.
        drift: in which respects it is not what it should be.
    """

    name: str
    state: str
    partitions: int
    replication: int
    in_sync_min: int | None = None
    retention_ms: int | None = None
    message_bytes_max: int | None = None
    drift: tuple[Drift, ...] = ()


@dataclass(slots=True)
class Brokers:
    """What the brokers said.

    Attributes:
        servers: whom the settings name.
        asked: whether they were asked.
        reachable: whether they answered.
        cause: why not.
        hint: what to try.
        count: how many brokers there are.
        topics: those that the service writes or reads.
        unwritable: topics that we lack the right to write to.
        unreadable: the state topic, when we lack the right to read it.
    """

    servers: str
    asked: bool = False
    reachable: bool = False
    cause: str = ""
    hint: str = ""
    count: int = 0
    topics: list[Topic] = field(default_factory=list)
    unwritable: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


def unasked(settings: Settings) -> Brokers:
    """What can be said without asking: what the topics should be."""
    state = "in memory" if settings.kafka_bootstrap_servers == EMBEDDED else "unknown"
    topics = [
        Topic(topic.name, state, topic.partitions, topic.replication, retention_ms=_retention_ms(topic))
        for topic in desired_topics(settings)
    ]
    return Brokers(settings.kafka_bootstrap_servers, topics=topics)


async def ask_brokers(settings: Settings) -> Brokers:
    """Ask them; that they do not answer is told in the result. Changes nothing.

    With ``embedded`` there is nobody to ask: its topics are made when they are written to.
    """
    told = unasked(settings)
    if settings.kafka_bootstrap_servers == EMBEDDED:
        return told
    told.asked = True
    try:
        await trio.to_thread.run_sync(partial(_ask, told, settings), abandon_on_cancel=True)
    except SinkUnreachable as failure:
        told.cause, told.hint = failure.cause, failure.hint
    else:
        told.reachable = True
    return told


def _ask(told: Brokers, settings: Settings) -> None:
    desired = desired_topics(settings)
    with Cluster(client_options(settings), timeout_s=ASK_TIMEOUT_S) as cluster:
        there = cluster.connect()
        told.count = len(there.brokers)
        drift = find_drift(cluster, desired=desired)
        names = [topic.name for topic in desired if topic.name in there.topics]
        configs = cluster.configs(names)
        sizes = read_limits(cluster, names).topics
        defaults = cluster.broker_config(min(there.brokers)) if there.brokers else {}
        rights = cluster.operations(names) if names else {}
        told.unwritable = _without(AclOperation.WRITE, rights)
        state = settings.kafka_topic_state
        told.unreadable = _without(AclOperation.READ, {state: rights[state]} if state in rights else {})
    made = "to be created" if settings.kafka_create_topics else "missing"
    told.topics = [
        _existing(topic, there, configs.get(topic.name, {}), drift, sizes[topic.name].message_bytes_max)
        if topic.name in names
        else _new(topic, defaults, made)
        for topic in desired
    ]


def _without(right: AclOperation, rights: Mapping[str, set[AclOperation]]) -> tuple[str, ...]:
    return tuple(topic for topic, operations in rights.items() if not operations & {right, AclOperation.ALL})


def _existing(
    topic: DesiredTopic,
    there: ClusterMetadata,
    config: Mapping[str, ConfigEntry],
    drift: list[Drift],
    message_bytes_max: int,
) -> Topic:
    partitions = there.topics[topic.name].partitions
    differs = tuple(one for one in drift if one.topic == topic.name)
    compacted = "compact" in str(config["cleanup.policy"].value) if "cleanup.policy" in config else False
    return Topic(
        topic.name,
        "drift" if differs else "exists",
        len(partitions),
        min((len(partition.replicas) for partition in partitions.values()), default=0),
        in_sync_min=_whole(config, _IN_SYNC),
        retention_ms=None if compacted else _whole(config, "retention.ms"),
        message_bytes_max=message_bytes_max,
        drift=differs,
    )


def _new(topic: DesiredTopic, defaults: Mapping[str, ConfigEntry], state: str) -> Topic:
    replication = topic.replication
    if replication == -1:
        replication = _whole(defaults, _REPLICATION) or -1
    size = topic.config.get("max.message.bytes")
    return Topic(
        topic.name,
        state,
        topic.partitions,
        replication,
        in_sync_min=_whole(defaults, _IN_SYNC),
        retention_ms=_retention_ms(topic),
        message_bytes_max=int(size) if size else _whole(defaults, "message.max.bytes"),
    )


def _whole(config: Mapping[str, ConfigEntry], name: str) -> int | None:
    entry = config.get(name)
    text = "" if entry is None or entry.value is None else str(entry.value)
    return int(text) if text.lstrip("-").isdigit() else None


def _retention_ms(topic: DesiredTopic) -> int | None:
    text = topic.config.get("retention.ms")
    return int(text) if text else None
