"""One conversation with the brokers before anything is written: are they there, do they let us in, what have they got.

Everything here blocks, within bounds; from trio it is called in a thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from ingest_actors.errors import SinkUnreachable
from ingest_actors.kafka.diagnosis import diagnose, refused
from ingest_actors.kafka.librdkafka_log import LibrdkafkaLog

_ASK_S = 0.25
_CONNECT_MS = 20
"""``reconnect.backoff.ms`` of a client that lives for a few questions. librdkafka waits for half of it before the first
connection too; with its default of 100 ms that is most of what the whole conversation takes."""

_SETTLE_S = 1.5
"""Errors that may pass (a broker that is just starting, one address of several) count when they last so long."""

V = TypeVar("V")


class Cluster:
    """An administrative client with a bound on everything, and its errors in words.

    Args:
        options: see `config.client_options`.
        timeout_s: bound on `connect`, and on each question afterwards.

    Raises:
        SinkUnreachable: the options cannot be used, e.g. the file of the authority is missing.
    """

    def __init__(self, options: Mapping[str, Any], *, timeout_s: float) -> None:
        self.target = str(options["bootstrap.servers"])
        self._timeout_s = timeout_s
        self._options = options
        self._errors: list[KafkaError] = []
        try:
            # What it has to say is in the error that is raised.
            complete: dict[str, Any] = {
                "reconnect.backoff.ms": _CONNECT_MS,
                **options,
                "error_cb": self._errors.append,
                "logger": LibrdkafkaLog(logging.DEBUG),
            }
            self._admin = AdminClient(complete)
        except KafkaException as error:
            raise refused(self.target, error.args[0]) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._admin.poll(0)
        del self._admin

    def connect(self) -> ClusterMetadata:
        """Wait for an answer.

        Returns:
            Which brokers and topics there are, as far as we may know.

        Raises:
            SinkUnreachable: none came, and why.
        """
        began = time.monotonic()
        while True:
            try:
                return self._admin.list_topics(timeout=_ASK_S)
            except KafkaException as error:
                last: KafkaError = error.args[0]
            self._admin.poll(0)
            waited_s = time.monotonic() - began
            verdict = diagnose(self.target, self._errors, settled=waited_s > _SETTLE_S, options=self._options)
            if verdict is not None:
                raise verdict
            if waited_s > self._timeout_s - _ASK_S:
                raise SinkUnreachable(
                    self.target,
                    f"no answer within {self._timeout_s:g} s ({last.str()})",
                    hint="check KAFKA_BOOTSTRAP_SERVERS, the network between, and that the brokers run",
                )

    def configs(self, topics: Iterable[str]) -> dict[str, dict[str, ConfigEntry]]:
        """The configuration of topics; one that may not be read is left out."""
        names = list(topics)
        deadline = time.monotonic() + _SETTLE_S
        while names:  # librdkafka refuses to ask about nothing
            asked = self._admin.describe_configs(
                [ConfigResource(ResourceType.TOPIC, name) for name in names], request_timeout=self._timeout_s
            )
            found = {resource.name: _forgiven(future) for resource, future in asked.items()}
            # A topic that was made a moment ago is not known to every broker yet.
            unknown = [name for name, entries in found.items() if entries == KafkaError.UNKNOWN_TOPIC_OR_PART]
            if not unknown or time.monotonic() > deadline:
                return {name: entries for name, entries in found.items() if not isinstance(entries, int)}
            time.sleep(_ASK_S / 10)
        return {}

    def broker_config(self, broker: int) -> dict[str, ConfigEntry]:
        """The configuration of one broker, by its number; empty when we may not read it."""
        resource = ConfigResource(ResourceType.BROKER, str(broker))
        (future,) = self._admin.describe_configs([resource], request_timeout=self._timeout_s).values()
        found = _forgiven(future)
        return {} if isinstance(found, int) else found

    def operations(self, topics: Sequence[str]) -> dict[str, set[AclOperation]]:
        """What we may do with topics; one for which the broker does not say is left out."""
        asked = self._admin.describe_topics(
            TopicCollection(list(topics)), include_authorized_operations=True, request_timeout=self._timeout_s
        )
        found = {topic: _forgiven(future) for topic, future in asked.items()}
        return {
            topic: set(description.authorized_operations)
            for topic, description in found.items()
            if not isinstance(description, int) and description.authorized_operations
        }

    def ends(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """The offset after the last record of each partition, whether it is committed yet or not.

        Raises:
            SinkUnreachable: no answer, or no right.
        """
        deadline = time.monotonic() + _SETTLE_S
        while True:
            latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
            places = {TopicPartition(topic, number): latest for number in partitions}
            asked = self._admin.list_offsets(
                places, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=self._timeout_s
            )
            try:
                return {place.partition: future.result().offset for place, future in asked.items()}
            except KafkaException as error:
                # A partition that was made a moment ago, or whose broker has just gone, has no leader yet.
                if not error.args[0].retriable() and error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
                    raise refused(self.target, error.args[0], topic=topic, reading=True) from error
                if time.monotonic() > deadline:
                    raise refused(self.target, error.args[0], topic=topic, reading=True) from error
            time.sleep(_ASK_S / 10)

    def create_topics(self, topics: Sequence[NewTopic]) -> None:
        """Create topics; one that somebody else has just created counts as created. Raises SinkUnreachable."""
        self._all(self._admin.create_topics(list(topics), **self._bounds()), KafkaError.TOPIC_ALREADY_EXISTS)

    def create_partitions(self, topics: Sequence[NewPartitions]) -> None:
        """Add partitions. Raises SinkUnreachable."""
        self._all(self._admin.create_partitions(list(topics), **self._bounds()))

    def alter_configs(self, resources: Sequence[ConfigResource]) -> None:
        """Change single entries of topics' configuration. Raises SinkUnreachable."""
        asked = self._admin.incremental_alter_configs(list(resources), request_timeout=self._timeout_s)
        self._all({resource.name: future for resource, future in asked.items()})

    def _bounds(self) -> dict[str, float]:
        return {"operation_timeout": self._timeout_s, "request_timeout": self._timeout_s}

    def _all(self, asked: Mapping[str, Future[Any]], *forgiven: int) -> None:
        for topic, future in asked.items():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].code() not in forgiven:
                    raise refused(self.target, error.args[0], topic=topic) from error


def _forgiven(future: Future[V]) -> V | int:
    """What was asked for, or the code of the error."""
    try:
        return future.result()
    except KafkaException as error:
        return int(error.args[0].code())
