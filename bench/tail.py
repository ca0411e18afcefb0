"""Who waits at the end of a topic: how long after its message was sent each record can be read, whoever wrote it.

One process for all clients, so that none is trusted with its own clock. It reads the stamps that a paced exchange puts
into its messages (`pacing`), in groups as the broker sends them; a fetch waits at the broker and is answered as soon
as there is anything. With ``acks=all`` a record can be read in the same instant in which it is acknowledged, so this is
the time from the socket to the acknowledgement, plus what fetching takes here instead of what the answer takes there.

It reads one partition of the topic only, the one of a symbol: to read them all would take as much of the machine as the
client does, and librdkafka sends each partition's records by themselves anyway.

Stdout: one JSON line when it is ready, and after SIGTERM one with what it saw, in milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import threading
import time
from array import array
from collections.abc import Sequence

from confluent_kafka import Consumer, TopicPartition

from pacing import stamp_us

AT_ONCE = 1000
PATIENCE_S = 0.5
SYMBOL = "BTCUSDT"
OPTIONS = {
    "group.id": "bench-tail",
    "enable.auto.commit": False,
    "fetch.min.bytes": 1,
    "fetch.wait.max.ms": 500,
    "socket.nagle.disable": True,
    "log_level": 0,
}


def follow(consumer: Consumer, symbol: bytes, stopping: threading.Event) -> tuple[array[int], array[int]]:
    """Read the partition of a symbol until it is stopped and nothing comes any more.

    Returns:
        When each record was sent, and how much later it was here; microseconds.
    """
    sent, took = array("q"), array("q")
    found = False
    while True:
        first = consumer.poll(PATIENCE_S)
        if first is None:
            if stopping.is_set():
                return sent, took
            continue
        group = [first, *consumer.consume(AT_ONCE, 0)]
        now_us = time.time_ns() // 1000
        for record in group:
            value = record.value()
            if value is None or record.error() is not None:
                continue
            if not found and record.key() == symbol:
                found = True
                consumer.incremental_unassign(
                    [it for it in consumer.assignment() if it.partition != record.partition()]
                )
            at_us = stamp_us(value)
            sent.append(at_us)
            took.append(now_us - at_us)


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
    parser.add_argument("--warm-up-s", type=float, default=1.0, help="after the first message; left out")
    options = parser.parse_args()
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    consumer = Consumer({**OPTIONS, "bootstrap.servers": options.bootstrap_servers})
    with contextlib.closing(consumer):
        consumer.assign([TopicPartition(options.topic, index, 0) for index in range(options.partitions)])
        print(json.dumps({"ready": True}), flush=True)
        sent, took = follow(consumer, SYMBOL.encode(), stopping)
    from_us = min(sent) + options.warm_up_s * 1e6
    counted = [took_us for at_us, took_us in zip(sent, took, strict=True) if at_us >= from_us]
    print(json.dumps({"messages": len(counted), **figures(counted)}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
