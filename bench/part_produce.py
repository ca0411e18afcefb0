"""Producing alone: the same records from memory into Kafka, by librdkafka with nothing else, and by our sink.

    python bench/part_produce.py                  # as `suite.py produce`

The floor is confluent-kafka's `produce` a record, with key, timestamp and an acknowledgement that is counted, and a
poll now and then: once with librdkafka's own defaults and a long queue, once bounded as the service bounds it. Our sink
takes the same records in batches, and does for them all that it does in the service: limits, cursor, health,
acknowledgements in order. Measured and checked as whole pipelines are, see `one_run.bulk`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import figures
from one_run import bulk
from part import Bench, in_turn, spreads
from registry import HANDOVERS

NAME = "produce"
ABOUT = "records from memory into Kafka: librdkafka's own floor, and our sink above it"
COLUMNS = {
    "messages_per_s": ("messages/s", 0),
    "cpu_us_per_message": ("CPU us/message", 2),
    "cores_used": ("cores used", 2),
}
ROUNDS = 3
MESSAGES = 400_000


def run(bench: Bench) -> dict[str, Any]:
    rows = [
        bulk(bench, HANDOVERS[name], bench.size(MESSAGES), number)
        for number, name in in_turn(tuple(HANDOVERS), bench.rounds(ROUNDS))
    ]
    return {"rows": rows, "summary": spreads(rows, COLUMNS), "bars": []}


def plot(result: Mapping[str, Any], axes: Any) -> None:
    floors = [name for name in HANDOVERS if name.startswith("librdkafka")]
    label = "CPU, microseconds a message"
    figures.bars(axes, result["summary"], "cpu_us_per_message", label, ours=["our sink"], floors=floors)


if __name__ == "__main__":
    import suite

    sys.exit(suite.main([NAME, *sys.argv[1:]]))
