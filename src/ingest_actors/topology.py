"""THE picture: mailboxes and actors, wired in data order. Read `Topology` from top to bottom.

exchange ─▶ connection ─frames─▶ parser ─events─▶ batcher ─batches─▶ producer ─▶ sink

`record` puts a recorder before the parser; `replay` has a player in place of planner and connections.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial

import trio

from ingest_actors.actors.batcher import batcher
from ingest_actors.actors.fleet import beside_another
from ingest_actors.actors.monitor import monitor
from ingest_actors.actors.parser import parser
from ingest_actors.actors.producer import Handover, producer
from ingest_actors.actors.recorder import recorder
from ingest_actors.announce import Announcer
from ingest_actors.binance.absences import Absences
from ingest_actors.binance.books import Books
from ingest_actors.binance.continuity import Continuity
from ingest_actors.binance.dead_letters import DeadLetters
from ingest_actors.binance.ends import Ends
from ingest_actors.binance.gaps import Gap, State
from ingest_actors.binance.journal import Journal, late
from ingest_actors.binance.leads import Leads
from ingest_actors.binance.names import streams_for
from ingest_actors.binance.outcome import Parsed
from ingest_actors.binance.parser import EventParser
from ingest_actors.binance.repair_progress import RepairProgress
from ingest_actors.binance.repairs import Repairs
from ingest_actors.binance.resume import Mark, Place
from ingest_actors.binance.sharing import Sharing
from ingest_actors.binance.stream_table import UNPARSED, EventKind, Repair, StreamTable, TopicNames
from ingest_actors.binance.stream_watch import StreamWatch
from ingest_actors.bounds import Bounds
from ingest_actors.burial import bury_event, bury_frame
from ingest_actors.closeup import Closeup
from ingest_actors.errors import SettingsError
from ingest_actors.messages import EventBatch, FrameBatch
from ingest_actors.network import Network, streams_under_patterns
from ingest_actors.overview import Overview
from ingest_actors.protocols import FrameTape, Sink
from ingest_actors.settings import Settings
from ingest_actors.sources import Sources
from ingest_actors.summary import get_metrics
from ingest_actors.supervision import DrainReport, Line, Mailbox
from ingest_actors.supervisor import Supervisor

PLAYED_WAIT_S = 1.0
"""How long, of this machine's time, what one connection of a recording lacks is looked for by another: the recording is
played faster than that."""

Player = Callable[[Mailbox[FrameBatch]], Awaitable[None]]
"""Puts messages into a mailbox, in order, and returns when there are no more."""


class Topology:
    """One service's mailboxes and actors.

    Args:
        settings: bounds and intervals.
        network: the ways to the exchange.
        announce: told of what happens.
        clock_ms: wall clock, ms since the epoch.
        rng: for jitter.
        tape: gets every message as it came, before it is parsed; None = nobody wants them.
        player: where the messages come from, instead of the exchange; None = from the exchange.

    Attributes:
        overview: what can be told of it.
        letters: makes dead letters.
        sources: the actors that talk to the exchange.
        line: the actors; what to stop.
        closeup: what can be told of its parts, one by one.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        network: Network,
        announce: Announcer,
        clock_ms: Callable[[], int],
        rng: random.Random,
        tape: FrameTape | None = None,
        player: Player | None = None,
    ) -> None:
        self._settings = settings
        self._tape = tape
        self._player = player
        self._network = network
        self._announce = announce
        self._clock_ms = clock_ms
        self._bounds = Bounds.of(settings.buffer_max_bytes, spool=settings.spool_dir is not None)
        self._table = table = StreamTable(topic_names(settings))
        self._continuity = Continuity(
            hold_s=self._hold_s,
            late=late,
            journal=Journal(settings.kafka_topic_gaps).record,
            held_max=settings.gap_hold_max_events,
            bytes_max=self._bounds.waiting,
            clock=trio.current_time,
            clock_ms=clock_ms,
        )
        leads = Leads(table, self._alive)
        self._continuity.on_commit = leads.commit
        self._sharing = Sharing(self._continuity, leads)
        self._overlapping = False
        self._parser = EventParser(table, continuity=self._continuity, leads=leads)
        self.letters = DeadLetters(table)

        self._frames: Mailbox[FrameBatch] = self._bounds.frames("frames")
        self._unparsed = self._frames if tape is None else self._bounds.frames("recorded")
        self._events: Mailbox[EventBatch] = self._bounds.events("events")
        self._batches: Mailbox[EventBatch] = self._bounds.batches("batches")

        self.overview = Overview(
            settings.instance_name,
            mailboxes=(*dict.fromkeys((self._frames, self._unparsed)), self._events, self._batches),
            streams=StreamWatch(
                table, silence_s=settings.stream_silence_seconds, askable=network.statistics is not None
            ),
            absences=Absences(table),
            clock_ms=clock_ms,
            lanes=settings.connections_per_stream,
            buffer_bytes_max=settings.buffer_max_bytes,
            rest_weight_max=settings.rest_weight_per_minute,
            topics=table.topics,
        )
        self._expect(settings)
        self.overview.count_held(self._events)
        self.overview.count_held(self._batches)
        self.overview.ledger.add_holder(self._continuity.routes)
        self._continuity.doubts.on_drop = self.overview.ledger.drop
        self._continuity.gap_book.on_journal = self._tell_gap
        self._continuity.gap_book.spool_full_ms = self.overview.spool_full_ms
        self.overview.gaps = self._continuity.gaps.values
        self.overview.waiting_bytes = lambda: self._continuity.size_bytes
        self.overview.rest_weight_used = network.weight_used
        repairs = Repairs(self._continuity)
        self._repair_progress = RepairProgress(repairs.open, self.overview.ledger.backfilled)
        self.overview.backfill = self._repair_progress.current
        self._supervisor = Supervisor(self.overview.tallies, announce, rng)
        self.sources = Sources(
            settings,
            self._frames,
            network=network,
            hearing=self._parser,
            unparsed=tuple(dict.fromkeys((self._frames, self._unparsed))),
            repairs=repairs,
            ends=Ends(self._continuity, table),
            books=Books(
                self._continuity, interval_s=settings.depth_snapshot_interval_seconds, wanted=self.overview.fleet.wants
            ),
            sharing=self._sharing,
            table=table,
            bounds=self._bounds,
            overview=self.overview,
            supervisor=self._supervisor,
            announce=announce,
            clock_ms=clock_ms,
            rng=rng,
        )
        self.line = Line(drain_timeout_s=settings.shutdown_timeout_seconds)
        self.closeup = Closeup(
            self.overview.fleet,
            watched=self.overview.streams,
            heard=self._parser.heard,
            continuity=self._continuity,
            clock_ms=clock_ms,
            draining=lambda: self.line.draining,
            buffer_bytes_max=settings.buffer_max_bytes,
        )
        announce.add(self.closeup)

    def resume(self, marks: Mapping[Place, Mark], away_s: float | None) -> None:
        """Go on where an earlier process ended; before `run`.

        Args:
            marks: where each series ended.
            away_s: how long ago that was; None: nobody knows, and it is not held against what was missed.
        """
        too_old = away_s is not None and away_s > self._settings.resume_max_age_seconds
        self._continuity.resume(marks, self._table, too_old=too_old)
        self._announce(
            "resumed", series=len(marks), away_s=None if away_s is None else round(away_s, 1), too_old=too_old
        )

    async def run(self, sink: Sink) -> DrainReport:
        """Run until `line` is stopped; see `Line.run`."""
        settings, line, overview = self._settings, self.line, self.overview
        overview.sink = sink
        handover = Handover(
            self._batches,
            sink,
            ledger=overview.ledger,
            tallies=overview.tallies,
            refused_event=self.letters.refused_event,
            breaks_max=settings.kafka_retries,
            announce=self._announce,
            clock_ms=self._clock_ms,
        )

        if self._player is None:
            line.source("planner", self.sources.run, into=[self._frames], farewell=self.sources.put_carried)
        else:
            line.source("player", partial(self._player, self._frames), into=[self._frames])
        if self._tape is not None:
            line.stage(
                "recorder",
                partial(
                    self._supervisor.keep_alive,
                    "recorder",
                    partial(recorder, self._frames, self._unparsed, tape=self._tape),
                    inbox=self._frames,
                ),
                out_of=self._frames,
                into=[self._unparsed],
            )
        line.stage(
            "parser",
            partial(
                self._supervisor.keep_alive,
                "parser",
                partial(
                    parser,
                    self._unparsed,
                    self._events,
                    batch_size=settings.batch_size,
                    parse=self._parser.parse if self._player is None else self._parse_played,
                    order=self._continuity,
                    notify=self.sources.notify,
                    ledger=overview.ledger,
                    tallies=overview.tallies,
                    clock_ms=self._clock_ms,
                ),
                inbox=self._unparsed,
                on_poison=partial(
                    bury_frame,
                    letters=self.letters,
                    frames=self._unparsed,
                    events=self._events,
                    ledger=overview.ledger,
                ),
            ),
            out_of=self._unparsed,
            into=[self._events],
        )
        line.stage(
            "batcher",
            partial(
                self._supervisor.keep_alive,
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
                on_poison=partial(bury_event, letters=self.letters, events=self._events, batches=self._batches),
            ),
            out_of=self._events,
            into=[self._batches],
        )
        line.stage(
            "producer",
            partial(self._supervisor.keep_alive, "producer", partial(producer, handover), inbox=self._batches),
            out_of=self._batches,
        )
        line.attendant(
            "monitor",
            partial(
                self._supervisor.keep_alive,
                "monitor",
                partial(
                    monitor,
                    rates=overview.rates,
                    interval_s=settings.monitor_interval_seconds,
                    metrics=lambda: get_metrics(overview.status()),
                    look=self._look,
                    announce=self._announce,
                ),
            ),
        )
        return await line.run()

    async def reload(self, settings: Settings) -> None:
        """Take over other symbols and stream types; what stays is not touched.

        Raises:
            ExchangeUnreachable, RequestRefused: the exchange could not be asked what they amount to.
            SettingsError: it lists none of the symbols, or cannot be asked at all.
        """
        if self._network.resolving is None:
            raise SettingsError(["BINANCE_SYMBOLS: a service with a network of its own cannot change it while it runs"])
        network = replace(self.sources.network, resolve=self._network.resolving(settings))
        wanted = await network.resolve(self._announce)
        before = self.overview.fleet.wanted
        if before is not None and wanted.symbols_listed is not None:
            wanted = wanted.with_halted(before, streams_under_patterns(settings, wanted.symbols_halted))
        self.sources.adopt(settings, network)
        self._expect(settings)
        self.overview.fleet.change(wanted, self._announce, "streams_changed")

    def _expect(self, settings: Settings) -> None:
        """Have everything that these settings bring counted from 0."""
        kinds = map(self._table.kind_of_stream, streams_for(("ANY",), settings.binance_stream_types))
        known = {kind for kind in kinds if kind is not None}
        if any(kind.repair is Repair.BOOK_SNAPSHOT for kind in known):
            known |= {kind for kind in (self._table.kind("depth_snapshot"),) if kind is not None}
        event_types = {kind.event_type for kind in known}
        self.overview.event_types = tuple(sorted({*event_types, UNPARSED}))
        self.overview.absences.expect(event_types)

    def _parse_played(self, batch: FrameBatch) -> Parsed:
        """Parse what a recording has: where one connection took over from another, both may have brought the same."""
        if not self._overlapping and beside_another(batch.connection):
            self._overlapping = True
            self._sharing.share_everything(PLAYED_WAIT_S)
        return self._parser.parse(batch)

    def _alive(self, connection: str) -> bool:
        """Whether a connection is open."""
        fleet = self.overview.fleet
        known = fleet.connections.get(connection) or fleet.named(connection)
        return known is not None and known.subscriber is not None

    def _hold_s(self, kind: EventKind) -> float | None:
        """How long a gap of such events may hold up what follows; None = nobody repairs it."""
        repaired = self._network.open_rest is not None and kind.repairable
        return self._settings.gap_hold_seconds if repaired and kind.names[0] in self._settings.backfill else None

    def _look(self) -> None:
        """What the monitor has looked at once a second."""
        self.overview.check_ready()
        progress = self._repair_progress.look(trio.current_time())
        if progress is not None:
            self._announce("backfill_progress", **progress._asdict())

    def _tell_gap(self, gap: Gap, state: State) -> None:
        tallies = self.overview.tallies
        if state is State.OPEN:
            tallies.gaps[gap.reason] += 1
        tallies.gap_ids_lost += gap.lost if state is State.LOST else 0
        self.closeup.note(gap, state)
        name = {State.OPEN: "gap_opened", State.CLOSED: "gap_closed", State.LOST: "gap_lost"}[state]
        self._announce(
            name,
            level="info" if state is State.CLOSED else "warning",
            gap=gap.name,
            missing=gap.size,
            recovered=gap.recovered,
            reason=str(gap.reason),
        )

    def left(self) -> dict[str, int]:
        """Items still held, by mailbox; messages that a connection had read are among them."""
        unread = sum(len(batch) for state in self.overview.fleet.everyone() for batch in state.carry)
        left = self.line.report().left
        return left | {"connections": unread} if unread else left


def topic_names(settings: Settings) -> TopicNames:
    """The topics that events go to, by the settings."""
    return TopicNames(
        raw=settings.kafka_topic_raw_events,
        trades=settings.kafka_topic_trades,
        depth=settings.kafka_topic_depth,
        dead_letters=settings.kafka_topic_dead_letters,
        gaps=settings.kafka_topic_gaps,
    )
