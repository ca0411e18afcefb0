"""What people write first: trio-websocket, three tasks, memory channels, one message at a time.

One `get_message` at a time, `json.loads`, `json.dumps`, one `produce` a topic. It does the same work as the service:
the same topics, keys, timestamps, partitioner, acks, compression and idempotence, and an account of every record.
Settings by environment, as the service's. Runs until SIGTERM, then flushes and prints its account.
"""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import trio
import trio_websocket
from common import DEPTH, EVENT_TYPES, RAW, SUBSCRIBE, TRADES, URL, Account, make_producer
from confluent_kafka import Producer


async def connection(frames: trio.MemorySendChannel[str]) -> None:
    async with frames, trio_websocket.open_websocket_url(URL + "/stream") as websocket:
        await websocket.send_message(SUBSCRIBE)
        while True:
            await frames.send(await websocket.get_message())


async def parser(frames: trio.MemoryReceiveChannel[str], events: trio.MemorySendChannel[dict[str, Any]]) -> None:
    async with events:
        async for frame in frames:
            envelope = json.loads(frame)
            if "data" not in envelope:
                continue
            event = envelope["data"]
            event["ingestion_timestamp"] = time.time_ns() // 1_000_000
            event["source"] = "binance_websocket"
            event["event_type"] = EVENT_TYPES[event["e"]]
            await events.send(event)


async def producer(events: trio.MemoryReceiveChannel[dict[str, Any]], kafka: Producer) -> None:
    produced = 0
    async for event in events:
        value = json.dumps(event).encode()
        for topic in (RAW, TRADES if event["e"] == "aggTrade" else DEPTH):
            while True:
                try:
                    kafka.produce(topic, value, event["s"], timestamp=event["E"])
                    break
                except BufferError:
                    kafka.poll(0.01)
        produced += 1
        if produced % 100 == 0:
            kafka.poll(0)


async def poll(kafka: Producer) -> None:
    """Delivery reports, also when nothing comes in any more."""
    while True:
        await trio.sleep(0.1)
        kafka.poll(0)


async def main() -> None:
    account = Account()
    kafka = make_producer(account)
    to_parser, frames = trio.open_memory_channel[str](1000)
    to_producer, events = trio.open_memory_channel[dict[str, Any]](1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection, to_parser)
        nursery.start_soon(parser, frames, to_producer)
        nursery.start_soon(producer, events, kafka)
        nursery.start_soon(poll, kafka)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()
    kafka.flush()
    account.tell()


if __name__ == "__main__":
    trio.run(main)
