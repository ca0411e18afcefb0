"""How long topics keep records of a given age: Kafka goes by a record's own timestamp, not by when it was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import trio

from ingest_actors.kafka.cluster import Cluster
from ingest_actors.kafka.config import client_options
from ingest_actors.kafka.topics import DesiredTopic, create_missing, desired_topics
from ingest_actors.settings import Settings
from ingest_actors.settings.addresses import EMBEDDED

_UNLIMITED = -1


class Loss(NamedTuple):
    """What a topic would do to records of that age."""

    topic: str
    refused: bool
    """They are not even taken; otherwise they are deleted some minutes after they are written."""
    limit_ms: int
    """The age above which it does."""
    exists: bool
    """Otherwise it is about to be created so."""


async def expected_losses(settings: Settings, *, age_ms: int, timeout_s: float = 8.0) -> list[Loss]:
    """Which of the topics of events would lose records that are so old.

    Args:
        settings: where, and which topics.
        age_ms: of the oldest record.
        timeout_s: bound on reaching the cluster, and on each question to it.

    Raises:
        SinkUnreachable: no answer, no entry.
    """
    if settings.kafka_bootstrap_servers == EMBEDDED:
        return []
    written = {
        settings.kafka_topic_raw_events,
        settings.kafka_topic_trades,
        settings.kafka_topic_depth,
        settings.kafka_topic_dead_letters,
    }
    desired = {topic.name: dict(topic.config) for topic in desired_topics(settings) if topic.name in written}

    def ask() -> dict[str, dict[str, str]]:
        with Cluster(client_options(settings), timeout_s=timeout_s) as cluster:
            there = [name for name in desired if name in cluster.connect().topics]
            configs = cluster.configs(there) if there else {}
        return {name: {key: str(entry.value) for key, entry in entries.items()} for name, entries in configs.items()}

    actual = await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
    losses = [_loss(name, actual.get(name, config), age_ms, exists=name in actual) for name, config in desired.items()]
    return [loss for loss in losses if loss is not None]


async def create_kept_for_ever(settings: Settings, *, timeout_s: float = 10.0) -> list[str]:
    """Create the topics that are missing, so that they never delete a record for its age; change none that exists.

    Returns:
        The names of those created.

    Raises:
        SinkUnreachable: no answer, no entry, or no right to create.
    """
    desired = [_for_ever(topic) for topic in desired_topics(settings)]

    def create() -> list[str]:
        with Cluster(client_options(settings), timeout_s=timeout_s) as cluster:
            return create_missing(cluster, desired=desired)

    return await trio.to_thread.run_sync(create, abandon_on_cancel=True)


def _for_ever(topic: DesiredTopic) -> DesiredTopic:
    if "retention.ms" not in topic.config:
        return topic
    return topic._replace(config={**topic.config, "retention.ms": str(_UNLIMITED)})


def _loss(topic: str, config: Mapping[str, Any], age_ms: int, *, exists: bool) -> Loss | None:
    if config.get("message.timestamp.type") == "LogAppendTime":
        return None  # the broker writes its own time over ours
    accepted_ms = int(config.get("message.timestamp.before.max.ms", _UNLIMITED))
    if 0 <= accepted_ms < age_ms:
        return Loss(topic, refused=True, limit_ms=accepted_ms, exists=exists)
    kept_ms = int(config.get("retention.ms", _UNLIMITED))
    if "delete" in config.get("cleanup.policy", "delete") and 0 <= kept_ms < age_ms:
        return Loss(topic, refused=False, limit_ms=kept_ms, exists=exists)
    return None
