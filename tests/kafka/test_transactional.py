"""The transactional sink on a real broker: each event once, together with the state that says so."""

import json
import time

import pytest
import trio
from exactly_once import CountingProgress, exactly_once_on, read_committed
from kafka_support import deliver, expected_by_key, in_batches, numbered, numbers_by_key, route_for

from ingest_actors.kafka import transactional
from ingest_actors.kafka.transactional import TransactionalSink
from ingest_actors.messages import EventBatch
from ingest_actors.protocols import Sink

pytestmark = pytest.mark.broker


async def committed(broker, topic):
    return numbers_by_key(await trio.to_thread.run_sync(read_committed, broker.bootstrap_servers, topic))


async def test_it_fits_the_seam(broker, topic_prefix):
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix) as sink:
        assert isinstance(sink, Sink)
        assert isinstance(sink, TransactionalSink)


async def test_every_event_is_committed_once_in_every_topic_and_the_state_says_so(broker, topic_prefix):
    route = route_for(topic_prefix)
    events = numbered(route, range(5_000))
    progress = CountingProgress()
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix, progress=progress) as sink:
        assert sink.away_s is None
        assert sink.progress is progress
        acknowledgements = await deliver(sink, in_batches(events, 70))
        assert [done.batch for done in acknowledgements] == progress.applied
        assert progress.settled == progress.marks
        assert sink.status().records == {topic_prefix + "raw_events": 5_000, topic_prefix + "trades": 5_000}
    for name in ("raw_events", "trades"):
        assert await committed(broker, topic_prefix + name) == expected_by_key(events)

    again = CountingProgress()
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix, progress=again) as sink:
        assert again.marks == progress.marks
        assert 0 <= sink.away_s < 10


async def test_nothing_is_acknowledged_before_it_is_committed(broker, topic_prefix):
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix, kafka_commit_interval_ms=1_500) as sink:
        for batch in in_batches(numbered(route_for(topic_prefix), range(300))):
            await sink.accept(batch)
        with trio.move_on_after(1) as waited:
            await sink.acknowledged()
        assert waited.cancelled_caught
        assert await committed(broker, topic_prefix + "raw_events") == {}
        with trio.fail_after(10):
            await sink.acknowledged()
        assert await committed(broker, topic_prefix + "raw_events") == expected_by_key(
            numbered(route_for(topic_prefix), range(300))
        )


async def test_a_batch_that_was_interrupted_is_committed_as_a_whole_or_not_at_all(broker, topic_prefix):
    route = route_for(topic_prefix)
    events = numbered(route, range(9_000), size=400)
    first, large = EventBatch(events[:100], received_at_ms=0), EventBatch(events[100:8_900], received_at_ms=0)
    last = EventBatch(events[8_900:], received_at_ms=0)
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix, queue_bytes=400_000) as sink:
        await sink.accept(first)
        for _ in range(3):
            with trio.move_on_after(0.002) as interrupted:
                await sink.accept(large)
            assert interrupted.cancelled_caught
            with trio.move_on_after(0.4):
                await sink.acknowledged()
            found = await committed(broker, topic_prefix + "raw_events")
            assert sum(map(len, found.values())) in (0, 100)
        acknowledgements = await deliver(sink, [large, last])
        assert [len(done.batch) for done in acknowledgements][-1] in (100, 8_800)
        with trio.move_on_after(1):
            await sink.acknowledged()
    for name in ("raw_events", "trades"):
        assert await committed(broker, topic_prefix + name) == expected_by_key(events)


async def test_what_is_complete_does_not_wait_for_ever_for_a_batch_that_nobody_goes_on_with(
    broker, topic_prefix, monkeypatch
):
    monkeypatch.setattr(transactional, "PARTIAL_S_MAX", 0.5)
    events = numbered(route_for(topic_prefix), range(6_000), size=400)
    first, large = EventBatch(events[:100], received_at_ms=0), EventBatch(events[100:], received_at_ms=0)
    progress = CountingProgress()
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix, queue_bytes=400_000, progress=progress) as sink:
        await sink.accept(first)
        with trio.move_on_after(0.002):
            await sink.accept(large)
        with trio.fail_after(10):
            assert (await sink.acknowledged()).batch is first
        assert await committed(broker, topic_prefix + "raw_events") == expected_by_key(events[:100])
        assert progress.settled == {key.decode(): max(n) for key, n in expected_by_key(events[:100]).items()}
        (done,) = await deliver(sink, [large])
        assert done.batch is large
    assert await committed(broker, topic_prefix + "raw_events") == expected_by_key(events)


async def test_a_sink_that_is_closed_takes_back_what_is_not_committed(broker, topic_prefix):
    events = numbered(route_for(topic_prefix), range(100))
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix, kafka_commit_interval_ms=10_000) as sink:
        await deliver(sink, in_batches(events[:0]) or [EventBatch([], received_at_ms=0)], within_s=20)
        await sink.accept(EventBatch(events, received_at_ms=0))
        await trio.sleep(0.2)
    began = time.monotonic()
    assert await committed(broker, topic_prefix + "raw_events") == {}
    progress = CountingProgress()
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix, progress=progress) as sink:
        assert time.monotonic() - began < 8
        assert progress.marks == {}
        await deliver(sink, [EventBatch(events, received_at_ms=0)])
    assert await committed(broker, topic_prefix + "raw_events") == expected_by_key(events)


async def test_an_idle_sink_writes_nothing_but_a_heartbeat(broker, topic_prefix, monkeypatch):
    monkeypatch.setattr(transactional, "HEARTBEAT_S", 0.5)
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix) as sink:
        with trio.move_on_after(1.8):
            await sink.acknowledged()
        found = await trio.to_thread.run_sync(read_committed, broker.bootstrap_servers, topic_prefix + "state")
    owners = [json.loads(message.value()) for messages in found.values() for message in messages]
    assert [owner["commits"] for owner in owners] in ([0, 1, 2], [0, 1, 2, 3])
    assert {owner["generation"] for owner in owners} == {1}


async def test_after_a_reset_what_was_committed_is_acknowledged_and_not_written_again(broker, topic_prefix):
    events = numbered(route_for(topic_prefix), range(1_000))
    batches = in_batches(events)
    progress = CountingProgress()
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix, progress=progress) as sink:
        for batch in batches[:5]:
            await sink.accept(batch)
        await sink._writer.commit()  # committed, and nobody was told
        for batch in batches[5:7]:
            await sink.accept(batch)
        await sink.reset()
        done = await deliver(sink, batches)
        assert [each.batch for each in done] == batches
        assert sink.status().records == {topic_prefix + name: 1_000 for name in ("raw_events", "trades")}
        assert progress.settled == {key.decode(): max(n) for key, n in expected_by_key(events).items()}
    assert await committed(broker, topic_prefix + "raw_events") == expected_by_key(events)
