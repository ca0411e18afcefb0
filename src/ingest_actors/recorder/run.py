"""One recording from start to stop."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import trio

from ingest_actors.binance.rest import RestClient
from ingest_actors.binance.weight import WeightBudget
from ingest_actors.errors import ActorFailed
from ingest_actors.kafka.function_sink import FunctionSink
from ingest_actors.logs import get_logger
from ingest_actors.messages import EventBatch
from ingest_actors.network import Network, real_network
from ingest_actors.nursery import open_nursery
from ingest_actors.recorder.answers import ask_all, questions
from ingest_actors.recorder.marks import Marks
from ingest_actors.recordings.own import answer_line
from ingest_actors.recordings.tape import Tape
from ingest_actors.recordings.writer import RecordingFailed, RecordingWriter
from ingest_actors.service import Service, wall_clock_ms
from ingest_actors.settings import Settings

FINISH_S_MAX = 10.0
"""Longest that the last block may take to be written, when everything else has ended."""


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """What is recorded, and where to.

    Attributes:
        output: the file, or a directory for ``recording-<UTC time>.gz``; None = the working directory.
        duration_s: stop so long after everything is subscribed; None = when a signal says so.
        part_bytes_max: begin another file when one has so many bytes; None = never.
        answers: whether REST is asked for books and rules.
        program: name and version, for the head.
    """

    output: Path | None = None
    duration_s: float | None = None
    part_bytes_max: int | None = None
    answers: bool = True
    program: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of it."""

    files: tuple[Path, ...]
    messages: int
    size_bytes: int
    answers: int


class ObeySignals(Protocol):
    """See `ingest_actors.commands.signals.obey_signals`."""

    async def __call__(
        self, *, stop: Callable[[], None], cancel: Callable[[], None], task_status: trio.TaskStatus[None]
    ) -> None:
        """Turn signals into calls."""
        ...


async def run_recorder(
    settings: Settings,
    options: RecordOptions,
    *,
    ready: Callable[[Path], None],
    obey_signals: ObeySignals | None = None,
    network: Network | None = None,
) -> Recorded:
    """Record until stopped.

    Args:
        settings: symbols, stream types, endpoints and limits, as of the service; Kafka is not used.
        options: where to.
        ready: called with the first file once everything is subscribed.
        obey_signals: turns signals into a stop; None = only cancellation and the duration end it.
        network: the ways to the exchange; None = the real ones.

    Returns:
        What was recorded.

    Raises:
        SettingsError: the file cannot be made; nothing was recorded.
        RecordingFailed: it could not be written on, as on a full disk.
        ExchangeUnreachable: gave up.

    Cancelled: what was received is written, as far as that goes within `FINISH_S_MAX`. When no connection had opened
    before the failure or the cancellation, the file is removed.
    """
    path = options.output or Path()
    if path.is_dir():
        path /= f"recording-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.gz"
    writer = RecordingWriter(
        path, _facts(settings, options.program), clock_ns=time.time_ns, part_bytes_max=options.part_bytes_max
    )
    await trio.to_thread.run_sync(writer.open)
    tape = Tape(writer)
    service = Service(
        settings.replace(backfill="off"),  # a recording is of what came, not of what is missing
        sink=FunctionSink(_keep_nothing),
        network=network or real_network(settings, clock_ms=wall_clock_ms, clock_ns=time.time_ns),
        tape=tape,
    )
    service.announcer.add(Marks(tape.say, service.streams, time.time_ns))
    get_logger().info("recording_started", file=str(path))
    asked = Asked(settings, tape)
    reason = "failed"
    try:
        async with open_nursery() as nursery:
            if obey_signals is not None:
                await nursery.start(partial(obey_signals, stop=service.stop, cancel=service.cancel))
            nursery.start_soon(_attend, service, options, partial(ready, path), asked.ask if options.answers else None)
            await service.run()
            nursery.cancel_scope.cancel()
        reason = "stopped"
    except ActorFailed as failure:
        if isinstance(failure.cause, RecordingFailed):
            raise failure.cause from None
        raise
    finally:
        with trio.move_on_after(FINISH_S_MAX, shield=True):
            await _finish(tape, writer, reason)
    get_logger().info("recording_stopped", files=len(writer.paths), messages=writer.frames, bytes=writer.size_bytes)
    return Recorded(tuple(writer.paths), writer.frames, writer.size_bytes, asked.answers)


async def _finish(tape: Tape, writer: RecordingWriter, reason: str) -> None:
    """Write what is left. What failed before is being raised already, and is not raised again.

    A recording that failed before there was anything to keep leaves no file: it would be taken for one of a silent
    exchange, and be in the way of the next attempt.
    """
    if reason == "failed" and tape.blank:
        try:
            await trio.to_thread.run_sync(writer.discard)
        except OSError as error:
            get_logger().warning("empty_recording_left", cause=error.strerror or str(error))
        return
    try:
        await tape.finish(reason)
    except RecordingFailed:
        writer.abandon()
        if reason == "stopped":
            raise


async def _attend(
    service: Service,
    options: RecordOptions,
    ready: Callable[[], None],
    ask: Callable[[Service], Awaitable[None]] | None,
) -> None:
    """Once everything is subscribed: tell, ask REST, and stop in time."""
    if not await service.wait_ready():
        return
    ready()
    async with open_nursery() as nursery:
        if ask is not None:
            nursery.start_soon(ask, service)
        if options.duration_s is not None:
            await trio.sleep(options.duration_s)
            service.stop()
            nursery.cancel_scope.cancel()


class Asked:
    """REST's answers for the tape.

    Attributes:
        answers: how many there are.
    """

    def __init__(self, settings: Settings, tape: Tape) -> None:
        self.answers = 0
        self._settings = settings
        self._tape = tape

    async def ask(self, service: Service) -> None:
        """Ask for everything that is recorded; what cannot be had is logged."""
        streams = [name for carried in service.streams().values() for name in carried]
        asked = questions(streams, depth_limit=self._settings.depth_snapshot_limit)
        warn = partial(get_logger().warning, "answer_not_recorded")
        budget = WeightBudget(self._settings.rest_weight_per_minute)
        async with RestClient(self._settings.binance_rest_url, budget=budget) as rest:
            await ask_all(rest, asked, keep=partial(self._keep, warn), warn=warn)

    def _keep(self, warn: Callable[..., None], url: str, body: bytes) -> None:
        try:
            line = answer_line(time.time_ns(), url, body)
        except ValueError as error:
            warn(url=url, cause=f"the answer has {error}")
            return
        self._tape.say(line)
        self.answers += 1


async def _keep_nothing(batch: EventBatch) -> None:
    """The events have been counted; the messages that they came in are on tape."""
    del batch
    await trio.lowlevel.checkpoint()


def _facts(settings: Settings, program: str) -> dict[str, Any]:
    return {
        "program": program,
        "instance": settings.instance_name,
        "symbols": list(settings.binance_symbols),
        "stream_types": list(settings.binance_stream_types),
    }
