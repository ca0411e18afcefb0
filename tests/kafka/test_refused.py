"""What a broker refuses: only the offending record is left out, all others are written, in order."""

import random

import pytest
import trio
from kafka_support import (
    alter_topic,
    deliver,
    expected_by_key,
    in_batches,
    now_ms,
    numbered,
    numbers_by_key,
    offer,
    read_topic,
    route_for,
    sink_on,
)

from ingest_actors.kafka.limits import Limits

pytestmark = pytest.mark.broker

HOUR_MS = 3_600_000


def blind(sink):
    """Let the sink never learn what the topics take, so that it must find out by halving."""

    class Blind(Limits):
        def refusal(self, position, event):
            return None

    async def know_nothing():
        await trio.lowlevel.checkpoint()
        return Blind({})

    sink._limits = Blind({})
    sink._read_limits_again = know_nothing
    return sink


def refusals(acknowledgements):
    """The numbers of the events that were refused, and why."""
    return {
        int(done.batch.events[refusal.position][0][:9]): refusal.reason
        for done in acknowledgements
        for refusal in done.refused
    }


async def written(broker, topic):
    return numbers_by_key(await trio.to_thread.run_sync(read_topic, broker.bootstrap_servers, topic))


def without(events, *numbers):
    return [event for event in events if int(event[0][:9]) not in numbers]


async def test_an_event_too_large_for_one_topic_goes_to_none(sink, broker, topic_prefix):
    route = route_for(topic_prefix)
    events = numbered(route, range(1_000))
    events[400:401] = numbered(route, [400], size=1_100_000)
    done = await deliver(sink, in_batches(events, 250))
    assert refusals(done) == {400: "too_large"}
    assert f"topic {topic_prefix}raw_events takes 1048588" in done[1].refused[0].detail
    for name in ("raw_events", "trades"):
        assert await written(broker, topic_prefix + name) == expected_by_key(without(events, 400))
    assert sink.status().records == {topic_prefix + "raw_events": 999, topic_prefix + "trades": 999}
    assert sink.status().errors == 0


@pytest.mark.parametrize("size", [1_048_588 - 128 - 7, 1_048_588 - 128 - 6])
async def test_an_event_at_the_limit_is_taken_and_one_byte_more_is_not(sink, broker, topic_prefix, size):
    noise = random.Random(1).randbytes(size - 9)
    events = [(b"%09d" % 0 + noise, b"BTCUSDT", now_ms(), route_for(topic_prefix, "raw_events"))]
    (done,) = await deliver(sink, in_batches(events))
    assert bool(done.refused) == (size > 1_048_588 - 128 - 7)
    assert bool(await written(broker, topic_prefix + "raw_events")) == (not done.refused)


async def test_requests_of_incompressible_records_are_never_too_large_as_a_whole(broker, topic_prefix):
    rng = random.Random(2)
    async with sink_on(broker.bootstrap_servers, topic_prefix) as first:
        await deliver(first, [])
    alter_topic(broker.bootstrap_servers, topic_prefix + "raw_events", max_message_bytes=20_000)
    route = route_for(topic_prefix, "raw_events")
    events = [(b"%09d" % n + rng.randbytes(4_000), b"BTCUSDT", now_ms(), route) for n in range(500)]
    async with sink_on(broker.bootstrap_servers, topic_prefix) as sink:
        assert refusals(await deliver(sink, in_batches(events))) == {}
        assert sink.status().errors == 0
    assert await written(broker, topic_prefix + "raw_events") == expected_by_key(events)


async def test_a_limit_lowered_at_run_time_costs_only_the_records_above_it(sink, broker, topic_prefix):
    route = route_for(topic_prefix)
    await deliver(sink, in_batches(numbered(route, range(10_000, 10_300))))
    alter_topic(broker.bootstrap_servers, topic_prefix + "trades", max_message_bytes=50_000)
    events = numbered(route, range(5_000))
    for number in (2_500, 4_999):
        events[number : number + 1] = [
            (b"%09d" % number + random.Random(number).randbytes(60_000), b"ETHUSDT", now_ms(), route)
        ]
    done = await deliver(sink, in_batches(events))
    assert refusals(done) == {2_500: "too_large", 4_999: "too_large"}
    before = numbered(route, range(10_000, 10_300))
    assert await written(broker, topic_prefix + "trades") == expected_by_key([*before, *without(events, 2_500, 4_999)])
    # The other topic may have taken what was under way when the limit was not known yet; nothing else differs.
    raw = await written(broker, topic_prefix + "raw_events")
    assert {key: [n for n in numbers if n not in (2_500, 4_999)] for key, numbers in raw.items()} == expected_by_key(
        [*before, *without(events, 2_500, 4_999)]
    )
    assert sink.status().reachable


@pytest.mark.parametrize("codec", ["snappy", "none"])
@pytest.mark.parametrize("bad", [[777], [0], [999], [300, 301, 777], list(range(120, 140))])
async def test_only_the_offending_records_are_found_among_a_thousand_in_one_request(broker, topic_prefix, bad, codec):
    async with sink_on(broker.bootstrap_servers, topic_prefix, kafka_compression=codec) as sink:
        await find(sink, bad, broker, topic_prefix)


async def find(sink, bad, broker, topic_prefix):
    route = route_for(topic_prefix, "raw_events", "depth")
    await deliver(blind(sink), in_batches(numbered(route, range(10_000, 10_200))))
    events = numbered(route, range(1_000), key=b"BTCUSDT")
    for number in bad:
        events[number] = (*events[number][:2], now_ms() + 9 * HOUR_MS, route)
    done = await deliver(sink, in_batches(events, 1_000))
    assert refusals(done).keys() == set(bad)
    # Of several offenders in one request librdkafka says only that each is invalid.
    assert set(refusals(done).values()) <= {"timestamp_out_of_range", "invalid_record"}
    for name in ("raw_events", "depth"):
        found = await written(broker, topic_prefix + name)
        assert [n for n in found[b"BTCUSDT"] if n < 10_000] == [n for n in range(1_000) if n not in bad]


async def test_requests_that_are_too_large_as_a_whole_are_cut_until_they_fit(sink, broker, topic_prefix):
    route = route_for(topic_prefix, "raw_events")
    await deliver(blind(sink), in_batches(numbered(route, range(10_000, 10_300))))
    alter_topic(broker.bootstrap_servers, topic_prefix + "raw_events", max_message_bytes=20_000)
    rng = random.Random(4)
    events = [(b"%09d" % n + rng.randbytes(4_000), b"BTCUSDT", now_ms(), route) for n in range(150)]
    events[70] = (b"%09d" % 70 + rng.randbytes(30_000), b"BTCUSDT", now_ms(), route)
    assert refusals(await deliver(sink, in_batches(events, 150))) == {70: "too_large"}
    found = (await written(broker, topic_prefix + "raw_events"))[b"BTCUSDT"]
    assert [n for n in found if n < 10_000] == [n for n in range(150) if n != 70]


async def test_what_librdkafka_itself_does_not_take_is_refused_too(sink, broker, topic_prefix):
    route = route_for(topic_prefix)
    events = numbered(route, range(50))
    events[20:21] = numbered(route, [20], size=9_000_000)
    assert refusals(await deliver(blind(sink), in_batches(events))) == {20: "too_large"}
    for name in ("raw_events", "trades"):
        assert await written(broker, topic_prefix + name) == expected_by_key(without(events, 20))


async def test_a_stream_goes_on_in_order_through_many_refusals(sink, broker, topic_prefix):
    route = route_for(topic_prefix)
    await deliver(blind(sink), in_batches(numbered(route, range(100_000, 100_300))))
    events = numbered(route, range(20_000))
    bad = set(random.Random(3).sample(range(20_000), 5))
    for number in bad:
        events[number] = (*events[number][:2], now_ms() + 9 * HOUR_MS, route)
    done = await deliver(sink, in_batches(events))
    assert refusals(done).keys() == set(bad)
    # Of several offenders in one request librdkafka says only that each is invalid.
    assert set(refusals(done).values()) <= {"timestamp_out_of_range", "invalid_record"}
    for name in ("raw_events", "trades"):
        found = await written(broker, topic_prefix + name)
        assert {key: [n for n in numbers if n < 100_000] for key, numbers in found.items()} == expected_by_key(
            without(events, *bad)
        )
    assert sink.status().errors >= 1


async def test_a_record_without_a_key_in_a_compacted_topic_is_found(sink, broker, topic_prefix):
    route = route_for(topic_prefix, "state")
    await deliver(sink, in_batches(numbered(route, range(10_000, 10_100))))
    events = numbered(route, range(1_000), key=b"a")
    # It lands in a partition of librdkafka's choice, together with others or not.
    events[500] = (events[500][0], None, events[500][2], route)
    done = await deliver(sink, in_batches(events, 1_000))
    assert refusals(done) == {500: "invalid_record"}
    assert [n for n in (await written(broker, topic_prefix + "state"))[b"a"] if n < 10_000] == [
        n for n in range(1_000) if n != 500
    ]


async def test_recovery_goes_on_where_it_was_interrupted(sink, broker, topic_prefix):
    route = route_for(topic_prefix)
    await deliver(blind(sink), in_batches(numbered(route, range(10_000, 10_300))))
    events = numbered(route, range(3_000))
    events[1_500] = (*events[1_500][:2], now_ms() + 9 * HOUR_MS, route)
    batches = in_batches(events)
    done = []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(offer, sink, batches)
            while len(done) < len(batches):
                with trio.move_on_after(0.004):
                    done.append(await sink.acknowledged())
    assert [each.batch for each in done] == batches
    assert refusals(done) == {1_500: "timestamp_out_of_range"}
    for name in ("raw_events", "trades"):
        found = await written(broker, topic_prefix + name)
        assert {key: [n for n in numbers if n < 10_000] for key, numbers in found.items()} == expected_by_key(
            without(events, 1_500)
        )
