"""Order books and one-minute bars out of Kafka, by a program that may die at any moment and goes on where it was.

    python examples/books_and_bars.py state.json            # follows the topics; Ctrl-C ends it
    python examples/books_and_bars.py state.json --to-end   # reads what is there, and ends

What it shows, in the order of the code:

- A book begins with a `depth_snapshot`. Of the updates after it, skip those that end at or before the book's id, apply
  one that begins at or before the next id, and with any other wait for the next snapshot: that is a hole.
- `binance-trades` holds every trade twice over: as itself and in an aggregate. Choose one `event_type`, or volume
  counts double.
- Trades come in the order of their ids, but for those with `"late":true`, which were brought when others had gone by.
  So a bar opens with its lowest id and closes with its highest, whatever came first.
- An id that was there before is a repeat (KAFKA_DELIVERY=at_least_once, after a crash of the service).
- Only committed records are read, and what was made of them is kept in one file together with the offsets. The file is
  replaced as a whole, so results and place always belong together, and nothing counts twice or is left out.

Where the exchange begins its ids again, as on its test network every month, the gap journal says `exchange_reset`: then
begin with a new file.

The settings are those of the service: KAFKA_BOOTSTRAP_SERVERS, KAFKA_TOPIC_TRADES, KAFKA_TOPIC_DEPTH. To share the work
among processes, give each some of the partitions, and a file of its own.
"""

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

TRADES = os.environ.get("KAFKA_TOPIC_TRADES", "binance-trades")
DEPTH = os.environ.get("KAFKA_TOPIC_DEPTH", "binance-depth")
SAVE_PERIOD_S = 5.0
BARS_MAX = 1440
"""Of each symbol: a day."""


@dataclass
class Book:
    """Prices and quantities as the exchange writes them. Without an id it is out of step, and empty."""

    update_id: int | None = None
    bids: dict[str, str] = field(default_factory=dict)
    asks: dict[str, str] = field(default_factory=dict)

    def take(self, event: dict[str, Any]) -> str:
        """Take in a record of the depth topic; what is to be told of it."""
        if event["event_type"] == "depth_snapshot":
            began = self.update_id is None
            self.update_id, self.bids, self.asks = event["lastUpdateId"], dict(event["bids"]), dict(event["asks"])
            return f"book begins at {self.update_id}" if began else ""
        if self.update_id is None or event["u"] <= self.update_id:
            return ""
        if event["U"] > self.update_id + 1:
            hole = f"{self.update_id + 1}-{event['U'] - 1}"
            self.update_id, self.bids, self.asks = None, {}, {}
            return f"updates {hole} of the book are missing: no book until the next snapshot"
        for side, levels in ((self.bids, event["b"]), (self.asks, event["a"])):
            for price, quantity in levels:
                if Decimal(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)
        self.update_id = event["u"]
        return ""

    def best(self) -> tuple[str | None, str | None]:
        return max(self.bids, key=Decimal, default=None), min(self.asks, key=Decimal, default=None)


@dataclass
class Bar:
    """One minute of trades, in whatever order they came."""

    first_id: int
    last_id: int
    open: str
    close: str
    high: str
    low: str
    volume: str = "0"

    def take(self, number: int, price: str, quantity: str) -> None:
        if number <= self.first_id:
            self.first_id, self.open = number, price
        if number >= self.last_id:
            self.last_id, self.close = number, price
        self.high, self.low = max(self.high, price, key=Decimal), min(self.low, price, key=Decimal)
        self.volume = str(Decimal(self.volume) + Decimal(quantity))


@dataclass
class Trades:
    """A symbol's bars by minute (ms since 1970), and which ids are missing so far."""

    next_id: int | None = None
    missing: list[tuple[int, int]] = field(default_factory=list)
    bars: dict[str, Bar] = field(default_factory=dict)

    def take(self, trade: dict[str, Any]) -> str:
        """Take in a trade; what is to be told of it."""
        number, told = trade["t"], ""
        if self.next_id is None or number >= self.next_id:
            if self.next_id is not None and number > self.next_id:
                self.missing.append((self.next_id, number - 1))
                told = f"trades {self.next_id}-{number - 1} are missing: lost, or they come late; the gap journal knows"
            self.next_id = number + 1
        elif not self.was_missing(number):
            return ""  # a repeat
        minute = str(trade["T"] // 60_000 * 60_000)
        price = trade["p"]
        bar = self.bars.setdefault(minute, Bar(number, number, price, price, price, price))
        bar.take(number, price, trade["q"])
        if len(self.bars) > BARS_MAX:
            del self.bars[min(self.bars, key=int)]
        return told or (f"trade {number} came late" if trade.get("late") else "")

    def was_missing(self, number: int) -> bool:
        """Whether it was; it is not any more."""
        for index, (first, last) in enumerate(self.missing):
            if first <= number <= last:
                rest = [(first, number - 1), (number + 1, last)]
                self.missing[index : index + 1] = [(low, high) for low, high in rest if low <= high]
                return True
        return False


class State:
    """All that is known, and up to where the topics were read for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offsets: dict[str, int] = {}
        self.books: dict[str, Book] = defaultdict(Book)
        self.trades: dict[str, Trades] = defaultdict(Trades)
        if path.exists():
            saved = json.loads(path.read_bytes())
            self.offsets = saved["offsets"]
            self.books |= {symbol: Book(**book) for symbol, book in saved["books"].items()}
            for symbol, trades in saved["trades"].items():
                bars = {minute: Bar(**bar) for minute, bar in trades["bars"].items()}
                self.trades[symbol] = Trades(trades["next_id"], [tuple(span) for span in trades["missing"]], bars)

    def save(self) -> None:
        """Replace the file: whoever dies in the middle leaves the old one, whole."""
        known = {
            "offsets": self.offsets,
            "books": {symbol: asdict(book) for symbol, book in self.books.items()},
            "trades": {symbol: asdict(trades) for symbol, trades in self.trades.items()},
        }
        new = self.path.with_suffix(".new")
        with new.open("w") as file:
            json.dump(known, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)

    def take(self, topic: str, event: dict[str, Any]) -> None:
        """Take in one record."""
        told = ""
        if topic == DEPTH:
            symbol = event.get("s") or event["symbol"]  # a snapshot, which comes from REST, has no s
            told = self.books[symbol].take(event)
        elif event["event_type"] == "trade":
            symbol = event["s"]
            told = self.trades[symbol].take(event)
        if told:
            print(f"{symbol}: {told}", flush=True)


def open_consumer(state: State) -> Consumer:
    """Reads every partition of both topics from where the state ends."""
    consumer = Consumer({
        "bootstrap.servers": os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
        "group.id": "books-and-bars",  # librdkafka wants one; no group is joined, no offset is kept there
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",  # retention has overtaken us: the ids will tell what is missing
        "enable.partition.eof": True,
        "log_level": 2,  # what keeps it from reading is raised
    })  # fmt: skip
    places = []
    for topic in (TRADES, DEPTH):
        found = consumer.list_topics(topic, timeout=10).topics[topic]
        if found.error:
            raise KafkaException(found.error)
        for partition in found.partitions:
            offset = state.offsets.get(f"{topic}/{partition}", OFFSET_BEGINNING)
            places.append(TopicPartition(topic, partition, offset))
    consumer.assign(places)
    return consumer


def follow(consumer: Consumer, state: State, *, to_end: bool) -> None:
    """Read on, for ever or until where every partition ended at the start."""
    places = consumer.assignment() if to_end else []
    unread = {(place.topic, place.partition): consumer.get_watermark_offsets(place)[1] for place in places}
    saved_s = time.monotonic()
    while unread or not to_end:
        for message in consumer.consume(1000, 1.0):
            topic, partition, error = message.topic(), message.partition(), message.error()
            if error is None:
                state.take(topic, json.loads(message.value()))
                next_offset = state.offsets[f"{topic}/{partition}"] = message.offset() + 1
                if next_offset >= unread.get((topic, partition), next_offset + 1):
                    del unread[topic, partition]
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its only name
                unread.pop((topic, partition), None)
            else:
                raise KafkaException(error)
        if time.monotonic() > saved_s + SAVE_PERIOD_S:
            state.save()
            saved_s = time.monotonic()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Order books and one-minute bars out of Kafka.")
    parser.add_argument("state", type=Path, help="file that keeps what was made of the records, and the place")
    parser.add_argument("--to-end", action="store_true", help="read what is there at the start, and end")
    options = parser.parse_args(arguments)
    state = State(options.state)
    try:
        consumer = open_consumer(state)
    except KafkaException as error:
        sys.exit(f"cannot read {TRADES} and {DEPTH}: {error.args[0].str()}; is KAFKA_BOOTSTRAP_SERVERS right?")
    try:
        follow(consumer, state, to_end=options.to_end)
        state.save()
    except KeyboardInterrupt:
        print("stopped")  # in the middle of a record, maybe: what the file holds is whole, and goes on from there
    finally:
        consumer.close()
    for symbol, book in sorted(state.books.items()):
        print(symbol, "book", book.update_id, "best bid and ask", *book.best())
    for symbol, trades in sorted(state.trades.items()):
        for minute, bar in sorted(trades.bars.items())[-3:]:
            print(symbol, "minute", minute, "open", bar.open, "high", bar.high, "low", bar.low, "close", bar.close,
                  "volume", bar.volume)  # fmt: skip


if __name__ == "__main__":
    main()
