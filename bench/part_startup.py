"""Start-up: from the start of the process to its first record in Kafka, beside a script that does nothing else.

    python bench/part_startup.py
    python bench/part_startup.py --rounds 20 --delivery exactly_once

Every client is started anew, in turn, against one simulated exchange and one broker, whose topics are there already. A
consumer waits on the raw topic, so that the moment at which the broker shows the record ends a run, not what a client
says. The market is busy, so that nobody waits for an event: the next one is milliseconds away.

The rounds alternate, and what begins changes from round to round. *same* is the script with the packages that the
service imports, *bare* the same with those alone that it needs itself. *again* starts the service under a name that has
state in Kafka, *first* under a new one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from harness import BENCH, Failed, Process, clean_env, delete_topics, machine, print_table, show
from part import Bench, bar, ratio, spreads

NAME = "startup"
ABOUT = "from the start of the process to the first record in Kafka"
CLIENTS = ("same", "bare", "first", "again")
OURS = {"first": "a new name", "again": "a name with state"}
COLUMNS = {
    "seconds": ("s to the first record", 2),
    "cpu_s": ("CPU s until then", 2),
    "times_same": ("times the script with the same imports", 2),
}
BAR = 2.0
"""Most that the service may take, as a multiple of the script that imports the same packages."""

PARTITIONS = 6
"""The service's default."""

ACTIVITY = 20.0
"""Of the simulated market: thousands of events a second for its five symbols, so that the next one is never far."""

SYMBOLS = "BTCUSDT,ETHUSDT,BNBUSDT,ADAUSDT,XRPUSDT"
STREAM_TYPES = "aggTrade,depth@100ms"
TIMEOUT_S = 30.0
TOPICS = ("RAW_EVENTS", "TRADES", "DEPTH", "DEAD_LETTERS", "GAPS", "STATE")


class FirstRecord:
    """Waits for the next record of a topic; it looks from where the topic ends now."""

    def __init__(self, servers: str, topic: str) -> None:
        self._topic = topic
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "bench-startup",  # asked for, never joined
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                "fetch.min.bytes": 1,
                "isolation.level": "read_committed",
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def look_from_here(self) -> None:
        """What there is by now does not count."""
        places = []
        for partition in range(PARTITIONS):
            place = TopicPartition(self._topic, partition)
            place.offset = self._consumer.get_watermark_offsets(place, timeout=TIMEOUT_S)[1]
            places.append(place)
        self._consumer.assign(places)
        self._consumer.poll(0.3)  # the first fetch of every partition is under way

    def wait(self, child: subprocess.Popen[bytes]) -> float:
        """The moment at which it was there, `time.monotonic` seconds."""
        until_s = time.monotonic() + TIMEOUT_S
        while time.monotonic() < until_s:
            message = self._consumer.poll(0.2)
            at_s = time.monotonic()
            if message is not None and message.error() is None:
                return at_s
            if child.poll():
                raise Failed(f"{child.args!r} ended with {child.returncode}")
        raise Failed(f"{child.args!r}: no record within {TIMEOUT_S:g} s")


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, all its threads."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def arguments(client: str) -> list[str]:
    if client in ("same", "bare"):
        return [str(BENCH / "clients" / "once.py"), client]
    return ["-m", "ingest_actors", "run"]


def run_once(client: str, number: int, env: dict[str, str], first: FirstRecord, log: Path) -> dict[str, Any]:
    """One start."""
    name = "again" if client == "again" else f"{client}-{number}"
    first.look_from_here()
    with log.open("wb") as stderr:
        began_s = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, *arguments(client)], env=env | {"INSTANCE_NAME": name}, stdout=stderr, stderr=stderr
        )
        try:
            seconds = first.wait(child) - began_s
            cpu = cpu_s(child.pid)
            child.send_signal(signal.SIGTERM)
            code = child.wait(TIMEOUT_S)
        except Failed as failure:
            raise Failed(f"{failure}\n{log.read_text()[-3000:]}") from None
        finally:
            child.kill()
            child.wait()
    if code not in (0, -signal.SIGTERM):
        raise Failed(f"{client} ended with {code}\n{log.read_text()[-3000:]}")
    return {"client": client, "round": number, "seconds": round(seconds, 4), "cpu_s": round(cpu, 3)}


@contextlib.contextmanager
def parts(servers: str, delivery: str, logs: Path) -> Iterator[tuple[dict[str, str], FirstRecord]]:
    """A busy exchange, topics that are there, and somebody who looks."""
    tag = f"startup-{time.time_ns()}"
    topics = {f"KAFKA_TOPIC_{name}": f"{tag}-{name.lower().replace('_', '-')}" for name in TOPICS}
    with contextlib.ExitStack() as stack:
        simulate = ["-m", "ingest_actors", "simulate", "--seed", "1", "--symbols", SYMBOLS]
        simulate += ["--activity", str(ACTIVITY)]
        exchange = stack.enter_context(Process(simulate, clean_env(), logs / "simulate.log")).line(60)
        env = clean_env(
            BINANCE_WS_URL=exchange["ws_url"], BINANCE_REST_URL=exchange["rest_url"], BINANCE_SYMBOLS=SYMBOLS,
            BINANCE_STREAM_TYPES=STREAM_TYPES, KAFKA_BOOTSTRAP_SERVERS=servers, KAFKA_DELIVERY=delivery,
            HTTP_PORT="0", **topics,
        )  # fmt: skip
        setup = [sys.executable, "-m", "ingest_actors", "setup-topics"]
        subprocess.run(setup, env=env, check=True, capture_output=True, timeout=60)
        first = stack.enter_context(FirstRecord(servers, topics["KAFKA_TOPIC_RAW_EVENTS"]))
        yield env, first
        delete_topics(AdminClient({"bootstrap.servers": servers}), list(topics.values()))


def measure(bench: Bench, rounds: int, delivery: str) -> dict[str, Any]:
    """All clients in turn, once more than so many times: the first round warms up and does not count."""
    rows = []
    with parts(bench.servers, delivery, bench.logs) as (env, first):
        for number in range(rounds + 1):
            turn = number % len(CLIENTS)
            for client in CLIENTS[turn:] + CLIENTS[:turn]:
                row = run_once(client, number, env, first, bench.logs / f"startup-{client}-{number}.log")
                if number:
                    rows.append(row)
                    bench.tell(row)
    ratios = {client: ratio(rows, "seconds", client, "same") for client in CLIENTS}
    summary = spreads(rows, ("seconds", "cpu_s"))
    for client, spread in ratios.items():
        summary[client]["times_same"] = spread
    name = "start-up to the first record in Kafka, times the script with the same imports"
    bars = [bar(f"{name}: {what}", round(ratios[client]["median"], 3), at_most=BAR) for client, what in OURS.items()]
    return {"rows": rows, "summary": {client: summary[client] for client in CLIENTS}, "bars": bars}


def run(bench: Bench) -> dict[str, Any]:
    """For the suite."""
    return measure(bench, bench.rounds(12), "at_least_once")


def plot(result: dict[str, Any], axes: Any) -> None:
    """Seconds by client, every run a dot."""
    for place, client in enumerate(CLIENTS):
        values = [row["seconds"] for row in result["rows"] if row["client"] == client]
        axes.bar(place, statistics.median(values), width=0.6, alpha=0.5)
        axes.plot([place] * len(values), values, "k.", markersize=3)
    axes.set_xticks(range(len(CLIENTS)), ["script,\nsame imports", "script,\nbare", "ours,\nnew", "ours,\nagain"])
    axes.set_ylabel("s to the first record in Kafka")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="starts of each client that count (default: 10)")
    parser.add_argument("--delivery", default="at_least_once", choices=("at_least_once", "exactly_once"))
    parser.add_argument("--bootstrap-servers", help="brokers to use; default: a dev-broker of its own")
    parser.add_argument("--json", type=Path, help="write everything there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="startup-") as logs:
        bench = Bench(Path(logs), bootstrap_servers=options.bootstrap_servers)
        try:
            result = measure(bench, options.rounds, options.delivery)
        finally:
            bench.close()
    rows = [
        (client, *(show(figures[name], digits) for name, (_, digits) in COLUMNS.items()))
        for client, figures in result["summary"].items()
    ]
    print_table(("client", *(heading for heading, _ in COLUMNS.values())), rows)
    print("\n" + json.dumps(result["bars"], indent=1))
    print("\n" + "\n".join(f"{name}: {value}" for name, value in machine().items()))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"failed: {failure}")
