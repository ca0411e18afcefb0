"""Reading the state topic: what a writer of this name left behind, and who wrote last.

All of it is read, for the topic is compacted by key and not by instance; what others wrote is passed over. Nothing is
left out because it is not committed yet: the reading waits until that is known, so that it ends exactly where the
topic ended when it began. Its bound in time is that of `reader`: `reader.STALL_S` without a record.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple

import trio

from ingest_actors.kafka.owner import Seen, decode, newest, owner_key
from ingest_actors.kafka.reader import Part, TopicReader, open_reader
from ingest_actors.logs import get_logger
from ingest_actors.protocols import Progress
from ingest_actors.settings import Settings

log = get_logger()

LAST_OFFSETS = 20_000
"""How much of each partition's end is searched for the owner's record before all of it is. Whoever writes renews the
record with every commit, so it is as a rule among the very last."""


class StateRead(NamedTuple):
    """What reading the state topic came to."""

    seen: Seen
    records: int
    """How many records were read, whoever wrote them."""
    keys: int
    """How many different ones of this instance."""
    read_s: float
    """How long it took, seconds."""


async def read_state(
    settings: Settings, progress: Progress[Any] | None, *, own: str = "", timeout_s: float = 10.0
) -> StateRead:
    """Read the whole state of this instance.

    Args:
        settings: where, which topic, which instance.
        progress: takes in the last record of each key; None: only the owner's is looked at.
        own: token of an owner that does not count: of ourselves.
        timeout_s: bound on each question to the brokers.

    Raises:
        SinkUnreachable: no answer, no right, or part of it stays uncommitted.
        JournalTooNew: a newer release wrote it.
        StateUnreadable: it is none of what this or an earlier release writes.
    """
    began = time.monotonic()
    async with open_reader(settings, timeout_s=timeout_s) as reader:
        parts = await _parts(reader, settings, None)
        found = await _read(reader, settings, parts, own)
    if progress is not None:
        # A topic that was given more partitions has a key in two of them, each the last of its own.
        for (_, key), (_, value) in sorted(found.latest.items(), key=lambda item: item[1][0]):
            progress.load(key, value)
    keys = len({key for _, key in found.latest})
    read = StateRead(found.seen, found.records, keys, time.monotonic() - began)
    log.info(
        "state_read",
        topic=settings.kafka_topic_state,
        records=read.records,
        keys=read.keys,
        read_s=round(read.read_s, 3),
        owner=str(read.seen.owner or ""),
    )
    return read


async def read_owner(settings: Settings, *, decided: bool = False, timeout_s: float = 10.0) -> Seen:
    """Who wrote last, found among the last records as a rule.

    Args:
        settings: where, which topic, which instance.
        decided: look only at what is committed by now, and do not wait for what is not decided yet.
        timeout_s: bound on each question to the brokers.

    Raises: as `read_state`.
    """
    async with open_reader(settings, timeout_s=timeout_s) as reader:
        for last in (LAST_OFFSETS, None):
            parts = await _parts(reader, settings, last, decided=decided)
            found = await _read(reader, settings, parts)
            if found.seen.owner is not None:
                break
        return found.seen


class _Found(NamedTuple):
    seen: Seen
    latest: dict[tuple[int, bytes], tuple[int, bytes | None]]
    """By partition and key: when it was written, ms since the epoch, and what it says."""
    records: int


async def _parts(
    reader: TopicReader, settings: Settings, last: int | None, *, decided: bool = False
) -> dict[int, Part]:
    ask = partial(reader.last_parts, settings.kafka_topic_state, last=last, decided=decided)
    return await trio.to_thread.run_sync(ask, abandon_on_cancel=True)


async def _read(reader: TopicReader, settings: Settings, parts: dict[int, Part], own: str = "") -> _Found:
    prefix = f"{settings.instance_name}/".encode()
    key_of_owner = owner_key(settings.instance_name)
    seen = Seen(None, None)
    latest: dict[tuple[int, bytes], tuple[int, bytes | None]] = {}
    records = 0
    async with aclosing(reader.read(settings.kafka_topic_state, parts)) as batches:
        async for batch in batches:
            for partition, messages in batch.items():
                records += len(messages)
                for message in messages:
                    key = message.key()
                    if key is None or not key.startswith(prefix):
                        continue
                    value = message.value()
                    if key != key_of_owner:
                        latest[partition, key] = message.timestamp()[1], value
                    elif value is not None:
                        owner = decode(key, value)
                        if owner.token != own:
                            seen = newest(seen, owner)
    return _Found(seen, latest, records)
