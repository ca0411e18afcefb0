"""Who waits at the end of a topic: how long after its message was sent each record can be read, whoever wrote it.

One process for all clients, so that none is trusted with its own clock. It reads the stamps that a paced exchange puts
into its messages (`pacing`), in groups as the broker sends them; a fetch waits at the broker and is answered as soon
as there is anything. With ``acks=all`` a record can be read in the same instant in which it is acknowledged, so this is
the time from the socket to the acknowledgement, plus what fetching takes here instead of what the answer takes there.

Stdout: one JSON line when it is ready, and one with milliseconds when it has seen them all.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from array import array
from collections.abc import Sequence

from confluent_kafka import Consumer, TopicPartition

from pacing import stamp_us

AT_ONCE = 1000
SILENCE_S_MAX = 60.0
OPTIONS = {
    "group.id": "bench-tail",
    "enable.auto.commit": False,
    "fetch.min.bytes": 1,
    "fetch.wait.max.ms": 500,
    "socket.nagle.disable": True,
    "log_level": 0,
}


def follow(consumer: Consumer, messages: int) -> tuple[array[int], array[int]]:
    """Read so many records. When each was sent, and how much later it was here; microseconds.

    Raises:
        TimeoutError: there are no more.
    """
    sent, took = array("q"), array("q")
    while len(sent) < messages:
        first = consumer.poll(SILENCE_S_MAX)
        if first is None:
            raise TimeoutError(f"{len(sent)} of {messages} records, and nothing for {SILENCE_S_MAX} s")
        group = [first, *consumer.consume(AT_ONCE, 0)]
        now_us = time.time_ns() // 1000
        for record in group:
            value = record.value()
            if value is None or record.error() is not None:
                continue
            at_us = stamp_us(value)
            sent.append(at_us)
            took.append(now_us - at_us)
    return sent, took


def figures(took_us: Sequence[int]) -> dict[str, float]:
    """Milliseconds."""
    ordered = sorted(took_us)

    def at(share: float) -> float:
        return round(ordered[int((len(ordered) - 1) * share)] / 1000, 3)

    return {
        "median_ms": at(0.5),
        "p90_ms": at(0.9),
        "p99_ms": at(0.99),
        "mean_ms": round(sum(ordered) / len(ordered) / 1000, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--warm-up-s", type=float, default=1.0, help="after the first message; left out")
    options = parser.parse_args()
    consumer = Consumer({**OPTIONS, "bootstrap.servers": options.bootstrap_servers})
    with contextlib.closing(consumer):
        consumer.assign([TopicPartition(options.topic, index, 0) for index in range(options.partitions)])
        print(json.dumps({"ready": True}), flush=True)
        sent, took = follow(consumer, options.messages)
    from_us = min(sent) + options.warm_up_s * 1e6
    counted = [took_us for at_us, took_us in zip(sent, took, strict=True) if at_us >= from_us]
    print(json.dumps({"messages": len(counted), **figures(counted)}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
