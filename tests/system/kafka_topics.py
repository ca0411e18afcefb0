"""Topics of one test's own, which keep what they hold however old its time stamps are, and all that is in them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

PARTITIONS = 6
ROLES = {
    "raw": "KAFKA_TOPIC_RAW_EVENTS", "trades": "KAFKA_TOPIC_TRADES", "depth": "KAFKA_TOPIC_DEPTH",
    "dead_letters": "KAFKA_TOPIC_DEAD_LETTERS", "gaps": "KAFKA_TOPIC_GAPS", "state": "KAFKA_TOPIC_STATE",
}  # fmt: skip
ELECTING = {
    KafkaError.FENCED_LEADER_EPOCH, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_LEADER_EPOCH,
}  # fmt: skip
_DEAD_LETTER_BYTES = {"max.message.bytes": str(8 * 1024 * 1024)}


class Topics:
    """The six topics under names of their own.

    Args:
        bootstrap_servers: where.
        prefix: begins their names.
        config: by role, what differs from the defaults.
        create: false leaves that to the service.
        replication: how many brokers have each record.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        prefix: str,
        config: Mapping[str, Mapping[str, str]] | None = None,
        *,
        create: bool = True,
        replication: int = 1,
    ) -> None:
        self.names = {role: f"{prefix}{role}" for role in ROLES}
        self.settings = {ROLES[role]: name for role, name in self.names.items()}
        self.settings["KAFKA_BOOTSTRAP_SERVERS"] = bootstrap_servers
        self._options = {"bootstrap.servers": bootstrap_servers, "log_level": 0, "error_cb": lambda _: None}
        self._admin = AdminClient(self._options)
        given = {"dead_letters": _DEAD_LETTER_BYTES} | dict(config or {})
        new = [
            NewTopic(name, PARTITIONS, replication, config={"retention.ms": "-1"} | dict(given.get(role, {})))
            for role, name in self.names.items()
        ]
        for created in self._admin.create_topics(new).values() if create else ():
            created.result(30)

    def alter(self, role: str, **config: str) -> None:
        """Change a topic's configuration while it is in use; underscores stand for dots."""
        entries = [
            ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
            for name, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, self.names[role], incremental_configs=entries)
        for altered in self._admin.incremental_alter_configs([resource]).values():
            altered.result(30)

    def count(self, role: str) -> int:
        """How many records were written; right as long as nobody writes in transactions."""
        asked = {TopicPartition(self.names[role], index): OffsetSpec.latest() for index in range(PARTITIONS)}
        until_s = time.monotonic() + 30
        while True:
            try:
                return sum(found.result(30).offset for found in self._admin.list_offsets(asked).values())
            except KafkaException as error:  # a broker that was away is elected anew first
                if error.args[0].code() not in ELECTING or time.monotonic() > until_s:
                    raise
                time.sleep(0.2)
                self._admin = AdminClient(self._options)  # one that knows nothing of former leaders

    def read(self, role: str) -> list[Message]:
        """All records, partition by partition, in order of offsets."""
        left = self.count(role)
        own = {"group.id": "reader", "enable.auto.commit": False, "auto.offset.reset": "error"}
        consumer = Consumer(self._options | own)
        records: list[Message] = []
        with contextlib.closing(consumer):
            consumer.assign([TopicPartition(self.names[role], index, 0) for index in range(PARTITIONS)])
            while left > len(records):
                more = consumer.consume(min(left - len(records), 10_000), 20)
                assert more, f"{self.names[role]}: {left - len(records)} records cannot be read"
                assert not any(record.error() for record in more)
                records += more
        return sorted(records, key=lambda record: (record.partition(), record.offset()))
