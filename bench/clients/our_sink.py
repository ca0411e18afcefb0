"""Our sink alone: the same records from memory, in batches as the producer offers them, each acknowledged.

The sink that `run` opens, with limits, health and accounting, and trio's loop around it; no resume state, no socket, no
parsing. Settings by environment. Runs until SIGTERM.
"""

from __future__ import annotations

import signal

import trio
from memory import begin, make_records, tell_what_there_is

from ingest_actors.kafka.librdkafka import LibrdkafkaSink
from ingest_actors.kafka.opening import open_sink
from ingest_actors.messages import EventBatch, Route
from ingest_actors.settings import Settings


def make_batches(settings: Settings) -> list[EventBatch]:
    records = make_records()
    tell_what_there_is(records)
    raw = settings.kafka_topic_raw_events
    routes = {
        True: Route("aggregate_trade", (raw, settings.kafka_topic_trades)),
        False: Route("depth_update", (raw, settings.kafka_topic_depth)),
    }
    events = [(value, key, at_ms, routes[is_trade]) for value, key, at_ms, is_trade in records]
    size = settings.batch_size
    return [EventBatch(events[at : at + size], received_at_ms=events[at][2]) for at in range(0, len(events), size)]


async def offer(sink: LibrdkafkaSink, batches: list[EventBatch]) -> None:
    for batch in batches:
        await sink.accept(batch)


async def settle(sink: LibrdkafkaSink) -> None:
    while True:
        await sink.acknowledged()


async def main() -> None:
    settings = Settings.from_env()
    batches = make_batches(settings)
    sink = await open_sink(settings)
    assert isinstance(sink, LibrdkafkaSink)
    begin()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(settle, sink)
        nursery.start_soon(offer, sink, batches)
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()
    await sink.aclose()


if __name__ == "__main__":
    trio.run(main)
