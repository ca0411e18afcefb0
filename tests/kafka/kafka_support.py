"""What the tests of the sink share: settings, batches, and a reader that knows nothing of the product."""

import time
from collections import defaultdict
from contextlib import asynccontextmanager

import trio
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from ingest_actors.kafka.opening import open_sink
from ingest_actors.messages import EventBatch, Route
from ingest_actors.settings import Settings

NAMES = ("raw_events", "trades", "depth", "dead_letters", "gaps", "state")
PASSWORD = "admin-secret"
SYMBOLS = [b"BTCUSDT", b"ETHUSDT", b"BNBUSDT", b"ADAUSDT", b"XRPUSDT"]


def settings_for(servers, prefix, **more):
    topics = {f"kafka_topic_{name}": f"{prefix}{name}" for name in NAMES}
    return Settings(**{"kafka_bootstrap_servers": servers, "kafka_topic_partitions": 3, **topics, **more})


@asynccontextmanager
async def sink_on(servers, prefix, *, queue_bytes=None, **settings):
    sink = await open_sink(settings_for(servers, prefix, **settings), queue_bytes=queue_bytes)
    try:
        yield sink
    finally:
        with trio.CancelScope(shield=True):
            await sink.aclose()


def secure(cluster, prefix, **more):
    return settings_for(
        cluster.bootstrap_servers,
        prefix,
        **{
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": "SCRAM-SHA-512",
            "kafka_sasl_username": "admin",
            "kafka_sasl_password": PASSWORD,
            "kafka_ssl_ca_location": cluster.ca_file,
            **more,
        },
    )


def route_for(prefix, *names, headers=()):
    return Route("trade", tuple(f"{prefix}{name}" for name in names or ("raw_events", "trades")), headers=headers)


def now_ms():
    return int(time.time() * 1000)


def numbered(route, numbers, *, size=60, timestamp_ms=None, key=None):
    """Events whose values begin with their number; the key follows from the number."""
    stamp = timestamp_ms or now_ms()
    return [(b"%09d" % n + b"." * (size - 9), key or SYMBOLS[n % len(SYMBOLS)], stamp, route) for n in numbers]


def in_batches(events, size=100):
    return [EventBatch(events[start : start + size], received_at_ms=0) for start in range(0, len(events), size)]


async def offer(sink, batches):
    for batch in batches:
        await sink.accept(batch)


async def settle(sink, count):
    return [await sink.acknowledged() for _ in range(count)]


async def deliver(sink, batches, *, within_s=60.0):
    """Offer batches and take their acknowledgements at the same time."""
    with trio.fail_after(within_s):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(offer, sink, batches)
            return await settle(sink, len(batches))


async def until(condition, within_s):
    """Look again and again; what is looked at belongs to a broker, so there is nothing to wait on."""
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110 - see above
            await trio.sleep(0.05)


def read_topic(servers, topic, *, partitions=None, **options):
    """All records of a topic, by partition; each partition in order."""
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "reader", "enable.auto.commit": False, "log_level": 0, **options}
    )
    try:
        if partitions is None:
            partitions = len(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        ends = {n: end_of(consumer, topic, n) for n in range(partitions)}
        consumer.assign([TopicPartition(topic, n, 0) for n in range(partitions)])
        found = defaultdict(list)
        deadline = time.monotonic() + 30
        while sum(map(len, found.values())) < sum(ends.values()):
            assert time.monotonic() < deadline, f"{topic}: {found.keys()} of {ends}"
            for message in consumer.consume(10_000, 0.2):
                assert message.error() is None, message.error()
                found[message.partition()].append(message)
        return dict(found)
    finally:
        consumer.close()


def end_of(consumer, topic, partition):
    for _ in range(100):
        try:
            return consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
        except KafkaException as error:
            # A partition that was made a moment ago may not know its leader yet.
            assert error.args[0].code() == KafkaError.NOT_LEADER_FOR_PARTITION, error  # noqa: PT017 - else retried
            time.sleep(0.05)
    raise AssertionError(f"{topic}-{partition} has no leader")


def numbers_by_key(found):
    """The numbers of the events that were read, in the order of each key."""
    by_key = defaultdict(list)
    for messages in found.values():
        for message in messages:
            by_key[message.key()].append(int(message.value()[:9]))
    return dict(by_key)


def expected_by_key(events):
    by_key = defaultdict(list)
    for value, key, _, _ in events:
        by_key[key].append(int(value[:9]))
    return dict(by_key)


def make_topic(servers, name, **options):
    """Create a topic behind the product's back."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    for future in admin.create_topics([NewTopic(name, **options)]).values():
        future.result(10)
    wait_for_entries(admin, name, options.get("config", {}))


def alter_topic(servers, topic, **entries):
    """Change a topic's configuration behind the product's back."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    wanted = {name.replace("_", "."): str(value) for name, value in entries.items()}
    changes = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in wanted.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=changes)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)
    wait_for_entries(admin, topic, wanted)


def wait_for_entries(admin, topic, wanted):
    """What was changed takes a moment to show."""
    for _ in range(200):
        (future,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
        try:
            found = future.result(10)
        except KafkaException:
            found = {}
        if found and all(found[name].value == value for name, value in wanted.items()):
            return
        time.sleep(0.02)
    raise AssertionError(f"{topic}: {wanted} does not show")


def murmur2(key):
    """The hash of Java's default partitioner, written down from its definition, one byte at a time."""
    mask = 0xFFFFFFFF
    h = 0x9747B28C ^ len(key)
    full = len(key) // 4 * 4
    for start in range(0, full, 4):
        k = int.from_bytes(key[start : start + 4], "little") * 0x5BD1E995 & mask
        k = (k ^ k >> 24) * 0x5BD1E995 & mask
        h = (h * 0x5BD1E995 & mask) ^ k
    if tail := key[full:]:
        h = (h ^ int.from_bytes(tail, "little")) * 0x5BD1E995 & mask
    h = (h ^ h >> 13) * 0x5BD1E995 & mask
    return h ^ h >> 15


def java_partition(key, partitions):
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def allow(cluster, prefix, *operations):
    """Give alice rights on all topics with a prefix."""
    binding = (ResourceType.TOPIC, prefix, ResourcePatternType.PREFIXED, "User:alice", "*")
    admin = AdminClient(cluster.client_settings)
    asked = admin.create_acls([AclBinding(*binding, operation, AclPermissionType.ALLOW) for operation in operations])
    wait_for_rules(cluster, asked, prefix + "raw_events", lambda rights: rights >= set(operations))


def forbidding(topic):
    return (
        *(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:alice", "*"),
        *(AclOperation.WRITE, AclPermissionType.DENY),
    )


def forbid(cluster, topic):
    """Take alice's right to write to a topic away."""
    admin = AdminClient(cluster.client_settings)
    asked = admin.create_acls([AclBinding(*forbidding(topic))])
    wait_for_rules(cluster, asked, topic, lambda rights: AclOperation.WRITE not in rights)


def permit_again(cluster, topic):
    admin = AdminClient(cluster.client_settings)
    asked = admin.delete_acls([AclBindingFilter(*forbidding(topic))])
    wait_for_rules(cluster, asked, topic, lambda rights: AclOperation.WRITE in rights)


def wait_for_rules(cluster, asked, topic, fits):
    """The broker hears of new rules from its controller, a moment later."""
    for future in asked.values():
        future.result(10)
    alice = AdminClient(
        cluster.client_settings | {"sasl.username": "alice", "sasl.password": "alice-secret", "log_level": 0}
    )
    for _ in range(200):
        (future,) = alice.describe_topics(TopicCollection([topic]), include_authorized_operations=True).values()
        try:
            rights = set(future.result(10).authorized_operations or ())
        except KafkaException:
            rights = set()
        if fits(rights):
            return
        time.sleep(0.05)
    raise AssertionError("the rules do not show")
