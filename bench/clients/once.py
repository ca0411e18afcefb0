"""The floor of a start: import, connect, produce the first message, and wait for its acknowledgement. Nothing else.

Settings by environment, as the service's. The first argument says what is imported: ``same`` = the packages that the
service needs for a run, ``bare`` = those alone that this script itself needs. It asks nothing of the brokers, checks no
symbol, reads no state, serves no health; it ends when the record is acknowledged.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Iterable
from typing import Any

import msgspec
import trio
from confluent_kafka import Producer
from trio_websocket import open_websocket_url

SAME = (
    "confluent_kafka.admin",
    "dotenv",
    "httpx",
    "hypercorn.trio",
    "prometheus_client",
    "pydantic_settings",
    "starlette.applications",
    "structlog",
    "typer",
)
"""What the service imports beside what is imported above; docs/DEPENDENCIES.md says what for."""


def import_all(names: Iterable[str]) -> None:
    """Have them, as whoever uses them would."""
    for name in names:
        importlib.import_module(name)


async def first_message() -> dict[str, Any]:
    """Subscribe; the first event that comes."""
    symbols = os.environ["BINANCE_SYMBOLS"].lower().split(",")
    kinds = os.environ["BINANCE_STREAM_TYPES"].split(",")
    streams = [f"{symbol}@{kind}" for symbol in symbols for kind in kinds]
    async with open_websocket_url(os.environ["BINANCE_WS_URL"] + "/stream") as websocket:
        await websocket.send_message(json.dumps({"method": "SUBSCRIBE", "params": streams, "id": 1}))
        while True:
            message = msgspec.json.decode(await websocket.get_message())
            if "data" in message:
                return dict(message["data"])


async def main() -> None:
    """Connect to both, then produce once."""
    kafka = Producer({"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"], "acks": "all", "linger.ms": 5})
    event = await first_message()
    event["ingestion_timestamp"] = time.time_ns() // 1_000_000
    kafka.produce(
        os.environ["KAFKA_TOPIC_RAW_EVENTS"], msgspec.json.encode(event), event["s"].encode(), timestamp=event["E"]
    )
    kafka.flush()


if __name__ == "__main__":
    if sys.argv[1:] == ["same"]:
        import_all(SAME)
    trio.run(main)
