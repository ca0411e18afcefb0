"""One run of the service over any number of streams: warmed up first, then measured, then read back.

What is measured begins when every stream has been seen and everything so far is delivered, and ends when the service
counts the last message as delivered - with exactly once: as committed. Until the brokers have as many records as there
will be, only they are asked, since a look at the service's metrics is work for the service.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from confluent_kafka.admin import AdminClient, NewTopic

from harness import BENCH, Failed, Process, clean_env, delete_topics, record_counts
from one_run import PARTITIONS, check_series
from part import Bench
from running_service import RunningService
from wide_feed import symbols_of

MIB = 1024 * 1024
POLL_S = 0.02
LOOK_S = 0.05
SAMPLE_S = 1.0
START_MAX_S = 120.0
MESSAGES_PER_S_MIN = 4_000
TOPICS = ("RAW_EVENTS", "TRADES", "DEPTH", "DEAD_LETTERS", "GAPS", "STATE")
SYMBOLS_NAMED_MAX = 100
"""More symbols than these are asked for by a pattern, as people would."""


class Feed(NamedTuple):
    """What is sent."""

    streams: int
    warm_up_rounds: int
    rounds: int


class Kept(NamedTuple):
    """How much of the topics the brokers keep."""

    bytes_a_partition: int
    """-1: everything, so that it can be read back and checked."""


EVERYTHING = Kept(-1)
LITTLE = Kept(64 * MIB)


def wide_run(bench: Bench, feed: Feed, mode: str, *, interval_ms: int = 100, kept: Kept = EVERYTHING) -> dict[str, Any]:
    """Run the service over a feed.

    Args:
        bench: the sitting.
        feed: what is sent.
        mode: `KAFKA_DELIVERY`.
        interval_ms: `KAFKA_COMMIT_INTERVAL_MS`.
        kept: of the topics; what is not kept is not read back, only counted.

    Returns:
        Its figures; memory in MiB, sampled once a second while it is measured.

    Raises:
        Failed: not every message is in its topic once, in order.
    """
    servers, log_dir = bench.servers, bench.logs
    label = f"wide-{feed.streams}-{mode.replace('_', '-')}-{time.time_ns() % 10**12}"
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    topics = {f"KAFKA_TOPIC_{name}": f"{label}-{name.lower()}" for name in TOPICS}
    written = [topics["KAFKA_TOPIC_RAW_EVENTS"], topics["KAFKA_TOPIC_TRADES"], topics["KAFKA_TOPIC_DEPTH"]]
    _create_topics(admin, written, kept)
    arguments = [str(BENCH / "wide_blaster.py"), "--streams", str(feed.streams)]
    arguments += ["--warm-up", str(feed.warm_up_rounds), "--rounds", str(feed.rounds)]
    log = log_dir / f"{label}.log"
    with Process(arguments, clean_env(), log_dir / f"{label}-blaster.log") as blaster:
        exchange = blaster.line(120)
        a_round: int = exchange["round_messages"]
        warm_up, measured = a_round * feed.warm_up_rounds, a_round * feed.rounds
        env = clean_env(
            BINANCE_WS_URL=exchange["ws_url"],
            BINANCE_REST_URL=exchange["rest_url"],
            BINANCE_SYMBOLS=_symbols(feed.streams, exchange["symbols"]),
            BINANCE_STREAM_TYPES="aggTrade,depth@100ms",
            KAFKA_BOOTSTRAP_SERVERS=servers,
            KAFKA_DELIVERY=mode,
            KAFKA_COMMIT_INTERVAL_MS=str(interval_ms),
            INSTANCE_NAME=label,
            HTTP_PORT="0",
            **topics,
        )
        with Process(["-m", "ingest_actors", "run"], env, log) as process:
            service = RunningService(process, log)
            blaster.line(START_MAX_S)
            list(_until_delivered(servers, written, process, service, warm_up))
            blaster.line(60)
            memory_before_mib, cpu_before_s = service.resident_mib(), process.cpu_s()
            os.kill(exchange["pid"], signal.SIGUSR1)
            started_s: float = blaster.line(60)["at_s"]
            samples = list(_until_delivered(servers, written, process, service, warm_up + measured))
            seconds, cpu_s = time.monotonic() - started_s, process.cpu_s() - cpu_before_s
            blaster_cpu_s = blaster.cpu_s()
            peak_mib = process.memory_peak_mib()
            if exit_code := process.stop():
                raise Failed(f"the service ended with {exit_code}{process.end_of_log()}")
    if kept is EVERYTHING:
        check_series(servers, written[0], warm_up + measured)
    state_topic = topics["KAFKA_TOPIC_STATE"]
    state = _records(servers, [state_topic])
    delete_topics(admin, list(topics.values()))
    return {
        "mode": mode,
        "streams": feed.streams,
        "messages": measured,
        "seconds": round(seconds, 3),
        "messages_per_s": round(measured / seconds),
        "cpu_us_per_message": round(cpu_s / measured * 1e6, 2),
        "exchange_cpu_s": round(blaster_cpu_s, 2),
        "state_offsets": state,
        "memory_before_mib": round(memory_before_mib, 1),
        "memory_peak_mib": round(peak_mib, 1),
        "memory_mib": [round(sample, 1) for sample in samples],
    }


def _create_topics(admin: AdminClient, names: list[str], kept: Kept) -> None:
    config = {"retention.ms": "-1", "retention.bytes": str(kept.bytes_a_partition)}
    if kept is not EVERYTHING:
        config["segment.bytes"] = str(kept.bytes_a_partition // 2)
    new = [NewTopic(name, PARTITIONS, 1, config=config) for name in names]
    for future in admin.create_topics(new).values():
        future.result(timeout=30)


def _symbols(streams: int, symbols: int) -> str:
    return ",".join(symbols_of(streams)) if symbols <= SYMBOLS_NAMED_MAX else "*"


def _records(servers: str, topics: list[str], admin: AdminClient | None = None) -> int:
    """Records in topics, and transaction markers with them; a client that knows old leaders only is replaced."""
    try:
        if admin is not None:
            return sum(record_counts(admin, topics, PARTITIONS).values())
    except Failed:
        pass
    return sum(record_counts(AdminClient({"bootstrap.servers": servers}), topics, PARTITIONS).values())


def _until_delivered(
    servers: str, written: list[str], process: Process, service: RunningService, messages: int
) -> Iterator[float]:
    """Until so many messages are delivered; yields the resident memory, MiB, once a second."""
    deadline_s = time.monotonic() + 60 + messages / MESSAGES_PER_S_MIN
    sampled_s = 0.0
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    while _records(servers, written, admin) < 2 * messages:
        process.check()
        if time.monotonic() > deadline_s:
            raise Failed(f"not {messages} messages in {written}{process.end_of_log()}")
        if time.monotonic() >= sampled_s + SAMPLE_S:
            sampled_s = time.monotonic()
            yield service.resident_mib()
        time.sleep(POLL_S)
    while (delivered := service.look().delivered) < messages:
        if time.monotonic() > deadline_s:
            raise Failed(f"{delivered} of {messages} delivered{process.end_of_log()}")
        time.sleep(LOOK_S)
    if delivered > messages:
        raise Failed(f"{delivered} delivered, and {messages} were sent")
    yield service.resident_mib()
