"""The resume state of a sink without transactions, on a real broker."""

import json

import pytest
import trio
from exactly_once import CountingProgress, at_least_once_on, read_committed
from kafka_support import (
    deliver,
    expected_by_key,
    in_batches,
    make_topic,
    numbered,
    numbers_by_key,
    read_topic,
    route_for,
    until,
)

from ingest_actors.errors import SecondWriter

pytestmark = pytest.mark.broker


async def committed(broker, topic, **options):
    return await trio.to_thread.run_sync(lambda: read_committed(broker.bootstrap_servers, topic, **options))


async def keep_waiting(sink):
    """What the producer does while nothing comes."""
    await sink.acknowledged()


async def test_a_clean_stop_leaves_the_state_of_everything_that_was_acknowledged(broker, topic_prefix):
    events = numbered(route_for(topic_prefix), range(1_000))
    first = CountingProgress()
    async with at_least_once_on(broker.bootstrap_servers, topic_prefix, progress=first) as sink:
        assert sink.away_s is None
        await deliver(sink, in_batches(events))
        assert [len(batch) for batch in first.applied] == [100] * 10
    second = CountingProgress()
    async with at_least_once_on(broker.bootstrap_servers, topic_prefix, progress=second) as sink:
        assert second.marks == {key.decode(): max(numbers) for key, numbers in expected_by_key(events).items()}
        assert 0 <= sink.away_s < 5
        assert sink.status().records == {}


async def test_the_state_is_written_while_events_flow(broker, topic_prefix, nursery):
    progress = CountingProgress()
    async with at_least_once_on(broker.bootstrap_servers, topic_prefix, progress=progress) as sink:
        await deliver(sink, in_batches(numbered(route_for(topic_prefix), range(500))))
        nursery.start_soon(keep_waiting, sink)
        await until(lambda: progress.settled == progress.marks, within_s=10)
        found = await committed(broker, topic_prefix + "state")
        keys = {message.key().decode() for messages in found.values() for message in messages}
        assert keys == {"binance-ingest/owner", *(f"binance-ingest/series/count/{key}" for key in progress.marks)}
        nursery.cancel_scope.cancel()


async def test_where_a_series_begins_is_known_before_its_first_event(broker, topic_prefix):
    events = numbered(route_for(topic_prefix), range(40, 50))
    async with at_least_once_on(broker.bootstrap_servers, topic_prefix) as sink:
        await sink.accept(in_batches(events)[0])
        found = await committed(broker, topic_prefix + "state")
        begun = {
            message.key().decode().rpartition("/")[2]: int(message.value())
            for messages in found.values()
            for message in messages
            if b"/series/" in message.key()
        }
        assert begun == {key.decode(): min(numbers) - 1 for key, numbers in expected_by_key(events).items()}


async def test_a_state_that_cannot_be_written_holds_up_nothing(broker, topic_prefix, capfd):
    # A compacted topic that takes no record of more than a few bytes.
    make_topic(
        broker.bootstrap_servers,
        topic_prefix + "state",
        num_partitions=3,
        replication_factor=1,
        config={"cleanup.policy": "compact", "max.message.bytes": "20"},
    )
    progress = CountingProgress()
    events = numbered(route_for(topic_prefix), range(2_000))
    async with at_least_once_on(broker.bootstrap_servers, topic_prefix, progress=progress) as sink:
        await deliver(sink, in_batches(events))
        assert progress.settled == {}
        assert sink.status().errors == 0
    found = await trio.to_thread.run_sync(read_topic, broker.bootstrap_servers, topic_prefix + "raw_events")
    assert numbers_by_key(found) == expected_by_key(events)


async def test_the_older_of_two_writers_notices_the_newer_one_and_stops(broker, topic_prefix):
    async with at_least_once_on(broker.bootstrap_servers, topic_prefix) as older:
        await deliver(older, in_batches(numbered(route_for(topic_prefix), range(100))))
        async with at_least_once_on(broker.bootstrap_servers, topic_prefix) as newer, trio.open_nursery() as nursery:
            nursery.start_soon(keep_waiting, newer)
            with trio.fail_after(15), pytest.raises(SecondWriter) as caught:
                await older.acknowledged()
            assert caught.value.exit_code == 76
            assert "generation 2" in str(caught.value)
            await older.aclose()
            await trio.sleep(3)  # the newer one goes on, and the older one left no word behind its back
            nursery.cancel_scope.cancel()
        found = await committed(broker, topic_prefix + "state")
        owners = [
            json.loads(message.value())
            for messages in found.values()
            for message in messages
            if message.key() == b"binance-ingest/owner"
        ]
        assert owners[-1]["generation"] == 2


async def test_who_has_only_come_and_writes_nothing_yet_is_noticed_too(broker, topic_prefix):
    async with at_least_once_on(broker.bootstrap_servers, topic_prefix) as older:
        await deliver(older, in_batches(numbered(route_for(topic_prefix), range(100))))
        async with at_least_once_on(broker.bootstrap_servers, topic_prefix):
            with trio.fail_after(15), pytest.raises(SecondWriter):
                await older.acknowledged()


async def test_an_event_that_is_refused_is_dealt_with_once_its_dead_letter_is_written(broker, topic_prefix):
    route = route_for(topic_prefix)
    events = numbered(route, range(300))
    events[150:151] = numbered(route, [150], size=1_100_000)
    progress = CountingProgress()
    async with at_least_once_on(broker.bootstrap_servers, topic_prefix, progress=progress) as sink:
        done = await deliver(sink, in_batches(events))
        assert [[refusal.reason for refusal in each.refused] for each in done] == [[], ["too_large"], []]
        assert [each.letters and len(each.letters) for each in done] == [None, 1, None]
        letters = await committed(broker, topic_prefix + "dead_letters")
        assert [message.value()[:9] for messages in letters.values() for message in messages] == [b"000000150"]
        assert sink.status().records[topic_prefix + "dead_letters"] == 1
