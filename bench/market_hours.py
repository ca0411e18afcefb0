"""Hours of the market in a row, as fast as this machine takes them: does memory stand still, is the record whole?

    python bench/market_hours.py                                  # 8 hours of 1,500 symbols, an hour or so
    python bench/market_hours.py --hours 0.1 --symbols 100

The simulated exchange lists so many symbols, and its market moves on as soon as what it has sent is read. The service
takes the default streams of all of them into a real broker. Once a second its memory, its counts and the exchange's
time are looked at; after so many hours of the market it is stopped by SIGTERM, and `audit` judges what is in Kafka.

Growth is what the last tenth of the samples is above the second tenth, in the median, as in `part_memory.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness import Failed, Process, broker, clean_env, machine, print_table
from part_memory import growth
from running_service import Look, RunningService

MS_PER_HOUR = 3_600_000
TELL_EVERY_S = 60.0
STOP_S_MAX = 120.0
GROWTH_MIB_MAX = 10.0
STREAM_TYPES = 4
"""As many as the default of BINANCE_STREAM_TYPES."""

ZERO = ("gaps_open", "gap_ids_lost_total", "dead_lettered_total", "actor_restarts_total", "reconnects_total")
"""The metrics that are 0 when nothing went wrong."""

TOLD = ("gaps_total", "duplicates_total")
"""There may be some soon after the start: series that are quiet are compared with REST, and in a market that runs
twenty times as fast as its clock REST's answer overtakes the stream. Such a gap is closed at once."""


class Sample(NamedTuple):
    """One look, and how much of the market had passed by then."""

    market_hours: float
    look: Look


def watch(service: RunningService, rest_url: str, hours: float) -> Iterator[Sample]:
    """A sample a second, until the hours are over."""
    began_ms = exchange_ms(rest_url)
    while (market_hours := (exchange_ms(rest_url) - began_ms) / MS_PER_HOUR) < hours:
        yield Sample(market_hours, service.look())
        time.sleep(1)
    yield Sample(market_hours, service.look())


def exchange_ms(rest_url: str) -> int:
    """The exchange's time."""
    with urllib.request.urlopen(f"{rest_url}/api/v3/time", timeout=30) as answer:
        return int(json.load(answer)["serverTime"])


def audit(env: dict[str, str]) -> dict[str, Any]:
    """What the product itself says of the topics."""
    arguments = [sys.executable, "-m", "ingest_actors", "audit", "--format", "json"]
    began_s = time.monotonic()
    done = subprocess.run(arguments, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    series = json.loads(done.stdout)["series"]
    return {
        "exit_code": done.returncode, "seconds": round(time.monotonic() - began_s), "series": len(series),
        "records": sum(each["records"] for each in series),
        "missing_explained": sum(bool(each["missing_explained"]) for each in series),
        "defective": [each for each in series if not each["ok"]][:20],
    }  # fmt: skip


def run(options: argparse.Namespace) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hours-")))
        bootstrap_servers, kafka = stack.enter_context(broker(options.bootstrap_servers))
        arguments = ["-m", "ingest_actors", "simulate", "--symbols", str(options.symbols), "--seed", str(options.seed)]
        arguments += ["--activity", str(options.activity), "--speed", "0"]
        simulator = stack.enter_context(Process(arguments, clean_env(), logs / "simulate.log"))
        exchange = simulator.line(120)
        env = clean_env(
            BINANCE_WS_URL=exchange["ws_url"], BINANCE_REST_URL=exchange["rest_url"], BINANCE_SYMBOLS="*",
            KAFKA_BOOTSTRAP_SERVERS=bootstrap_servers, HTTP_PORT="0", KAFKA_DELIVERY=options.delivery,
        )  # fmt: skip
        log = logs / "service.log"
        process = stack.enter_context(Process(["-m", "ingest_actors", "run"], env, log))
        service = RunningService(process, log)
        began_s, told_s = time.monotonic(), 0.0
        samples = []
        for sample in watch(service, exchange["rest_url"], options.hours):
            samples.append(sample)
            if time.monotonic() - told_s > TELL_EVERY_S:
                told_s = time.monotonic()
                print(tell(sample, told_s - began_s), flush=True)
        seconds = time.monotonic() - began_s
        found = {name: service.gauge(name) for name in (*ZERO, *TOLD)}
        cpu_s, peak_mib = service.cpu_s(), process.memory_peak_mib()
        exit_code = process.stop(STOP_S_MAX)
        ledger = service.lines()[-1]["ledger"]
        odd = [line for line in service.lines() if line["level"] not in ("info", "debug")]
        verdict = audit(env) if options.audit else None
    settled_mib, growth_mib = growth([sample.look.resident_mib for sample in samples])
    return {
        "machine": machine() | {"kafka": kafka},
        "symbols": options.symbols, "streams": options.symbols * STREAM_TYPES, "activity": options.activity,
        "delivery": options.delivery, "market_hours": round(samples[-1].market_hours, 2), "seconds": round(seconds),
        "received": samples[-1].look.received, "per_second": round(samples[-1].look.received / seconds),
        "service_cpu_s": round(cpu_s), "memory_after_warm_up_mib": settled_mib, "memory_growth_mib": growth_mib,
        "memory_peak_mib": round(peak_mib, 1), "metrics": found, "exit_code": exit_code, "ledger": ledger,
        "warnings": odd[:50], "warnings_in_all": len(odd), "audit": verdict,
        "samples": [(round(each.market_hours, 3), round(each.look.resident_mib, 1)) for each in samples],
    }  # fmt: skip


def tell(sample: Sample, seconds: float) -> str:
    look = sample.look
    return (
        f"{seconds:6.0f} s: {sample.market_hours:5.2f} hours of the market, {look.received:,} events, "
        f"{look.resident_mib:.1f} MiB, streams {json.dumps(look.streams)}"
    )


def failures(found: dict[str, Any]) -> list[str]:
    """What should not be."""
    wrong = [f"{name} is {value:g}" for name, value in found["metrics"].items() if value and name in ZERO]
    if found["memory_growth_mib"] >= GROWTH_MIB_MAX:
        wrong.append(f"memory grew by {found['memory_growth_mib']} MiB")
    if found["exit_code"]:
        wrong.append(f"exit code {found['exit_code']}")
    if found["audit"] is not None and found["audit"]["exit_code"]:
        wrong.append(f"audit ended with {found['audit']['exit_code']}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=8.0, help="of the market")
    parser.add_argument("--symbols", type=int, default=1500, help="the spot market has about so many that trade")
    parser.add_argument("--activity", type=float, default=1.0, help="of the simulated market")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--delivery", choices=("at_least_once", "exactly_once"), default="at_least_once")
    parser.add_argument("--audit", action=argparse.BooleanOptionalAction, default=True, help="read all back at the end")
    parser.add_argument("--bootstrap-servers", help="a Kafka of your own")
    parser.add_argument("--json", type=Path, help="write everything there")
    options = parser.parse_args()
    found = run(options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    rows = [(name, json.dumps(value)) for name, value in found.items() if name not in ("samples", "machine")]
    print_table((f"{found['symbols']} symbols, {found['market_hours']} hours of the market", ""), rows)
    print("\n".join(f"{name}: {value}" for name, value in found["machine"].items()))
    if wrong := failures(found):
        raise Failed("; ".join(wrong))


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"failed: {failure}")
