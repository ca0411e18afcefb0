"""What the tests of transactions share: a state that shows what it was told, and readers of committed records."""

from contextlib import asynccontextmanager

import msgspec
import trio
from confluent_kafka import Consumer, TopicPartition
from kafka_support import settings_for

from ingest_actors.kafka.opening import open_sink
from ingest_actors.messages import Route


class CountingProgress:
    """Keeps the highest number written of each key; fits `Progress`."""

    def __init__(self, instance="binance-ingest"):
        self.prefix = f"{instance}/series/count/"
        self.settled = {}
        self.marks = {}
        self.applied = []

    def load(self, key, value):
        name = key.decode()
        if not name.startswith(self.prefix):
            return False
        self.settled[name.removeprefix(self.prefix)] = msgspec.json.decode(value)
        self.marks = dict(self.settled)
        return True

    def begin(self, batch):
        fresh = {}
        for value, key, _, _ in batch.events:
            name = (key or b"-").decode()
            if name not in self.marks:
                fresh.setdefault(name, int(value[:9]) - 1)
        self.marks.update(fresh)
        return [((self.prefix + name).encode(), msgspec.json.encode(number)) for name, number in fresh.items()]

    def apply(self, batch):
        self.applied.append(batch)
        for value, key, _, _ in batch.events:
            name = (key or b"-").decode()
            self.marks[name] = max(self.marks.get(name, -1), int(value[:9]))

    def change(self):
        return Change({name: n for name, n in self.marks.items() if self.settled.get(name) != n}, self.prefix)

    def settle(self, change):
        self.settled.update(change.marks)

    def roll_back(self):
        self.marks = dict(self.settled)


class Change:
    def __init__(self, marks, prefix):
        self.marks = marks
        self.records = [((prefix + name).encode(), msgspec.json.encode(n)) for name, n in marks.items()]


def letter_of(prefix):
    """Makes dead letters as plain as can be."""

    def letter(event, reason, detail):
        value, key, stamp, route = event
        topics = (prefix + "dead_letters",)
        return (
            value[:200],
            key,
            stamp,
            Route(route.event_type, topics, headers=(("reason", reason.encode()),), dead_letter=True),
        )

    return letter


@asynccontextmanager
async def at_least_once_on(servers, prefix, *, progress=None, **settings):
    sink = await open_sink(
        settings_for(servers, prefix, **settings), progress=progress or CountingProgress(), letter=letter_of(prefix)
    )
    try:
        yield sink
    finally:
        with trio.CancelScope(shield=True):
            await sink.aclose()


@asynccontextmanager
async def exactly_once_on(
    servers, prefix, *, progress=None, queue_bytes=None, transaction_timeout_ms=60_000, **settings
):
    sink = await open_sink(
        settings_for(servers, prefix, kafka_delivery="exactly_once", **settings),
        queue_bytes=queue_bytes,
        progress=progress or CountingProgress(),
        letter=letter_of(prefix),
        transaction_timeout_ms=transaction_timeout_ms,
    )
    try:
        yield sink
    finally:
        with trio.CancelScope(shield=True):
            await sink.aclose()


def read_committed(servers, topic, *, partitions=3, level="read_committed"):
    """What a reader of committed records sees of a topic now, by partition; up to what is decided."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "reader",
            "enable.auto.commit": False,
            "isolation.level": level,
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, n, 0) for n in range(partitions)])
        found = {n: [] for n in range(partitions)}
        left = set(found)
        while left:
            for message in consumer.consume(10_000, 0.2):
                if message.error() is not None:
                    left.discard(message.partition())
                else:
                    found[message.partition()].append(message)
        return found
    finally:
        consumer.close()
