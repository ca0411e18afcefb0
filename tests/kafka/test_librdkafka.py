"""The sink on a real broker."""

import pytest
import trio
from kafka_support import (
    SYMBOLS,
    deliver,
    expected_by_key,
    in_batches,
    java_partition,
    now_ms,
    numbered,
    numbers_by_key,
    offer,
    read_topic,
    route_for,
    settle,
    sink_on,
    until,
)

from ingest_actors.kafka.dev_broker import dev_broker
from ingest_actors.kafka.librdkafka import LibrdkafkaSink
from ingest_actors.messages import EventBatch
from ingest_actors.protocols import Sink

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def own_broker():
    with dev_broker() as own:
        yield own


@pytest.fixture
def cluster(own_broker):
    """A broker that a test may pause and kill."""
    if not own_broker.pids():
        own_broker.restart()
    yield own_broker
    own_broker.resume()


async def test_it_fits_the_seam(sink):
    assert isinstance(sink, Sink)
    assert isinstance(sink, LibrdkafkaSink)


async def test_every_record_has_its_topic_key_partition_timestamp_and_bytes(sink, broker, topic_prefix):
    stamp = now_ms() - 12_345
    route = route_for(topic_prefix)
    keys = [*SYMBOLS, b"1000SATSUSDT", "币安人生USDT".encode(), b"A"]
    events = [(b'{"n":%d,"pad":"%s"}' % (n, b"x" * n), keys[n % len(keys)], stamp + n, route) for n in range(400)]
    acknowledgements = await deliver(sink, in_batches(events, 70))

    assert [len(done.batch) for done in acknowledgements] == [70] * 5 + [50]
    assert all(not done.refused and 0 < done.ack_s < 30 for done in acknowledgements)
    for name in ("raw_events", "trades"):
        found = await trio.to_thread.run_sync(read_topic, broker.bootstrap_servers, topic_prefix + name)
        seen = [
            (message.value(), message.key(), message.timestamp()[1], partition)
            for partition, messages in found.items()
            for message in messages
        ]
        wanted = [(value, key, stamp, java_partition(key, 3)) for value, key, stamp, _ in events]
        assert sorted(seen) == sorted(wanted)
        assert len({partition for *_, partition in seen}) == 3
    assert await trio.to_thread.run_sync(read_topic, broker.bootstrap_servers, topic_prefix + "depth") == {}


async def test_order_is_kept_in_every_partition(sink, broker, topic_prefix):
    events = numbered(route_for(topic_prefix), range(20_000))
    await deliver(sink, in_batches(events))
    found = await trio.to_thread.run_sync(read_topic, broker.bootstrap_servers, topic_prefix + "raw_events")
    assert numbers_by_key(found) == expected_by_key(events)


async def test_events_without_a_key_and_headers_arrive(sink, broker, topic_prefix):
    route = route_for(topic_prefix, "dead_letters", headers=(("reason", b"not_json"), ("stream", "币@trade".encode())))
    await deliver(
        sink, [EventBatch([(b"", None, now_ms(), route), (b"\xff", None, now_ms(), route)], received_at_ms=0)]
    )
    found = await trio.to_thread.run_sync(read_topic, broker.bootstrap_servers, topic_prefix + "dead_letters")
    messages = [message for partition in found.values() for message in partition]
    assert sorted(message.value() or b"" for message in messages) == [b"", b"\xff"]
    assert {message.key() for message in messages} == {None}
    assert [message.headers() for message in messages] == [
        [("reason", b"not_json"), ("stream", "币@trade".encode())]
    ] * 2


async def test_an_empty_batch_is_acknowledged(sink):
    (done,) = await deliver(sink, [EventBatch([], received_at_ms=0)])
    assert done.refused == []


async def test_status_counts_records_by_topic(sink, topic_prefix):
    await deliver(sink, in_batches(numbered(route_for(topic_prefix), range(30)), 7))
    await deliver(sink, in_batches(numbered(route_for(topic_prefix, "raw_events"), range(5))))
    status = sink.status()
    assert status.records == {topic_prefix + "raw_events": 35, topic_prefix + "trades": 30}
    assert (status.reachable, status.queue_records, status.queue_bytes, status.errors) == (True, 0, 0, 0)


async def test_an_interrupted_acknowledged_hands_out_the_same_acknowledgement_again(sink, topic_prefix):
    batches = in_batches(numbered(route_for(topic_prefix), range(300)))
    await offer(sink, batches)
    for _ in range(20):
        with trio.move_on_after(0.0005):
            done = await sink.acknowledged()
            assert done.batch is batches.pop(0)
    rest = await settle(sink, len(batches))
    assert [done.batch for done in rest] == batches


async def test_a_full_queue_holds_the_sender_back_and_loses_nothing(broker, topic_prefix):
    events = numbered(route_for(topic_prefix), range(6_000), size=400)
    seen = []

    async def watch(sink):
        while True:
            seen.append(sink.status().queue_records)
            await trio.sleep(0.001)

    async with (
        sink_on(broker.bootstrap_servers, topic_prefix, queue_bytes=100_000) as small,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(watch, small)
        await deliver(small, in_batches(events, 1_000))
        nursery.cancel_scope.cancel()
    assert 45_000 < max(seen) * 400 <= 50_000
    for name in ("raw_events", "trades"):
        found = await trio.to_thread.run_sync(read_topic, broker.bootstrap_servers, topic_prefix + name)
        assert numbers_by_key(found) == expected_by_key(events)


async def test_an_interrupted_accept_goes_on_at_the_record_where_it_was(broker, topic_prefix):
    events = numbered(route_for(topic_prefix), range(5_000), size=400)
    interrupted = 0

    async def insist(sink):
        nonlocal interrupted
        for batch in in_batches(events, 2_500):
            while True:
                with trio.move_on_after(0.003) as scope:
                    await sink.accept(batch)
                if not scope.cancelled_caught:
                    break
                interrupted += 1

    async with (
        sink_on(broker.bootstrap_servers, topic_prefix, queue_bytes=100_000) as small,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(insist, small)
        await settle(small, 2)
    assert interrupted > 2
    for name in ("raw_events", "trades"):
        found = await trio.to_thread.run_sync(read_topic, broker.bootstrap_servers, topic_prefix + name)
        assert numbers_by_key(found) == expected_by_key(events)


async def test_another_batch_may_pass_one_that_was_interrupted(broker, topic_prefix):
    big, small_one = (
        EventBatch(numbered(route_for(topic_prefix), numbers, size=400), received_at_ms=0)
        for numbers in (range(3_000), range(10_000, 10_050))
    )
    async with sink_on(broker.bootstrap_servers, topic_prefix, queue_bytes=100_000) as sink:
        with trio.move_on_after(0.002) as scope:
            await sink.accept(big)
        assert scope.cancelled_caught
        assert (await deliver(sink, [small_one]))[0].batch is small_one
        assert (await deliver(sink, [big]))[0].batch is big
    found = await trio.to_thread.run_sync(read_topic, broker.bootstrap_servers, topic_prefix + "raw_events")
    numbers = sorted(number for numbers in numbers_by_key(found).values() for number in numbers)
    assert numbers == [*range(3_000), *range(10_000, 10_050)]


async def test_a_paused_broker_is_told_once_and_nothing_is_lost(cluster, topic_prefix, caplog):
    events = numbered(route_for(topic_prefix), range(20_000))
    batches = in_batches(events)
    caplog.set_level("INFO", "ingest_actors")
    async with sink_on(cluster.bootstrap_servers, topic_prefix) as sink:
        await deliver(sink, batches[:50])
        cluster.pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(offer, sink, batches[50:])
            nursery.start_soon(settle, sink, 150)
            await until(lambda: not sink.status().reachable, 10)
            assert "nothing was acknowledged for" in sink.status().detail
            await trio.sleep(1)
            cluster.resume()
            await until(lambda: sink.status().reachable, 40)
        assert sink.status().detail == ""
    assert outages(caplog) == ["kafka_unreachable", "kafka_recovered"]
    found = await trio.to_thread.run_sync(read_topic, cluster.bootstrap_servers, topic_prefix + "raw_events")
    assert numbers_by_key(found) == expected_by_key(events)


async def test_a_broker_killed_under_load_loses_doubles_and_reorders_nothing(cluster, topic_prefix, caplog):
    events = numbered(route_for(topic_prefix), range(60_000), size=200)
    batches = in_batches(events)
    caplog.set_level("INFO", "ingest_actors")

    async def offer_steadily(sink):
        for batch in batches:
            await sink.accept(batch)
            await trio.sleep(0.01)

    async with sink_on(cluster.bootstrap_servers, topic_prefix) as sink:
        with trio.fail_after(90):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(offer_steadily, sink)
                nursery.start_soon(settle, sink, len(batches))
                for downtime_s in (0, 3):
                    await trio.sleep(1.2)
                    await trio.to_thread.run_sync(cluster.kill)
                    await trio.sleep(downtime_s)
                    await trio.to_thread.run_sync(cluster.restart)
    for name in ("raw_events", "trades"):
        found = await trio.to_thread.run_sync(read_topic, cluster.bootstrap_servers, topic_prefix + name)
        assert numbers_by_key(found) == expected_by_key(events)


async def test_a_broker_that_goes_while_nothing_waits_is_noticed_and_so_is_its_return(cluster, topic_prefix, caplog):
    caplog.set_level("INFO", "ingest_actors")
    async with sink_on(cluster.bootstrap_servers, topic_prefix) as sink:
        await deliver(sink, in_batches(numbered(route_for(topic_prefix), range(10))))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sink.acknowledged)
            await trio.to_thread.run_sync(cluster.kill)
            await until(lambda: not sink.status().reachable, 10)
            await trio.to_thread.run_sync(cluster.restart)
            await until(lambda: sink.status().reachable, 20)
            nursery.cancel_scope.cancel()
    assert outages(caplog) == ["kafka_unreachable", "kafka_recovered"]


def outages(caplog):
    names = ("kafka_unreachable", "kafka_recovered")
    return [name for record in caplog.records for name in names if record.getMessage().startswith(name)]


class Steps(trio.abc.Instrument):
    """How often the loop ran a task."""

    def __init__(self):
        self.count = 0

    def before_task_step(self, task):
        self.count += 1


async def test_waiting_for_nothing_costs_nothing(sink, topic_prefix):
    await deliver(sink, in_batches(numbered(route_for(topic_prefix), range(10))))
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    with trio.move_on_after(3):
        await sink.acknowledged()
    trio.lowlevel.remove_instrument(steps)
    assert steps.count < 30


async def test_closing_does_not_wait_for_a_broker_that_is_gone(cluster, topic_prefix):
    async with sink_on(cluster.bootstrap_servers, topic_prefix) as sink:
        await trio.to_thread.run_sync(cluster.kill)
        await offer(sink, in_batches(numbered(route_for(topic_prefix), range(5_000))))
        began = trio.current_time()
    assert trio.current_time() - began < 2
