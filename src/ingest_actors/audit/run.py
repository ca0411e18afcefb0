"""The audit of a cluster: which records of which topics go to the auditor, in which order."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Protocol

import trio
from confluent_kafka import Message

from ingest_actors.audit.auditor import DATA_ROLES, Auditor
from ingest_actors.audit.compare import Reading
from ingest_actors.audit.records import Record, Role, Window
from ingest_actors.audit.report import Report
from ingest_actors.errors import SinkUnreachable
from ingest_actors.kafka.reader import Part, TopicReader, open_reader
from ingest_actors.settings import Settings

UNTIL_GRACE_MS = 60_000
"""Timestamps are not quite in order, in any partition; so far beyond the window's end it is read, to be sure."""

SEEK_RECORDS = 10_000
"""Places that lie no further apart are read in one go: to jump costs as much as to read so many records."""

_Parts = Mapping[int, Part]


class Progress(Protocol):
    """Somebody who watches."""

    def begin(self, what: str, total: int) -> None:
        """A topic begins, or a second reading; `total` is how many records at most."""

    def advance(self, count: int) -> None:
        """So many more were read."""


class _Unseen:
    def begin(self, what: str, total: int) -> None:
        pass

    def advance(self, count: int) -> None:
        pass


def topic_names(settings: Settings) -> dict[Role, str]:
    """The topics that are audited."""
    return {
        Role.RAW: settings.kafka_topic_raw_events,
        Role.TRADES: settings.kafka_topic_trades,
        Role.DEPTH: settings.kafka_topic_depth,
        Role.GAPS: settings.kafka_topic_gaps,
        Role.DEAD_LETTERS: settings.kafka_topic_dead_letters,
    }


async def run_audit(
    settings: Settings,
    *,
    window: Window | None = None,
    wants: Callable[[str], bool] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Audit the topics of these settings, up to their ends as they are now.

    Args:
        settings: where, as whom, which topics.
        window: which part of the record; its timestamps are Kafka's.
        wants: which symbols; None = all.
        progress: is told how it goes.

    Raises:
        SinkUnreachable: the cluster does not answer or does not let us in, or none of the data topics is there.
        JournalTooNew: the gap journal has a record of a newer release.
    """
    began_s = time.monotonic()
    async with open_reader(settings) as reader:
        run = _Run(reader, topic_names(settings), window or Window(), progress or _Unseen())
        return await run.audit(wants, began_s)


class _Run:
    def __init__(self, reader: TopicReader, names: Mapping[Role, str], window: Window, progress: Progress) -> None:
        self._reader = reader
        self._names = names
        self._window = window
        self._progress = progress
        self._parts: dict[Role, dict[int, Part]] = {}
        self._journal_before: dict[int, Part] = {}
        self._records = 0

    async def audit(self, wants: Callable[[str], bool] | None, began_s: float) -> Report:
        await trio.to_thread.run_sync(self._find_parts, abandon_on_cancel=True)
        absent = {role for role in Role if not self._parts[role]}
        if absent.issuperset(DATA_ROLES):
            names = ", ".join(self._names[role] for role in DATA_ROLES)
            raise SinkUnreachable(
                self._reader.target,
                f"topics that do not exist, or that we may not see: {names}",
                hint="check KAFKA_TOPIC_RAW_EVENTS, KAFKA_TOPIC_TRADES, KAFKA_TOPIC_DEPTH, and the right DESCRIBE",
            )
        whole = {role for role, parts in self._parts.items() if not any(part.cut for part in parts.values())}
        auditor = Auditor(self._window, wants=wants, absent=absent, whole=whole)
        await self._read_journal(auditor)
        await self._read_dead_letters(auditor)
        for role in DATA_ROLES:
            await self._read_data(auditor, role)
        for reading in auditor.second_readings():
            await self._read_again(reading)
        report = auditor.report(self._names, {role: len(parts) for role, parts in self._parts.items()})
        report.records = self._records
        report.seconds = time.monotonic() - began_s
        return report

    def _find_parts(self) -> None:
        """The journal's end is asked for twice.

        A hole that shows in the data is in the journal as it is after; what the journal calls closed is in the data
        only if it said so before.
        """
        gaps = self._names[Role.GAPS]
        self._journal_before = self._reader.parts(gaps)
        since, until = self._window
        until = None if until is None else until + UNTIL_GRACE_MS
        for role in DATA_ROLES:
            self._parts[role] = self._reader.parts(self._names[role], since_ms=since, until_ms=until)
        self._parts[Role.DEAD_LETTERS] = self._reader.parts(self._names[Role.DEAD_LETTERS])
        self._parts[Role.GAPS] = self._reader.parts(gaps)

    async def _read(self, role: Role, parts: _Parts, take: Callable[[int, list[Message]], None]) -> None:
        if not parts:
            return
        name = self._names[role]
        self._progress.begin(name, sum(part.end - part.begin for part in parts.values()))
        async with aclosing(self._reader.read(name, parts)) as batches:
            async for batch in batches:
                for partition, messages in batch.items():
                    take(partition, messages)
                    self._records += len(messages)
                    self._progress.advance(len(messages))
                await trio.lowlevel.checkpoint()

    async def _read_journal(self, auditor: Auditor) -> None:
        def take(partition: int, messages: list[Message]) -> None:
            before = self._journal_before.get(partition)
            auditor.journal(
                partition,
                [_record(message) for message in messages],
                topic=self._names[Role.GAPS],
                settled_to=before.end if before is not None else 0,
            )

        await self._read(Role.GAPS, self._parts[Role.GAPS], take)

    async def _read_dead_letters(self, auditor: Auditor) -> None:
        def take(_: int, messages: list[Message]) -> None:
            auditor.dead_letters((message.value() or b"", _headers(message)) for message in messages)

        await self._read(Role.DEAD_LETTERS, self._parts[Role.DEAD_LETTERS], take)

    async def _read_data(self, auditor: Auditor, role: Role) -> None:
        def take(partition: int, messages: list[Message]) -> None:
            auditor.feed(role, partition, [_record(message) for message in messages])

        await self._read(role, self._parts[role], take)

    async def _read_again(self, reading: Reading) -> None:
        for role in (Role.TRADES, Role.DEPTH, Role.RAW):

            def take(_: int, messages: list[Message], role: Role = role) -> None:
                for message in messages:
                    reading.take(role, message.value() or b"")

            for parts in _passes(reading, role):
                await self._read(role, parts, take)


def _passes(reading: Reading, role: Role) -> list[dict[int, Part]]:
    """Offsets to be read again, as parts of which each names a partition once."""
    passes: list[dict[int, Part]] = []
    for partition, spans in reading.places.get(role, {}).items():
        joined: list[tuple[int, int]] = []
        for first, last in spans:
            if joined and first - joined[-1][1] < SEEK_RECORDS:
                joined[-1] = (joined[-1][0], last)
            else:
                joined.append((first, last))
        for index, (first, last) in enumerate(joined):
            if index == len(passes):
                passes.append({})
            passes[index][partition] = Part(first, last + 1)
    return passes


def _record(message: Message) -> Record:
    return message.offset() or 0, message.key(), message.value() or b"", message.timestamp()[1]


def _headers(message: Message) -> dict[str, str]:
    """By name, as text."""
    headers: list[tuple[str, bytes | None]] = list(message.headers() or ())  # type: ignore[arg-type]
    return {name: value.decode("utf-8", "replace") for name, value in headers if value is not None}
