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
import sys
import tempfile
import time
from pathlib import Path

from confluent_kafka.admin import AdminClient

from harness import BENCH, Failed, Process, clean_env, create_topics, machine, print_table, record_counts
from ingest_actors.kafka.dev_broker import DevBroker, dev_broker
from running_service import Look, RunningService

PARTITIONS = 6
RESUME_TIMEOUT_S = 120.0
TOPICS = ("raw-events", "trades", "depth", "dead-letters", "gaps", "ingest-state")


def measure(cluster: DevBroker, service: RunningService, options: argparse.Namespace) -> list[tuple[str, list[Look]]]:
    """The three phases, with what was seen in each."""
    while service.look().delivered == 0:
        time.sleep(0.05)
    phases = [("full feed", list(service.looks(options.before)))]
    cluster.pause()
    try:
        phases.append(("outage", list(service.looks(options.seconds))))
    finally:
        cluster.resume()
    resumed_s, delivered = time.monotonic(), service.look().delivered
    while service.look().delivered == delivered:
        if time.monotonic() > resumed_s + RESUME_TIMEOUT_S:
            raise Failed("nothing flows again")
        time.sleep(0.02)
    print(f"first acknowledgement {time.monotonic() - resumed_s:.2f} s after the broker went on", flush=True)
    phases.append(("full feed again", list(service.looks(options.before))))
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
        arguments = [str(BENCH / "blaster.py"), "--messages", "1000", "--rounds", "0"]
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
        service = RunningService(process, log)
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
    run(parser.parse_args())


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"failed: {failure}")
