"""Reading whole topics: no group, no commits, committed records alone, up to where they ended at the start."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import trio
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import ClusterMetadata

from ingest_actors.errors import SinkUnreachable
from ingest_actors.kafka import codes
from ingest_actors.kafka.cluster import Cluster
from ingest_actors.kafka.config import client_options
from ingest_actors.kafka.diagnosis import diagnose, refused
from ingest_actors.kafka.librdkafka_log import LibrdkafkaLog
from ingest_actors.settings import Settings

BATCH_RECORDS_MAX = 5_000
"""Records handed over at one time; one crossing between threads each."""

QUEUE_KBYTES = 32 * 1024
"""What librdkafka reads ahead, over all partitions."""

STALL_S = 30.0
"""Without a single record for so long, though there must be more, the brokers count as unreachable."""

_POLL_S = 0.2
_COMPANY_S = 0.005
"""How long a record that has come waits for more: a call that wants thousands waits out its time if there are fewer."""

_PATIENCE = 20
_FORBIDDEN = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
_PASSING = (KafkaError.GROUP_AUTHORIZATION_FAILED, codes.TRANSPORT, codes.ALL_BROKERS_DOWN, codes.RESOLVE)
"""Errors that are no end: there is no group that we would need, and connections come back or `STALL_S` runs out."""


class Part(NamedTuple):
    """A part of a partition."""

    begin: int
    """The first offset."""
    end: int
    """The offset after the last one."""
    cut: bool = False
    """Whether records before `begin` have been deleted, so that nothing is known of them."""


class TopicReader:
    """A consumer of whole topics. Use `open_reader`; its methods block, but for `read`.

    Args:
        settings: how to connect, and as whom.
        timeout_s: bound on each question to the brokers.

    Raises:
        SinkUnreachable: no answer, or no entry.
    """

    def __init__(self, settings: Settings, *, timeout_s: float = 10.0) -> None:
        options = client_options(settings)
        self._options = options
        self.target = str(options["bootstrap.servers"])
        self._timeout_s = timeout_s
        self._errors: list[KafkaError] = []
        with Cluster(options, timeout_s=timeout_s) as cluster:
            self._metadata: ClusterMetadata = cluster.connect()
        own: dict[str, Any] = {
            "group.id": f"{settings.instance_name}-audit",  # asked for by librdkafka; never joined
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "queued.max.messages.kbytes": QUEUE_KBYTES,
            "error_cb": self._errors.append,
            "logger": LibrdkafkaLog(),
        }
        try:
            self._consumer = Consumer({**options, **own})
        except KafkaException as error:
            raise SinkUnreachable(self.target, error.args[0].str()) from error

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()

    def partitions(self, topic: str) -> list[int]:
        """The partitions of a topic; none when there is no such topic, or we may not see it."""
        found = self._metadata.topics.get(topic)
        return [] if found is None or found.error is not None else sorted(found.partitions)

    def parts(self, topic: str, *, since_ms: int | None = None, until_ms: int | None = None) -> dict[int, Part]:
        """What there is of a topic now, by partition: committed records only.

        Args:
            topic: its name.
            since_ms: from the first record of this Kafka timestamp or a later one.
            until_ms: up to the first record of this Kafka timestamp or a later one.

        Raises:
            SinkUnreachable: no answer, or no right.
        """
        ends = {number: self._ask_ends(topic, number) for number in self.partitions(topic)}
        begins = self._offsets_at(topic, ends, since_ms) if since_ms is not None else {}
        stops = self._offsets_at(topic, ends, until_ms) if until_ms is not None else {}
        parts = {}
        for number, (low, high) in ends.items():
            begin = min(max(begins.get(number, low), low), high)
            end = min(stops.get(number, high), high)
            parts[number] = Part(begin, max(begin, end), cut=low > 0 and begin == low)
        return parts

    def last_parts(self, topic: str, *, last: int | None, decided: bool) -> dict[int, Part]:
        """The ends of all partitions of a topic.

        Args:
            topic: its name.
            last: so many offsets of each; None: all of it.
            decided: only what is committed by now. Otherwise all that is written: `read` waits until it is decided.

        Raises:
            SinkUnreachable: no answer, or no right.
        """
        parts = self.parts(topic)
        if not decided and parts:
            with Cluster(self._options, timeout_s=self._timeout_s) as cluster:
                ends = cluster.ends(topic, parts)
            parts = {number: part._replace(end=max(part.end, ends[number])) for number, part in parts.items()}
        if last is None:
            return parts
        return {number: part._replace(begin=max(part.begin, part.end - last)) for number, part in parts.items()}

    async def read(self, topic: str, parts: Mapping[int, Part]) -> AsyncGenerator[dict[int, list[Message]], None]:
        """Read parts of a topic. Close the generator (`contextlib.aclosing`).

        Args:
            topic: its name.
            parts: by partition; those that are empty are left out.

        Yields:
            Records by partition, each partition in order.

        Raises:
            SinkUnreachable: no answer for `STALL_S`, no right, or records were deleted while they were read.
        """
        left = {number: part.end for number, part in parts.items() if part.end > part.begin}
        places = [TopicPartition(topic, number, parts[number].begin) for number in left]
        self._consumer.assign(places)
        self._consumer.resume(places)  # librdkafka remembers that they were paused, from one assignment to the next
        heard_s = time.monotonic()
        try:
            while left:
                messages = await trio.to_thread.run_sync(self._consume)
                found = self._sort(topic, messages, left)
                if messages:
                    heard_s = time.monotonic()
                elif time.monotonic() - heard_s > STALL_S:
                    raise self._stalled(topic)
                if found:
                    yield found
        finally:
            self._consumer.unassign()

    def _consume(self) -> list[Message]:
        """Wait for a record, and take what comes with it."""
        first = self._consumer.consume(1, _POLL_S)
        return [*first, *self._consumer.consume(BATCH_RECORDS_MAX - 1, _COMPANY_S)] if first else first

    def _sort(self, topic: str, messages: Iterable[Message], left: dict[int, int]) -> dict[int, list[Message]]:
        """By partition; takes out of `left` those that have come to their end."""
        found: dict[int, list[Message]] = {}
        for message in messages:
            number = message.partition()
            error = message.error()
            if error is not None:
                self._judge(topic, error)
            offset = message.offset()
            if number not in left or offset is None:
                continue
            if error is None and offset < left[number]:
                found.setdefault(number, []).append(message)
            # Behind the last record there may be markers of transactions, which nobody is shown; then the end of what
            # is decided tells, which names the offset that would come next.
            ended = offset + 1 if error is None else offset if error.code() == codes.PARTITION_EOF else -1
            if ended >= left[number]:
                del left[number]
                self._consumer.pause([TopicPartition(topic, number)])
        return found

    def _judge(self, topic: str, error: KafkaError) -> None:
        if error.code() == codes.PARTITION_EOF or error.code() in _PASSING:
            return
        if error.code() in _FORBIDDEN:
            raise refused(self.target, error, topic=topic, reading=True)
        if error.code() == codes.AUTO_OFFSET_RESET:
            cause = f"topic {topic}: records were deleted, by its retention, while they were being read"
            raise SinkUnreachable(self.target, cause, hint="begin again")
        raise SinkUnreachable(self.target, f"topic {topic}: {error.str()}")

    def _stalled(self, topic: str) -> SinkUnreachable:
        told = diagnose(self.target, self._errors, settled=True, options=self._options)
        return told or SinkUnreachable(
            self.target, f"topic {topic}: nothing came for {STALL_S:g} s", hint="check that the brokers run"
        )

    def _ask_ends(self, topic: str, number: int) -> tuple[int, int]:
        """The lowest offset, and the one after the last committed record."""
        place = TopicPartition(topic, number)
        for attempt in range(_PATIENCE):
            try:
                low, high = self._consumer.get_watermark_offsets(place, timeout=self._timeout_s)
            except KafkaException as error:
                self._refuse(topic, error, last=attempt == _PATIENCE - 1)
            else:
                return low, high
            time.sleep(_POLL_S)
        raise AssertionError  # the last attempt raises

    def _offsets_at(self, topic: str, numbers: Iterable[int], time_ms: int) -> dict[int, int]:
        asked = [TopicPartition(topic, number, time_ms) for number in numbers]
        try:
            found = self._consumer.offsets_for_times(asked, timeout=self._timeout_s) if asked else []
        except KafkaException as error:
            self._refuse(topic, error, last=True)
            raise
        # -1 = there is none: the end.
        return {place.partition: place.offset if place.offset >= 0 else _BEYOND for place in found}

    def _refuse(self, topic: str, error: KafkaException, *, last: bool) -> None:
        """Give up on what will not pass, or on everything when it was the last attempt."""
        reason: KafkaError = error.args[0]
        if reason.code() in _FORBIDDEN:
            raise refused(self.target, reason, topic=topic, reading=True) from error
        if last or not (reason.retriable() or reason.code() == KafkaError.NOT_LEADER_FOR_PARTITION):
            raise SinkUnreachable(self.target, f"topic {topic}: {reason.str()}") from error


_BEYOND = 2**63 - 1


@asynccontextmanager
async def open_reader(settings: Settings, *, timeout_s: float = 10.0) -> AsyncGenerator[TopicReader, None]:
    """A reader for the time of a block; may be cancelled at any time.

    Raises:
        SinkUnreachable: see `TopicReader`.
    """
    reader = await trio.to_thread.run_sync(partial(TopicReader, settings, timeout_s=timeout_s), abandon_on_cancel=True)
    try:
        yield reader
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(reader.close)
