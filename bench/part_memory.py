"""Memory over many messages: resident memory once a second, at few streams and at many, in both delivery modes.

    python bench/part_memory.py                                    # 2 M messages each, as `suite.py memory`
    BENCH_MEMORY_MESSAGES=20000000 python bench/part_memory.py     # half an hour or so

Growth is what the last tenth of the samples is above the second tenth, in the median: by then the feed has gone round,
every stream is known and all queues have been full. The topics keep little, so that a long run does not fill the disk;
what is not kept cannot be read back, so the messages are counted by the brokers and by the service.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from part import Bench, bar, in_turn, spreads
from wide_feed import ROUND_MESSAGES
from wide_run import LITTLE, Feed, wide_run

NAME = "memory"
ABOUT = "resident memory while many messages pass, at 10 and at 10,000 streams"
COLUMNS = {
    "memory_after_warm_up_mib": ("MiB after warm-up", 0),
    "memory_growth_mib": ("growth, MiB", 1),
    "memory_peak_mib": ("peak MiB", 0),
    "messages": ("messages", 0),
}
CONTESTANTS = {
    "10 streams": (10, "at_least_once"),
    "10,000 streams": (10_000, "at_least_once"),
    "10,000 streams, exactly once": (10_000, "exactly_once"),
}
MESSAGES = "BENCH_MEMORY_MESSAGES"
"""The environment's name of how many messages each run has."""

MESSAGES_USUALLY = 2_000_000

WARM_UP_ROUNDS = 5
GROWTH_MIB_MAX = 5
MEMORY_MIB_MAX = 200


def growth(samples: Sequence[float]) -> tuple[float, float]:
    """Where it stood after the warm-up, and how much more it was at the end, MiB."""
    tenth = max(len(samples) // 10, 1)
    before, after = statistics.median(samples[tenth : 2 * tenth] or samples), statistics.median(samples[-tenth:])
    return round(before, 1), round(after - before, 1)


def run(bench: Bench) -> dict[str, Any]:
    rows = []
    rounds = bench.size(int(os.environ.get(MESSAGES, MESSAGES_USUALLY)) // ROUND_MESSAGES)
    for number, name in in_turn(tuple(CONTESTANTS), bench.rounds(1)):
        streams, mode = CONTESTANTS[name]
        feed = Feed(streams, bench.size(WARM_UP_ROUNDS), rounds)
        row = {"client": name, "round": number} | wide_run(bench, feed, mode, kept=LITTLE)
        row["memory_after_warm_up_mib"], row["memory_growth_mib"] = growth(row["memory_mib"])
        bench.tell({key: value for key, value in row.items() if key != "memory_mib"})
        rows.append(row)
    summary = spreads(rows, COLUMNS)
    bars = [
        bar(f"growth, {name}", found["memory_growth_mib"]["max"], at_most=GROWTH_MIB_MAX, unit=" MiB")
        for name, found in summary.items()
    ]
    most = max(found["memory_peak_mib"]["max"] for found in summary.values())
    bars.append(bar("peak memory", most, at_most=MEMORY_MIB_MAX, unit=" MiB"))
    return {"rows": rows, "summary": summary, "bars": bars}


def plot(result: Mapping[str, Any], axes: Any) -> None:
    for row in result["rows"]:
        samples = row["memory_mib"]
        axes.plot(
            [index / max(len(samples) - 1, 1) * row["messages"] / 1e6 for index in range(len(samples))],
            samples, label=row["client"], linewidth=1,
        )  # fmt: skip
    axes.set(xlabel="million messages", ylabel="resident memory, MiB")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    import suite

    sys.exit(suite.main([NAME, *sys.argv[1:]]))
