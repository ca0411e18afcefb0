"""An opinion of its own about a topic: a plain consumer of committed records that counts ids, and nothing of ours.

It follows the topic from its beginning on a thread, however brokers and producers come and go, and notes every id that
is not the next one of its series.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

from confluent_kafka import Consumer, KafkaError, TopicPartition
from kafka_topics import PARTITIONS

IDS = {"trade": b"t", "aggregate_trade": b"a"}
_EVENT_TYPE = re.compile(rb'"event_type":"(\w+)"(,"late":true)?\}$')
_PATTERNS = {event_type: re.compile(rb'"%b":(\d+)[,}]' % field) for event_type, field in IDS.items()}
DEFECTS_MAX = 1000
"""Of each kind, and no more are kept."""

Series = tuple[str, str]
"""Symbol and event type."""


class Defect(NamedTuple):
    """An id that is not the next one."""

    series: Series
    number: int
    expected: int


class Tally:
    """Which ids of each series were there, and which were not the next one.

    Attributes:
        first: by series, the id that came first.
        last: by series, the highest id so far.
        skipped: ids that came although others between were missing.
        missing: by series, spans of ids that have not come yet although later ones have.
        repeated: ids that were there before.
        unordered: ids that came behind later ones, for the first time, and do not say that they are late.
        late: how many records came behind later ones, for the first time, and say so.
        records: how many records came in all.
    """

    def __init__(self) -> None:
        self.first: dict[Series, int] = {}
        self.last: dict[Series, int] = {}
        self.skipped: list[Defect] = []
        self.missing: dict[Series, list[tuple[int, int]]] = defaultdict(list)
        self.repeated: list[Defect] = []
        self.unordered: list[Defect] = []
        self.late = 0
        self.records = 0

    def take(self, key: bytes, value: bytes) -> None:
        """Take in the next record of a partition."""
        self.records += 1
        kind = _EVENT_TYPE.search(value)
        assert kind, value
        event_type = kind[1].decode()
        if event_type not in _PATTERNS:
            return
        found = _PATTERNS[event_type].search(value)
        assert found, value
        series, number = (key.decode(), event_type), int(found[1])
        if series not in self.last:
            self.first[series] = self.last[series] = number
            return
        expected = self.last[series] + 1
        if number > expected:
            self.missing[series].append((expected, number - 1))
            _keep(self.skipped, Defect(series, number, expected))
        elif number < expected:
            self._take_old(Defect(series, number, expected), says_late=kind[2] is not None)
        self.last[series] = max(self.last[series], number)

    @property
    def absent(self) -> int:
        """How many ids between the first and the last of their series have not come."""
        return sum(last - first + 1 for spans in self.missing.values() for first, last in spans)

    def _take_old(self, old: Defect, *, says_late: bool) -> None:
        spans = self.missing[old.series]
        for index, (first, last) in enumerate(spans):
            if first <= old.number <= last:
                rest = [(first, old.number - 1), (old.number + 1, last)]
                spans[index : index + 1] = [(low, high) for low, high in rest if low <= high]
                if says_late:
                    self.late += 1
                else:
                    _keep(self.unordered, old)
                return
        _keep(self.repeated, old)

    def __str__(self) -> str:
        return (
            f"{self.records} records, {self.late} late, {len(self.repeated)} repeats {self.repeated[:3]},"
            f" {self.absent} missing, {len(self.skipped)} skips {self.skipped[:3]},"
            f" {len(self.unordered)} out of order {self.unordered[:3]}"
        )


def _keep(defects: list[Defect], defect: Defect) -> None:
    if len(defects) < DEFECTS_MAX:
        defects.append(defect)


class Follower:
    """Follows one topic from `__enter__` to `__exit__`.

    Args:
        bootstrap_servers: where.
        topic: its name.
        isolation: ``read_committed`` or ``read_uncommitted``.

    Attributes:
        tally: what came so far.
    """

    def __init__(self, bootstrap_servers: str, topic: str, *, isolation: str = "read_committed") -> None:
        self.tally = Tally()
        self._failure: BaseException | None = None
        self._places = [TopicPartition(topic, index, 0) for index in range(PARTITIONS)]
        self._consumer = Consumer({
            "bootstrap.servers": bootstrap_servers, "group.id": "follower", "enable.auto.commit": False,
            "isolation.level": isolation, "auto.offset.reset": "error", "log_level": 0, "error_cb": lambda _: None,
            "reconnect.backoff.max.ms": 500,
        })  # fmt: skip
        self._stop = threading.Event()
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._consumer.assign(self._places)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        self._consumer.close()
        if self._failure is not None:
            raise self._failure

    def wait_for(self, marks: dict[Series, int], timeout_s: float) -> float:
        """Until each of these series has come as far as this; seconds that it took."""
        began_s = time.monotonic()
        with self._moved:
            while behind := {series: mark for series, mark in marks.items() if self.tally.last.get(series, -1) < mark}:
                assert self._failure is None, self._failure
                left_s = began_s + timeout_s - time.monotonic()
                assert left_s > 0, f"not there after {timeout_s:.0f} s: {behind}; {self.tally}"
                self._moved.wait(min(left_s, 1.0))
        return time.monotonic() - began_s

    def wait_until_still(self, still_s: float = 2.0, timeout_s: float = 60.0) -> None:
        """Until nothing has come for so long."""
        deadline = time.monotonic() + timeout_s
        seen, since_s = -1, time.monotonic()
        while time.monotonic() < since_s + still_s:
            if seen != self.tally.records:
                seen, since_s = self.tally.records, time.monotonic()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _follow(self) -> None:
        try:
            while not self._stop.is_set():
                messages = self._consumer.consume(5000, 0.05)
                with self._moved:
                    for message in messages:
                        error = message.error()
                        if error is None:
                            self.tally.take(message.key(), message.value())
                        else:  # an outage passes; what is fatal, or gone from the topic, does not
                            assert not error.fatal(), error
                            assert error.code() != KafkaError._AUTO_OFFSET_RESET, error
                    if messages:
                        self._moved.notify_all()
        except BaseException as failure:  # noqa: BLE001 - told to whoever waits
            self._failure = failure


def read_all(
    bootstrap_servers: str, topic: str, *, isolation: str = "read_committed"
) -> list[tuple[bytes | None, bytes]]:
    """Keys and values of all committed records of a topic, partition by partition."""
    consumer = Consumer({
        "bootstrap.servers": bootstrap_servers, "group.id": "reader", "enable.auto.commit": False,
        "isolation.level": isolation, "enable.partition.eof": True, "auto.offset.reset": "error",
    })  # fmt: skip
    found: dict[int, list[tuple[bytes | None, bytes]]] = defaultdict(list)
    unread = set(range(PARTITIONS))
    deadline = time.monotonic() + 60
    try:
        consumer.assign([TopicPartition(topic, index, 0) for index in range(PARTITIONS)])
        while unread:
            assert time.monotonic() < deadline, f"{topic} cannot be read to its end"
            for message in consumer.consume(5000, 0.2):
                error = message.error()
                if error is None:
                    found[message.partition()].append((message.key(), message.value()))
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    unread.discard(message.partition())
    finally:
        consumer.close()
    return [record for index in range(PARTITIONS) for record in found[index]]


def tally_of(bootstrap_servers: str, topic: str, *, isolation: str) -> Tally:
    """The same judgement of a whole topic, afterwards."""
    tally = Tally()
    for key, value in read_all(bootstrap_servers, topic, isolation=isolation):
        assert key is not None, value
        tally.take(key, value)
    return tally


def untold_holes(records: Iterable[tuple[bytes | None, bytes]], journal: Iterable[dict[str, Any]]) -> list[Defect]:
    """Holes of books that the journal does not have as lost, as somebody finds them who rebuilds the books.

    Args:
        records: of the depth topic, each partition in order.
        journal: records of the gap journal, in any order.
    """
    lost: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for entry in journal:
        if entry["event_type"] == "depth_update" and entry["state"] == "lost":
            lost[entry["symbol"]].append((entry["first_id"], entry["last_id"]))
    book: dict[str, int] = {}
    untold = []
    for key, value in records:
        assert key is not None, value
        symbol, event = key.decode(), json.loads(value)
        if event["event_type"] == "depth_snapshot":
            book[symbol] = max(book.get(symbol, 0), event["lastUpdateId"])
            continue
        known = book.get(symbol)
        if known is not None and event["U"] > known + 1:
            first, last = known + 1, event["U"] - 1
            if not any(low <= first and last <= high for low, high in lost[symbol]):
                untold.append(Defect((symbol, "depth_update"), event["U"], first))
        book[symbol] = max(known or 0, event["u"])
    return untold


def journal_of(bootstrap_servers: str, topic: str) -> dict[str, list[dict[str, Any]]]:
    """By name of the gap, what the journal says of it, in order."""
    gaps: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _, value in read_all(bootstrap_servers, topic):
        entry = json.loads(value)
        gaps[entry["gap"]].append(entry)
    return dict(gaps)
