"""What came back from a broken producer: records that are owed, and what the broker said of them."""

from __future__ import annotations

from typing import NamedTuple

from confluent_kafka import KafkaError

from ingest_actors.kafka.accepted import Accepted, RecordId
from ingest_actors.kafka.limits import RECORD_FRAMING_BYTES

RECORD_FAULTS = {
    KafkaError.MSG_SIZE_TOO_LARGE: "too_large",
    KafkaError.RECORD_LIST_TOO_LARGE: "too_large",
    KafkaError.INVALID_MSG_SIZE: "too_large",
    KafkaError.INVALID_TIMESTAMP: "timestamp_out_of_range",
    KafkaError.INVALID_RECORD: "invalid_record",
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT: "invalid_record",
    KafkaError.POLICY_VIOLATION: "policy_violation",
}
"""Errors that are the fault of a record in the request. All others are nobody's, and break the sink."""

RECORDS_IN_REQUEST_MAX = 1_000
"""Well below librdkafka's own bound (``batch.num.messages``, 10,000)."""


class Owed(NamedTuple):
    """A record that must be written again, in the order of acceptance."""

    serial: int
    record: RecordId
    partition: int
    batch: Accepted

    @property
    def open(self) -> bool:
        """Whether it is still to be written."""
        return self.record in self.batch.owed

    @property
    def place(self) -> tuple[str, int]:
        """Topic and partition: where order matters."""
        return self.batch.topic_of(self.record), self.partition


class Verdict(NamedTuple):
    """What the broker said of records that came back; both in the order of acceptance."""

    suspects: list[Owed]
    """The error is theirs, or that of another record of their request."""
    companions: list[Owed]
    """The broker said that the error is another record's."""
    all: list[Owed]
    """These, and those that were never looked at."""

    @property
    def named(self) -> bool:
        """Whether the suspects are known to be the offenders."""
        return bool(self.companions) or len(self.suspects) == 1


def requests(records: list[Owed], bytes_max: int) -> list[list[Owed]]:
    """Cut records of one partition into groups that each fit into one request."""
    groups: list[list[Owed]] = []
    size = 0
    for owed in records:
        value, key, _, route = owed.batch.batch.events[owed.record.position]
        weight = len(value) + len(key or b"") + sum(len(name) + len(text) for name, text in route.headers)
        size += weight + RECORD_FRAMING_BYTES
        if not groups or size > bytes_max or len(groups[-1]) >= RECORDS_IN_REQUEST_MAX:
            groups.append([])
            size = weight + RECORD_FRAMING_BYTES
        groups[-1].append(owed)
    return groups
