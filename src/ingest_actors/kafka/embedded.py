"""librdkafka's in-process Kafka, for demos and tests: nothing to install, nothing kept.

It speaks the real protocol on a loopback port, so that any Kafka client can look in. It holds everything in memory,
about 5 MB a partition (the oldest go first), makes topics by itself with 4 partitions, answers no administrative
questions, and shows aborted records to everybody.
"""

from __future__ import annotations

from typing import Self

from confluent_kafka import Producer

from ingest_actors.kafka.librdkafka_log import LibrdkafkaLog

_START_S_MAX = 10.0


class EmbeddedCluster:
    """The cluster; also a context manager. It ends with `close`, or with the last reference.

    Attributes:
        bootstrap_servers: where clients connect, e.g. ``127.0.0.1:41234``.

    Raises:
        KafkaException: it does not start.
    """

    def __init__(self, *, brokers: int = 1) -> None:
        self._owner: Producer | None = Producer({"test.mock.num.brokers": brokers, "logger": LibrdkafkaLog()})
        found = self._owner.list_topics(timeout=_START_S_MAX).brokers.values()
        self.bootstrap_servers = ",".join(sorted(f"{broker.host}:{broker.port}" for broker in found))

    def close(self) -> None:
        """End it; what it held is gone. Clients that are still connected see it vanish."""
        self._owner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
