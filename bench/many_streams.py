"""Many streams: how long until all are there, what they cost in memory and CPU, and whether each of them flows.

    python bench/many_streams.py
    python bench/many_streams.py --symbols 500 --minutes 2

The simulated exchange lists so many symbols and enforces its limits: 1,024 streams a connection, 5 messages a second,
300 connections in 5 minutes. The service is asked for all of them by a pattern, with its default stream types, and
writes into a real broker. `plan` is asked first what that amounts to.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import Failed, Process, broker, clean_env, machine, print_table
from running_service import Look, RunningService

OPEN_TIMEOUT_S = 300.0
SHARES = (0.5, 0.9, 0.99, 1.0)
STREAM_TYPES = 4
"""As many as the default of BINANCE_STREAM_TYPES."""


def plan(env: dict[str, str]) -> dict[str, Any]:
    """What the product says that this amounts to."""
    arguments = [sys.executable, "-m", "ingest_actors", "plan", "--format", "json"]
    done = subprocess.run(arguments, env=env, capture_output=True, timeout=120, check=False)
    if done.returncode:
        raise Failed(f"plan ended with {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}")
    return dict(json.loads(done.stdout))


def watch(
    service: RunningService, started_s: float, options: argparse.Namespace
) -> tuple[dict[str, float], list[Look]]:
    """When what was reached, in seconds from the start, and everything that was seen."""
    wanted = options.symbols * STREAM_TYPES
    reached: dict[str, float] = {}
    looks = []
    for look in service.looks(options.minutes * 60):
        looks.append(look)
        at_s = look.at_s - started_s
        connections, flowing = look.connections, look.streams.get("flowing", 0)
        if connections.get("open") and connections["open"] == sum(connections.values()):
            reached.setdefault("all connections open and subscribed", at_s)
        elif at_s > OPEN_TIMEOUT_S and "all connections open and subscribed" not in reached:
            raise Failed(f"not all connections are open after {at_s:.0f} s: {connections}")
        for share in SHARES:
            if flowing >= share * wanted:
                reached.setdefault(f"{share:.0%} of the streams have flowed", at_s)
        if flowing >= wanted:
            break
    return reached, looks


def run(options: argparse.Namespace) -> None:
    with contextlib.ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streams-")))
        bootstrap_servers, _ = stack.enter_context(broker(options.bootstrap_servers))
        arguments = ["-m", "ingest_actors", "simulate", "--symbols", str(options.symbols), "--seed", "1"]
        arguments += ["--activity", str(options.activity)]
        began_s = time.monotonic()
        simulator = stack.enter_context(Process(arguments, clean_env(), logs / "simulate.log"))
        exchange = simulator.line(120)
        simulator_s = time.monotonic() - began_s
        env = clean_env(
            BINANCE_WS_URL=exchange["ws_url"], BINANCE_REST_URL=exchange["rest_url"], BINANCE_SYMBOLS="*",
            KAFKA_BOOTSTRAP_SERVERS=bootstrap_servers, HTTP_PORT="0",
        )  # fmt: skip
        planned = plan(env)
        log = logs / "service.log"
        started_s = time.monotonic()
        process = stack.enter_context(Process(["-m", "ingest_actors", "run"], env, log))
        service = RunningService(process, log)
        reached, looks = watch(service, started_s, options)
        cpu_s, seconds = service.cpu_s(), time.monotonic() - started_s
        exit_code = process.stop(60)
        last = service.lines()[-1]
        told = [line for line in service.lines() if line["event"] in ("stream_silent", "connection_closed")]
        rows = [(name, f"{at_s:.1f} s") for name, at_s in reached.items()]
        rows += [
            ("streams at the end", json.dumps(looks[-1].streams)),
            ("resident memory of the service, most", f"{max(look.resident_mib for look in looks):.0f} MiB"),
            ("events received", f"{looks[-1].received:,} in {seconds:.0f} s"),
            ("CPU time of the service", f"{cpu_s:.1f} s"),
            ("simulated exchange: start, most memory", f"{simulator_s:.1f} s, {simulator.memory_peak_mib():.0f} MiB"),
            ("exit code, ledger", f"{exit_code}, {json.dumps(last['ledger'])}"),
        ]
    print(json.dumps(planned, indent=1)[: options.plan_chars])
    print_table((f"{options.symbols} symbols x {STREAM_TYPES} streams", ""), rows)
    print(f"stream_silent and connection_closed: {len(told)}")
    print("\n".join(json.dumps(line) for line in told[:20]))
    print("\n" + "\n".join(f"{name}: {value}" for name, value in machine().items()))
    if exit_code:
        raise Failed(f"exit code {exit_code}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=5000)
    parser.add_argument("--minutes", type=float, default=6, help="longest to watch; it ends when all streams flow")
    parser.add_argument("--activity", type=float, default=1.0, help="of the simulated market")
    parser.add_argument("--plan-chars", type=int, default=3000, help="how much of the plan to print")
    parser.add_argument("--bootstrap-servers", help="a Kafka of your own")
    run(parser.parse_args())


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"failed: {failure}")
