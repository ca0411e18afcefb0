"""Is all of it in Kafka? Play a recording through the service into a real Kafka, and compare byte by byte.

    python bench/verify_recording.py recording.txt.gz [more.txt.gz ...]
    python bench/verify_recording.py --bootstrap-servers localhost:9092 recording.txt.gz

The recording (one frame of a combined stream a line, `<time> <frame>` or `<time>: <frame>`, gzip or not) is served over
a real WebSocket by `python -m ingest_actors simulate`; the service is `python -m ingest_actors run`; the broker is a
dev-broker of the script's own, or yours (topics of the script's own names are made and removed there). Then every topic
is read from the beginning. A row for each series; exit 0 only if every count of defects is zero.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from harness import (
    Failed,
    Process,
    broker,
    clean_env,
    create_topics,
    delete_topics,
    print_table,
    record_counts,
)
from recordings import COPIES, TAIL, Expected, expected_event, expected_events, java_partition, read_recording

PARTITIONS = 6
PATIENCE_S = 20.0
"""Without a new record for so long, no more are waited for."""
DEFECTS = ("missing", "doubled", "order", "bytes", "key", "partition", "timestamp", "ingested", "unexpected")
Series = tuple[str, str]


@dataclass
class Row:
    """What was found of one series in one topic."""

    records: int = 0
    defects: Counter[str] = field(default_factory=Counter)


class Book:
    """All events of the recording, by series and identity, and what became of them in one topic."""

    def __init__(self, events: Iterable[Expected], ingested_ms: range) -> None:
        self._expected: dict[Series, dict[object, list[tuple[int, Expected]]]] = defaultdict(lambda: defaultdict(list))
        self._newest: dict[Series, int] = defaultdict(lambda: -1)
        self._ingested_ms = ingested_ms
        self.rows: dict[Series, Row] = defaultdict(Row)
        for position, event in enumerate(events):
            self._expected[event.series][event.identity].append((position, event))

    def check(self, message: Message) -> None:
        """Compare one record with the event that it must be."""
        value, key = message.value(), message.key()
        assert isinstance(value, bytes)
        tail = TAIL.search(value, max(0, value.rfind(b',"ingestion_timestamp":') - 200))
        if tail is None or tail.end() != len(value):
            self.rows["?", "?"].defects["unexpected"] += 1
            return
        payload = value[: tail.start()] + b"}"
        claimed = claim_of(payload, tail, key)
        row = self.rows[claimed.series]
        row.records += 1
        waiting = self._expected.get(claimed.series, {}).get(claimed.identity)
        if not waiting:
            row.defects["unexpected" if waiting is None else "doubled"] += 1
            return
        position, event = waiting.pop(0)
        row.defects["order"] += position < self._newest[event.series]
        self._newest[event.series] = max(position, self._newest[event.series])
        row.defects["bytes"] += payload != event.payload or tail[1] != event.appended
        row.defects["ingested"] += int(tail[2]) not in self._ingested_ms
        symbol = event.series[0].encode()
        row.defects["key"] += key != symbol
        row.defects["partition"] += message.partition() != java_partition(symbol, PARTITIONS)
        time_ms = int(tail[2]) if event.time_ms is None else event.time_ms
        row.defects["timestamp"] += message.timestamp()[1] != time_ms

    def finish(self) -> None:
        """Whatever was not found is missing."""
        for series, events in self._expected.items():
            self.rows[series].defects["missing"] += sum(map(len, events.values()))


def claim_of(payload: bytes, tail: re.Match[bytes], key: bytes | str | None) -> Expected:
    """What a record says it is; the recording says whether that is true."""
    event_type = tail[3].decode()
    symbol = key.decode() if isinstance(key, bytes) else ""
    stream = json.loads(b"{" + tail[1][1:] + b"}")["stream"] if tail[1] else f"{symbol.lower()}@?"
    try:
        claimed = expected_event(stream, payload)
    except (ValueError, KeyError):
        claimed = Expected((symbol, event_type), None, payload, b"", None)
    return claimed._replace(series=(claimed.series[0], event_type))


def play(paths: list[Path], events: list[Expected], streams: set[str], topics: dict[str, str], servers: str) -> str:
    """Serve the recording, run the service until all of it is written, stop it; what its last line says."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    create_topics(admin, list(topics.values()), PARTITIONS)
    wanted = Counter(topic for event in events for topic in ("raw", COPIES.get(event.series[1], "")) if topic)
    symbols = sorted({name.partition("@")[0].upper() for name in streams if not name.startswith("!")})
    stream_types = sorted({name if name.startswith("!") else name.partition("@")[2] for name in streams})
    arguments = ["-m", "ingest_actors", "simulate", "--speed", "0"]
    arguments += [argument for path in paths for argument in ("--recording", str(path))]
    with tempfile.TemporaryDirectory(prefix="verify-") as logs:
        with Process(arguments, clean_env(), Path(logs) / "exchange.log") as simulated:
            exchange = simulated.line(60)
            env = clean_env(
                BINANCE_WS_URL=exchange["ws_url"],
                BINANCE_REST_URL=exchange["rest_url"],
                BINANCE_SYMBOLS=",".join(symbols) or "BTCUSDT",
                BINANCE_STREAM_TYPES=",".join(stream_types),
                KAFKA_BOOTSTRAP_SERVERS=servers,
                KAFKA_TOPIC_RAW_EVENTS=topics["raw"],
                KAFKA_TOPIC_TRADES=topics["trades"],
                KAFKA_TOPIC_DEPTH=topics["depth"],
                KAFKA_TOPIC_DEAD_LETTERS=topics["dead-letters"],
                KAFKA_TOPIC_GAPS=topics["gaps"],
                KAFKA_TOPIC_STATE=topics["state"],
                HTTP_PORT="off",
            )
            with Process(["-m", "ingest_actors", "run"], env, Path(logs) / "service.log") as service:
                wait_until_written(admin, service, topics, wanted)
                exit_code = service.stop()
                log = (Path(logs) / "service.log").read_text()
        if exit_code != 0:
            raise Failed(f"the service ended with {exit_code}\n{log[-3000:]}")
    ended = [line for line in map(json.loads, log.splitlines()) if line.get("event") == "service_stopped"]
    return f"exit 0; its ledger: {ended[-1].get('ledger') if ended else 'not told'}"


def wait_until_written(admin: AdminClient, service: Process, topics: dict[str, str], wanted: Counter[str]) -> None:
    """Until the topics hold as many records as they should, or nothing comes any more; then a moment for surplus."""
    last, changed_s = 0, time.monotonic()
    while time.monotonic() < changed_s + PATIENCE_S:
        service.check()
        total = sum(record_counts(admin, list(topics.values()), PARTITIONS).values())
        if total != last:
            last, changed_s = total, time.monotonic()
        if total >= wanted.total():
            time.sleep(1.5)
            return
        time.sleep(0.1)


def read_topic(servers: str, topic: str, count: int) -> Iterator[Message]:
    """All records of a topic, partition by partition in order of offsets."""
    options = {"group.id": topic, "enable.auto.commit": False, "auto.offset.reset": "error", "log_level": 0}
    consumer = Consumer({"bootstrap.servers": servers, **options})
    consumer.assign([TopicPartition(topic, index, 0) for index in range(PARTITIONS)])
    with contextlib.closing(consumer):
        while count > 0:
            records = consumer.consume(min(count, 10_000), 15)
            if not records:
                raise Failed(f"{topic}: {count} records could not be read back")
            for record in records:
                if record.error():
                    raise Failed(f"{topic}: {record.error()}")
                yield record
            count -= len(records)


def verify(paths: list[Path], servers: str) -> int:
    """Play, read back, compare, print; the number of defects."""
    frames = [(stream, frame) for path in paths for stream, frame in read_recording(path)]
    events = [event for stream, frame in frames for event in expected_events(stream, frame)]
    if not events:
        raise Failed("no frame of a combined stream in the recording")
    run = uuid.uuid4().hex[:8]
    topics = {name: f"verify-{run}-{name}" for name in ("raw", "trades", "depth", "dead-letters", "gaps", "state")}
    streams = {stream for stream, _ in frames}
    print(f"{len(frames):,} frames, {len(events):,} events, {len(streams)} streams", flush=True)
    started_ms, started_s = time.time_ns() // 1_000_000, time.monotonic()
    ending = play(paths, events, streams, topics, servers)
    ingested_ms, played_s = range(started_ms, time.time_ns() // 1_000_000), time.monotonic() - started_s
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    counts = record_counts(admin, list(topics.values()), PARTITIONS)
    books = {}
    for name in ("raw", "trades", "depth"):
        book = books[name] = Book(
            (event for event in events if name in ("raw", COPIES.get(event.series[1]))), ingested_ms
        )
        for record in read_topic(servers, topics[name], counts[topics[name]]):
            book.check(record)
        book.finish()
    delete_topics(admin, list(topics.values()))
    dead_letters = counts[topics["dead-letters"]]
    defects = print_report(books, Counter(event.series for event in events)) + dead_letters
    print(f"\ndead letters: {dead_letters}; played and written in {played_s:.1f} s; the service: {ending}")
    print("whole: every event once, in order, byte for byte" if not defects else f"{defects} DEFECTS")
    return defects


def print_report(books: dict[str, Book], recorded: Counter[Series]) -> int:
    """A row a series and topic; the number of all defects."""
    rows, total = [], 0
    for series in sorted({series for book in books.values() for series in book.rows}):
        for topic, book in books.items():
            if series in book.rows:
                row = book.rows[series]
                total += sum(row.defects.values())
                counts = tuple(f"{row.defects[name]:,}" for name in DEFECTS)
                rows.append((*series, f"{recorded[series]:,}", topic, f"{row.records:,}", *counts))
    head = ("symbol", "event type", "recorded", "topic", "records", *DEFECTS)
    print()
    print_table(head, rows)
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path, nargs="+", help="files, in the order in which they are played")
    parser.add_argument("--bootstrap-servers", help="brokers to use; default: a dev-broker of its own")
    options = parser.parse_args()
    with broker(options.bootstrap_servers) as (servers, _):
        return int(verify(options.recording, servers) > 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(f"failed: {failure}")
