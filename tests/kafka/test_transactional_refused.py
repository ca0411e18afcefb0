"""What a broker refuses inside a transaction: that event is left out, and its dead letter committed with the rest."""

import pytest
import trio
from exactly_once import CountingProgress, exactly_once_on, letter_of, read_committed
from kafka_support import alter_topic, deliver, expected_by_key, in_batches, now_ms, numbered, numbers_by_key, route_for

from ingest_actors.errors import SinkBroken, SinkUnreachable
from ingest_actors.kafka.limits import Limits
from ingest_actors.messages import EventBatch

pytestmark = pytest.mark.broker

HOUR_MS = 3_600_000


def blind(sink):
    """Let the sink never learn what the topics take, so that it must find out by trials."""

    class Blind(Limits):
        def refusal(self, position, event):
            return None

    async def know_nothing():
        await trio.lowlevel.checkpoint()
        return Blind({})

    sink._writer.inquest.limits = Blind({})
    sink._writer.inquest._read_limits = know_nothing
    return sink


def refusals(acknowledgements):
    return {
        int(done.batch.events[refusal.position][0][:9]): refusal.reason
        for done in acknowledgements
        for refusal in done.refused
    }


def letters(acknowledgements):
    return sorted(int(event[0][:9]) for done in acknowledgements if done.letters for event in done.letters.events)


async def committed(broker, topic):
    return numbers_by_key(await trio.to_thread.run_sync(read_committed, broker.bootstrap_servers, topic))


def without(events, *numbers):
    return [event for event in events if int(event[0][:9]) not in numbers]


def only(events, *numbers):
    return [event for event in events if int(event[0][:9]) in numbers]


async def see_the_whole_record(broker, prefix, events, *refused):
    for name in ("raw_events", "trades"):
        assert await committed(broker, prefix + name) == expected_by_key(without(events, *refused))
    assert await committed(broker, prefix + "dead_letters") == expected_by_key(only(events, *refused))


async def test_what_is_known_to_be_refused_costs_no_transaction(broker, topic_prefix):
    events = numbered(route_for(topic_prefix), range(600))
    events[333:334] = numbered(route_for(topic_prefix), [333], size=1_100_000)
    progress = CountingProgress()
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix, progress=progress) as sink:
        done = await deliver(sink, in_batches(events))
        assert refusals(done) == {333: "too_large"}
        assert letters(done) == [333]
        assert sink.status().errors == 0
        assert sink.status().records == {
            topic_prefix + "raw_events": 599,
            topic_prefix + "trades": 599,
            topic_prefix + "dead_letters": 1,
        }
        assert progress.settled == {key.decode(): max(n) for key, n in expected_by_key(events).items()}
    await see_the_whole_record(broker, topic_prefix, events, 333)


async def test_records_with_a_wrong_time_are_found_by_trials_and_everything_else_is_committed_in_order(
    broker, topic_prefix
):
    route = route_for(topic_prefix)
    events = numbered(route, range(2_000))
    for n in (5, 777, 778, 1_999):
        events[n : n + 1] = numbered(route, [n], timestamp_ms=now_ms() + 3 * HOUR_MS)

    async with exactly_once_on(broker.bootstrap_servers, topic_prefix) as sink:
        plain = sink._letter
        sink._letter = lambda event, reason, detail: in_time(plain(event, reason, detail))
        done = await deliver(blind(sink), in_batches(events))
        assert sorted(refusals(done)) == [5, 777, 778, 1_999]
        assert set(refusals(done).values()) <= {"timestamp_out_of_range", "invalid_record"}  # as the broker says
        assert letters(done) == [5, 777, 778, 1_999]
    await see_the_whole_record(broker, topic_prefix, events, 5, 777, 778, 1_999)


def in_time(event):
    value, key, _, route = event
    return value, key, now_ms(), route


async def test_a_dead_letter_that_is_refused_is_made_simpler_once(broker, topic_prefix):
    route = route_for(topic_prefix)
    events = numbered(route, range(300))
    events[42:43] = numbered(route, [42], timestamp_ms=now_ms() + 3 * HOUR_MS)
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix) as sink:
        done = await deliver(blind(sink), in_batches(events))
        assert letters(done) == [42]
        assert all(abs(event[2] - now_ms()) < HOUR_MS for each in done if each.letters for event in each.letters.events)
    await see_the_whole_record(broker, topic_prefix, events, 42)


async def test_records_too_large_where_the_broker_names_no_offender(broker, topic_prefix):
    route = route_for(topic_prefix)
    events = numbered(route, range(900))
    for n in (100, 101, 640):
        events[n : n + 1] = numbered(route, [n], size=4_000)
    async with exactly_once_on(
        broker.bootstrap_servers, topic_prefix, kafka_compression="none", kafka_producer_options={"batch_size": "1500"}
    ) as sink:
        alter_topic(broker.bootstrap_servers, topic_prefix + "trades", max_message_bytes=2_000)
        done = await deliver(blind(sink), in_batches(events))
        assert refusals(done) == dict.fromkeys((100, 101, 640), "too_large")
    await see_the_whole_record(broker, topic_prefix, events, 100, 101, 640)


async def test_a_topic_that_takes_less_than_it_did_is_asked_again(broker, topic_prefix):
    route = route_for(topic_prefix)
    events = numbered(route, range(3_000), size=300)
    events[1_500:1_501] = numbered(route, [1_500], size=30_000)
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix, kafka_compression="none") as sink:
        alter_topic(broker.bootstrap_servers, topic_prefix + "raw_events", max_message_bytes=10_000)
        done = await deliver(sink, in_batches(events))
        assert refusals(done) == {1_500: "too_large"}
    await see_the_whole_record(broker, topic_prefix, events, 1_500)


async def test_a_dead_letter_that_nothing_takes_ends_it(broker, topic_prefix):
    events = numbered(route_for(topic_prefix), range(100))
    events[7:8] = numbered(route_for(topic_prefix), [7], size=1_100_000)
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix) as sink:
        plain = letter_of(topic_prefix)
        sink._letter = lambda event, reason, detail: (b"x" * 9_000_000, *plain(event, reason, detail)[1:])
        with pytest.raises(SinkUnreachable, match="refuses a dead letter"):
            await sink.accept(EventBatch(events, received_at_ms=0))
    assert await committed(broker, topic_prefix + "raw_events") == {}


async def test_a_state_that_is_refused_breaks_the_sink_and_commits_nothing(broker, topic_prefix):
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix) as sink:
        await deliver(sink, in_batches(numbered(route_for(topic_prefix), range(100))))
        alter_topic(
            broker.bootstrap_servers, topic_prefix + "state", max_message_bytes=120
        )  # room for the marker of a transaction
        with pytest.raises(SinkBroken, match="state"):
            await deliver_one(sink, in_batches(numbered(route_for(topic_prefix), range(100, 200)))[0])
        alter_topic(broker.bootstrap_servers, topic_prefix + "state", max_message_bytes=1_000_000)
        await sink.reset()
        await deliver(sink, in_batches(numbered(route_for(topic_prefix), range(100, 200))))
    found = await committed(broker, topic_prefix + "raw_events")
    assert found == expected_by_key(numbered(route_for(topic_prefix), range(200)))


async def deliver_one(sink, batch):
    await sink.accept(batch)
    with trio.fail_after(30):
        await sink.acknowledged()
