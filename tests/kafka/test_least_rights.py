"""Access rules: what docs/how-to/kafka-security.md names is enough, and whatever is missing of it is told by name."""

from __future__ import annotations

import pytest
import trio
from confluent_kafka.admin import AclOperation, ResourceType
from exactly_once import CountingProgress, letter_of, read_committed
from kafka_support import NAMES, deliver, in_batches, make_topic, numbered, route_for

from ingest_actors.errors import SinkBroken, SinkUnreachable
from ingest_actors.kafka.opening import open_sink
from ingest_actors.settings import Settings

pytestmark = pytest.mark.broker

INSTANCE = "ingest"
DELIVERIES = ("at_least_once", "exactly_once")
EVENTS = ("raw_events", "trades", "depth", "dead_letters", "gaps")


def rights_for(delivery, prefix):
    """The least that the service needs, when somebody else has made the topics."""
    topics = [(ResourceType.TOPIC, prefix + name, AclOperation.WRITE) for name in (*EVENTS, "state")]
    rights = [*topics, (ResourceType.TOPIC, prefix + "state", AclOperation.READ)]
    if delivery == "exactly_once":
        rights.append((ResourceType.TRANSACTIONAL_ID, f"{INSTANCE}-{prefix}-writer", AclOperation.WRITE))
    return rights


@pytest.fixture
def alice(guarded, topic_prefix):
    """Somebody who may do nothing yet, with topics that somebody else has made; her settings."""
    for name in NAMES:
        config = {"cleanup.policy": "compact"} if name == "state" else {}
        make_topic(
            guarded.bootstrap_servers, topic_prefix + name, num_partitions=3, replication_factor=1, config=config
        )
    user = f"alice-{topic_prefix}"
    guarded.set_password(user, "alice-secret")
    given = guarded.settings(
        "scram",
        kafka_sasl_username=user,
        kafka_sasl_password="alice-secret",
        instance_name=f"{INSTANCE}-{topic_prefix}",
        kafka_create_topics=False,
        **{f"kafka_topic_{name}": topic_prefix + name for name in NAMES},
    )
    yield Alice(guarded, user, given, topic_prefix)
    guarded.take_away(user)


class Alice:
    def __init__(self, broker, user, given, prefix):
        self.broker, self.user, self.given, self.prefix = broker, user, given, prefix

    async def may(self, *rights):
        await trio.to_thread.run_sync(lambda: self.broker.allow(self.user, *rights))

    async def may_not(self, *rights):
        await trio.to_thread.run_sync(lambda: self.broker.take_away(self.user, *rights))

    async def open(self, progress=None, **more):
        progress = progress or CountingProgress(self.given["instance_name"])
        return await open_sink(Settings(**self.given | more), progress=progress, letter=letter_of(self.prefix))

    async def refused(self, **more):
        with pytest.raises(SinkUnreachable) as caught, trio.fail_after(20):
            await self.open(**more)
        assert caught.value.exit_code == 75
        assert "alice-secret" not in str(caught.value)
        return caught.value


@pytest.mark.parametrize("delivery", DELIVERIES)
async def test_with_the_least_rights_everything_is_written_and_gone_on_with(alice, guarded, topic_prefix, delivery):
    await alice.may(*rights_for(delivery, topic_prefix))
    events = numbered(route_for(topic_prefix, *EVENTS), range(500))
    sink = await alice.open(kafka_delivery=delivery)
    try:
        await deliver(sink, in_batches(events))
    finally:
        await sink.aclose()
    progress = CountingProgress(alice.given["instance_name"])
    again = await alice.open(progress, kafka_delivery=delivery)
    await again.aclose()
    assert max(progress.settled.values()) == 499
    for name in EVENTS:
        parts = await trio.to_thread.run_sync(read_committed, guarded.bootstrap_servers, topic_prefix + name)
        assert sum(map(len, parts.values())) == 500


@pytest.mark.parametrize("missing", range(7))
async def test_a_right_on_a_topic_that_is_missing_is_told_by_name(alice, topic_prefix, missing):
    rights = rights_for("at_least_once", topic_prefix)
    _, topic, operation = rights.pop(missing)
    await alice.may(*rights)
    error = await alice.refused()
    assert topic in error.cause
    assert operation.name in f"{error.cause} {error.hint}"
    assert "docs/how-to/kafka-security.md" in error.hint


async def test_a_transactional_id_that_is_not_granted_is_told_by_name(alice, topic_prefix):
    *rights, (_, name, _) = rights_for("exactly_once", topic_prefix)
    await alice.may(*rights)
    error = await alice.refused(kafka_delivery="exactly_once")
    assert error.cause.startswith(f"transactional id {name}: not allowed")
    assert "the right WRITE on the transactional id" in error.hint


async def test_a_right_to_create_that_is_missing_is_told_with_the_other_way(alice, topic_prefix):
    await alice.may(*rights_for("at_least_once", topic_prefix))
    other = {"kafka_topic_gaps": topic_prefix + "other", "kafka_create_topics": True}
    error = await alice.refused(**other)
    assert error.cause.startswith(f"topic {topic_prefix}other: not allowed")
    assert "CREATE" in error.hint
    await alice.may(
        (ResourceType.TOPIC, topic_prefix + "*", AclOperation.CREATE),
        (ResourceType.TOPIC, topic_prefix + "other", AclOperation.WRITE),
    )
    await (await alice.open(**other)).aclose()


@pytest.mark.parametrize("delivery", DELIVERIES)
async def test_a_right_that_is_taken_away_is_told_by_name_and_given_back_all_goes_on(
    alice, guarded, topic_prefix, delivery
):
    rights = rights_for(delivery, topic_prefix)
    await alice.may(*rights)
    sink = await alice.open(kafka_delivery=delivery)
    batches = in_batches(numbered(route_for(topic_prefix), range(1_000)))
    done = []
    try:
        done += await deliver(sink, batches[:3])
        await alice.may_not(rights[1])
        await trio.sleep(0.5)
        with pytest.raises(SinkBroken) as caught, trio.fail_after(30):
            await push(sink, batches[3:], done)
        assert "Topic authorization failed" in caught.value.cause
        assert "WRITE" in caught.value.hint
        await alice.may(rights[1])
        await sink.reset()
        written = [each.batch for each in done]
        await deliver(sink, [batch for batch in batches if batch not in written])
    finally:
        await sink.aclose()
    for name in ("raw_events", "trades"):
        parts = await trio.to_thread.run_sync(read_committed, guarded.bootstrap_servers, topic_prefix + name)
        numbers = [int(message.value()[:9]) for part in parts.values() for message in part]
        assert sorted(numbers) == list(range(1_000))


async def push(sink, batches, done):
    for batch in batches:
        await sink.accept(batch)
    while True:
        done.append(await sink.acknowledged())
