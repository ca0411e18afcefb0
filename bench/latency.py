"""One run at a steady pace: how long from the exchange's send until a record can be read, and by hop for ours."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka.admin import AdminClient

from harness import BENCH, Failed, Process, clean_env, create_topics, delete_topics, record_counts
from one_run import PARTITIONS, START_S, Running, Topics, running
from part import Bench
from registry import CLIENTS_DIR, Client
from running_service import RunningService

FLOOR = "librdkafka"
"""Not a client: the producer alone."""

WARM_UP_S = 1.5
MEASURED_S = 3.0
END_S = 60.0
HOPS: Mapping[str, str] = {
    "exchange": "exchange to receipt",
    "pipeline": "receipt to hand-over",
    "ack": "hand-over to acknowledgement",
}
_SUM_OR_COUNT = re.compile(r'^ingest_actors_latency_seconds_(sum|count)\{hop="(\w+)"\} (\S+)$', re.MULTILINE)
_serial = itertools.count()

Scrape = dict[str, dict[str, float]]


def messages_at(rate: float, bench: Bench) -> int:
    """How many of them make a run."""
    return 2 * round(rate * (WARM_UP_S + bench.size(round(MEASURED_S * 10)) / 10) / 2)


def measure(
    bench: Bench, client: Client, rate: float, linger_ms: float, number: int, *, settings: Mapping[str, str]
) -> dict[str, Any]:
    """A client's run; every record is counted and read back.

    Args:
        bench: the sitting.
        client: who.
        rate: messages a second.
        linger_ms: how long its producer waits for more.
        number: of the round.
        settings: what it gets besides.

    Raises:
        Failed: something is missing, or the exchange could not keep the pace.
    """
    messages = messages_at(rate, bench)
    if client.ours:
        settings = {**settings, "LOG_FORMAT": "json"}
    with running(
        bench, client, messages, linger_ms=linger_ms, blaster_options=["--rate", str(rate)], settings=settings
    ) as run:
        with tail(bench, run.topics) as watching:
            hops = by_hop(bench, run, messages / rate) if client.ours else {}
            blast = run.blaster.line(END_S)
            run.wait_for_records()
            seen = seen_by(watching)
        cpu_s = run.process.cpu_s() - run.cpu_before_s
        run.stop()
        told = {} if client.ours else run.process.line(5)
        run.check()
    row = {"client": client.name, "round": number, "rate": rate, "linger_ms": linger_ms}
    row |= {**seen, **more(blast, told), **hops, "cpu_us_per_message": round(cpu_s / messages * 1e6, 2)}
    bench.tell(row)
    return row


def floor(bench: Bench, rate: float, linger_ms: float, number: int) -> dict[str, Any]:
    """The same for librdkafka alone."""
    messages = messages_at(rate, bench)
    topics = Topics(f"floor-{next(_serial)}-{time.time_ns() % 10**9}")
    admin = AdminClient({"bootstrap.servers": bench.servers, "log_level": 0})
    create_topics(admin, list(topics.written.values()), PARTITIONS)
    env = clean_env(
        KAFKA_BOOTSTRAP_SERVERS=bench.servers, KAFKA_PRODUCER_LINGER_MS=f"{linger_ms:g}", TELL_LATENCY="1",
        BINANCE_WS_URL="", BINANCE_SYMBOLS="", BINANCE_STREAM_TYPES="", **topics.environment,
    )  # fmt: skip
    log = bench.logs / f"{topics.label}.log"
    command = [str(CLIENTS_DIR / "floor.py"), str(messages), str(rate)]
    with tail(bench, topics) as watching, Process(command, env, log) as process:
        blast, told = process.line(END_S), process.line(END_S)
        seen = seen_by(watching)
    if (found := record_counts(admin, [topics.written["raw"]], PARTITIONS)[topics.written["raw"]]) != messages:
        raise Failed(f"{FLOOR}: {found} of {messages} records")
    delete_topics(admin, list(topics.written.values()))
    row = {"client": FLOOR, "round": number, "rate": rate, "linger_ms": linger_ms, **seen, **more(blast, told)}
    bench.tell(row)
    return row


@contextlib.contextmanager
def tail(bench: Bench, topics: Topics, warm_up_s: float = WARM_UP_S) -> Iterator[Process]:
    """Who waits at the end of the topic of raw events; what was sent in the first `warm_up_s` does not count."""
    arguments = {
        "bootstrap-servers": bench.servers,
        "topic": topics.written["raw"],
        "partitions": PARTITIONS,
        "warm-up-s": warm_up_s,
    }
    command = [str(BENCH / "tail.py"), *(str(part) for pair in arguments.items() for part in (f"--{pair[0]}", pair[1]))]
    with Process(command, clean_env(), bench.logs / f"{topics.label}-tail.log") as process:
        process.line(START_S)  # it is ready
        yield process


def seen_by(watching: Process) -> dict[str, Any]:
    """What the one at the end of the topic has to say, now that all is there."""
    watching.stop()
    return watching.line(END_S)


def more(blast: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """How late the exchange was at most, and the median of the client's own reports where it tells one."""
    late = {"exchange_late_ms_max": round(blast["late_s_max"] * 1000, 1)}
    took_us = told.get("ack_us", (0,))
    return late | ({"told_ms": took_us[0] / 1000} if took_us[0] else {})


def by_hop(bench: Bench, run: Running, seconds: float) -> dict[str, Any]:
    """What the service says of itself, between the warm-up and just before the end."""
    service = RunningService(run.process, bench.logs / f"{run.topics.label}.log")
    url = str(service.wait_for("http_listening", 10)["url"])
    time.sleep(max(0.0, run.started_s + WARM_UP_S - time.monotonic()))
    before = scrape(url)
    time.sleep(max(0.0, run.started_s + seconds - 0.2 - time.monotonic()))
    after = scrape(url)
    means = {}
    for hop in HOPS:
        counted = after[hop]["count"] - before[hop]["count"]
        means[hop] = round((after[hop]["sum"] - before[hop]["sum"]) / max(counted, 1) * 1000, 3)
    return {"hops_mean_ms": means}


def scrape(url: str) -> Scrape:
    """Sum and count of each hop's histogram."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found: Scrape = {hop: {} for hop in HOPS}
    for kind, hop, value in _SUM_OR_COUNT.findall(text):
        found[hop][kind] = float(value)
    return found
