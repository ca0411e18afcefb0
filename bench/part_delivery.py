"""What exactly once costs: the same feed in both delivery modes, in turn, at few streams and at many.

    python bench/part_delivery.py                  # as `suite.py delivery`

With exactly once a transaction is committed every 100 ms, which is the default. Every run is warmed up, ends when the
service counts the last message as delivered, and is read back; see `wide_run`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import figures
from part import Bench, bar, in_turn, ratio, spreads
from wide_run import Feed, wide_run

NAME = "delivery"
ABOUT = "exactly once against at least once, at 10 and at 10,000 streams"
COLUMNS = {
    "messages_per_s": ("messages/s", 0),
    "cpu_us_per_message": ("CPU us/message", 2),
    "memory_peak_mib": ("peak MiB", 0),
    "state_offsets": ("state offsets", 0),
}
MODES = ("at_least_once", "exactly_once")
STREAMS = (10, 10_000)
ROUNDS = 3
FEED_ROUNDS = 5
"""Of about 100,000 messages each."""

AT_LEAST = 0.85


def contestant(mode: str, streams: int) -> str:
    return f"{mode.replace('_', ' ')}, {streams:,} streams"


def run(bench: Bench) -> dict[str, Any]:
    contestants = {contestant(mode, streams): (mode, streams) for streams in STREAMS for mode in MODES}
    rows = []
    for number, name in in_turn(tuple(contestants), bench.rounds(ROUNDS)):
        mode, streams = contestants[name]
        row = {"client": name, "round": number} | wide_run(bench, Feed(streams, 1, bench.size(FEED_ROUNDS)), mode)
        bench.tell({key: value for key, value in row.items() if key != "memory_mib"})
        rows.append(row)
    bars = []
    for streams in STREAMS:
        once, twice = (contestant(mode, streams) for mode in reversed(MODES))
        rate, cpu = ratio(rows, "messages_per_s", once, twice), ratio(rows, "cpu_us_per_message", twice, once)
        bars += [
            bar(f"exactly once against at least once, rate, {streams:,} streams", rate["median"], at_least=AT_LEAST),
            bar(f"the same, CPU a message, {streams:,} streams", cpu["median"], at_least=AT_LEAST),
        ]
    return {"rows": rows, "summary": spreads(rows, COLUMNS), "bars": bars}


def plot(result: Mapping[str, Any], axes: Any) -> None:
    ours = [name for name in result["summary"] if name.startswith("exactly")]
    figures.bars(axes, result["summary"], "cpu_us_per_message", "CPU, microseconds a message", ours=ours)


if __name__ == "__main__":
    import suite

    sys.exit(suite.main([NAME, *sys.argv[1:]]))
