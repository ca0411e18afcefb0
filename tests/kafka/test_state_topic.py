"""Reading the state topic, on a real broker: all of it, decided, and only what is ours."""

import time
from contextlib import aclosing

import pytest
import trio
from confluent_kafka import Producer
from exactly_once import CountingProgress, exactly_once_on
from kafka_support import deliver, in_batches, numbered, route_for, settings_for

from ingest_actors.binance.marks import Mark, encode_mark
from ingest_actors.binance.resume import ResumeState
from ingest_actors.errors import JournalTooNew, StateUnreadable
from ingest_actors.kafka.owner import Owner, encode
from ingest_actors.kafka.reader import open_reader
from ingest_actors.kafka.state_topic import read_owner, read_state
from ingest_actors.kafka.topics import ensure_topics

pytestmark = pytest.mark.broker


def owner(generation=1, *, at=1_000, token="t", commits=0):
    return Owner(token, generation, started=generation, at=at, commits=commits)


@pytest.fixture
async def settings(broker, topic_prefix):
    chosen = settings_for(broker.bootstrap_servers, topic_prefix, instance_name="one")
    await ensure_topics(chosen)
    return chosen


def write(settings, records, *, transaction=None, end="commit_transaction"):
    options = {"bootstrap.servers": settings.kafka_bootstrap_servers, "log_level": 0}
    producer = Producer(options | ({"transactional.id": transaction} if transaction else {}))
    if transaction:
        producer.init_transactions(30)
        producer.begin_transaction()
    for key, value in records:
        producer.produce(settings.kafka_topic_state, value, key)
    producer.flush(30)
    if transaction and end:
        getattr(producer, end)(30)
    return producer


async def test_nothing_is_there_at_first(settings):
    read = await read_state(settings, ResumeState("one"))
    assert (read.seen.owner, read.seen.at, read.records, read.keys) == (None, None, 0, 0)
    assert (await read_owner(settings)).owner is None


async def test_the_last_record_of_each_key_holds_and_others_are_passed_over(settings):
    marks = [Mark(number, number) for number in range(300)]
    write(settings, [(b"one/series/trade/S%d" % (mark.last % 50), encode_mark(mark)) for mark in marks])
    write(
        settings,
        [
            (b"two/series/trade/S1", b"not ours"),
            (b"one-more/owner", b"neither"),
            (b"one/spool", b'{"v":1,"drained":7}'),
        ],
    )
    write(settings, [(b"one/series/trade/S3", None)])
    state = ResumeState("one")
    read = await read_state(settings, state)
    assert (read.records, read.keys) == (304, 51)
    assert {mark.last for mark in state.marks.values()} == set(range(250, 300)) - {253}
    assert state.spooled == 7


async def test_of_a_key_in_two_partitions_what_was_written_last_holds(settings):
    """As in a topic that was given more partitions: the key's old place keeps what was the last there for ever."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "log_level": 0})
    for partition, newer in ((0, b"S"), (1, b"T")):
        for symbol in (b"S", b"T"):
            last = 2 if symbol == newer else 1
            producer.produce(
                settings.kafka_topic_state, encode_mark(Mark(last, last)), b"one/series/trade/" + symbol, partition,
                None, None, 1_000_000 + last,
            )  # fmt: skip
    producer.flush(30)
    state = ResumeState("one")
    read = await read_state(settings, state)
    assert (read.records, read.keys) == (4, 2)
    assert {place.symbol: mark.last for place, mark in state.marks.items()} == {"S": 2, "T": 2}


async def test_what_was_aborted_counts_for_nothing(settings):
    write(settings, [(b"one/owner", encode(owner(5)))], transaction="a", end="abort_transaction")
    write(settings, [(b"one/owner", encode(owner(2, commits=3)))], transaction="b")
    read = await read_state(settings, ResumeState("one"))
    assert (read.seen.owner.generation, read.records) == (2, 1)


@pytest.mark.parametrize(("end", "generation"), [("commit_transaction", 2), ("abort_transaction", 1)])
async def test_what_is_not_decided_yet_is_waited_for_unless_it_need_not_be(settings, end, generation):
    write(settings, [(b"one/owner", encode(owner(1)))])
    producer = write(settings, [(b"one/owner", encode(owner(2)))], transaction="open", end=None)
    assert (await read_owner(settings, decided=True)).owner.generation == 1

    async def decide():
        await trio.sleep(1.5)
        await trio.to_thread.run_sync(getattr(producer, end), 30)

    began = time.monotonic()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(decide)
        assert (await read_owner(settings)).owner.generation == generation
        assert time.monotonic() - began > 1.4


async def test_of_several_owners_the_one_that_was_started_last_counts_and_the_last_word_of_anybody(settings):
    older, newer = owner(1, token="a", at=9_000), owner(2, token="b", at=5_000)
    write(settings, [(b"one/owner", encode(each)) for each in (newer, older)])
    seen = await read_owner(settings)
    assert (seen.owner, seen.at) == (newer, 9_000)
    assert (await read_state(settings, None, own="b")).seen.owner == older


async def test_the_owner_is_found_behind_very_many_records_of_others(settings, monkeypatch):
    monkeypatch.setattr("ingest_actors.kafka.state_topic.LAST_OFFSETS", 50)
    write(settings, [(b"one/owner", encode(owner(4)))])
    write(settings, [(b"two/series/trade/S%d" % number, b"{}") for number in range(2_000)])
    assert (await read_owner(settings)).owner.generation == 4


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        (b"one/owner", b'{"v":2}', JournalTooNew),
        (b"one/owner", b"rubbish", StateUnreadable),
        (b"one/series/trade/BTCUSDT", b'{"v":99}', JournalTooNew),
        (b"one/series/trade/BTCUSDT", b"[]", StateUnreadable),
    ],
)
async def test_what_no_release_up_to_this_one_writes_is_refused_by_name(settings, key, value, error):
    write(settings, [(key, value)])
    with pytest.raises(error, match=key.decode()):
        await read_state(settings, ResumeState("one"))


async def test_whoever_reads_topics_sees_committed_records_alone(broker, topic_prefix):
    events = numbered(route_for(topic_prefix), range(200))
    chosen = settings_for(broker.bootstrap_servers, topic_prefix)
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix, kafka_commit_interval_ms=200) as sink:
        await deliver(sink, in_batches(events))
        await sink.accept(in_batches(numbered(route_for(topic_prefix), range(900, 950)))[0])
        await trio.sleep(0.3)  # it is at the broker, and nobody commits
        async with open_reader(chosen) as reader:
            topic = topic_prefix + "raw_events"
            seen = []
            async with aclosing(reader.read(topic, await trio.to_thread.run_sync(reader.parts, topic))) as batches:
                async for batch in batches:
                    seen += [int(message.value()[:9]) for messages in batch.values() for message in messages]
    assert sorted(seen) == list(range(200))
    assert CountingProgress().marks == {}
