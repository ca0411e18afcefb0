"""THE picture: mailboxes and actors, wired in data order. Read it from `Topology.__init__` to `Topology._line`.

exchange ─▶ connection ─frames─▶ parser ─events─▶ batcher ─batches─▶ producer ─▶ sink
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from typing import Any

import trio

from ingest_actors.actors.batcher import batcher
from ingest_actors.actors.connection import connection
from ingest_actors.actors.connection_life import Connection
from ingest_actors.actors.monitor import Rates, monitor
from ingest_actors.actors.parser import parser
from ingest_actors.actors.planner import Fleet, Notice, Wanted, planner
from ingest_actors.actors.producer import Handover, producer
from ingest_actors.announce import Announcer
from ingest_actors.binance.attempts import AttemptBudget
from ingest_actors.binance.dead_letters import DeadLetters
from ingest_actors.binance.parser import EventParser
from ingest_actors.binance.planning import assign
from ingest_actors.binance.stream_table import StreamTable, TopicNames
from ingest_actors.bounds import Bounds
from ingest_actors.errors import IngestError
from ingest_actors.ledger import Ledger, in_all
from ingest_actors.messages import EventBatch, FrameBatch, Route
from ingest_actors.nursery import open_nursery
from ingest_actors.protocols import Feed, Sink, SinkStatus, Subscriber
from ingest_actors.settings import Settings
from ingest_actors.status import MailboxStatus, Status, Tallies, unready
from ingest_actors.summary import get_metrics
from ingest_actors.supervision import Backoff, DrainReport, Line, Mailbox, RestartWindow, keep_alive

ACTORS = ("planner", "connection", "parser", "batcher", "producer", "monitor")
"""In data order; for metrics, where each has its place from the start."""

RECONNECT_MAX_S = 300.0
"""Longest delay between two attempts of a connection."""

NOTICES_MAX = 64
"""Notices from the exchange that may wait for the planner; there are a handful a day."""

RESTARTS_MAX = 10
RESTART_PERIOD_S = 60.0
"""An actor that crashes more than `RESTARTS_MAX` times in this long is sick, and a restart will not mend it."""


@dataclass(frozen=True)
class Network:
    """The ways to the exchange.

    Attributes:
        endpoints: WebSocket URLs, used in turn.
        open_feed: opens a WebSocket; gets how much it may read ahead, in bytes, beside what `OpenFeed` gets.
        subscriber: makes the control protocol of a connection from its streams.
        resolve: asks the exchange what the settings amount to.
    """

    endpoints: Sequence[str]
    open_feed: Callable[..., AbstractAsyncContextManager[Feed]]
    subscriber: Callable[[tuple[str, ...]], Subscriber]
    resolve: Callable[[Announcer], Awaitable[Wanted]]


class Topology:
    """One service's mailboxes and actors.

    Args:
        settings: bounds and intervals.
        network: the ways to the exchange.
        announce: told of what happens.
        clock_ms: wall clock, ms since the epoch.
        rng: for jitter.

    Attributes:
        ledger: what became of the events.
        line: the actors; what to stop.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        network: Network,
        announce: Announcer,
        clock_ms: Callable[[], int],
        rng: random.Random,
    ) -> None:
        self._settings = settings
        self._network = network
        self._announce = announce
        self._clock_ms = clock_ms
        self._rng = rng
        self._started_at_ms = clock_ms()
        self._table = StreamTable(topic_names(settings))
        self._parser = EventParser(self._table)
        self._bounds = Bounds.of(settings.buffer_max_bytes)

        self._frames: Mailbox[FrameBatch] = self._bounds.frames("frames")
        self._events: Mailbox[EventBatch] = self._bounds.events("events")
        self._batches: Mailbox[EventBatch] = self._bounds.batches("batches")
        self._notices = trio.open_memory_channel[Notice](NOTICES_MAX)

        self.ledger = Ledger()
        self.ledger.add_holder(partial(_routes_held, self._events))
        self.ledger.add_holder(partial(_routes_held, self._batches))
        self._became_ready = trio.Event()
        self.line = Line(drain_timeout_s=settings.shutdown_timeout_seconds)
        self._tallies = Tallies()
        self._rates = Rates(self.ledger.received)
        self._fleet = Fleet()
        self._sink: Sink | None = None

    async def run(self, sink: Sink) -> DrainReport:
        """Run until `line` is stopped; see `Line.run`."""
        settings, line = self._settings, self.line
        self._sink = sink
        handover = Handover(
            self._batches,
            sink,
            ledger=self.ledger,
            tallies=self._tallies,
            refused_event=DeadLetters(self._table).refused_event,
            breaks_max=settings.kafka_retries,
            announce=self._announce,
            clock_ms=self._clock_ms,
        )

        line.source("planner", self._sources, into=[self._frames], farewell=self._put_carried)
        line.stage(
            "parser",
            partial(
                self._keep_alive,
                "parser",
                partial(
                    parser,
                    self._frames,
                    self._events,
                    parse=self._parser.parse,
                    notify=self._notify,
                    ledger=self.ledger,
                    tallies=self._tallies,
                ),
                inbox=self._frames,
                on_poison=self._bury_frame,
            ),
            out_of=self._frames,
            into=[self._events],
        )
        line.stage(
            "batcher",
            partial(
                self._keep_alive,
                "batcher",
                partial(
                    batcher,
                    self._events,
                    self._batches,
                    batch_size=settings.batch_size,
                    batch_timeout_s=settings.batch_timeout_seconds,
                    eager=settings.batch_eager,
                ),
                inbox=self._events,
                on_poison=self._bury_event,
            ),
            out_of=self._events,
            into=[self._batches],
        )
        line.stage(
            "producer",
            partial(self._keep_alive, "producer", partial(producer, handover), inbox=self._batches),
            out_of=self._batches,
        )
        line.attendant(
            "monitor",
            partial(
                self._keep_alive,
                "monitor",
                partial(
                    monitor,
                    rates=self._rates,
                    interval_s=settings.monitor_interval_seconds,
                    metrics=lambda: get_metrics(self.status()),
                    look=self._check_ready,
                    announce=self._announce,
                ),
            ),
        )
        return await line.run()

    async def _sources(self) -> None:
        """The planner and the connections that it launches."""
        attempts = AttemptBudget()
        async with open_nursery() as nursery:

            def launch(state: Connection) -> None:
                nursery.start_soon(self._connect, state, attempts)

            await self._keep_alive(
                "planner",
                partial(
                    planner,
                    self._fleet,
                    resolve=partial(self._network.resolve, self._announce),
                    assign=assign,
                    launch=launch,
                    notices=self._notices[1],
                    backoff=self._reconnect_backoff(),
                    failures_max=self._settings.max_retries,
                    announce=self._announce,
                ),
            )

    async def _connect(self, state: Connection, attempts: AttemptBudget) -> None:
        settings, network = self._settings, self._network
        position = list(self._fleet.connections).index(state.name)
        endpoints = islice(cycle(network.endpoints), position, None)
        await self._keep_alive(
            f"connection {state.name}",
            partial(
                connection,
                self._frames,
                state=state,
                endpoint=partial(next, endpoints),
                attempt=attempts.spend,
                open_feed=partial(
                    network.open_feed,
                    read_ahead_bytes_max=self._bounds.read_ahead_of_each(len(self._fleet.connections)),
                ),
                subscriber=network.subscriber,
                backoff=self._reconnect_backoff(),
                failures_max=settings.max_retries,
                on_open=self._check_ready,
                announce=self._announce,
                tallies=self._tallies,
                clock_ms=self._clock_ms,
            ),
        )

    def _reconnect_backoff(self) -> Backoff:
        return Backoff(self._settings.reconnect_interval, RECONNECT_MAX_S, rng=self._rng)

    async def _keep_alive(
        self,
        name: str,
        actor: Callable[[], Awaitable[None]],
        *,
        inbox: Mailbox[Any] | None = None,
        on_poison: Callable[[Any, Exception], Awaitable[None]] | None = None,
    ) -> None:
        def on_restart(crash: Exception, delay_s: float) -> None:
            self._tallies.actor_restarts[name.split(maxsplit=1)[0]] += 1
            self._announce(
                "actor_restarted",
                level="error",
                actor=name,
                cause=repr(crash),
                delay_s=round(delay_s, 3),
                exc_info=crash,
            )

        await keep_alive(
            actor,
            name=name,
            inbox=inbox,
            window=RestartWindow(RESTARTS_MAX, RESTART_PERIOD_S),
            backoff=Backoff(rng=self._rng),
            fatal=(IngestError,),
            on_restart=on_restart,
            on_poison=on_poison,
        )

    async def _bury_frame(self, poison: FrameBatch, crash: Exception) -> None:
        """One message crashes the parser whenever it is handled: a dead letter takes its place."""
        letter = DeadLetters(self._table).letter(
            poison.frames[0], "parser_crashed", repr(crash), received_at_ms=poison.received_at_ms
        )
        batch = EventBatch([letter], received_at_ms=poison.received_at_ms)
        await self._events.wait_for_room(batch)
        self._events.put_nowait(batch)
        self.ledger.receive(batch.routes())
        self._frames.settle(1)

    async def _bury_event(self, poison: EventBatch, crash: Exception) -> None:
        """One event crashes the batcher whenever it is handled: its dead letter takes its place."""
        letter = DeadLetters(self._table).refused_event(poison.events[0], "batcher_crashed", repr(crash))
        batch = EventBatch([letter], received_at_ms=poison.received_at_ms)
        await self._batches.wait_for_room(batch)
        self._batches.put_nowait(batch)
        self._events.settle(1)

    async def _put_carried(self) -> None:
        """Put what the connections had read when they ended, for whatever reason."""

        async def put() -> None:
            for state in self._fleet.connections.values():
                await state.put_carried(self._frames)

        await self._keep_alive("connection", put)

    def _notify(self, notice: Notice) -> None:
        """Pass a notice to the planner; one too many is only logged, for the planner can do without any of them."""
        try:
            self._notices[0].send_nowait(notice)
        except trio.WouldBlock:
            self._announce("exchange_notice", level="warning", kind=notice.kind, connection=notice.connection)

    def unready(self) -> list[str]:
        """Why the service is not ready right now; see `ingest_actors.status.unready`."""
        return unready([state.status() for state in self._fleet.connections.values()], self._sink_status())

    async def wait_ready(self) -> None:
        """Wait until nothing stands against it, which is looked at whenever a connection opens, and once a second."""
        while self.unready():
            await self._became_ready.wait()

    def _check_ready(self) -> None:
        if not self.unready():
            self._became_ready.set()
            self._became_ready = trio.Event()

    def _sink_status(self) -> SinkStatus:
        if self._sink is None:
            return SinkStatus(
                reachable=False, queue_records=0, queue_bytes=0, errors=0, records={}, detail="not opened yet"
            )
        return self._sink.status()

    def status(self) -> Status:
        """A picture of it all, right now."""
        mailboxes = tuple(
            MailboxStatus(box.name, box.events, box.events_max, box.bytes, box.bytes_max)
            for box in (self._frames, self._events, self._batches)
        )
        entries = self.ledger.entries()
        wanted = self._fleet.wanted or Wanted(())
        sink = self._sink_status()
        return Status(
            instance_name=self._settings.instance_name,
            started_at_ms=self._started_at_ms,
            at_ms=self._clock_ms(),
            ledger=entries,
            total=in_all(entries.values()),
            connections=tuple(state.status() for state in self._fleet.connections.values()),
            streams_wanted=len(wanted.streams) if wanted.asked is None else wanted.asked,
            streams_listed=len(wanted.streams) if wanted.listed is None else wanted.listed,
            streams_flowing=None,
            streams_silent=None,
            mailboxes=mailboxes,
            buffer_bytes=sum(box.bytes for box in mailboxes) + sink.queue_bytes,
            sink=sink,
            tallies=self._tallies,
            gaps_open=0,
            actors=ACTORS,
            rates=self._rates.current(),
        )

    def left(self) -> dict[str, int]:
        """Items still held, by mailbox; messages that a connection had read are among them."""
        unread = sum(len(batch) for state in self._fleet.connections.values() for batch in state.carry)
        left = self.line.report().left
        return left | {"connections": unread} if unread else left


def topic_names(settings: Settings) -> TopicNames:
    """The topics that events go to, by the settings."""
    return TopicNames(
        raw=settings.kafka_topic_raw_events,
        trades=settings.kafka_topic_trades,
        depth=settings.kafka_topic_depth,
        dead_letters=settings.kafka_topic_dead_letters,
    )


def _routes_held(mailbox: Mailbox[EventBatch]) -> Iterator[Route]:
    return (event[3] for batch in mailbox.held() for event in batch.events)
