"""Two writers of one name, and a writer that is fenced by nobody: on a real broker."""

import json

import pytest
import trio
from confluent_kafka import KafkaError
from exactly_once import CountingProgress, exactly_once_on, read_committed
from kafka_support import (
    deliver,
    expected_by_key,
    in_batches,
    numbered,
    numbers_by_key,
    offer,
    route_for,
    settle,
    until,
)

from ingest_actors.errors import SecondWriter, SinkBroken
from ingest_actors.kafka.transaction import Fate, Outcome

pytestmark = pytest.mark.broker


async def committed(broker, topic):
    return numbers_by_key(await trio.to_thread.run_sync(read_committed, broker.bootstrap_servers, topic))


async def owners(broker, prefix):
    found = await trio.to_thread.run_sync(read_committed, broker.bootstrap_servers, prefix + "state")
    return [
        json.loads(message.value())
        for messages in found.values()
        for message in messages
        if message.key() == b"binance-ingest/owner"
    ]


async def test_the_writer_that_was_started_later_goes_on_and_the_other_stops(broker, topic_prefix):
    route = route_for(topic_prefix)
    events = numbered(route, range(1_000))
    servers = broker.bootstrap_servers
    async with exactly_once_on(servers, topic_prefix) as older:
        await deliver(older, in_batches(events[:400]))
        await offer(older, in_batches(numbered(route, range(9_000, 9_100))))  # never committed
        progress = CountingProgress()
        async with exactly_once_on(servers, topic_prefix, progress=progress) as newer:
            assert progress.marks == {key.decode(): max(n) for key, n in expected_by_key(events[:400]).items()}
            await deliver(newer, in_batches(events[400:600]))
            with trio.fail_after(20), pytest.raises(SecondWriter) as caught:
                await older.acknowledged()
            assert caught.value.exit_code == 76
            with pytest.raises(SecondWriter):
                await older.accept(in_batches(events)[0])
            await deliver(newer, in_batches(events[600:]))
    assert await committed(broker, topic_prefix + "raw_events") == expected_by_key(events)
    assert {owner["generation"] for owner in await owners(broker, topic_prefix)} == {1, 2}


async def test_an_idle_writer_notices_too(broker, topic_prefix, monkeypatch):
    monkeypatch.setattr("ingest_actors.kafka.transactional.HEARTBEAT_S", 1.0)
    servers = broker.bootstrap_servers
    async with exactly_once_on(servers, topic_prefix) as older, exactly_once_on(servers, topic_prefix):
        with trio.fail_after(20), pytest.raises(SecondWriter):
            await older.acknowledged()


async def test_writers_that_are_fenced_in_the_middle_of_things_leave_a_whole_record(broker, topic_prefix, monkeypatch):
    monkeypatch.setattr("ingest_actors.kafka.transactional.HEARTBEAT_S", 1.0)
    route = route_for(topic_prefix)
    done = []
    stopped = []

    async def write(sink, numbers, generation):
        try:
            for batch in in_batches(numbered(route, numbers), 20):
                await sink.accept(batch)
                done.extend((await sink.acknowledged()).batch.events)
            await sink.acknowledged()
        except SecondWriter:
            stopped.append(generation)

    async with trio.open_nursery() as nursery:
        for generation in range(1, 5):
            sink = await nursery.start(life, broker.bootstrap_servers, topic_prefix)
            nursery.start_soon(write, sink, range(generation * 10_000, generation * 10_000 + 400), generation)
            await trio.sleep(0.6)
        await until(lambda: len(stopped) == 3 and numbers(done)[-400:] == list(range(40_000, 40_400)), within_s=60)
        nursery.cancel_scope.cancel()
    assert stopped == [1, 2, 3]
    assert await committed(broker, topic_prefix + "raw_events") == expected_by_key(done)


def numbers(events):
    return [int(event[0][:9]) for event in events]


async def life(servers, prefix, *, task_status):
    async with exactly_once_on(servers, prefix) as sink:
        task_status.started(sink)
        await trio.sleep_forever()


async def test_a_transaction_that_outlives_its_timeout_is_written_again_and_nothing_is_doubled(broker, topic_prefix):
    events = numbered(route_for(topic_prefix), range(1_000))
    progress = CountingProgress()
    async with exactly_once_on(
        broker.bootstrap_servers,
        topic_prefix,
        progress=progress,
        transaction_timeout_ms=1_000,
        kafka_commit_interval_ms=50,
    ) as sink:
        await deliver(sink, in_batches(events[:300]))
        await offer(sink, in_batches(events[300:600]))
        await trio.sleep(13)  # nobody commits; the broker looks every 10 s, and gives up
        assert [len(each.batch) for each in await settle(sink, 3)] == [100] * 3
        await deliver(sink, in_batches(events[600:]))
        assert progress.settled == {key.decode(): max(n) for key, n in expected_by_key(events).items()}
        assert sink.status().errors > 0
    assert await committed(broker, topic_prefix + "raw_events") == expected_by_key(events)
    assert {owner["generation"] for owner in await owners(broker, topic_prefix)} == {1}


@pytest.mark.parametrize("counted", [True, False], ids=["committed", "not committed"])
async def test_a_commit_that_was_never_answered_is_read_back_and_not_guessed(broker, topic_prefix, counted):
    events = numbered(route_for(topic_prefix), range(900))
    progress = CountingProgress()
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix, progress=progress) as sink:
        await deliver(sink, in_batches(events[:300]))
        handle = sink._writer._attempt.handle
        commit = handle.commit

        async def commit_in_silence():
            while counted and (await commit()).error is not None:
                pass
            return Outcome(Fate.FENCED, KafkaError(KafkaError._FENCED, "the answer is lost"))

        handle.commit = commit_in_silence
        await offer(sink, in_batches(events[300:600]))
        with trio.fail_after(30):
            assert [done.batch.events for done in await settle(sink, 3)] == [
                events[begin : begin + 100] for begin in (300, 400, 500)
            ]
        await deliver(sink, in_batches(events[600:]))
        assert progress.settled == {key.decode(): max(n) for key, n in expected_by_key(events).items()}
    assert await committed(broker, topic_prefix + "raw_events") == expected_by_key(events)


async def test_a_sink_that_broke_with_a_commit_unanswered_doubles_nothing_after_its_reset(broker, topic_prefix):
    events = numbered(route_for(topic_prefix), range(600))
    batches = in_batches(events)
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix) as sink:
        handle = sink._writer._attempt.handle
        commit = handle.commit

        async def commit_and_break():
            while (await commit()).error is not None:
                pass
            return Outcome(Fate.BROKEN, KafkaError(KafkaError._FATAL, "broken by the test"))

        handle.commit = commit_and_break
        await offer(sink, batches[:3])
        with trio.fail_after(30), pytest.raises(SinkBroken, match="broken by the test"):
            await sink.acknowledged()
        await sink.reset()
        assert [done.batch for done in await deliver(sink, batches)] == batches
    assert await committed(broker, topic_prefix + "raw_events") == expected_by_key(events)
