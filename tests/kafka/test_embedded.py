"""librdkafka's in-process cluster, through the same sink."""

import pytest
import trio
from confluent_kafka import Producer
from kafka_support import (
    deliver,
    expected_by_key,
    in_batches,
    numbered,
    numbers_by_key,
    read_topic,
    route_for,
    settings_for,
)

from ingest_actors.kafka.embedded import EmbeddedCluster
from ingest_actors.kafka.opening import open_sink


def test_any_client_can_write_and_read():
    with EmbeddedCluster() as cluster:
        assert cluster.bootstrap_servers.startswith("127.0.0.1:")
        producer = Producer({"bootstrap.servers": cluster.bootstrap_servers})
        producer.produce("t", b"000000001", b"k")
        assert producer.flush(10) == 0
        assert numbers_by_key(read_topic(cluster.bootstrap_servers, "t")) == {b"k": [1]}


def test_three_brokers():
    with EmbeddedCluster(brokers=3) as cluster:
        assert len(set(cluster.bootstrap_servers.split(","))) == 3


async def test_the_sink_brings_the_cluster_along_and_takes_it_down(topic_prefix):
    sink = await open_sink(settings_for("embedded", topic_prefix))
    servers = sink.bootstrap_servers
    events = numbered(route_for(topic_prefix), range(1_000))
    await deliver(sink, in_batches(events))
    for name in ("raw_events", "trades"):
        found = await trio.to_thread.run_sync(read_topic, servers, topic_prefix + name)
        assert numbers_by_key(found) == expected_by_key(events)
    await sink.aclose()
    host, port = servers.split(":")
    with pytest.raises(OSError, match="attempts"):
        await trio.open_tcp_stream(host, int(port))


async def test_a_reset_makes_a_fresh_producer_and_writes_nothing_twice(topic_prefix):
    sink = await open_sink(settings_for("embedded", topic_prefix))
    try:
        events = numbered(route_for(topic_prefix), range(3_000))
        batches = in_batches(events)
        await deliver(sink, batches[:10])
        await sink.reset()
        await deliver(sink, batches[10:])
        found = await trio.to_thread.run_sync(read_topic, sink.bootstrap_servers, topic_prefix + "raw_events")
        assert numbers_by_key(found) == expected_by_key(events)
    finally:
        await sink.aclose()
