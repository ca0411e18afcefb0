"""What an outage of Kafka costs: the broker is stopped at full feed (SIGSTOP), and later goes on.

    python bench/paused_broker.py
    python bench/paused_broker.py --seconds 600 --buffer 16MiB

The exchange sends as fast as the socket takes it, before, during and after the outage; the broker keeps its connections
and does not answer. Twice a second the service is asked what it holds and the system how much memory it has. At the end
the service is stopped, and the raw topic is counted: it must hold what was received, no more and no less.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

from confluent_kafka.admin import AdminClient

from harness import BENCH, Failed, Process, clean_env, create_topics, machine, print_table, record_counts
from ingest_actors.kafka.dev_broker import DevBroker, dev_broker

MIB = 1024 * 1024
PARTITIONS = 6
PERIOD_S = 0.5
RESUME_TIMEOUT_S = 120.0
TOPICS = ("raw-events", "trades", "depth", "dead-letters", "gaps", "ingest-state")
_SAMPLE = re.compile(r'^ingest_actors_(\w+)(?:\{\w+="([^"]*)"\})? (\S+)$', re.MULTILINE)


class Look(NamedTuple):
    """The service at one moment."""

    at_s: float
    resident_mib: float
    held_mib: float
    received: int
    delivered: int
    fullest_mailbox: float


class Service:
    """The running service, looked at from outside."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._url = str(self.wait_for("http_listening", 30)["url"])

    def lines(self) -> list[dict[str, object]]:
        """Its log so far."""
        return [json.loads(line) for line in self._log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def wait_for(self, event: str, timeout_s: float) -> dict[str, object]:
        """The first log line of that name."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            self._process.check()
            for line in self.lines():
                if line["event"] == event:
                    return line
            time.sleep(0.02)
        raise Failed(f"no {event} in {timeout_s} s{self._process.end_of_log()}")

    def resident_mib(self) -> float:
        """Its memory now."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def look(self) -> Look:
        """All that is measured."""
        self._process.check()
        with urllib.request.urlopen(f"{self._url}/metrics", timeout=30) as answer:
            samples = _SAMPLE.findall(answer.read().decode())
        sums = {name: sum(float(value) for other, _, value in samples if other == name) for name, _, _ in samples}
        fill = max(float(value) for name, _, value in samples if name == "mailbox_fill_ratio")
        return Look(
            time.monotonic(), self.resident_mib(), sums["buffer_bytes"] / MIB,
            int(sums.get("received_total", 0)), int(sums.get("delivered_total", 0)), fill,
        )  # fmt: skip

    def looks(self, seconds: float) -> list[Look]:
        """What is seen in so many seconds."""
        until_s = time.monotonic() + seconds
        looks = [self.look()]
        while time.monotonic() < until_s:
            time.sleep(PERIOD_S)
            looks.append(self.look())
        return looks


def measure(cluster: DevBroker, service: Service, options: argparse.Namespace) -> list[tuple[str, list[Look]]]:
    """The three phases, with what was seen in each."""
    while service.look().delivered == 0:
        time.sleep(0.05)
    phases = [("full feed", service.looks(options.before))]
    cluster.pause()
    try:
        phases.append(("outage", service.looks(options.seconds)))
    finally:
        cluster.resume()
    resumed_s, delivered = time.monotonic(), service.look().delivered
    while service.look().delivered == delivered:
        if time.monotonic() > resumed_s + RESUME_TIMEOUT_S:
            raise Failed("nothing flows again")
        time.sleep(0.02)
    print(f"first acknowledgement {time.monotonic() - resumed_s:.2f} s after the broker went on", flush=True)
    phases.append(("full feed again", service.looks(options.before)))
    return phases


def run(options: argparse.Namespace) -> None:
    """One outage, told as a table."""
    with contextlib.ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="paused-")))
        cluster = stack.enter_context(dev_broker(heap="1g"))
        admin = AdminClient(
            {"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0, "error_cb": lambda _: None}
        )
        create_topics(admin, [f"binance-{name}" for name in TOPICS], PARTITIONS)
        arguments = [str(BENCH / "blaster.py"), "--messages", str(options.messages), "--rounds", "0"]
        exchange = stack.enter_context(Process(arguments, clean_env(), logs / "blaster.log")).line(120)
        env = clean_env(
            BINANCE_WS_URL=exchange["ws_url"],
            BINANCE_REST_URL=exchange["rest_url"],
            BINANCE_SYMBOLS="BTCUSDT,ETHUSDT,BNBUSDT,ADAUSDT,XRPUSDT,SOLUSDT,DOGEUSDT,DOTUSDT,LTCUSDT,TRXUSDT",
            BINANCE_STREAM_TYPES="aggTrade,depth@100ms",
            KAFKA_BOOTSTRAP_SERVERS=cluster.bootstrap_servers,
            BUFFER_MAX_BYTES=options.buffer,
            HTTP_PORT="0",
        )
        log = logs / "service.log"
        process = stack.enter_context(Process(["-m", "ingest_actors", "run"], env, log))
        service = Service(process, log)
        before_mib = service.resident_mib()
        phases = measure(cluster, service, options)
        asked_s = time.monotonic()
        exit_code = process.stop(60)
        stopped_s = time.monotonic() - asked_s
        ledger = service.lines()[-1]["ledger"]
        raw = record_counts(admin, ["binance-raw-events"], PARTITIONS)["binance-raw-events"]
        told = [line for line in service.lines() if str(line["event"]).startswith(("kafka_", "connection_"))]
    report(options, before_mib, phases)
    print(
        f"\nstopped in {stopped_s:.2f} s at full feed, exit {exit_code}; raw topic: {raw:,} records; ledger: {ledger}"
    )
    print("\n".join(json.dumps(line) for line in told))
    if not isinstance(ledger, dict) or exit_code or not ledger["received"] == ledger["delivered"] == raw:
        raise Failed("what was received is not what the topic holds")


def report(options: argparse.Namespace, before_mib: float, phases: list[tuple[str, list[Look]]]) -> None:
    """A row a phase."""
    rows = [("before any event", "", f"{before_mib:.0f}", "", "", "")]
    for name, looks in phases:
        first, last = looks[0], looks[-1]
        rate = (last.delivered - first.delivered) / max(last.at_s - first.at_s, 0.001)
        rows.append((
            name, f"{last.at_s - first.at_s:.0f}", f"{max(look.resident_mib for look in looks):.0f}",
            f"{max(look.held_mib for look in looks):.1f}", f"{max(look.fullest_mailbox for look in looks):.2f}",
            f"{rate:,.0f}",
        ))  # fmt: skip
    head = ("phase", "seconds", "resident MiB, most", "held MiB, most", "fullest mailbox", "delivered/s")
    print(f"\nBUFFER_MAX_BYTES={options.buffer}\n")
    print_table(head, rows)
    print("\n" + "\n".join(f"{name}: {value}" for name, value in machine().items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long the broker is away")
    parser.add_argument("--before", type=float, default=10, help="seconds at full feed before and after")
    parser.add_argument("--buffer", default="64MiB", help="BUFFER_MAX_BYTES of the service")
    parser.add_argument("--messages", type=int, default=100_000, help="different ones, sent over and over")
    run(parser.parse_args())


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"failed: {failure}")
