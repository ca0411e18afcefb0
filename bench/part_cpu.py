"""CPU at a steady 20,000 messages a second, about the whole spot market, and the latency that it is had for.

    python bench/part_cpu.py                      # as `suite.py cpu`

Every message is sent when it is due. In one run, after a warm-up, first the CPU time of the client's process is taken,
all threads, as a share of one core; then somebody waits at the end of the topic (`tail`) and the median latency is
taken. One after the other, since who reads along takes caches and cores away.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import figures
from latency import seen_by, tail
from one_run import Running, running
from part import Bench, bar, in_turn, ratio, spreads
from registry import CLIENTS, available

NAME = "cpu"
ABOUT = "CPU of a core at a steady 20,000 messages/s, plain and over TLS, and the median latency in the same run"
COLUMNS = {
    "cpu_percent": ("CPU, % of a core", 1),
    "median_ms": ("median latency, ms", 2),
    "wakeups_per_s": ("wake-ups/s", 0),
}
PANELS = 2
ROUNDS = 5
RATE = 20_000.0
WARM_UP_S = 2.0
CPU_S = 5
CATCH_UP_S = 2.0
"""Until who reads along has read what was there before."""
LATENCY_S = 3
END_S = 60.0
OURS, OURS_TLS, BY_HAND = "ingest_actors", "ingest_actors, TLS", "picows, linger 0"
OURS_SAVING = "ingest_actors, pause 3 ms"
"""What `RECEIVE_PAUSE_MAX_MS` buys, and at what price."""


@dataclass(frozen=True)
class Contestant:
    """A client, and how it is run."""

    client: str
    linger_ms: float | None = None
    """None: as it comes."""
    tls: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


CONTESTANTS = {
    OURS: Contestant("ingest_actors"),
    OURS_TLS: Contestant("ingest_actors", tls=True),
    OURS_SAVING: Contestant("ingest_actors", settings={"RECEIVE_PAUSE_MAX_MS": "3"}),
    "picows": Contestant("picows"),
    BY_HAND: Contestant("picows", linger_ms=0),
    "rust": Contestant("rust"),
}


def run(bench: Bench) -> dict[str, Any]:
    there, absent = available(tuple(dict.fromkeys(one.client for one in CONTESTANTS.values())))
    names = {client.name for client in there}
    contestants = [name for name, one in CONTESTANTS.items() if one.client in names]
    rows = [measure(bench, name, number) for number, name in in_turn(contestants, bench.rounds(ROUNDS))]
    return {"rows": rows, "summary": spreads(rows, COLUMNS), "absent": absent, "bars": bars(rows, absent)}


def measure(bench: Bench, name: str, number: int) -> dict[str, Any]:
    """One run; every record is counted and read back.

    Args:
        bench: the sitting.
        name: the contestant's.
        number: of the round.
    """
    one = CONTESTANTS[name]
    cpu_s, latency_s = (2, 2) if bench.quick else (CPU_S, LATENCY_S)
    reading_s = WARM_UP_S + cpu_s
    messages = 2 * round(RATE * (reading_s + CATCH_UP_S + latency_s) / 2)
    options = ["--rate", str(RATE), *(["--tls", str(bench.logs)] if one.tls else [])]
    client = CLIENTS[one.client]
    with running(
        bench, client, messages, linger_ms=one.linger_ms, blaster_options=options, settings=one.settings
    ) as steady:
        row = {"client": name, "round": number, "rate": RATE, "linger_ms": one.linger_ms}
        row |= cpu_of(steady, steady.started_s + WARM_UP_S, cpu_s)
        with tail(bench, steady.topics, reading_s + CATCH_UP_S) as watching:
            blast = steady.blaster.line(END_S)
            steady.wait_for_records()
            row |= seen_by(watching)
        row["exchange_late_ms_max"] = round(blast["late_s_max"] * 1000, 1)
        steady.stop()
        steady.check()
    bench.tell(row)
    return row


def cpu_of(steady: Running, from_s: float, seconds: float) -> dict[str, float]:
    """What the client takes, from one moment on for so long."""
    time.sleep(max(0.0, from_s - time.monotonic()))
    before_s, cpu_s, wakeups = time.monotonic(), steady.process.cpu_s(), wakeups_of(steady.process.pid)
    time.sleep(seconds)
    cpu_s, elapsed_s = steady.process.cpu_s() - cpu_s, time.monotonic() - before_s
    return {
        "cpu_percent": round(cpu_s / elapsed_s * 100, 1),
        "cpu_us_per_message": round(cpu_s / elapsed_s / RATE * 1e6, 2),
        "wakeups_per_s": round((wakeups_of(steady.process.pid) - wakeups) / elapsed_s),
    }


def wakeups_of(pid: int) -> int:
    """How often its threads have gone to sleep of their own accord."""
    return sum(
        int(re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", task.read_text(), re.MULTILINE)[0])
        for task in Path(f"/proc/{pid}/task").glob("*/status")
    )


def bars(rows: list[dict[str, Any]], absent: Mapping[str, str]) -> list[dict[str, Any]]:
    """What must be reached."""

    def of(name: str, figure: str) -> float | None:
        found = [row[figure] for row in rows if row["client"] == name]
        return round(float(median(found)), 2) if found else None

    found = []
    by_hand_ms = of(BY_HAND, "median_ms")
    for name, at_most in ((OURS, 25), (OURS_TLS, 30)):
        found.append(
            bar(f"CPU at a steady 20,000 messages/s: {name}", of(name, "cpu_percent"), at_most=at_most, unit="%")
        )
        ours_ms = of(name, "median_ms")
        above_ms = None if ours_ms is None or by_hand_ms is None else round(ours_ms - by_hand_ms, 2)
        what = f"median latency at 20,000 messages/s: {name} above picows by hand with linger 0"
        found.append(bar(what, above_ms, at_most=2, unit=" ms", why=absent.get("picows", "")))
    for opponent in ("picows", "rust"):
        share = None if opponent in absent else ratio(rows, "cpu_percent", OURS, opponent)["median"]
        what = f"CPU at a steady 20,000 messages/s: ours against {opponent}"
        found.append(bar(what, share, at_most=1.0, why=absent.get(opponent, "")))
    return found


def plot(result: Mapping[str, Any], axes: Any) -> None:
    ours = [OURS, OURS_TLS, OURS_SAVING]
    figures.bars(axes[0], result["summary"], "cpu_percent", "CPU, % of a core", ours=ours)
    figures.bars(axes[1], result["summary"], "median_ms", "median latency, ms", ours=ours)


if __name__ == "__main__":
    import suite

    sys.exit(suite.main([NAME, *sys.argv[1:]]))
