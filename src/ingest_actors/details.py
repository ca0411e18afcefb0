"""What can be told of single streams, connections and gaps of a running service: the types, and who tells.

`Status` sums up; this is what a person looks at next. Nothing here is written for each message: it is read on demand
from what the actors keep anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol


class StreamDetail(NamedTuple):
    """One stream that is to be carried."""

    name: str
    """As the exchange calls it: ``btcusdt@trade``."""
    symbol: str
    """Upper case; empty for a stream of all symbols."""
    event_type: str
    """Empty when its name promises none that is known."""
    connection: str
    state: str
    """``flowing``; ``silent``: it should flow and does not; ``quiet``: it brings nothing, and nothing says that it
    should; ``waiting``: its subscription does not stand."""
    age_s: float | None
    """Seconds since it last brought something, to the second; None: it never did."""
    next_id: int | None
    """The id that its series goes on with; None when its events have none that go on from one to the next."""
    by_ones: bool
    """Whether each event has one such id of its own; else an event covers several."""
    gap_s: float
    """Mean seconds between two looks that found something new; 0: not known."""
    gaps_open: int
    gaps_closed: int
    gaps_lost: int
    ids_lost: int


class ConnectionDetail(NamedTuple):
    """One connection, be it planned, about to take the place of another, or about to go."""

    name: str
    url: str
    state: str
    role: str
    """Empty for one that is planned; else what it is there for, in words."""
    streams: int
    acknowledged: int
    age_s: float | None
    """Since it opened; None while it is not open."""
    rotation_in_s: float | None
    """Until it is replaced for its age; None: that is not decided."""
    heard_s: float | None
    """Since it last brought data, seconds; None: it has brought none in this life."""
    failures: int
    held_up: bool
    """What it has read finds no room downstream, so that it is not read any more."""


class JournalEntry(NamedTuple):
    """One record of the gap journal."""

    at_ms: int
    state: str
    """``open``, ``closed`` or ``lost``."""
    stream: str
    event_type: str
    first_id: int
    last_id: int
    missing: int
    recovered: int
    reason: str
    resolved_by: str
    """Empty: nothing has."""


class Happening(NamedTuple):
    """Something that the log tells as well."""

    at_ms: int
    name: str
    text: str
    """Its fields, bounded in length."""


class GapSums(NamedTuple):
    """What became of gaps, of one event type or of all."""

    closed: int = 0
    lost: int = 0
    ids_recovered: int = 0
    ids_lost: int = 0
    last_lost_ms: int = 0
    """When the journal last told of a loss, ms since the epoch; 0: it never did."""


class Details(Protocol):
    """Who tells. Everything is of this instant and on the trio thread."""

    @property
    def draining(self) -> bool:
        """Whether the service was asked to stop."""
        ...

    @property
    def buffer_bytes_max(self) -> int:
        """Bound on all that is held in memory, bytes."""
        ...

    @property
    def ids_missing(self) -> int:
        """Ids of the gaps that are open."""
        ...

    def streams(self, chunk: int) -> Iterator[list[StreamDetail]]:
        """Every stream that is carried, so many at a time; whoever asks may let others run in between."""
        ...

    def again(self, streams: Sequence[StreamDetail]) -> list[StreamDetail]:
        """The same streams as they are now."""
        ...

    def connections(self) -> list[ConnectionDetail]:
        """All of them, the planned ones first."""
        ...

    def journal(self) -> Sequence[JournalEntry]:
        """The last records of the gap journal, oldest first."""
        ...

    def happenings(self) -> Sequence[Happening]:
        """What happened last, oldest first."""
        ...

    def gap_sums(self) -> Mapping[str, GapSums]:
        """By event type, those that have had gaps."""
        ...
