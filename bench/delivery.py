"""What exactly once costs: the same feed into the same broker in both delivery modes, in turn.

    python bench/delivery.py                        # three alternating pairs, about two minutes
    python bench/delivery.py --pairs 1 --messages 200000

The service runs as in `one_run.py`, at full feed. A run lasts from the moment the exchange begins to send until the
service counts the last event as delivered, which with exactly once means committed. Then the raw topic is read back by
a reader of committed records: every series whole, in order, once.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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
from one_run import PARTITIONS, RUN_MAX_S, SYMBOLS, check_series
from running_service import RunningService

POLL_S = 0.1
MODES = ("at_least_once", "exactly_once")
TOPICS = ("RAW_EVENTS", "TRADES", "DEPTH", "DEAD_LETTERS", "GAPS", "STATE")


def run_once(mode: str, options: argparse.Namespace, servers: str, log_dir: Path, label: str) -> dict[str, Any]:
    """One run; its figures."""
    messages: int = options.messages
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    topics = {f"KAFKA_TOPIC_{name}": f"delivery-{label}-{name.lower()}" for name in TOPICS}
    written = [topics["KAFKA_TOPIC_RAW_EVENTS"], topics["KAFKA_TOPIC_TRADES"], topics["KAFKA_TOPIC_DEPTH"]]
    create_topics(admin, written, PARTITIONS)
    log = log_dir / f"{label}.log"
    with Process(
        [str(BENCH / "blaster.py"), "--messages", str(messages)], clean_env(), log_dir / "blaster.log"
    ) as feed:
        exchange = feed.line(120)
        env = clean_env(
            BINANCE_WS_URL=exchange["ws_url"],
            BINANCE_REST_URL=exchange["rest_url"],
            BINANCE_SYMBOLS=SYMBOLS,
            BINANCE_STREAM_TYPES="aggTrade,depth@100ms",
            KAFKA_BOOTSTRAP_SERVERS=servers,
            KAFKA_DELIVERY=mode,
            KAFKA_COMMIT_INTERVAL_MS=str(options.interval_ms),
            INSTANCE_NAME=label,
            HTTP_PORT="0",
            **topics,
        )
        with Process(["-m", "ingest_actors", "run"], env, log) as process:
            service = RunningService(process, log)
            started_s: float = feed.line(60)["at_s"]
            cpu_before_s = process.cpu_s()
            while (look := service.look()).delivered < messages:
                if time.monotonic() > started_s + RUN_MAX_S:
                    raise Failed(f"{look.delivered} of {messages} delivered{process.end_of_log()}")
                time.sleep(POLL_S)
            seconds, cpu_s = look.at_s - started_s, process.cpu_s() - cpu_before_s
            memory_mib = process.memory_peak_mib()
            if exit_code := process.stop():
                raise Failed(f"the service ended with {exit_code}{process.end_of_log()}")
    check_series(servers, written[0], messages)
    state = record_counts(admin, [topics["KAFKA_TOPIC_STATE"]], PARTITIONS)[topics["KAFKA_TOPIC_STATE"]]
    delete_topics(admin, list(topics.values()))
    return {
        "mode": mode,
        "messages": messages,
        "seconds": round(seconds, 3),
        "messages_per_s": round(messages / seconds),
        "cpu_us_per_message": round(cpu_s / messages * 1e6, 2),
        "state_offsets_per_s": round(state / seconds, 1),
        "memory_peak_mib": round(memory_mib),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3, help="alternating runs of each (default: 3)")
    parser.add_argument("--messages", type=int, default=600_000, help="of each run")
    parser.add_argument("--interval-ms", type=int, default=100, help="KAFKA_COMMIT_INTERVAL_MS")
    parser.add_argument("--bootstrap-servers", help="brokers to use; default: a dev-broker of its own")
    parser.add_argument("--json", type=Path, help="write everything there")
    options = parser.parse_args()
    about = machine()
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as logs, broker(options.bootstrap_servers) as (servers, kafka):
        about["kafka"] = kafka
        for pair in range(options.pairs):
            for mode in MODES if pair % 2 == 0 else reversed(MODES):
                label = f"{pair}-{mode.replace('_', '-')}"
                runs.append(run_once(mode, options, servers, Path(logs), label))
                print(json.dumps(runs[-1]), flush=True)
    names = ("messages_per_s", "cpu_us_per_message", "state_offsets_per_s", "memory_peak_mib")
    figures = {
        mode: {name: summarise([run[name] for run in runs if run["mode"] == mode]) for name in names} for mode in MODES
    }
    print("\nMedian (lowest to highest) of", options.pairs, "alternating pairs:\n")
    rows = [(mode, *(show(found[name], 1) for name in names)) for mode, found in figures.items()]
    print_table(("mode", "messages/s", "CPU us/message", "state offsets/s", "peak MiB"), rows)
    print("\n" + "\n".join(f"{name}: {value}" for name, value in about.items()))
    if options.json:
        options.json.write_text(json.dumps({"about": about, "summary": figures, "runs": runs}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(f"failed: {failure}")
