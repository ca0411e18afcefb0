"""From the settings to a sink with a spool before it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import trio

from ingest_actors.errors import SettingsError, SpoolCorrupt, SpoolInUse
from ingest_actors.protocols import KnownProgress, Progress, Sink
from ingest_actors.settings import Settings
from ingest_actors.spool.codec import BatchCodec
from ingest_actors.spool.disk import Disk
from ingest_actors.spool.file import SpoolFile, set_aside_file
from ingest_actors.spool.lock import SpoolLock
from ingest_actors.spool.sink import STALL_S, RefusedEvent, SpoolBounds, SpoolingSink

LOCK_WAIT_S = 30.0
"""How long to wait for another process to let go of the spool: one that was started earlier under the same name notices
that it was replaced, and drains, within so long."""

LOCK_LOOK_S = 0.2

CHUNK_BYTES_MAX = 1024 * 1024
"""Most that is written in one transaction or read at once, as counted in memory: more makes neither any faster."""

Announce = Callable[..., None]


async def with_spool(
    sink: Sink,
    settings: Settings,
    *,
    window_bytes: int,
    topics: Mapping[str, str],
    refused_event: RefusedEvent,
    announce: Announce,
    clock_ms: Callable[[], int],
    drained: int | None = None,
    marks: KnownProgress[Any] | None = None,
    progress: KnownProgress[Any] | None = None,
) -> Sink:
    """The same sink with the spool of `SPOOL_DIR` before it; the sink as it is when that is unset.

    What an earlier process left in the spool is read once, to see that all of it can be read, and will go out ahead of
    what is accepted. A file that is damaged is kept beside the new one, as far as it is.

    Args:
        sink: where the batches go.
        settings: where the spool lies, and how large it may be.
        window_bytes: what the sink may have in an outage, as batches are counted.
        topics: by role: see `BatchCodec`.
        refused_event: see `SpoolingSink`.
        announce: told of what was found, and of outages.
        clock_ms: wall clock, ms since the epoch.
        drained: highest number of a batch that is known to be written (`ResumeState.spooled`); None: none is known.
        marks: is applied to every batch that is left in the spool, in order, and so comes to be where the spool ends.
        progress: the state that the sink moves on by what it acknowledges and writes some time later; what the spool
            knows beyond what was read of it at start is put in. None: it is written with the batches.

    Returns:
        The sink, or a `SpoolingSink` that has it.

    Raises:
        SettingsError: the directory cannot be made or written.
        SpoolInUse: another process has it, and does not let go.
        JournalTooNew: a newer release wrote it.
        SpoolUnusable: the disk does not work.

    Cancelled: everything is let go of, but for the sink.
    """
    if settings.spool_dir is None:
        return sink
    directory = settings.spool_dir
    path = directory / f"{settings.instance_name}.spool"
    lock = await _lock(directory, path, announce)
    disk: Disk | None = None
    try:
        codec = BatchCodec(topics)
        make = partial(_open_file, path, settings.spool_max_bytes, clock_ms())
        file, aside = await trio.to_thread.run_sync(make)
        disk = Disk(file, codec)
        if aside is not None:
            hint = "nothing of it is written; trades come again from REST, other events do not"
            announce("spool_set_aside", level="error", file=str(aside[0]), cause=aside[1], hint=hint)
        chunk_bytes = max(min(CHUNK_BYTES_MAX, settings.spool_max_bytes // 8, window_bytes // 8), 1)
        states = [state for state in (marks, progress) if state is not None]
        in_kafka = [] if progress is None else progress.everything()
        base = await _take_over(disk, drained or 0, progress, states)
        left_at_ms = await _look_through(
            disk, base, drained or 0, marks=marks, progress=progress, chunk_bytes=chunk_bytes, announce=announce
        )
        if progress is not None and (progress.spooled or 0) < (drained or 0):
            # Batches are written that never lay on the disk, behind all that did: nothing here knows of those.
            for state in states:
                state.go_further(in_kafka)
        _tell_space(settings, file, announce)
        return SpoolingSink(
            sink,
            disk,
            bounds=SpoolBounds(window_bytes, chunk_bytes, _stall_s(settings)),
            refused_event=refused_event,
            announce=announce,
            clock_ms=clock_ms,
            last=drained or 0,
            progress=progress,
            left_at_ms=left_at_ms,
            let_go=lock.let_go,
        )
    except BaseException:
        if disk is not None:
            disk.file.close()
        lock.let_go()
        raise


async def _lock(directory: Path, path: Path, announce: Announce) -> SpoolLock:
    try:
        await trio.Path(directory).mkdir(parents=True, exist_ok=True)
        lock = SpoolLock(path.with_name(f"{path.name}.lock"))
    except OSError as error:
        raise SettingsError(
            [f"SPOOL_DIR={str(directory)!r}: {error.strerror}; accepted: a directory that can be written, or made"]
        ) from error
    try:
        await _take(lock, path, announce)
    except BaseException:
        lock.let_go()
        raise
    return lock


async def _take(lock: SpoolLock, path: Path, announce: Announce) -> None:
    if lock.take():
        return
    announce("spool_waits", level="warning", file=str(path), holder=lock.holder(), patience_s=LOCK_WAIT_S)
    deadline = trio.current_time() + LOCK_WAIT_S
    while not lock.take():
        if trio.current_time() > deadline:
            raise SpoolInUse(str(path), lock.holder())
        await trio.sleep(LOCK_LOOK_S)


def _open_file(path: Path, bytes_max: int, now_ms: int) -> tuple[SpoolFile, tuple[Path, str] | None]:
    """The file, and what became of one that is damaged as a whole."""
    try:
        return SpoolFile(path, bytes_max=bytes_max), None
    except SpoolCorrupt as corrupt:
        aside = set_aside_file(path, now_ms)
        return SpoolFile(path, bytes_max=bytes_max), (aside, corrupt.cause)


async def _take_over(
    disk: Disk, drained: int, progress: KnownProgress[Any] | None, states: Sequence[KnownProgress[Any]]
) -> int:
    """Have the states stand where the spool begins; the number of the last batch that they contain then.

    Without transactions the state in Kafka is older than what was acknowledged, and its records are not written at one
    stroke. What the spool has kept of it is whole, and all that came later is in the spool.
    """
    if progress is None or not disk.file.batches:
        return drained
    known = await disk.known()
    if not known.number:
        return drained
    for state in states:
        if state is progress:
            progress.take_over(known.records)
        else:
            for key, value in known.records:
                state.load(key, value)
    return known.number


async def _look_through(
    disk: Disk,
    base: int,
    drained: int,
    *,
    marks: Progress[Any] | None,
    progress: KnownProgress[Any] | None,
    chunk_bytes: int,
    announce: Announce,
) -> int | None:
    """Read all that is left behind a number, once; what lies behind damage is not read again.

    Returns:
        When the newest was received, ms since the epoch.
    """
    file = disk.file
    found = file.events
    if base:
        await disk.write([], drained=base)
    left_at_ms = None
    after = batches = events = size_bytes = lost = 0
    while True:
        try:
            slots = await disk.read(after, chunk_bytes)
        except SpoolCorrupt as corrupt:
            number = after + 1 if corrupt.number is None else corrupt.number
            lost = await disk.set_aside(number, (batches, events, size_bytes))
            hint = "it and what comes behind it stay in the file, which is kept; trades come again from REST"
            announce("spool_set_aside", level="error", file=str(file.path), cause=corrupt.cause, events=lost, hint=hint)
            break
        if not slots:
            break
        for slot in slots:
            if marks is not None:
                marks.apply(slot.batch)
            if progress is not None and slot.number <= drained:
                progress.apply(slot.batch)  # it is written, and will not be acknowledged again
            batches, events, size_bytes = batches + 1, events + len(slot.batch), size_bytes + slot.batch.size_bytes
        after, left_at_ms = slots[-1].number, slots[-1].batch.received_at_ms
        await trio.lowlevel.checkpoint()
    if drained > base:
        await disk.write([], drained=drained)
    if found:
        announce("spool_found", events=file.events, already_written=found - lost - file.events, file=str(file.path))
    return left_at_ms


def _tell_space(settings: Settings, file: SpoolFile, announce: Announce) -> None:
    assert settings.spool_dir is not None
    free = shutil.disk_usage(settings.spool_dir).free
    if free + file.used_bytes < settings.spool_max_bytes:
        announce(
            "spool_space_low",
            level="warning",
            free_bytes=free,
            spool_max_bytes=settings.spool_max_bytes,
            hint="the disk is full before the spool is: make room, or set SPOOL_MAX_BYTES to what there is",
        )


def _stall_s(settings: Settings) -> float:
    """What the settings delay by themselves is no outage."""
    commit_ms = settings.kafka_commit_interval_ms if settings.kafka_delivery == "exactly_once" else 0
    try:
        linger_ms = float(settings.kafka_producer_options.get("linger.ms", 0))
    except ValueError:
        linger_ms = 0.0  # it is refused elsewhere
    return STALL_S + (commit_ms + linger_ms) / 1000
