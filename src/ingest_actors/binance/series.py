"""One stream's events, behind all connections that carry them, and what waits for its turn among them."""

from __future__ import annotations

from typing import NamedTuple

from ingest_actors.binance.gaps import Gap, Reason, State
from ingest_actors.binance.sequence import Sequence
from ingest_actors.messages import Event, Route

RECENT_IDS = 10_000
"""Of a series that comes by two connections, an id so little behind the newest was there before, without a doubt: the
other connection has brought it. What lies further back may be ids that have begun again."""

ID_MAX = 2**63 - 1
"""Ids are signed 64-bit numbers from 0 on; what lies outside is none."""


class _Near:
    """What the parser touches of a series with each message, side by side; by itself a class sorts its slots.

    With 10,000 streams each line of memory that a message needs is fetched from afar.
    """

    __slots__ = ("latest_ms", "reached", "sequence", "spares", "staged", "touched")


class Series(_Near):
    """One stream's events.

    Attributes:
        stream: its name.
        symbol: upper case.
        route: of its events.
        hold_s: how long a hole may hold up what comes after it, seconds.
        repairable: whether somebody fetches what is missing.
        by_ones: whether each event has one id of its own.
        staged: the id that the parser expects next, beyond what is committed; None: it must ask.
        reached: while it is None only since this batch, how far it had got in it.
        latest_ms: time of the newest event that went on where the series ended, ms since the epoch.
        sequence: what is committed.
        queued: how many of its events are in `Continuity.ready`.
        gaps: those that are open.
        held_since: when its oldest hole was found.
        suspects: events that seem to have been there before, and that nothing new has followed yet.
        suspected_since: when the first of them came.
        resumed: it goes on where an earlier process ended, and nothing has come yet: why ids that are missing before
            whatever comes first are missing.
        withheld: what would have left, while it waits for something to be put before it; None: nothing waits so.
        wait_s: how long what is missing is left to another connection that brings the same stream, seconds; 0: there
            is none.
        untold: why something is missing that no gap was opened for yet; None: nothing is.
        holes_untold: how many holes were found since then.
        spares: events that overlap the end of the series, cut differently by another connection, oldest first: what is
            expected next may still come by itself.
        spare_since: when the oldest of them came.
    """

    __slots__ = (
        "by_ones", "gaps", "held_since", "hold_s", "holes_untold", "queued", "repairable", "resumed", "route",
        "spare_since", "stream", "suspected_since", "suspects", "symbol", "untold", "wait_s", "withheld",
    )  # fmt: skip

    def __init__(
        self, stream: str, symbol: str, route: Route, *, hold_s: float, repairable: bool, by_ones: bool
    ) -> None:
        self.stream = stream
        self.symbol = symbol
        self.route = route
        self.hold_s = hold_s
        self.repairable = repairable
        self.by_ones = by_ones
        self.sequence: Sequence[Event] = Sequence()
        self.staged: int | None = None
        self.latest_ms = 0
        self.reached: int | None = None
        self.touched = False
        self.queued = 0
        self.gaps: list[Gap] = []
        self.held_since = 0.0
        self.suspects: list[Odd] = []
        self.suspected_since = 0.0
        self.resumed: Reason | None = None
        self.withheld: list[Event | Journalled] | None = None
        self.wait_s = 0.0
        self.untold: Reason | None = None
        self.holes_untold = 0
        self.spares: list[Odd] = []
        self.spare_since = 0.0

    @property
    def unbegun(self) -> bool:
        """Whether nothing has come yet, so that whatever comes begins it."""
        return self.staged is None and self.reached is None and self.sequence.next_id is None

    def knows(self, last: int, next_id: int | None) -> bool:
        """Whether an event that ends on an id was surely brought before, by another connection.

        Args:
            last: the id.
            next_id: how far the series has got.
        """
        return next_id is not None and self.wait_s > 0 and next_id - RECENT_IDS <= last < next_id

    @property
    def smooth(self) -> bool:
        """Whether the parser may go on by itself."""
        return (
            not self.queued
            and not self.sequence.waits
            and not self.suspects
            and self.resumed is None
            and self.withheld is None
            and self.sequence.next_id is not None
        )


class Odd(NamedTuple):
    """An event that does not go on where its series ended, as far as the parser can tell."""

    series: Series
    first: int
    last: int
    event: Event


class Journalled(NamedTuple):
    """A record of the journal, in its place among the events of the series."""

    gap: Gap
    state: State
    at_ms: int
    value: bytes
    """What it says: as things were when it was made."""


def size_of(event: Event) -> int:
    """What an event is counted as in memory."""
    return len(event[0]) + event[3].overhead_bytes
