"""One service, from start to stop: opens what the pipeline needs, runs it, and can be asked how it is."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import trio

from ingest_actors.announce import Announcer
from ingest_actors.binance.resume import Mark, Place, ResumeState
from ingest_actors.bounds import Bounds
from ingest_actors.checks import reload_problems, start_problems
from ingest_actors.details import Details
from ingest_actors.errors import ActorFailed, IngestError, SettingsError, SinkUnreachable
from ingest_actors.kafka.opening import open_sink
from ingest_actors.ledger import LedgerEntry
from ingest_actors.network import Network, real_network
from ingest_actors.nursery import open_nursery
from ingest_actors.protocols import FrameTape, Sink
from ingest_actors.proxies import Proxies
from ingest_actors.settings import Settings
from ingest_actors.sources import RECONNECT_MAX_S
from ingest_actors.status import Status
from ingest_actors.summary import get_metrics
from ingest_actors.supervision import Backoff
from ingest_actors.supervision.groups import sort_out
from ingest_actors.topology import Player, Topology, topic_names

RELOAD_LOOK_S = 0.05
"""Between two looks whether all that is wanted now is subscribed."""

SINK_CLOSE_S_MAX = 2.0
"""Longest that letting go of the sink may take at the end: everything is acknowledged by then, or given up."""


class Resumed(NamedTuple):
    """What an earlier process has written."""

    marks: Mapping[Place, Mark]
    """Where each series ended."""
    away_s: float | None = None
    """How long ago it was last alive, seconds; None: nobody knows."""
    spooled: int | None = None
    """Highest number of a batch that is written; None: none had one."""


@dataclass(frozen=True, slots=True)
class StopReport:
    """How a service ended.

    Attributes:
        reason: ``stopped``, ``cancelled`` or ``failed``.
        ledger: the totals at the end.
        unfinished: actors that the deadline caught, in data order.
        left: items that each mailbox still held.
        error: what it failed of.
    """

    reason: str
    ledger: LedgerEntry
    unfinished: tuple[str, ...] = ()
    left: dict[str, int] | None = None
    error: IngestError | None = None


class DrainTimedOut(IngestError):
    """The drain did not finish within `SHUTDOWN_TIMEOUT_SECONDS`.

    Attributes:
        unfinished: actors that it caught, in data order.
        in_flight: events that were neither delivered nor dead-lettered.
    """

    def __init__(self, unfinished: tuple[str, ...], in_flight: int) -> None:
        self.unfinished = unfinished
        self.in_flight = in_flight
        super().__init__(unfinished, in_flight)

    def __str__(self) -> str:
        return f"the drain timed out: {', '.join(self.unfinished)} unfinished, {self.in_flight} events in flight"


def wall_clock_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Service:
    """One service. It runs once; everything but `run` may be called at any time, on the same trio thread.

    Args:
        settings: what to do.
        sink: where the events go; None = Kafka, by the settings.
        network: the ways to the exchange; None = the real ones.
        clock_ms: wall clock, ms since the epoch.
        rng: for jitter.
        tape: gets every message as it came; see `Topology`.
        player: where the messages come from instead of the exchange; see `Topology`. The service stops when it ends.
        resumed: what an earlier process has written to a sink that is given; None = nothing is known of any.

    Raises:
        SettingsError: the exchange has no such stream, or librdkafka no such option.

    Attributes:
        announcer: what happens, for `Ingest.events`.
        report: how it ended; None until then.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sink: Sink | None = None,
        network: Network | None = None,
        clock_ms: Callable[[], int] = wall_clock_ms,
        rng: random.Random | None = None,
        tape: FrameTape | None = None,
        player: Player | None = None,
        resumed: Resumed | None = None,
    ) -> None:
        problems = start_problems(settings, proxies=None if network is None else Proxies({}))
        if problems:
            raise SettingsError(problems)
        self.settings = settings
        self.announcer = Announcer(settings.instance_name, clock_ms)
        self.report: StopReport | None = None
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._clock_ms = clock_ms
        self._given_sink = sink
        self._live = player is None
        self._spools = self._live and tape is None
        self._resumed = resumed
        self._late_progress: ResumeState | None = None
        self._topology = Topology(
            settings,
            network=network or real_network(settings, clock_ms=clock_ms),
            announce=self.announcer,
            clock_ms=clock_ms,
            rng=self._rng,
            tape=tape,
            player=player,
        )
        self._reloading = trio.Lock()
        self._stop_wanted = trio.Event()
        self._ended = trio.Event()
        self._scope = trio.CancelScope()

    # -- asked from outside

    def stop(self) -> None:
        """Begin to drain and stop; returns at once; idempotent."""
        self._stop_wanted.set()
        self._topology.line.drain()

    def cancel(self) -> None:
        """Stop at once, whatever is in flight."""
        self._topology.line.cancel()
        self._scope.cancel()

    async def wait_ready(self) -> bool:
        """Wait until every planned connection is subscribed and the sink accepts; at once when that is so.

        Returns: whether it is so; False when the service has ended instead.
        """
        async with open_nursery() as nursery:
            nursery.start_soon(_cancel_upon, self._ended, nursery.cancel_scope)
            await self._topology.overview.wait_ready()
            nursery.cancel_scope.cancel()
        return not self._ended.is_set()

    async def reload(self, settings: Settings, *, settle: bool = True) -> None:
        """Take over other symbols, stream types and log level, without a gap in what stays.

        With the same symbols and stream types the exchange is asked what patterns among them mean now.

        Returns when everything that is wanted now is subscribed, or the service has ended.

        Args:
            settings: as they shall be; all that needs a restart must be as it was.
            settle: False = return as soon as they are taken over.

        Raises:
            SettingsError: they cannot be taken over; everything stays as it was.
            ExchangeUnreachable, RequestRefused: the exchange could not be asked what they amount to; likewise.

        Cancelled: they are taken over, or nothing has changed; `settings` tells which.
        """
        async with self._reloading:
            problems = reload_problems(self.settings, settings)
            if problems:
                raise SettingsError(problems)
            if _streams(settings) != _streams(self.settings):
                await self._topology.reload(settings)
            else:
                self._topology.overview.fleet.ask_again()
            self.settings = settings
            self.announcer("settings_reloaded", settings=settings.describe())
        fleet = self._topology.overview.fleet
        while settle and not fleet.settled and not self._ended.is_set():  # noqa: ASYNC110 - many small things have to happen
            await trio.sleep(RELOAD_LOOK_S)

    async def wait_stopped(self) -> None:
        """Wait until `run` is over, however it ended."""
        await self._ended.wait()

    def status(self) -> Status:
        """A picture of the service right now."""
        return self._topology.overview.status()

    @property
    def details(self) -> Details:
        """What can be told of its streams, connections and gaps, one by one."""
        return self._topology.closeup

    def streams(self) -> dict[str, tuple[str, ...]]:
        """What each planned connection carries, by its name."""
        return {name: tuple(state.streams) for name, state in self._topology.overview.fleet.connections.items()}

    def get_metrics(self) -> dict[str, Any]:
        """The same in one plain dictionary: see `ingest_actors.summary.get_metrics`."""
        return get_metrics(self.status())

    # -- run

    async def run(self, *, task_status: trio.TaskStatus[Service] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until stopped. `task_status` is told once every connection is subscribed and the sink answers.

        Raises:
            IngestError: it could not start, gave up, or could not drain in time.

        Cancelled: everything stops at once, without a drain.
        """
        reason = "cancelled"
        error: IngestError | None = None
        try:
            with self._scope:
                await self._run(task_status)
                reason = "stopped"
        except BaseException as raised:
            failure, _ = sort_out(raised)
            reason = "cancelled" if failure is None else "failed"
            error = failure if isinstance(failure, IngestError) else None
            raise
        finally:
            self.report = StopReport(
                reason,
                self._topology.overview.ledger.total(),
                unfinished=error.unfinished if isinstance(error, DrainTimedOut) else (),
                left=self._topology.left(),
                error=error,
            )
            self.announcer.end()
            self._ended.set()

    async def _run(self, task_status: trio.TaskStatus[Service]) -> None:
        sink = await self._open_sink()
        if sink is None:
            return
        try:
            sink = await self._with_spool(sink)
            if self._resumed is not None and self._resumed.marks:
                self._topology.resume(self._resumed.marks, self._resumed.away_s)
            async with open_nursery() as nursery:
                nursery.start_soon(self._tell_ready, task_status)
                report = await self._topology.run(sink)
                nursery.cancel_scope.cancel()
        except BaseException as failure:
            await self._close(sink, failure)
            raise
        await self._close(sink)
        if not report.clean:
            raise DrainTimedOut(report.unfinished, self._topology.overview.ledger.total().in_flight)

    async def _close(self, sink: Sink, failure: BaseException | None = None) -> None:
        """Let go of the sink; that it cannot be closed hides nothing worse."""
        try:
            with trio.move_on_after(SINK_CLOSE_S_MAX, shield=True):
                await sink.aclose()
        except Exception as error:
            if failure is None:
                raise ActorFailed("sink", error) from error
            failure.add_note(f"and the sink could not be closed: {error!r}")

    async def _tell_ready(self, task_status: trio.TaskStatus[Service]) -> None:
        await self._topology.overview.wait_ready()
        task_status.started(self)

    async def _open_sink(self) -> Sink | None:
        """The sink, tried again as the settings say; None when the service was stopped meanwhile."""
        if self._given_sink is not None:
            return self._given_sink
        if self._stop_wanted.is_set():
            return None
        settings = self.settings
        backoff = Backoff(settings.reconnect_interval, RECONNECT_MAX_S, rng=self._rng)
        sink: Sink | None = None
        try:
            async with open_nursery() as nursery:
                nursery.start_soon(_cancel_upon, self._stop_wanted, nursery.cancel_scope)
                while sink is None:
                    try:
                        sink = await self._open_kafka()
                    except SinkUnreachable as failure:
                        delay_s = backoff.next_s()
                        gave_up = 0 < settings.max_retries <= backoff.failures
                        self._tell_unreachable(failure, backoff.failures, None if gave_up else round(delay_s, 3))
                        if gave_up:
                            raise
                        await trio.sleep(delay_s)
                nursery.cancel_scope.cancel()
        except BaseException as failure:
            if sink is not None:  # cancelled in the instant in which it was open
                await self._close(sink, failure)
            raise
        return sink

    async def _with_spool(self, sink: Sink) -> Sink:
        """The same with a spool before it, by the settings; what is recorded or replayed has its files already.

        What is left in the spool counts as written: whoever resumes goes on behind it.
        """
        if not self._spools or self.settings.spool_dir is None:
            return sink
        from ingest_actors.spool import SpoolingSink, with_spool  # noqa: PLC0415 - a database only for who asks

        before = self._resumed or Resumed({})
        marks = ResumeState.of(self.settings.instance_name, before.marks)
        spool = await with_spool(
            sink,
            self.settings,
            window_bytes=Bounds.of(self.settings.buffer_max_bytes, spool=True).spool,
            topics=topic_names(self.settings)._asdict(),
            refused_event=self._topology.letters.refused_event,
            announce=self.announcer,
            clock_ms=self._clock_ms,
            drained=before.spooled,
            marks=marks,
            progress=self._late_progress,
        )
        if isinstance(spool, SpoolingSink) and spool.left_at_ms is not None:
            away_s = max(self._clock_ms() - spool.left_at_ms, 0) / 1000
            away_s = away_s if before.away_s is None else min(away_s, before.away_s)
            self._resumed = Resumed(dict(marks.marks), away_s, marks.spooled)
        return spool

    async def _open_kafka(self) -> Sink:
        """Kafka by the settings, and with it what an earlier process has written."""
        settings = self.settings
        # What is played is no part of any series that goes on, and may be played again.
        state = ResumeState(settings.instance_name) if self._live else None
        sink = await open_sink(
            settings,
            queue_bytes=Bounds.of(settings.buffer_max_bytes, spool=settings.spool_dir is not None).sink,
            progress=state,
            letter=self._topology.letters.refused_event,
            clock_ms=self._clock_ms,
            announce=self.announcer,
        )
        if state is not None:
            self._resumed = Resumed(dict(state.marks), sink.away_s, state.spooled)
            self._late_progress = state if self.settings.kafka_delivery == "at_least_once" else None
        return sink

    def _tell_unreachable(self, failure: SinkUnreachable, failures: int, retry_in_s: float | None) -> None:
        self.announcer(
            "kafka_producer_creation_failed",
            level="error",
            target=failure.target,
            cause=failure.cause,
            hint=failure.hint,
            failures=failures,
            retry_in_s=retry_in_s,
        )


def _streams(settings: Settings) -> tuple[frozenset[str], frozenset[str]]:
    """What decides about the streams."""
    return frozenset(settings.binance_symbols), frozenset(settings.binance_stream_types)


async def _cancel_upon(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
