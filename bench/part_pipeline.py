"""The whole pipeline in bulk, from the socket into Kafka: ours beside what others write, on the same real broker.

    python bench/part_pipeline.py                 # as `suite.py pipeline`

All do the same work: each message becomes two records, with key, Kafka timestamp and murmur2 partition, snappy,
acks=all, idempotent, and every record is accounted for. (cryptofeed writes one record a message, in its own format.)
Beside them stands librdkafka's own floor: the same records from memory, see `part_produce`. `one_run.bulk` says what is
measured and checked.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import figures
from one_run import bulk
from part import Bench, bar, in_turn, ratio, spreads
from registry import HANDOVERS, available

NAME = "pipeline"
ABOUT = "messages a second and CPU a message from the socket into Kafka, in bulk, all clients"
COLUMNS = {
    "messages_per_s": ("messages/s", 0),
    "cpu_us_per_message": ("CPU us/message", 2),
    "cores_used": ("cores used", 2),
    "memory_peak_mib": ("peak MiB", 0),
}
PANELS = 2
ROUNDS = 5
MESSAGES = 400_000
OURS = "ingest_actors"
FLOORS = tuple(name for name in HANDOVERS if name.startswith("librdkafka"))


def run(bench: Bench) -> dict[str, Any]:
    clients, absent = available()
    contestants = {client.name: client for client in clients} | {name: HANDOVERS[name] for name in FLOORS}
    rows = []
    for number, name in in_turn(tuple(contestants), bench.rounds(ROUNDS)):
        client = contestants[name]
        # An even count: trades and depth come in turn.
        messages = 2 * round(bench.size(MESSAGES) * client.messages_share / 2)
        rows.append(bulk(bench, client, messages, number))
    summary = spreads(rows, COLUMNS)
    return {"rows": rows, "summary": summary, "absent": absent, "bars": bars(rows, absent)}


RATES = {"naive": 14, "picows": 1.0, "picows-ids": 1.1, "cryptofeed": 50}
"""How many times the rate of each ours must reach."""
RUST_CPU = 0.95
"""Least that Rust's CPU time a message, divided by ours, must be."""
FLOOR_CPU = 1.35
"""Most that ours, divided by the lower of librdkafka's floors, may be."""


def bars(rows: list[dict[str, Any]], absent: Mapping[str, str]) -> list[dict[str, Any]]:
    """What must be reached against each."""
    found = []
    for opponent, at_least in RATES.items():
        what = f"whole pipeline in bulk, rate: ours by {opponent}'s"
        rate = None if opponent in absent else ratio(rows, "messages_per_s", OURS, opponent)["median"]
        found.append(bar(what, rate, at_least=at_least, unit=" times", why=absent.get(opponent, "")))
    rust = None if "rust" in absent else ratio(rows, "cpu_us_per_message", "rust", OURS)["median"]
    what = "whole pipeline in bulk, CPU a message: rust's by ours"
    found.append(bar(what, rust, at_least=RUST_CPU, unit=" times", why=absent.get("rust", "")))
    above = max(ratio(rows, "cpu_us_per_message", OURS, name)["median"] for name in FLOORS)
    what = "whole pipeline in bulk, CPU a message: ours by librdkafka's floor (the lower one)"
    return [*found, bar(what, above, at_most=FLOOR_CPU, unit=" times")]


def plot(result: Mapping[str, Any], axes: Any) -> None:
    figures.bars(axes[0], result["summary"], "messages_per_s", "messages a second", floors=FLOORS)
    figures.bars(axes[1], result["summary"], "cpu_us_per_message", "CPU, microseconds a message", floors=FLOORS)


if __name__ == "__main__":
    import suite

    sys.exit(suite.main([NAME, *sys.argv[1:]]))
