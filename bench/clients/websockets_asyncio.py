"""What the documentation of `websockets` leads to: a coroutine on asyncio, `async for`, `json`, one `produce` a topic.

Compression is off, as for all here; the exchange's frames are not compressed either. Delivery reports come by a poll
every hundred messages, and by a task when nothing comes in. Runs until SIGTERM, then flushes and prints its account.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time

import websockets
from common import DEPTH, EVENT_TYPES, RAW, SUBSCRIBE, TRADES, URL, Account, make_producer
from confluent_kafka import Producer


async def consume(kafka: Producer) -> None:
    produced = 0
    async with websockets.connect(URL + "/stream", compression=None) as websocket:
        await websocket.send(SUBSCRIBE)
        async for message in websocket:
            envelope = json.loads(message)
            if "data" not in envelope:
                continue
            event = envelope["data"]
            event["ingestion_timestamp"] = time.time_ns() // 1_000_000
            event["source"] = "binance_websocket"
            event["event_type"] = EVENT_TYPES[event["e"]]
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
    while True:
        await asyncio.sleep(0.1)
        kafka.poll(0)


async def main() -> None:
    account = Account()
    kafka = make_producer(account)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    tasks = [asyncio.ensure_future(work) for work in (consume(kafka), poll(kafka), stopped.wait())]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    for task in done:
        task.result()
    kafka.flush()
    account.tell()


if __name__ == "__main__":
    asyncio.run(main())
