"""Whether topics hold exactly what they should: every event once, in order, byte for byte, in its place."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from confluent_kafka import TIMESTAMP_CREATE_TIME, Message
from kafka_topics import PARTITIONS
from market_recording import ExpectedRecord

_TAIL = re.compile(rb',"ingestion_timestamp":(\d{13}),"source":"binance_websocket","event_type":"(\w+)"\}')
_SNAPSHOT = re.compile(rb'"source":"binance_rest_backfill","event_type":"depth_snapshot"\}\Z')
Series = tuple[bytes | None, str]
Found = tuple[bytes, int | None]
"""The value without the fields that every record gets, and the time stamp unless it is that of receipt."""


def java_partition(key: bytes, partitions: int) -> int:
    """Where Java's default partitioner puts a key: murmur2 as in Kafka's `Utils`, made positive, modulo."""
    multiplier, length = 0x5BD1E995, len(key)
    mixed = 0x9747B28C ^ length
    for start in range(0, length & ~3, 4):
        word = int.from_bytes(key[start : start + 4], "little") * multiplier & 0xFFFFFFFF
        word = (word ^ word >> 24) * multiplier & 0xFFFFFFFF
        mixed = (mixed * multiplier & 0xFFFFFFFF) ^ word
    if tail := key[length & ~3 :]:
        mixed = (mixed ^ int.from_bytes(tail, "little")) * multiplier & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 13) * multiplier & 0xFFFFFFFF
    return ((mixed ^ mixed >> 15) & 0x7FFFFFFF) % partitions


def assert_whole(role: str, records: Sequence[Message], events: Sequence[ExpectedRecord], received_ms: range) -> None:
    """Compare a topic with the events that belong there.

    Args:
        role: which topic.
        records: all that is in it, in order.
        events: all that was sent, in order.
        received_ms: when they can have been received.
    """
    expected: dict[Series, list[Found]] = defaultdict(list)
    for event in events:
        if role in event.roles:
            expected[event.key, event.event_type].append((event.head, event.time_ms))
    found: dict[Series, list[Found]] = defaultdict(list)
    for record in records:
        if _SNAPSHOT.search(record.value() or b""):
            continue  # of no stream
        series, record_found = _look_at(record, received_ms)
        found[series].append(record_found)
    assert found.keys() == expected.keys()
    for series, wanted in expected.items():
        if series[0] is None:  # without a key they are spread over the partitions, where no order holds
            wanted.sort()
            found[series].sort()
        _assert_alike(series, found[series], wanted)


def _look_at(record: Message, received_ms: range) -> tuple[Series, Found]:
    value, key = record.value(), record.key()
    tail = _TAIL.search(value, max(0, len(value) - 200))
    assert tail, value
    assert tail.end() == len(value)
    ingested_ms = int(tail[1])
    assert ingested_ms in received_ms
    assert record.headers() is None
    if key is not None:
        assert record.partition() == java_partition(key, PARTITIONS)
    kind, time_ms = record.timestamp()
    assert kind == TIMESTAMP_CREATE_TIME
    return (key, tail[2].decode()), (value[: tail.start()], None if time_ms == ingested_ms else time_ms)


def _assert_alike(series: Series, found: list[Found], wanted: list[Found]) -> None:
    """The first difference, rather than two lists of thousands."""
    for place, (one, other) in enumerate(zip(found, wanted, strict=False)):
        assert one == other, f"{series}, record {place}"
    assert len(found) == len(wanted), series
