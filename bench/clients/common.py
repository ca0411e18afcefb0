"""What the opponents in Python share: settings by environment as the service's, a producer, an account.

The producer is set up as the service's is: snappy, `acks=all`, idempotent, murmur2. Every record's acknowledgement is
counted.
"""

from __future__ import annotations

import json
import os
import threading
import time
from array import array
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

RAW, TRADES, DEPTH = (os.environ[f"KAFKA_TOPIC_{name}"] for name in ("RAW_EVENTS", "TRADES", "DEPTH"))
URL = os.environ.get("BINANCE_WS_URL", "")  # who has its messages in memory needs none
STREAMS = [
    f"{symbol}@{kind}"
    for symbol in os.environ["BINANCE_SYMBOLS"].lower().split(",")
    for kind in os.environ["BINANCE_STREAM_TYPES"].split(",")
]
SUBSCRIBE = json.dumps({"method": "SUBSCRIBE", "params": STREAMS, "id": 1})
EVENT_TYPES = {"aggTrade": "aggregate_trade", "depthUpdate": "depth_update"}
TAIL = b',"ingestion_timestamp":%d,"source":"binance_websocket","event_type":"%b"}'
"""What is appended to an event, instead of its closing brace."""


class Account:
    """What became of every record."""

    def __init__(self) -> None:
        self.delivered = 0
        self.failed = 0

    def on_delivery(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.delivered += 1
        else:
            self.failed += 1

    def tell(self, **more: object) -> None:
        print(json.dumps({"delivered_records": self.delivered, "failed_records": self.failed} | more), flush=True)


class TimedAccount(Account):
    """The same, which also takes the time from a paced exchange's stamp to the acknowledgement; it costs CPU."""

    def __init__(self) -> None:
        super().__init__()
        self._took_us = array("q")

    def on_delivery(self, error: KafkaError | None, message: Message) -> None:
        super().on_delivery(error, message)
        value = message.value()
        at = value.rindex(b'"x":') + 4
        self._took_us.append(time.time_ns() // 1000 - int(value[at : at + 16]))

    def tell(self, **more: object) -> None:
        ordered = sorted(self._took_us[len(self._took_us) // 3 :])  # fresh topics, cold caches
        told = [ordered[int((len(ordered) - 1) * share)] for share in (0.5, 0.9, 0.99)] if ordered else [0, 0, 0]
        super().tell(ack_us=told, **more)


def make_account() -> Account:
    """One that counts, or with TELL_LATENCY=1 one that takes times too."""
    return TimedAccount() if os.environ.get("TELL_LATENCY") == "1" else Account()


def make_producer(account: Account, **more: Any) -> Producer:
    """A producer that has its connection and knows its topics before anything comes."""
    options = {
        "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        "compression.type": "snappy",
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "on_delivery": account.on_delivery,
        **more,
    }
    if linger_ms := os.environ.get("KAFKA_PRODUCER_LINGER_MS"):
        options["linger.ms"] = linger_ms
    producer = Producer(options)
    for topic in (RAW, TRADES, DEPTH):
        producer.list_topics(topic, timeout=10)
    return producer


def poll_in_thread(producer: Producer) -> None:
    """Delivery reports as soon as they are there, as librdkafka's documentation has it."""

    def poll() -> None:
        while True:
            producer.poll(0.1)

    threading.Thread(target=poll, daemon=True).start()
