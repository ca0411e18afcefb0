"""Parsing and splicing alone: from frames in memory to values, keys and times of records.

    python bench/part_parse.py                    # as `suite.py parse`

Ours does what the service does for a batch: every frame proven to be whole JSON of the form that its stream has, every
series followed, the batch committed. It is asked with as many frames at once as one large read brings, and with as few
as come under a quiet flow. Each way in a process of its own; see `parsers.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import figures
from harness import BENCH, Process, clean_env
from part import Bench, in_turn, spreads

NAME = "parse"
ABOUT = "what parsing, checking and splicing cost a message, without socket and Kafka"
WHO = "way"
COLUMNS = {"messages_per_s": ("messages/s", 0), "cpu_us_per_message": ("CPU us/message", 2)}
ROUNDS = 5
MESSAGES = 400_000
READ_FRAMES, FEW_FRAMES = 190, 4
"""Frames in a read of 64 KiB, and in one of a moment at some thousands a second."""
WAYS: Mapping[str, tuple[str, int, float]] = {
    f"ours, {READ_FRAMES} at once": ("ours", READ_FRAMES, 1),
    f"ours, {FEW_FRAMES} at once": ("ours", FEW_FRAMES, 0.5),
    "ours, the slow way": ("ours, slow way", READ_FRAMES, 0.2),
    "json by hand": ("json", READ_FRAMES, 0.2),
    "msgspec by hand": ("msgspec", READ_FRAMES, 1),
    "msgspec by hand, ids checked": ("msgspec, ids checked", READ_FRAMES, 1),
}
"""By the name in tables: the way, how many frames at once, how many of the messages."""


def run(bench: Bench) -> dict[str, Any]:
    rows = [measure(bench, name, number) for number, name in in_turn(tuple(WAYS), bench.rounds(ROUNDS))]
    return {"rows": rows, "summary": spreads(rows, COLUMNS, by="way"), "bars": []}


def measure(bench: Bench, name: str, number: int) -> dict[str, Any]:
    way, at_once, share = WAYS[name]
    messages = round(bench.size(MESSAGES) * share)
    arguments = [str(BENCH / "parsers.py"), way, str(messages), str(at_once)]
    with Process(arguments, clean_env(), bench.logs / "parse.log") as process:
        row = {"way": name, "round": number, "messages": messages} | process.line(300)
    bench.tell(row)
    return row


def plot(result: Mapping[str, Any], axes: Any) -> None:
    ours = [name for name in WAYS if name.startswith("ours")]
    figures.bars(axes, result["summary"], "cpu_us_per_message", "CPU, microseconds a message", ours=ours)


if __name__ == "__main__":
    import suite

    sys.exit(suite.main([NAME, *sys.argv[1:]]))
