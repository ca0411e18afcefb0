"""What a message costs at 10, 100, 1,000 and 10,000 streams, and what each stream costs in memory.

    python bench/part_streams.py                   # as `suite.py streams`

The streams take turns, so that no two messages in a row are of one series, and nothing that is known of a series is
near at hand when its next message comes: the exchange's own feed, where few symbols have most of the trades, is kinder.
More than 1,024 streams come by several connections. Every run is warmed up and read back; see `wide_run`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from part import Bench, bar, in_turn, ratio, spreads
from wide_run import Feed, wide_run

NAME = "streams"
ABOUT = "a message's cost at 10, 100, 1,000 and 10,000 streams"
COLUMNS = {
    "messages_per_s": ("messages/s", 0),
    "cpu_us_per_message": ("CPU us/message", 2),
    "memory_peak_mib": ("peak MiB", 0),
}
STREAMS = (10, 100, 1_000, 10_000)
ROUNDS = 3
FEED_ROUNDS = 5
"""Of about 100,000 messages each."""

AT_MOST = 1.10
MEMORY_MIB_MAX = 200


def contestant(streams: int) -> str:
    return f"{streams:,} streams"


def run(bench: Bench) -> dict[str, Any]:
    contestants = {contestant(streams): streams for streams in STREAMS}
    rows = []
    for number, name in in_turn(tuple(contestants), bench.rounds(ROUNDS)):
        feed = Feed(contestants[name], 1, bench.size(FEED_ROUNDS))
        row = {"client": name, "round": number} | wide_run(bench, feed, "at_least_once")
        bench.tell({key: value for key, value in row.items() if key != "memory_mib"})
        rows.append(row)
    summary = spreads(rows, COLUMNS)
    few, many = contestant(STREAMS[0]), contestant(STREAMS[-1])
    cost = ratio(rows, "cpu_us_per_message", many, few)["median"]
    return {
        "rows": rows,
        "summary": summary,
        "bars": [
            bar(f"CPU a message, {many} against {few}", cost, at_most=AT_MOST),
            bar(f"peak memory, {many}", summary[many]["memory_peak_mib"]["max"], at_most=MEMORY_MIB_MAX, unit=" MiB"),
        ],
    }


def plot(result: Mapping[str, Any], axes: Any) -> None:
    found = [result["summary"][contestant(streams)]["cpu_us_per_message"] for streams in STREAMS]
    middle = [each["median"] for each in found]
    spread = [[each["median"] - each["min"] for each in found], [each["max"] - each["median"] for each in found]]
    axes.errorbar(STREAMS, middle, yerr=spread, marker="o", capsize=3, color="#d9480f")
    axes.set(xscale="log", xlabel="streams", ylabel="CPU, microseconds a message")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    import suite

    sys.exit(suite.main([NAME, *sys.argv[1:]]))
