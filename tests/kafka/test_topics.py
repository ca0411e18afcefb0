"""The topics on a real broker: made as they should be, told when they are not, mended when asked."""

import pytest
import trio
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource, ResourceType
from kafka_support import NAMES, allow, alter_topic, make_topic, secure, settings_for

from ingest_actors.errors import SinkUnreachable
from ingest_actors.kafka.topics import Drift, apply, desired_topics, ensure_topics, read_drift

pytestmark = pytest.mark.broker

DAY_MS = 86_400_000


def entries(servers, topic, *names):
    admin = AdminClient({"bootstrap.servers": servers})
    (future,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    found = future.result(10)
    return [found[name].value for name in names]


async def test_what_is_missing_is_created_with_its_retention_and_only_once(broker, topic_prefix):
    settings = settings_for(broker.bootstrap_servers, topic_prefix, kafka_topic_partitions=4)
    assert await ensure_topics(settings) == [topic_prefix + name for name in NAMES]
    assert await ensure_topics(settings) == []
    assert await read_drift(settings) == []

    days = {"raw_events": 7, "trades": 30, "depth": 7, "dead_letters": 30, "gaps": 30}
    for name, count in days.items():
        policy = entries(broker.bootstrap_servers, topic_prefix + name, "cleanup.policy", "retention.ms")
        assert policy == ["delete", str(count * DAY_MS)]
    assert entries(
        broker.bootstrap_servers,
        topic_prefix + "state",
        *("cleanup.policy", "segment.bytes", "segment.ms", "min.cleanable.dirty.ratio", "delete.retention.ms"),
    ) == ["compact", "16777216", "600000", "0.1", "600000"]
    assert entries(broker.bootstrap_servers, topic_prefix + "dead_letters", "max.message.bytes") == ["8388608"]


async def test_a_topic_that_exists_is_never_changed_by_creating_the_others(broker, topic_prefix):
    make_topic(broker.bootstrap_servers, topic_prefix + "trades", num_partitions=1, config={"retention.ms": "1000"})
    settings = settings_for(broker.bootstrap_servers, topic_prefix)
    assert topic_prefix + "trades" not in await ensure_topics(settings)
    assert entries(broker.bootstrap_servers, topic_prefix + "trades", "retention.ms") == ["1000"]


async def test_drift_is_told_and_apply_mends_what_it_may(broker, topic_prefix):
    servers = broker.bootstrap_servers
    week = {"retention.ms": str(7 * DAY_MS)}
    make_topic(servers, topic_prefix + "raw_events", num_partitions=1, config=week)
    make_topic(servers, topic_prefix + "trades", num_partitions=9, config=week)
    make_topic(servers, topic_prefix + "dead_letters", num_partitions=2, config=week | {"max.message.bytes": "9000000"})
    settings = settings_for(servers, topic_prefix)
    for name in ("depth", "gaps"):
        make_topic(servers, topic_prefix + name, num_partitions=3, config=dict(desired_topics(settings)[2].config))
    alter_topic(servers, topic_prefix + "gaps", retention_ms=30 * DAY_MS)

    raw, trades, dead_letters, state = (topic_prefix + n for n in ("raw_events", "trades", "dead_letters", "state"))
    keyed = "more partitions move keys to others, which breaks order and co-partitioning: --allow-repartition"
    never = "Kafka never takes partitions away"
    wanted = [
        Drift(raw, "partitions", "3", "1", mendable=False, note=keyed),
        Drift(trades, "partitions", "3", "9", mendable=False, note=never),
        Drift(trades, "retention.ms", str(30 * DAY_MS), str(7 * DAY_MS), mendable=True),
        Drift(dead_letters, "partitions", "3", "2", mendable=True),
        Drift(dead_letters, "retention.ms", str(30 * DAY_MS), str(7 * DAY_MS), mendable=True),
        Drift(state, "missing", "3 partitions", "no such topic", mendable=True),
    ]
    assert await read_drift(settings) == wanted
    mended, left = await apply(settings)
    assert mended == [drift for drift in wanted if drift.mendable]
    assert left == [drift for drift in wanted if not drift.mendable]
    assert await soon(lambda: read_drift(settings)) == left
    assert entries(servers, dead_letters, "max.message.bytes") == ["9000000"]

    mended, left = await apply(settings, allow_repartition=True)
    assert [(drift.topic, drift.what) for drift in mended] == [(raw, "partitions")]
    assert [(drift.topic, drift.note) for drift in left] == [(trades, never)]
    assert [drift.topic for drift in await soon(lambda: read_drift(settings))] == [trades]


async def soon(question):
    """Changes take a moment until every request sees them."""
    await trio.sleep(0.5)
    return await question()


async def test_other_replication_is_told_and_left_alone(broker, topic_prefix):
    await ensure_topics(settings_for(broker.bootstrap_servers, topic_prefix))
    found = await read_drift(settings_for(broker.bootstrap_servers, topic_prefix, kafka_topic_replication=3))
    assert {(drift.what, drift.wanted, drift.actual, drift.mendable) for drift in found} == {
        ("replication", "3", "1", False)
    }
    assert len(found) == 6


async def test_more_replicas_than_brokers_is_told(broker, topic_prefix):
    with pytest.raises(SinkUnreachable) as caught:
        await ensure_topics(settings_for(broker.bootstrap_servers, topic_prefix, kafka_topic_replication=3))
    assert "replication" in caught.value.cause.lower()
    assert topic_prefix in caught.value.cause


async def test_nobody_there(topic_prefix):
    with pytest.raises(SinkUnreachable, match="nothing listens"):
        await read_drift(settings_for("127.0.0.1:1", topic_prefix))


async def test_configuration_that_may_not_be_read_is_told(secure_broker, topic_prefix):
    assert len(await ensure_topics(secure(secure_broker, topic_prefix))) == 6
    allow(secure_broker, topic_prefix, AclOperation.DESCRIBE)
    alice = secure(secure_broker, topic_prefix, kafka_sasl_username="alice", kafka_sasl_password="alice-secret")
    found = await read_drift(alice)
    assert [(drift.what, drift.mendable, drift.note) for drift in found] == [
        ("configuration", False, "the right DESCRIBE_CONFIGS is missing")
    ] * 6


async def test_drift_can_be_read_where_no_topic_is_there_at_all(broker, topic_prefix):
    drift = await read_drift(settings_for(broker.bootstrap_servers, topic_prefix))
    assert [one.what for one in drift] == ["missing"] * len(NAMES)
