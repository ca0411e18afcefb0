"""The topics: what they should be, what they are, and how the one becomes the other.

Everything here that takes a `Cluster` blocks; `ensure_topics`, `read_drift` and `apply` are the ways in for trio.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import trio
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from ingest_actors.errors import SinkUnreachable
from ingest_actors.kafka.cluster import Cluster
from ingest_actors.kafka.config import client_options
from ingest_actors.kafka.limits import Limits, TopicLimits
from ingest_actors.settings import Settings

_DAY_MS = 86_400_000
_MIB = 1024 * 1024
T = TypeVar("T")
_SIZE = "max.message.bytes"

DEAD_LETTER_BYTES = 8 * _MIB
"""What a dead letter may weigh: what was too large for another topic must fit here."""


class DesiredTopic(NamedTuple):
    """What a topic should be.

    `keyed` means that consumers rely on a key's partition, which changes when partitions are added.
    """

    name: str
    partitions: int
    replication: int
    """-1 = the broker's default."""
    config: Mapping[str, str]
    keyed: bool = True


class Drift(NamedTuple):
    """One respect in which a topic is not what it should be."""

    topic: str
    what: str
    """``missing``, ``partitions``, ``replication``, or the name of a configuration entry."""
    wanted: str
    actual: str
    mendable: bool
    """Whether `apply` would mend it as asked; `note` says why not."""
    note: str = ""


def desired_topics(settings: Settings) -> list[DesiredTopic]:
    """The six topics, with their retention.

    The state topic is compacted in small segments: the active segment never is, and all of it is read at start.
    """

    def topic(name: str, config: dict[str, str], *, keyed: bool = True) -> DesiredTopic:
        return DesiredTopic(name, settings.kafka_topic_partitions, settings.kafka_topic_replication, config, keyed)

    def kept(days: int) -> dict[str, str]:
        return {"cleanup.policy": "delete", "retention.ms": str(days * _DAY_MS)}

    compacted = {
        "cleanup.policy": "compact",
        "segment.bytes": str(16 * _MIB),
        "segment.ms": "600000",
        "min.cleanable.dirty.ratio": "0.1",
        # Each commit leaves a marker in every partition that it wrote to. Kafka keeps them for a day by default: at ten
        # commits a second some five million, which every start would have to read.
        "delete.retention.ms": "600000",
    }
    return [
        topic(settings.kafka_topic_raw_events, kept(7)),
        topic(settings.kafka_topic_trades, kept(30)),
        topic(settings.kafka_topic_depth, kept(7)),
        topic(settings.kafka_topic_dead_letters, kept(30) | {_SIZE: str(DEAD_LETTER_BYTES)}, keyed=False),
        topic(settings.kafka_topic_gaps, kept(30)),
        topic(settings.kafka_topic_state, compacted),
    ]


async def ensure_topics(settings: Settings, *, timeout_s: float = 10.0) -> list[str]:
    """Create the topics that are missing; never change one that exists.

    Returns:
        The names of those created.

    Raises:
        SinkUnreachable: no answer, no entry, or no right to create.
    """
    return await _ask(settings, partial(create_missing, desired=desired_topics(settings)), timeout_s)


async def read_drift(settings: Settings, *, timeout_s: float = 10.0) -> list[Drift]:
    """In which respects the topics are not what they should be. Changes nothing. Raises as `ensure_topics`."""
    return await _ask(settings, partial(find_drift, desired=desired_topics(settings)), timeout_s)


async def apply(
    settings: Settings, *, allow_repartition: bool = False, timeout_s: float = 10.0
) -> tuple[list[Drift], list[Drift]]:
    """Create what is missing and mend what can be mended.

    Args:
        settings: which topics.
        allow_repartition: add partitions to a keyed topic too, although keys then change their partition.
        timeout_s: bound on each question to the brokers.

    Returns:
        What was mended, and what was left as it is, with the reason.

    Raises:
        SinkUnreachable: see `ensure_topics`.
    """
    mend = partial(_mend, desired=desired_topics(settings), allow_repartition=allow_repartition)
    return await _ask(settings, mend, timeout_s)


async def _ask(settings: Settings, question: Callable[[Cluster], T], timeout_s: float) -> T:
    def ask() -> T:
        with Cluster(client_options(settings), timeout_s=timeout_s) as cluster:
            return question(cluster)

    return await trio.to_thread.run_sync(ask, abandon_on_cancel=True)


def create_missing(cluster: Cluster, *, desired: Sequence[DesiredTopic], timeout_s: float = 10.0) -> list[str]:
    """As `ensure_topics`, on a connected cluster; returns when the new topics can be written to."""
    there = cluster.connect().topics
    missing = [topic for topic in desired if topic.name not in there]
    if missing:
        cluster.create_topics(
            [NewTopic(topic.name, topic.partitions, topic.replication, config=dict(topic.config)) for topic in missing]
        )
        _wait_for_leaders(cluster, [topic.name for topic in missing], timeout_s)
    return [topic.name for topic in missing]


def find_drift(cluster: Cluster, *, desired: Sequence[DesiredTopic], allow_repartition: bool = False) -> list[Drift]:
    """As `read_drift`, on a connected cluster."""
    there = cluster.connect().topics
    configs = cluster.configs(topic.name for topic in desired if topic.name in there)
    found: list[Drift] = []
    for topic in desired:
        if topic.name not in there:
            found.append(Drift(topic.name, "missing", f"{topic.partitions} partitions", "no such topic", mendable=True))
            continue
        partitions = there[topic.name].partitions
        found += _partition_drift(topic, len(partitions), allow_repartition=allow_repartition)
        replicas = min((len(partition.replicas) for partition in partitions.values()), default=0)
        if topic.replication not in (-1, replicas):
            note = "replicas are moved with Kafka's own tools"
            found.append(
                Drift(topic.name, "replication", str(topic.replication), str(replicas), mendable=False, note=note)
            )
        found += _config_drift(topic, configs.get(topic.name))
    return found


def read_limits(cluster: Cluster, topics: Iterable[str]) -> Limits:
    """What topics take; Kafka's defaults for those whose configuration we may not read."""
    return Limits({topic: _topic_limits(entries) for topic, entries in cluster.configs(topics).items()})


def _topic_limits(entries: Mapping[str, ConfigEntry]) -> TopicLimits:
    def read(name: str, default: int) -> int:
        entry = entries.get(name)
        return default if entry is None or entry.value is None else int(entry.value)

    usual = TopicLimits()
    return TopicLimits(
        read(_SIZE, usual.message_bytes_max),
        read("message.timestamp.before.max.ms", usual.age_ms_max),
        read("message.timestamp.after.max.ms", usual.ahead_ms_max),
        keys_wanted="cleanup.policy" in entries and "compact" in str(entries["cleanup.policy"].value),
    )


def _mend(
    cluster: Cluster, *, desired: Sequence[DesiredTopic], allow_repartition: bool
) -> tuple[list[Drift], list[Drift]]:
    found = find_drift(cluster, desired=desired, allow_repartition=allow_repartition)
    mended = [drift for drift in found if drift.mendable]
    create_missing(cluster, desired=desired)
    more = [NewPartitions(drift.topic, int(drift.wanted)) for drift in mended if drift.what == "partitions"]
    if more:
        cluster.create_partitions(more)
    changes: dict[str, list[ConfigEntry]] = {}
    for drift in mended:
        if drift.what not in ("missing", "partitions"):
            entry = ConfigEntry(drift.what, drift.wanted, incremental_operation=AlterConfigOpType.SET)
            changes.setdefault(drift.topic, []).append(entry)
    if changes:
        cluster.alter_configs(
            [
                ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
                for topic, entries in changes.items()
            ]
        )
    return mended, [drift for drift in found if not drift.mendable]


def _partition_drift(topic: DesiredTopic, actual: int, *, allow_repartition: bool) -> list[Drift]:
    if actual == topic.partitions:
        return []
    note = ""
    if actual > topic.partitions:
        note = "Kafka never takes partitions away"
    elif topic.keyed and not allow_repartition:
        note = "more partitions move keys to others, which breaks order and co-partitioning: --allow-repartition"
    return [Drift(topic.name, "partitions", str(topic.partitions), str(actual), mendable=not note, note=note)]


def _config_drift(topic: DesiredTopic, entries: Mapping[str, ConfigEntry] | None) -> list[Drift]:
    if entries is None:
        note = "the right DESCRIBE_CONFIGS is missing"
        return [Drift(topic.name, "configuration", "readable", "not readable", mendable=False, note=note)]
    found = []
    for name, wanted in topic.config.items():
        actual = str(entries[name].value) if name in entries else ""
        enough = name == _SIZE and actual.isdigit() and int(actual) >= int(wanted)
        if actual != wanted and not enough:
            found.append(Drift(topic.name, name, wanted, actual, mendable=True))
    return found


def _wait_for_leaders(cluster: Cluster, names: Sequence[str], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        there = cluster.connect().topics
        if all(
            name in there and there[name].partitions and all(p.leader >= 0 for p in there[name].partitions.values())
            for name in names
        ):
            return
        time.sleep(0.02)
    raise SinkUnreachable(cluster.target, f"new topics have no leader after {timeout_s:g} s: {', '.join(names)}")
