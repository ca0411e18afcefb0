"""The whole pipeline in bulk, from the socket into Kafka: ours beside what others write, on the same real broker.

    python bench/part_pipeline.py                 # as `suite.py pipeline`

All do the same work: each message becomes two records, with key, Kafka timestamp and murmur2 partition, snappy,
acks=all, idempotent, and every record is accounted for. `one_run.bulk` says what is measured and checked.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import figures
from one_run import bulk
from part import Bench, bar, in_turn, ratio, spreads
from registry import CLIENTS, available

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
MESSAGES = 500_000


def run(bench: Bench) -> dict[str, Any]:
    clients, absent = available()
    rows = []
    for number, name in in_turn([client.name for client in clients], bench.rounds(ROUNDS)):
        # An even count: trades and depth come in turn.
        messages = 2 * round(bench.size(MESSAGES) * CLIENTS[name].messages_share / 2)
        rows.append(bulk(bench, CLIENTS[name], messages, number))
    summary = spreads(rows, COLUMNS)
    return {"rows": rows, "summary": summary, "absent": absent, "bars": bars(rows, absent)}


def bars(rows: list[dict[str, Any]], absent: Mapping[str, str]) -> list[dict[str, Any]]:
    """What must be reached against each."""
    found = []
    for opponent, at_least, figure in (
        ("naive", 14, "messages_per_s"),
        ("picows", 1.0, "messages_per_s"),
        ("picows-ids", 1.1, "messages_per_s"),
        ("cryptofeed", 50, "messages_per_s"),
        ("rust", 0.95, "cpu_us_per_message"),
    ):
        what = f"whole pipeline, {'rate' if figure == 'messages_per_s' else 'CPU a message'}: ours against {opponent}"
        if opponent in absent:
            found.append(bar(what, None, at_least=at_least, why=absent[opponent]))
            continue
        # Less CPU is better: there the opponent's is divided by ours.
        over, under = ("ingest_actors", opponent) if figure == "messages_per_s" else (opponent, "ingest_actors")
        found.append(bar(what, ratio(rows, figure, over, under)["median"], at_least=at_least))
    return found


def plot(result: Mapping[str, Any], axes: Any) -> None:
    figures.bars(axes[0], result["summary"], "messages_per_s", "messages a second")
    figures.bars(axes[1], result["summary"], "cpu_us_per_message", "CPU, microseconds a message")


if __name__ == "__main__":
    import suite

    sys.exit(suite.main([NAME, *sys.argv[1:]]))
