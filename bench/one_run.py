"""One run: topics, an exchange and a client; measured, counted at the broker, and read back."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from harness import BENCH, Failed, Process, TimedOut, clean_env, create_topics, delete_topics, record_counts
from part import Bench
from registry import Client

PARTITIONS = 6
POLL_S = 0.02
START_S = 60.0
RUN_MAX_S = 300.0
SYMBOLS = "BTCUSDT,ETHUSDT,BNBUSDT,ADAUSDT,XRPUSDT,SOLUSDT,DOGEUSDT,DOTUSDT,LTCUSDT,TRXUSDT"
STREAM_TYPES = "aggTrade,depth@100ms"
SERIES = re.compile(rb'"e": ?"(\w+)".*?"s": ?"(\w+)", ?"[aU]": ?(\d+),(?:.*?"u": ?(\d+),)?')
_serial = itertools.count()


@dataclass(frozen=True)
class Topics:
    """What a client writes to; ours has three more."""

    label: str

    @property
    def written(self) -> dict[str, str]:
        return {kind: f"bench-{self.label}-{kind}" for kind in ("raw", "trades", "depth")}

    @property
    def environment(self) -> dict[str, str]:
        written = self.written
        return {
            "KAFKA_TOPIC_RAW_EVENTS": written["raw"],
            "KAFKA_TOPIC_TRADES": written["trades"],
            "KAFKA_TOPIC_DEPTH": written["depth"],
        }

    @property
    def others(self) -> dict[str, str]:
        return {
            f"KAFKA_TOPIC_{name}": f"bench-{self.label}-{name.lower()}" for name in ("DEAD_LETTERS", "GAPS", "STATE")
        }


@dataclass(frozen=True)
class Running:
    """A client that has subscribed, and whose exchange begins to send."""

    client: Client
    messages: int
    servers: str
    exchange: Mapping[str, Any]
    """What the exchange said of itself."""
    blaster: Process
    """The exchange; of a client that has its messages in memory, itself."""
    process: Process
    topics: Topics
    admin: AdminClient
    started_s: float
    """When the exchange began, CLOCK_MONOTONIC."""
    cpu_before_s: float

    @property
    def expected(self) -> dict[str, int]:
        """Records by topic, when all is there."""
        written = self.topics.written
        more = self.client.records_more
        return {
            written[kind]: round(self.messages * share) + more.get(kind, 0)
            for kind, share in self.client.records.items()
        }

    def counts(self) -> dict[str, int]:
        """Records by topic, as the broker counts them."""
        return record_counts(self.admin, list(self.expected), PARTITIONS)

    def wait_for_records(self) -> float:
        """Until the broker has them all; when that was seen."""
        records, deadline = sum(self.expected.values()), time.monotonic() + RUN_MAX_S
        while sum((counts := self.counts()).values()) < records:
            self.process.check()
            if time.monotonic() > deadline:
                raise Failed(f"after {RUN_MAX_S} s: {counts} of {records} records{self.process.end_of_log()}")
            time.sleep(POLL_S)
        return time.monotonic()

    def stop(self) -> None:
        """SIGTERM, upon which it must end well."""
        if code := self.process.stop():
            raise Failed(f"{self.client.name} ended with {code}{self.process.end_of_log()}")

    def check(self) -> None:
        """Nothing too much, nothing missing, and every series whole and in order where one can see it."""
        counts = self.counts()
        if counts != self.expected:
            raise Failed(f"{self.client.name}: {counts}, and not {self.expected}")
        if "raw" in self.client.records:
            check_series(self.servers, self.topics.written["raw"], self.messages)


@contextlib.contextmanager
def running(
    bench: Bench,
    client: Client,
    messages: int,
    *,
    settings: Mapping[str, str] | None = None,
    blaster_options: Sequence[str] = (),
    linger_ms: float | None = None,
) -> Iterator[Running]:
    """A client at work, against an exchange and topics of its own; all of it is gone afterwards.

    Args:
        bench: the sitting.
        client: who.
        messages: how many the exchange has.
        settings: what the client gets besides, and overrides what all get.
        blaster_options: what the exchange gets besides.
        linger_ms: how long its producer waits for more; None: as it comes.

    Raises:
        Failed: it did not start or subscribe, with the end of its log.
    """
    label = re.sub(r"\W+|_", "-", f"{client.name}-{next(_serial)}-{time.time_ns() % 10**9}")
    topics, admin = Topics(label), AdminClient({"bootstrap.servers": bench.servers, "log_level": 0})
    create_topics(admin, list(topics.written.values()), PARTITIONS)
    with contextlib.ExitStack() as stack:
        exchange: dict[str, Any] = {}
        if not client.from_memory:
            options = ["--messages", str(messages), *(["--tls", str(bench.logs)] if client.tls else [])]
            arguments = [str(BENCH / "blaster.py"), *options, *client.blaster, *blaster_options]
            blaster = stack.enter_context(Process(arguments, clean_env(), bench.logs / f"{label}-blaster.log"))
            exchange = blaster.line(START_S)
        env = environment(client, bench.servers, exchange, topics, linger_ms) | dict(client.settings)
        if client.from_memory:
            env["BENCH_MESSAGES"] = str(messages)
        env = clean_env(**env | dict(settings or {}))
        process = stack.enter_context(Process(list(client.command), env, bench.logs / f"{label}.log", program=""))
        if client.from_memory:
            blaster, exchange = process, process.line(START_S)
        started_s = wait_for_start(blaster, process)
        yield Running(
            client, messages, bench.servers, exchange, blaster, process, topics, admin, started_s, process.cpu_s()
        )
    delete_topics(admin, [*topics.written.values(), *topics.others.values()])


def wait_for_start(blaster: Process, process: Process) -> float:
    """When the exchange began to send; CLOCK_MONOTONIC."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        process.check()
        with contextlib.suppress(TimedOut):
            return float(blaster.line(1)["at_s"])
    raise Failed(f"the client never subscribed{process.end_of_log()}")


def environment(
    client: Client, servers: str, exchange: Mapping[str, Any], topics: Topics, linger_ms: float | None
) -> dict[str, str]:
    """The settings that all clients get; names are our service's."""
    settings = {
        "BINANCE_SYMBOLS": SYMBOLS,
        "BINANCE_STREAM_TYPES": STREAM_TYPES,
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        **topics.environment,
    }
    if not client.from_memory:
        settings |= {"BINANCE_WS_URL": exchange["ws_url"], "BINANCE_REST_URL": exchange["rest_url"]}
    if exchange.get("ca_file"):
        settings["SSL_CERT_FILE"] = exchange["ca_file"]
    if linger_ms is not None:
        settings["KAFKA_PRODUCER_LINGER_MS"] = f"{linger_ms:g}"
    if client.ours:  # it refuses settings that it does not know, and others do not know these
        settings |= {"HTTP_PORT": "0", **topics.others}
    elif linger_ms is not None:
        settings["KAFKA_LINGER_MS"] = f"{linger_ms:g}"
    return settings


def bulk(bench: Bench, client: Client, messages: int, number: int = 0, **options: Any) -> dict[str, Any]:
    """One run in bulk: all that the exchange has, as fast as the client takes it.

    From the moment the exchange begins to send until the broker holds the last record by its own count, which needs no
    help of the client. CPU is user and system time of the client's process, all threads, over the same span.
    """
    with running(bench, client, messages, **options) as run:
        ended_s = run.wait_for_records()
        cpu_s, memory_mib = run.process.cpu_s() - run.cpu_before_s, run.process.memory_peak_mib()
        run.stop()
        run.check()
    seconds = ended_s - run.started_s
    row = {
        "client": client.name,
        "round": number,
        "messages": messages,
        **{name: run.exchange[name] for name in ("frame_bytes", "value_bytes") if name in run.exchange},
        "seconds": round(seconds, 3),
        "messages_per_s": round(messages / seconds),
        "cpu_us_per_message": round(cpu_s / messages * 1e6, 2),
        "cores_used": round(cpu_s / seconds, 2),
        "memory_peak_mib": round(memory_mib),
    }
    bench.tell(row)
    return row


def check_series(servers: str, topic: str, messages: int) -> None:
    """Read the topic back: ids of every series consecutive from first to last, timestamps set, keys right."""
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "bench", "enable.auto.commit": False, "log_level": 0}
    )
    consumer.assign([TopicPartition(topic, index, 0) for index in range(PARTITIONS)])
    last: dict[tuple[bytes, bytes], int] = {}
    seen = 0
    with contextlib.closing(consumer):
        while seen < messages:
            records = consumer.consume(min(messages - seen, 10_000), 10)
            if not records:
                raise Failed(f"{topic}: only {seen} of {messages} records could be read back")
            for record in records:
                value = record.value()
                assert isinstance(value, bytes)
                found = SERIES.search(value)
                if found is None or record.key() != found[2] or record.timestamp()[1] != event_time_ms(value):
                    raise Failed(f"{topic}: record with key {record.key()!r}: {value!r}")
                kind, symbol, first, final = found.groups()
                before = last.get((kind, symbol))
                if before is not None and int(first) != before + 1:
                    raise Failed(f"{topic}: {kind!r} of {symbol!r}: {int(first)} after {before}")
                last[kind, symbol] = int(first if kind == b"aggTrade" else final)
            seen += len(records)


def event_time_ms(value: bytes) -> int:
    return int(value.partition(b'"E":')[2][:14].strip().partition(b",")[0])
