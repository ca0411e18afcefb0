"""The Kafka of the simulated lives forgets at a death what a real one would, and no more."""

import random

import trio
from memory_kafka import INSTANCE, STATE_EVERY_S, MemoryKafka

from ingest_actors.binance.resume import Place
from ingest_actors.messages import EventBatch, Route

ROUTE = Route("trade", ("raw", "trades"))
PLACE = Place("trade", "BTCUSDT")


class Calm:
    def pass_by(self, where):
        pass


def batch(*numbers):
    events = [(b'{"t":%d,"event_type":"trade"}' % number, b"BTCUSDT", number, ROUTE) for number in numbers]
    return EventBatch(events, received_at_ms=0)


def kafka(*, exactly_once, chance=1.0):
    rng = random.Random(0)
    rng.random = lambda: chance
    rng.randrange = lambda count: count - 1
    return MemoryKafka(rng, exactly_once=exactly_once)


def written(cluster):
    return [event[2] for event, *_ in cluster.entries]


async def test_exactly_once_a_death_loses_the_open_transaction_and_its_state(autojump_clock):
    cluster = kafka(exactly_once=True)
    sink = cluster.open(Calm())
    await sink.accept(batch(1, 2))
    await sink.acknowledged()
    await sink.accept(batch(3))
    sink.die()
    assert written(cluster) == [1, 2]
    assert cluster.resumed().marks[PLACE].last == 2
    cluster.open(Calm())
    assert cluster.begins == [0, 2]


async def test_exactly_once_a_commit_under_way_may_have_come_to_pass(autojump_clock):
    cluster = kafka(exactly_once=True, chance=0.0)
    sink = cluster.open(Calm(), delay_s=1.0)
    await sink.accept(batch(1, 2))
    with trio.move_on_after(0.5):
        await sink.acknowledged()
    await sink.accept(batch(3))
    sink.die()
    assert (written(cluster), cluster.resumed().marks[PLACE].last) == ([1, 2], 2)


async def test_at_least_once_a_death_leaves_the_state_of_the_second_before(autojump_clock):
    cluster = kafka(exactly_once=False)
    sink = cluster.open(Calm())
    for number in (1, 2, 3):
        await sink.accept(batch(number))
        await sink.acknowledged()
        await trio.sleep(0.6 * STATE_EVERY_S)
    await sink.accept(batch(4))
    sink.die()
    assert written(cluster) == [1, 2, 3, 4]
    assert [entry.acknowledged for entry in cluster.entries] == [True, True, True, False]
    assert cluster.resumed().marks[PLACE].last == 2
    cluster.open(Calm())
    assert cluster.begins == [0, 2]


async def test_a_clean_end_leaves_the_whole_state(autojump_clock):
    for exactly_once in (True, False):
        cluster = kafka(exactly_once=exactly_once)
        sink = cluster.open(Calm())
        await sink.accept(batch(1))
        await sink.acknowledged()
        await sink.aclose()
        assert cluster.resumed().marks[PLACE].last == 1
        assert all(key.startswith(INSTANCE.encode()) for key in cluster.state)
