"""cryptofeed's own way into Kafka, as its users run it: `FeedHandler`, `TradeKafka`, `BookKafka`.

Its backends take the topic from a method that users override, and everything else goes to aiokafka, which is set up as
all producers here are: `acks=all`, idempotent, snappy. A message becomes one record, in cryptofeed's own format; its
writers wait for each acknowledgement before they send the next, which is what its figures show. It keeps the books
itself, which cannot be switched off; of their snapshots only the one is written with which each begins.

It has an environment of its own, insists on wss://, and runs until SIGTERM.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any

CA_FILE = os.environ["SSL_CERT_FILE"]
os.environ["REQUESTS_CA_BUNDLE"] = CA_FILE  # before anything reads it

from cryptofeed import FeedHandler  # noqa: E402
from cryptofeed.backends.kafka import BookKafka, TradeKafka  # noqa: E402
from cryptofeed.connection import RestEndpoint, WebsocketEndpoint  # noqa: E402
from cryptofeed.defines import L2_BOOK, TRADES  # noqa: E402
from cryptofeed.exchanges import Binance  # noqa: E402

SNAPSHOTS_NEVER = 10**9


class Trades(TradeKafka):
    def topic(self, data: dict[str, Any]) -> str:
        del data
        return os.environ["KAFKA_TOPIC_TRADES"]


class Books(BookKafka):
    def topic(self, data: dict[str, Any]) -> str:
        del data
        return os.environ["KAFKA_TOPIC_DEPTH"]


def main() -> None:
    Binance.websocket_endpoints = [
        WebsocketEndpoint(os.environ["BINANCE_WS_URL"], options={"ssl": ssl.create_default_context(cafile=CA_FILE)})
    ]
    Binance.rest_endpoints = [RestEndpoint(os.environ["BINANCE_REST_URL"], routes=Binance.rest_endpoints[0].routes)]
    kafka = {
        "bootstrap_servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": "snappy",
        "linger_ms": int(os.environ.get("KAFKA_PRODUCER_LINGER_MS", "0")),
    }
    callbacks = {TRADES: Trades(**kafka), L2_BOOK: Books(snapshot_interval=SNAPSHOTS_NEVER, **kafka)}
    symbols = [f"{symbol.removesuffix('USDT')}-USDT" for symbol in os.environ["BINANCE_SYMBOLS"].split(",")]
    handler = FeedHandler(config={"log": {"filename": "/dev/stderr", "level": "INFO"}, "uvloop": True})
    asyncio.set_event_loop(asyncio.new_event_loop())  # of uvloop, whose newer versions do not make one unasked
    handler.add_feed(Binance(symbols=symbols, channels=[TRADES, L2_BOOK], callbacks=callbacks))
    handler.run()


if __name__ == "__main__":
    main()
