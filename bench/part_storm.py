"""The storm: every connection is cut in the same instant. How soon does all flow again, and what is missing then?

    python bench/part_storm.py
    python bench/part_storm.py --quick

A service with thousands of streams on 10 connections, then on 20, into a real broker. When all is subscribed and has
run for a while, the simulated exchange cuts all connections at once. What is measured: until every stream is subscribed
again, by the exchange's own account; until the last gap of the aggregate trades is repaired; how many attempts to
connect that took (the exchange bans an address after 300 in 5 minutes); and, by an audit of the topics alone, how many
trades are missing in the end. The other streams are samples, of which nothing can be missing but time.

Settings are the defaults, among them the first reconnect delay of 5 s, which is most of the time that it takes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from harness import BENCH, Failed, Process, clean_env, delete_topics, print_table
from part import Bench, bar, spreads
from running_service import RunningService

NAME = "storm"
ABOUT = "all connections cut at once: how soon all flows again, and that nothing is missing"
COLUMNS = {
    "connections": ("connections", 0),
    "streams": ("streams", 0),
    "subscribed_s": ("s until all is subscribed again", 1),
    "repaired_s": ("s until all gaps are repaired", 1),
    "attempts": ("attempts to connect", 0),
    "gaps": ("gaps of trades", 0),
    "missing": ("trades missing at the end", 0),
    "cpu_s": ("CPU s of the service for it", 1),
}

CONNECTIONS = (10, 20)
STREAM_TYPES = "aggTrade,miniTicker,kline_1m,kline_1h"
STREAMS_A_CONNECTION = 1024
ATTEMPTS_MAX = 300
"""Of an address in 5 minutes, by the exchange."""

ACTIVITY = 2.0
"""Of the simulated market: it simulates thousands of symbols in Python, on the same machine."""

STEADY_S = 5.0
OPEN_MAX_S = 240.0
BACK_MAX_S = 240.0
REPAIRED_MAX_S = 240.0
LOOK_S = 0.1
TOPICS = ("RAW_EVENTS", "TRADES", "DEPTH", "DEAD_LETTERS", "GAPS", "STATE")


def audited(env: Mapping[str, str]) -> dict[str, int]:
    """What the topics alone say of the aggregate trades: how many, and how many are missing or came twice."""
    command = [sys.executable, "-m", "ingest_actors", "audit", "--format", "json"]
    done = subprocess.run(command, env=dict(env), capture_output=True, timeout=300, check=False)
    if done.returncode not in (0, 1):
        raise Failed(f"audit ended with {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}")
    series = [one for one in json.loads(done.stdout)["series"] if one["event_type"] == "aggregate_trade"]
    spans = [span for one in series for kind in ("missing", "missing_explained") for span in one[kind]]
    return {
        "trades": sum(one["records"] for one in series),
        "missing": sum(last - first + 1 for first, last in spans),
        "duplicates": sum(len(one["duplicates"]) for one in series),
    }


def wait_until_open(service: RunningService, streams: int) -> None:
    """Every planned connection is open and all its streams are acknowledged."""
    until_s = time.monotonic() + OPEN_MAX_S
    while time.monotonic() < until_s:
        look = service.look()
        open_now = look.connections.get("open", 0)
        if open_now and open_now == sum(look.connections.values()) and look.streams.get("wanted", 0) >= streams:
            return
        time.sleep(LOOK_S)
    raise Failed(f"not all connections were open after {OPEN_MAX_S:g} s: {look.connections}, {look.streams}")


def wait_until_repaired(service: RunningService, cut_s: float) -> float:
    """Until no gap has been open for some looks; seconds since the cut."""
    until_s, closed_s = time.monotonic() + REPAIRED_MAX_S, None
    while time.monotonic() < until_s:
        gaps_open = service.gauge("gaps_open")
        now_s = time.monotonic()
        closed_s = None if gaps_open else closed_s or now_s
        if closed_s is not None and now_s - closed_s > STEADY_S:
            return closed_s - cut_s
        time.sleep(LOOK_S)
    raise Failed(f"{gaps_open:g} gaps were open {REPAIRED_MAX_S:g} s after the cut")


def run_once(servers: str, connections: int, logs: Path, number: int) -> dict[str, Any]:
    """One storm over so many connections."""
    types = len(STREAM_TYPES.split(","))
    symbols = connections * STREAMS_A_CONNECTION // types
    tag = f"storm-{connections}-{time.time_ns()}"
    topics = {f"KAFKA_TOPIC_{name}": f"{tag}-{name.lower().replace('_', '-')}" for name in TOPICS}
    with contextlib.ExitStack() as stack:
        options = ["--symbols", str(symbols), "--activity", str(ACTIVITY)]
        exchange = stack.enter_context(
            Process([str(BENCH / "storm_exchange.py"), *options], clean_env(), logs / f"{tag}-exchange.log")
        )
        addresses = exchange.line(240)
        env = clean_env(
            BINANCE_WS_URL=addresses["ws_url"], BINANCE_REST_URL=addresses["rest_url"], BINANCE_SYMBOLS="*",
            BINANCE_STREAM_TYPES=STREAM_TYPES, KAFKA_BOOTSTRAP_SERVERS=servers, HTTP_PORT="0", **topics,
        )  # fmt: skip
        log = logs / f"{tag}.log"
        process = stack.enter_context(Process(["-m", "ingest_actors", "run"], env, log))
        service = RunningService(process, log)
        wait_until_open(service, symbols * types)
        time.sleep(STEADY_S)
        cpu_s = service.cpu_s()
        os.kill(exchange.pid, signal.SIGUSR1)
        cut = exchange.line(30)
        back = exchange.line(BACK_MAX_S)
        wait_until_open(service, symbols * types)
        repaired_s = wait_until_repaired(service, cut["at_s"])
        cpu_s = service.cpu_s() - cpu_s
        if code := process.stop(60):
            raise Failed(f"the service ended with {code}{process.end_of_log()}")
        gaps = [line for line in service.lines() if line["event"] == "gap_opened"]
        found = audited(env)
    delete_topics(AdminClient({"bootstrap.servers": servers}), list(topics.values()))
    return {
        "client": f"{connections} connections",
        "round": number,
        "connections": cut["connections"],
        "streams": cut["streams"],
        "subscribed_s": round(back["at_s"] - cut["at_s"], 2),
        "repaired_s": round(repaired_s, 2),
        "attempts": back["attempts"],
        "gaps": len(gaps),
        "cpu_s": round(cpu_s, 2),
        **found,
    }


def run(bench: Bench) -> dict[str, Any]:
    """For the suite."""
    rows = []
    for number in range(bench.rounds(3)):
        for connections in CONNECTIONS[:1] if bench.quick else CONNECTIONS:
            rows.append(run_once(bench.servers, connections, bench.logs, number))
            bench.tell(rows[-1])
    return {
        "rows": rows,
        "summary": spreads(rows, COLUMNS),
        "bars": [
            bar("trades missing after the storm", max(row["missing"] for row in rows), at_most=0),
            bar("attempts to connect, of 300", max(row["attempts"] for row in rows), at_most=ATTEMPTS_MAX),
        ],
    }


def plot(result: dict[str, Any], axes: Any) -> None:
    """Seconds until all is subscribed, and until all is repaired."""
    for place, (who, figures) in enumerate(result["summary"].items()):
        for shift, name, colour in ((-0.2, "subscribed_s", "tab:blue"), (0.2, "repaired_s", "tab:green")):
            label = COLUMNS[name][0] if place == 0 else None
            axes.bar(place + shift, figures[name]["median"], width=0.4, color=colour, label=label)
            values = [row[name] for row in result["rows"] if row["client"] == who]
            axes.plot([place + shift] * len(values), values, "k.", markersize=3)
    axes.set_xticks(range(len(result["summary"])), list(result["summary"]))
    axes.set_ylabel("s after the cut")
    axes.legend(loc="lower center")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one storm over ten connections")
    parser.add_argument("--rounds", type=int, help="storms over each number of connections")
    parser.add_argument("--bootstrap-servers", help="a Kafka of your own")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="storm-") as logs:
        bench = Bench(Path(logs), options.quick, options.rounds, options.bootstrap_servers)
        try:
            result = run(bench)
        finally:
            bench.close()
    print_table(
        ("", *(heading for heading, _ in COLUMNS.values())),
        [
            (who, *(f"{figures[name]['median']:.{digits}f}" for name, (_, digits) in COLUMNS.items()))
            for who, figures in result["summary"].items()
        ],
    )
    print(json.dumps(result["bars"], indent=1))


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"failed: {failure}")
