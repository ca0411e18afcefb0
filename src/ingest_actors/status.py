"""A look at the running service: what the monitor gathers, and what metrics, health and the console show.

`Tallies` is written by the actors as they go; `Status` is an immutable picture made from it, on demand, on the trio
thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from ingest_actors.ledger import LedgerEntry
from ingest_actors.protocols import SinkStatus

LATENCY_BOUNDS_S = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Upper bounds of the latency histograms, seconds: a millisecond is a good hop, a minute is an outage."""


RECONNECT_REASONS = ("closed", "unreachable", "silent", "blocked")
"""Why a connection is opened again without a plan."""

GAP_REASONS = (
    "disconnected", "restarted", "exchange_skipped", "crashed", "too_old", "spool_full", "exchange_reset",
)  # fmt: skip
"""Why ids are missing: those of the gap journal."""


class Histogram:
    """Counts by bucket, for Prometheus and for percentiles."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = LATENCY_BOUNDS_S) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Count `count` observations of `value`."""
        self.counts[bisect_left(self.bounds, value)] += count
        self.total += value * count

    def cumulative(self) -> list[int]:
        """Observations at or below each bound, then all of them."""
        return list(accumulate(self.counts))

    def quantile(self, q: float) -> float | None:
        """The value below which a fraction `q` lies, interpolated within its bucket; None when nothing was observed."""
        observed = sum(self.counts)
        if not observed:
            return None
        rank = q * observed
        below = 0
        for index, count in enumerate(self.counts):
            if count and below + count >= rank:
                low = self.bounds[index - 1] if index else 0.0
                high = self.bounds[index] if index < len(self.bounds) else low
                return low + (high - low) * (rank - below) / count
            below += count
        return self.bounds[-1]


class ClockOffset(NamedTuple):
    """How the exchange's clock differs from ours, as far as that can be told."""

    seconds: float
    """How far the exchange's is ahead; negative: ours is."""
    uncertainty_s: float
    """The truth lies within this of it: half the way there and back, and what the clocks leave out."""


@dataclass(slots=True)
class Tallies:
    """Counters that belong to no single actor. Written on the trio thread only."""

    actor_restarts: Counter[str] = field(default_factory=Counter)
    reconnects: Counter[str] = field(default_factory=Counter)
    """Unplanned reconnections, by reason."""
    last_event_ms: dict[str, int] = field(default_factory=dict)
    """Receipt of the newest event, ms since the epoch, by event type."""
    gaps: Counter[str] = field(default_factory=Counter)
    """Gaps that were opened, by reason; one whose reason is known better later counts by that."""
    gap_ids_lost: int = 0
    """Ids that will never come."""
    future_timestamps: int = 0
    """Events whose own time lay too far ahead for a broker, written with the ingestion time instead."""
    latency: dict[str, Histogram] = field(
        default_factory=lambda: {hop: Histogram() for hop in ("exchange", "pipeline", "ack")}
    )
    """Seconds: exchange time to receipt (by the exchange's clock, as far as it is known), receipt to hand-over,
    hand-over to acknowledgement."""
    clock: ClockOffset | None = None
    """None: nobody could ask."""
    clock_offset_ms: int = 0
    """The same for whoever adds it to a time of ours; 0 while it is not known."""

    def set_clock(self, clock: ClockOffset | None) -> None:
        """Take note of how the clocks differ."""
        self.clock = clock
        self.clock_offset_ms = 0 if clock is None else round(clock.seconds * 1000)


class QuietStream(NamedTuple):
    """A stream that has brought nothing for a while."""

    stream: str
    quiet_s: float
    """Since its last event, or since it is waited for when there was none."""
    silent: bool
    """Whether that is an alarm: it should flow and does not."""


class OpenGap(NamedTuple):
    """What is open of one stream's gaps."""

    stream: str
    age_s: float
    """Of the oldest."""
    ids: int
    """Missing in all of them."""


class BackfillProgress(NamedTuple):
    """How far a repair of gaps from REST is that has lasted for more than a minute."""

    gaps: int
    """That are being repaired."""
    ids_fetched: int
    """Since there was none to repair; those of gaps that are closed by now are among them."""
    ids_missing: int
    """In the gaps that are being repaired."""
    ids_per_s: float
    """Fetched a second, over the last five minutes or since the repair began; taken once a minute."""
    remaining_s: int | None
    """How long the rest takes at the pace of that time; None: nothing came in it."""


class Offenders(NamedTuple):
    """The worst, by name, and no more of them than `OFFENDERS_MAX` each: names become metric labels."""

    streams: tuple[QuietStream, ...] = ()
    """Silent ones first, then those that brought nothing for the longest."""
    gaps: tuple[OpenGap, ...] = ()
    """The oldest."""


OFFENDERS_MAX = 10


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """One planned connection."""

    name: str
    url: str
    state: str
    """``connecting``, ``subscribing``, ``open``, ``waiting`` (for the next attempt) or ``closed``."""
    streams: int
    acknowledged: int
    """Streams whose subscription the exchange has acknowledged."""
    opened_at_ms: int | None
    failures: int
    """Failures in a row."""
    on_trial: bool = False
    """Opened for a silent stream that is moved, and not open yet: readiness does not hang on it."""


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """How full a mailbox is."""

    name: str
    events: int
    events_max: int
    bytes: int
    bytes_max: int

    @property
    def fill_ratio(self) -> float:
        """0 = empty, 1 = full, by whichever bound is nearer."""
        return max(self.events / self.events_max, self.bytes / self.bytes_max)


@dataclass(frozen=True, slots=True)
class Status:
    """The service at one instant."""

    instance_name: str
    started_at_ms: int
    at_ms: int
    ledger: dict[str, LedgerEntry]
    total: LedgerEntry
    connections: tuple[ConnectionStatus, ...]
    streams_wanted: int
    streams_listed: int
    streams_flowing: int | None
    """None = nobody counts them."""
    streams_silent: int | None
    mailboxes: tuple[MailboxStatus, ...]
    buffer_bytes: int
    sink: SinkStatus
    tallies: Tallies
    gaps_open: int
    rest_weight_used: int
    """REST weight that this service has spent within the last minute."""
    actors: tuple[str, ...]
    rates: dict[str, float]
    """Events received a second over the last monitor period, by event type."""
    connections_replacing: int = 0
    """Connections beside the planned ones, which are about to take the place of one."""
    connections_draining: int = 0
    """Connections whose place another has taken; they are read to their end."""
    samples_missed_s: dict[str, float] = field(default_factory=dict)
    """Seconds in which nobody listened to streams of samples, by event type, summed over the streams."""
    buffer_bytes_max: int = 0
    """``BUFFER_MAX_BYTES``; 0: nobody knows."""
    rest_weight_max: int = 0
    """``REST_WEIGHT_PER_MINUTE``; 0: nobody knows."""
    event_types: tuple[str, ...] = ()
    """What is to be expected by the settings, so that it can be counted from 0."""
    topics: tuple[str, ...] = ()
    """Where records may go, likewise."""
    backfill: BackfillProgress | None = None
    """How far the repair of gaps is; None: there is none that has lasted for more than a minute."""
    offenders: Callable[[], Offenders] = Offenders
    """Looks for the worst streams and gaps as they are when it is called; not for those who do not ask: it looks at
    every stream."""

    @property
    def connections_open(self) -> int:
        """Connections whose subscriptions are all acknowledged."""
        return sum(connection.state == "open" for connection in self.connections)

    @property
    def connected(self) -> bool:
        """Whether every planned connection is open; one on trial is not waited for."""
        return bool(self.connections) and all(c.state == "open" or c.on_trial for c in self.connections)

    def unready(self) -> list[str]:
        """Why the service is not ready, for people; empty when it is."""
        return unready(self.connections, self.sink)


def unready(connections: Iterable[ConnectionStatus], sink: SinkStatus) -> list[str]:
    """Why a service with these connections and this sink is not ready, for people; empty when it is."""
    states = {connection.name: connection.state for connection in connections if not connection.on_trial}
    reasons = [f"connection {name} is {state}" for name, state in states.items() if state != "open"]
    if not states:
        reasons.append("no connection is planned yet")
    if not sink.reachable:
        reasons.append(f"Kafka does not accept: {sink.detail or 'no broker answers'}")
    return reasons
