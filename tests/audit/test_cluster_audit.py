"""The audit of a real cluster: which records it reads, in which order, and what stops it."""

from __future__ import annotations

import time
from contextlib import aclosing

import pytest
import trio
from audit_market import START_MS, Written, aggregate, depth, found, gap, market, trade
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, NewTopic
from kafka_support import PASSWORD, allow, make_topic, secure, settings_for

from ingest_actors.audit import Role
from ingest_actors.audit.records import Window
from ingest_actors.audit.run import run_audit, topic_names
from ingest_actors.errors import SinkUnreachable
from ingest_actors.kafka import reader as reader_module
from ingest_actors.kafka.reader import Part, open_reader

pytestmark = pytest.mark.broker

FOR_EVER = {"retention.ms": "-1"}


class Topics:
    """The topics of a service, on some cluster."""

    def __init__(self, settings, servers, **client):
        self.settings = settings
        self.names = topic_names(settings)
        self.client = {"bootstrap.servers": servers, "log_level": 0, **client}

    def make(self, *roles, partitions=3):
        for role in roles or Role:
            make_topic_on(self.client, self.names[role], partitions)
        return self

    def write(self, records: dict[Role, list[Written]], **options):
        producer = Producer(self.client | {"partitioner": "murmur2_random", "enable.idempotence": True} | options)
        for role, written in records.items():
            for one in written:
                producer.produce(self.names[role], one.value, one.key, timestamp=one.time)
        producer.flush()
        return self


def make_topic_on(client, name, partitions):
    if len(client) == 2:
        make_topic(client["bootstrap.servers"], name, num_partitions=partitions, replication_factor=1, config=FOR_EVER)
        return
    admin = AdminClient(client)
    for future in admin.create_topics([NewTopic(name, partitions, 1, config=FOR_EVER)]).values():
        future.result(20)


@pytest.fixture
def topics(broker, topic_prefix):
    return Topics(settings_for(broker.bootstrap_servers, topic_prefix), broker.bootstrap_servers)


async def test_whole_topics_are_whole(topics):
    topics.make().write(market(60))
    with trio.fail_after(60):
        report = await run_audit(topics.settings)
    assert report.ok
    assert report.records == sum(len(records) for records in market(60).values())
    assert report.seconds > 0
    told = {topic.role: topic for topic in report.topics}
    assert told[Role.RAW].name == topics.names[Role.RAW]
    assert (told[Role.RAW].partitions, told[Role.RAW].from_the_start) == (3, True)
    assert told[Role.GAPS].records == 0


async def test_places_that_differ_are_read_again(topics):
    records = market(400)
    for role, places in ((Role.TRADES, (100, 1500)), (Role.DEPTH, (10,))):
        for place in places:
            was = records[role][place]
            records[role][place] = was._replace(value=was.value.replace(b'"source":"binance', b'"source":"Binance'))
    topics.make().write(records)
    with trio.fail_after(60):
        report = await run_audit(topics.settings)
    altered = [entry for one in report.series for entry in one.to_json()["altered"]]
    assert [fields for _, fields in altered] == [["source"]] * 3


async def test_the_journal_of_the_cluster_explains_what_is_missing(topics):
    events = [trade(1), trade(2), trade(6)]
    topics.make().write({Role.RAW: events, Role.TRADES: events, Role.GAPS: [gap(3, 5)]})
    report = await run_audit(topics.settings)
    assert report.ok
    assert found(report)["missing_explained"] == [[3, 5]]


async def test_dead_letters_are_known_by_their_headers(topics):
    events = [trade(1), trade(3)]
    topics.make().write({Role.RAW: events, Role.TRADES: events})
    producer = Producer(topics.client)
    headers = {"reason": "too_large", "symbol": "BTCUSDT", "event_type": "trade", "empty": None}
    producer.produce(topics.names[Role.DEAD_LETTERS], trade(2).value, b"BTCUSDT", headers=list(headers.items()))
    producer.flush()
    report = await run_audit(topics.settings)
    assert report.ok
    assert found(report)["explanations"][0]["reason"] == "too_large"


async def test_the_journal_and_copies_may_be_absent(topics):
    topics.make(Role.RAW).write({Role.RAW: [trade(1), trade(2), aggregate(1, 1, 2)]})
    report = await run_audit(topics.settings)
    assert report.ok
    assert {topic.role for topic in report.topics if topic.absent} == {
        Role.TRADES,
        Role.DEPTH,
        Role.GAPS,
        Role.DEAD_LETTERS,
    }
    assert found(report, "aggregate_trade")["aggregates"]["compared"] == 1


async def test_without_any_data_topic_there_is_nothing_to_audit(topics):
    with pytest.raises(SinkUnreachable, match="do not exist, or that we may not see") as caught:
        await run_audit(topics.settings)
    assert caught.value.exit_code == 75


async def test_what_is_written_meanwhile_is_not_read(topics):
    topics.make(Role.RAW).write({Role.RAW: [trade(number) for number in range(100)]})
    async with open_reader(topics.settings) as reader:
        name = topics.names[Role.RAW]
        parts = await trio.to_thread.run_sync(reader.parts, name)
        topics.write({Role.RAW: [trade(number) for number in range(100, 200)]})
        async with aclosing(reader.read(name, parts)) as batches:
            offsets = [message.offset() async for batch in batches for some in batch.values() for message in some]
        assert sorted(offsets) == list(range(100))


async def test_a_part_is_read_as_often_as_one_likes(topics):
    topics.make(Role.RAW, partitions=1).write({Role.RAW: [trade(number) for number in range(100)]})
    async with open_reader(topics.settings) as reader:
        for part in (Part(0, 100), Part(10, 20), Part(90, 100), Part(5, 5)):
            offsets = await read_all(reader, topics.names[Role.RAW], part)
            assert offsets == list(range(part.begin, part.end))


async def read_all(reader, topic, part):
    """The offsets of partition 0."""
    async with aclosing(reader.read(topic, {0: part})) as batches:
        return [message.offset() async for batch in batches for message in batch[0]]


async def test_parts_begin_and_end_by_time(topics):
    topics.make(Role.RAW, partitions=1).write(
        {Role.RAW: [trade(number, time=START_MS + number) for number in range(100)]}
    )
    async with open_reader(topics.settings) as reader:

        def ask(since, until):
            return reader.parts(topics.names[Role.RAW], since_ms=since, until_ms=until)[0]

        assert await trio.to_thread.run_sync(ask, START_MS + 30, START_MS + 40) == Part(30, 40)
        assert await trio.to_thread.run_sync(ask, None, START_MS + 40) == Part(0, 40)
        assert await trio.to_thread.run_sync(ask, START_MS + 500, None) == Part(100, 100)
        assert await trio.to_thread.run_sync(ask, START_MS - 500, START_MS + 500) == Part(0, 100)


async def test_a_window_is_audited_alone(topics):
    times = {number: START_MS + number * 1000 for number in range(1, 300)}
    events = [trade(number, time=time) for number, time in times.items() if number != 50]
    topics.make().write({Role.RAW: events, Role.TRADES: events})
    assert not (await run_audit(topics.settings)).ok
    report = await run_audit(topics.settings, window=Window(times[100], times[200]))
    series = found(report)
    assert series["ok"]
    assert (series["first_id"], series["last_id"]) == (100, 199)


async def test_records_that_retention_has_deleted_are_no_defect(topics):
    events = [trade(number) for number in range(1, 300)]
    topics.make(partitions=1).write({Role.RAW: events, Role.TRADES: events, Role.DEPTH: [depth(1, 1)]})
    delete_before(topics, Role.RAW, 100)
    report = await run_audit(topics.settings)
    assert report.ok
    assert {topic.role for topic in report.topics if not topic.from_the_start} == {Role.RAW}
    assert found(report)["by_topic"]["raw"]["first_id"] == 101


async def test_deletion_while_reading_is_said(topics):
    topics.make(Role.RAW, partitions=1).write({Role.RAW: [trade(number) for number in range(100)]})
    async with open_reader(topics.settings) as reader:
        delete_before(topics, Role.RAW, 50)
        with pytest.raises(SinkUnreachable, match="deleted, by its retention, while they were being read"):
            await read_all(reader, topics.names[Role.RAW], Part(0, 100))


def delete_before(topics, role, offset):
    place = TopicPartition(topics.names[role], 0, offset)
    admin = AdminClient(topics.client)
    for future in admin.delete_records([place]).values():
        future.result(20)


async def test_an_open_transaction_ends_what_is_read(topics):
    topics.make(Role.RAW, partitions=1)
    producer = Producer(topics.client | {"transactional.id": topics.names[Role.RAW]})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topics.names[Role.RAW], trade(1).value, b"BTCUSDT")
    producer.commit_transaction(30)
    producer.begin_transaction()
    producer.produce(topics.names[Role.RAW], trade(9).value, b"BTCUSDT")
    producer.flush()
    with trio.fail_after(30):
        assert (await run_audit(topics.settings)).series[0].last == 1
    producer.abort_transaction(30)
    with trio.fail_after(30):
        report = await run_audit(topics.settings)
    assert (report.series[0].last, report.records) == (1, 1)


async def test_brokers_that_fall_silent_end_it(private_broker, topic_prefix, monkeypatch):
    monkeypatch.setattr(reader_module, "STALL_S", 2.0)
    cluster = private_broker()
    topics = Topics(settings_for(cluster.bootstrap_servers, topic_prefix), cluster.bootstrap_servers)
    topics.make(Role.RAW, partitions=1).write({Role.RAW: [trade(1)]})
    async with open_reader(topics.settings) as reader:
        cluster.pause()
        began = time.monotonic()
        with pytest.raises(SinkUnreachable):
            await read_all(reader, topics.names[Role.RAW], Part(0, 1))
        assert time.monotonic() - began < 10
        cluster.resume()


async def test_a_cluster_with_tls_and_a_login_needs_the_right_to_read_alone(secure_broker, topic_prefix):
    admin = Topics(
        secure(secure_broker, topic_prefix), secure_broker.bootstrap_servers, **secure_broker.client_settings
    )
    admin.make().write(market(20))
    settings = secure(secure_broker, topic_prefix, kafka_sasl_username="alice", kafka_sasl_password="alice-secret")
    with pytest.raises(SinkUnreachable, match="may not see"):
        await run_audit(settings)
    allow(secure_broker, topic_prefix, AclOperation.DESCRIBE)
    with pytest.raises(SinkUnreachable, match="not allowed") as caught:
        await run_audit(settings)
    assert "READ" in str(caught.value)
    allow(secure_broker, topic_prefix, AclOperation.READ)
    report = await run_audit(settings)
    assert report.ok
    assert report.records == sum(len(records) for records in market(20).values())
    with pytest.raises(SinkUnreachable, match="do not let us in") as caught:
        await run_audit(secure(secure_broker, topic_prefix, kafka_sasl_password="wrong-secret"))
    assert PASSWORD not in str(caught.value)
    assert "wrong-secret" not in str(caught.value)
