"""The whole pipeline, from the socket into Kafka, against the naive trio-websocket one, on the same real broker.

    python bench/pipeline.py                       # five alternating pairs, about three minutes
    python bench/pipeline.py --pairs 1 --messages 300000 --naive-messages 30000

Ours runs as users run it, `python -m ingest_actors run` at its default settings; the naive one is `bench/naive.py`.
Both are processes of their own and do the same work: each message becomes two records, with key, Kafka timestamp and
murmur2 partition, snappy, acks=all, idempotent, and every record is accounted for. A run lasts from the moment the
exchange begins to send until the last record is in the topics by the broker's own count; then the raw topic is read
back, and every series must be there whole, in order, once. CPU is user and system time of the client's process over the
same span.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from harness import (
    BENCH,
    Failed,
    Process,
    broker,
    clean_env,
    create_topics,
    delete_topics,
    machine,
    print_table,
    record_counts,
    show,
    summarise,
)

PARTITIONS = 6
POLL_S = 0.02
RUN_MAX_S = 300.0
SYMBOLS = "BTCUSDT,ETHUSDT,BNBUSDT,ADAUSDT,XRPUSDT,SOLUSDT,DOGEUSDT,DOTUSDT,LTCUSDT,TRXUSDT"
CLIENTS = {"ingest_actors": ["-m", "ingest_actors", "run"], "naive": [str(BENCH / "naive.py")]}
SERIES = re.compile(rb'"e": ?"(\w+)".*?"s": ?"(\w+)", ?"[aU]": ?(\d+),(?:.*?"u": ?(\d+),)?')


def run_once(client: str, messages: int, servers: str, log_dir: Path, label: str) -> dict[str, Any]:
    """One run; its figures."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    raw, trades, depth = (f"bench-{label}-{name}" for name in ("raw", "trades", "depth"))
    others = {f"KAFKA_TOPIC_{name}": f"bench-{label}-{name.lower()}" for name in ("DEAD_LETTERS", "GAPS", "STATE")}
    create_topics(admin, [raw, trades, depth], PARTITIONS)
    arguments = [str(BENCH / "blaster.py"), "--messages", str(messages)]
    with Process(arguments, clean_env(), log_dir / f"{label}-blaster.log") as blaster:
        exchange = blaster.line(120)
        env = clean_env(
            BINANCE_WS_URL=exchange["ws_url"],
            BINANCE_REST_URL=exchange["rest_url"],
            BINANCE_SYMBOLS=SYMBOLS,
            BINANCE_STREAM_TYPES="aggTrade,depth@100ms",
            KAFKA_BOOTSTRAP_SERVERS=servers,
            KAFKA_TOPIC_RAW_EVENTS=raw,
            KAFKA_TOPIC_TRADES=trades,
            KAFKA_TOPIC_DEPTH=depth,
            HTTP_PORT="0",
            **others,
        )
        with Process(CLIENTS[client], env, log_dir / f"{label}.log") as process:
            started_s = wait_for_start(blaster, process)
            cpu_before_s = process.cpu_s()
            counts = wait_for_records(admin, process, [raw, trades, depth], 2 * messages)
            ended_s, cpu_after_s = time.monotonic(), process.cpu_s()
            memory_mib = process.memory_peak_mib()
            exit_code = process.stop()
            if exit_code != 0:
                raise Failed(f"{client} ended with {exit_code}{process.end_of_log()}")
    if counts != {raw: messages, trades: messages // 2, depth: messages // 2}:
        raise Failed(f"{client}: {counts}")
    if record_counts(admin, [raw], PARTITIONS)[raw] != messages:
        raise Failed(f"{client} wrote more after the last one")
    check_series(servers, raw, messages)
    delete_topics(admin, [raw, trades, depth, *others.values()])
    seconds = ended_s - started_s
    return {
        "client": client,
        "messages": messages,
        "frame_bytes": exchange["frame_bytes"],
        "seconds": round(seconds, 3),
        "messages_per_s": round(messages / seconds),
        "cpu_us_per_message": round((cpu_after_s - cpu_before_s) / messages * 1e6, 2),
        "cores_used": round((cpu_after_s - cpu_before_s) / seconds, 2),
        "memory_peak_mib": round(memory_mib),
    }


def wait_for_start(blaster: Process, process: Process) -> float:
    """When the exchange began to send."""
    try:
        started: float = blaster.line(60)["at_s"]
    except Failed as failure:
        raise Failed(f"the client never subscribed{process.end_of_log()}") from failure
    return started


def wait_for_records(admin: AdminClient, process: Process, topics: list[str], records: int) -> dict[str, int]:
    """Until the broker has them all."""
    deadline = time.monotonic() + RUN_MAX_S
    while True:
        counts = record_counts(admin, topics, PARTITIONS)
        if sum(counts.values()) >= records:
            return counts
        process.check()
        if time.monotonic() > deadline:
            raise Failed(f"after {RUN_MAX_S} s: {counts} of {records} records{process.end_of_log()}")
        time.sleep(POLL_S)


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


def report(runs: list[dict[str, Any]], about: dict[str, Any]) -> dict[str, Any]:
    """Print the table; everything as one object."""
    figures = {
        client: {
            name: summarise([run[name] for run in runs if run["client"] == client])
            for name in ("messages_per_s", "cpu_us_per_message", "cores_used", "memory_peak_mib")
        }
        for client in CLIENTS
    }
    pairs = list(zip(*([run for run in runs if run["client"] == client] for client in CLIENTS), strict=True))
    ratios = {
        "rate": summarise([ours["messages_per_s"] / naive["messages_per_s"] for ours, naive in pairs]),
        "cpu": summarise([naive["cpu_us_per_message"] / ours["cpu_us_per_message"] for ours, naive in pairs]),
    }
    rows = [
        (
            client,
            show(found["messages_per_s"], 0),
            show(found["cpu_us_per_message"], 2),
            show(found["cores_used"], 2),
            show(found["memory_peak_mib"], 0),
        )
        for client, found in figures.items()
    ]
    print("\nMedian (lowest to highest) of", len(pairs), "alternating pairs:\n")
    print_table(("client", "messages/s", "CPU us/message", "cores used", "peak MiB"), rows)
    print(f"\n{show(ratios['rate'])} times the rate, at one {show(ratios['cpu'])}th of the CPU time a message.")
    print("\n" + "\n".join(f"{name}: {value}" for name, value in about.items()))
    return {"about": about, "summary": figures, "ratios": ratios, "runs": runs}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, help="alternating runs of each (default: 5)")
    parser.add_argument("--messages", type=int, default=1_500_000, help="of each of our runs")
    parser.add_argument("--naive-messages", type=int, default=100_000, help="of each naive run: it takes longer")
    parser.add_argument("--bootstrap-servers", help="brokers to use; default: a dev-broker of its own")
    parser.add_argument("--json", type=Path, help="write everything there")
    parser.add_argument("--at-least", type=float, default=0, help="exit 1 unless ours has so many times the naive rate")
    options = parser.parse_args()
    messages = {"ingest_actors": options.messages, "naive": options.naive_messages}
    about = machine()
    runs = []
    with tempfile.TemporaryDirectory(prefix="bench-") as logs, broker(options.bootstrap_servers) as (servers, kafka):
        about["kafka"] = kafka
        for pair in range(options.pairs):
            for client in CLIENTS if pair % 2 == 0 else reversed(CLIENTS):
                runs.append(run_once(client, messages[client], servers, Path(logs), f"{pair}-{client}"))
                print(json.dumps(runs[-1]), flush=True)
    result = report(runs, about)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return int(result["ratios"]["rate"]["median"] < options.at_least)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(f"failed: {failure}")
