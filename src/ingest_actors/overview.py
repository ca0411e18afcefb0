"""What can be told of a running service: made on demand from what the actors write and hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from heapq import nsmallest
from typing import Any

import trio

from ingest_actors.actors.fleet import Fleet, Wanted
from ingest_actors.actors.monitor import Rates
from ingest_actors.binance.absences import Absences
from ingest_actors.binance.gaps import Gap
from ingest_actors.binance.stream_watch import StreamWatch
from ingest_actors.ledger import Ledger, in_all
from ingest_actors.messages import EventBatch, Route
from ingest_actors.protocols import Sink, SinkStatus
from ingest_actors.status import (
    OFFENDERS_MAX,
    BackfillProgress,
    MailboxStatus,
    Offenders,
    OpenGap,
    Status,
    Tallies,
    unready,
)
from ingest_actors.supervision import Mailbox

ACTORS = (
    "planner", "backfiller", "catch-up", "bookkeeper", "timekeeper", "rotation", "watch",
    "connection", "parser", "batcher", "producer", "monitor",
)  # fmt: skip
"""In data order; for metrics, where each has its place from the start."""

_NO_SINK = SinkStatus(
    reachable=False, queue_records=0, queue_bytes=0, errors=0, records={}, detail="Kafka is not opened yet"
)


class Overview:
    """The books of one service, and the pictures that are made of them.

    Args:
        instance_name: the service's identity.
        mailboxes: all of them, in data order; those of events are holders of the ledger.
        streams: the watch over them.
        absences: how long nobody listened to streams of samples.
        clock_ms: wall clock, ms since the epoch.
        lanes: by how many connections each stream is carried.
        buffer_bytes_max: bound on what is held in memory.
        rest_weight_max: REST weight that may be spent in a minute.
        topics: where records may go.

    Attributes:
        ledger: what became of the events.
        tallies: counters that belong to no single actor.
        rates: events received a second.
        fleet: what is wanted, and the connections that are there.
        streams: the watch over them.
        absences: how long nobody listened to streams of samples.
        sink: where the events go, once it is open.
        event_types: what is to be expected by the settings.
        gaps: those that are open, oldest first.
        waiting_bytes: what events that wait for others of their series are counted as in memory.
        rest_weight_used: REST weight spent within the last minute.
        backfill: how far a long repair of gaps is; None: there is none.
    """

    def __init__(
        self,
        instance_name: str,
        *,
        mailboxes: Sequence[Mailbox[Any]],
        streams: StreamWatch,
        absences: Absences,
        clock_ms: Callable[[], int],
        lanes: int = 1,
        buffer_bytes_max: int = 0,
        rest_weight_max: int = 0,
        topics: Iterable[str] = (),
    ) -> None:
        self.ledger = Ledger()
        self.tallies = Tallies()
        self.rates = Rates(self.ledger.received)
        self.fleet = Fleet(lanes=lanes)
        self.streams = streams
        self.absences = absences
        self.sink: Sink | None = None
        self._instance_name = instance_name
        self._mailboxes = mailboxes
        self._clock_ms = clock_ms
        self._started_at_ms = clock_ms()
        self._became_ready = trio.Event()
        self._buffer_bytes_max = buffer_bytes_max
        self._rest_weight_max = rest_weight_max
        self._topics = tuple(topics)
        self.event_types: tuple[str, ...] = ()
        self.gaps: Callable[[], Collection[Gap]] = lambda: ()
        self.waiting_bytes: Callable[[], int] = lambda: 0
        self.rest_weight_used: Callable[[], int] = lambda: 0
        self.backfill: Callable[[], BackfillProgress | None] = lambda: None

    def count_held(self, mailbox: Mailbox[EventBatch]) -> None:
        """Count what this mailbox holds as in flight."""
        self.ledger.add_holder(lambda: _routes_held(mailbox))

    def unready(self) -> list[str]:
        """Why the service is not ready right now; see `ingest_actors.status.unready`."""
        return unready([state.status() for state in self.fleet.connections.values()], self._sink_status())

    def check_ready(self) -> None:
        """Look whether anything stands against readiness, and wake who waits for it."""
        if not self.unready():
            self._became_ready.set()
            self._became_ready = trio.Event()

    async def wait_ready(self) -> None:
        """Wait until nothing stands against it, which is looked at whenever a connection opens, and once a second."""
        while self.unready():
            await self._became_ready.wait()

    def status(self) -> Status:
        """A picture of it all, right now."""
        mailboxes = tuple(
            MailboxStatus(box.name, box.events, box.events_max, box.bytes, box.bytes_max) for box in self._mailboxes
        )
        entries = self.ledger.entries()
        wanted = self.fleet.wanted or Wanted(())
        sink = self._sink_status()
        missing = len({name for state in self.fleet.connections.values() for name in state.missing_streams})
        return Status(
            instance_name=self._instance_name,
            started_at_ms=self._started_at_ms,
            at_ms=self._clock_ms(),
            ledger=entries,
            total=in_all(entries.values()),
            connections=tuple(state.status() for state in self.fleet.connections.values()),
            connections_replacing=len(self.fleet.replacements),
            connections_draining=len(self.fleet.retired),
            streams_wanted=len(wanted.streams) if wanted.asked is None else wanted.asked,
            streams_listed=(len(wanted.streams) if wanted.listed is None else wanted.listed) - missing,
            streams_flowing=self.streams.flowing,
            streams_silent=self.streams.silent,
            mailboxes=mailboxes,
            buffer_bytes=sum(box.bytes for box in mailboxes) + self.waiting_bytes() + sink.queue_bytes,
            sink=sink,
            tallies=self.tallies,
            gaps_open=len(self.gaps()),
            samples_missed_s=dict(self.absences.seconds),
            rest_weight_used=self.rest_weight_used(),
            actors=ACTORS,
            rates=self.rates.current(),
            buffer_bytes_max=self._buffer_bytes_max,
            rest_weight_max=self._rest_weight_max,
            event_types=self.event_types,
            topics=self._topics,
            backfill=self.backfill(),
            offenders=self._offenders,
        )

    def spool_full_ms(self) -> int:
        """When a spool that takes nothing last held everything up; ms since the epoch, 0: never."""
        spool = self._sink_status().spool
        return 0 if spool is None else spool.held_up_ms

    def _offenders(self) -> Offenders:
        return Offenders(tuple(self.streams.quietest(OFFENDERS_MAX)), tuple(_oldest(self.gaps(), self._clock_ms())))

    def _sink_status(self) -> SinkStatus:
        return _NO_SINK if self.sink is None else self.sink.status()


def _routes_held(mailbox: Mailbox[EventBatch]) -> Iterator[Route]:
    return (event[3] for batch in mailbox.held() for event in batch.events)


def _oldest(gaps: Iterable[Gap], now_ms: int) -> Iterator[OpenGap]:
    """The streams whose gaps have been open for the longest."""
    since_ms: dict[str, int] = {}
    ids: Counter[str] = Counter()
    for gap in gaps:
        since_ms[gap.stream] = min(since_ms.get(gap.stream, now_ms), gap.detected_at_ms)
        ids[gap.stream] += gap.size - gap.recovered - gap.lost
    for stream in nsmallest(OFFENDERS_MAX, since_ms, key=since_ms.__getitem__):
        yield OpenGap(stream, (now_ms - since_ms[stream]) / 1000, ids[stream])
