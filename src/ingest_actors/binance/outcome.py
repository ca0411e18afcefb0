"""What comes of parsing a batch of frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from ingest_actors.binance.continuity import Continuity
from ingest_actors.binance.leads import Lead, Leads
from ingest_actors.binance.series import Odd, Series
from ingest_actors.binance.splice import Tails
from ingest_actors.messages import Event, FrameBatch, Route

NOTICE_MAX_BYTES = 4096
"""How much of a message a notice repeats: more than any answer of the exchange has."""

CONTROL_REPLY = "control_reply"
"""Notice: the exchange answered a control message, and nobody had taken the answer out before."""

SHUTDOWN = "server_shutdown"
"""Notice: the exchange is about to end this connection."""


_NONE: Final[Mapping[Route, int]] = MappingProxyType({})


class Notice(NamedTuple):
    """Something that the exchange said about a connection: for the planner, not for the record."""

    kind: str
    """`CONTROL_REPLY` or `SHUTDOWN`."""
    connection: str
    """Name of the connection that it came by."""
    detail: str
    """The message itself."""


class Parsed(NamedTuple):
    """The outcome. Every frame has become events (one, or one for each element of an array) or one notice."""

    events: list[Event]
    """In the order of arrival; dead letters have their place among the others."""
    notices: list[Notice]
    odd: list[Odd]
    """Events that do not go on where their series ended; see `ingest_actors.binance.continuity`."""
    future_timestamps: int = 0
    """Events whose own time lay too far ahead for a broker; they bear the time of receipt instead."""
    dropped: Mapping[Route, int] = _NONE
    """How many events another connection had brought or is to bring, by their route."""


class Outcome:
    """What has come of a batch so far.

    Attributes:
        tails: what is appended to the events of this batch; they know the time of receipt.
        dropped: events that another connection had brought or is to bring, by their route.
    """

    __slots__ = (
        "_connection",
        "_continuity",
        "_leads",
        "dropped",
        "events",
        "future_timestamps",
        "notices",
        "odd",
        "received_at_ms",
        "tails",
    )

    def __init__(self, batch: FrameBatch, continuity: Continuity | None = None, leads: Leads | None = None) -> None:
        self._continuity = continuity
        self._leads = leads
        self._connection = batch.connection
        self.received_at_ms = batch.received_at_ms
        self.tails = Tails(batch.received_at_ms)
        self.events: list[Event] = []
        self.odd: list[Odd] = []
        self.notices: list[Notice] = []
        self.future_timestamps = 0
        self.dropped: Counter[Route] = Counter()

    def offer(self, series: Series, first: int, last: int, event: Event) -> None:
        """Add an event of a series: to the others when it goes on where the series ended, else aside."""
        if not series.touched and self._continuity is not None:
            self._continuity.touch(series)
        if first == series.staged or series.unbegun:
            series.staged = last + 1
            series.latest_ms = event[2]
            self.events.append(event)
            return
        if series.knows(last, series.staged) and not series.sequence.late:
            self.dropped[event[3]] += 1
            return
        if series.staged is not None:
            series.reached = series.staged
            series.staged = None
        self.odd.append(Odd(series, first, last, event))

    def sample(self, lead: Lead, event: Event) -> None:
        """Add an event of a stream that several connections bring, if it is this one's to bring it."""
        if self._leads is None or self._leads.take(lead, self._connection, event):
            self.events.append(event)
        else:
            self.dropped[event[3]] += 1

    def lead(self, stream: str) -> Lead | None:
        """A stream of samples that several connections bring; None when one alone does."""
        return None if self._leads is None else self._leads.streams.get(stream)

    def notice(self, kind: str, frame: bytes) -> None:
        """Note that a frame is no event, but something said about the connection."""
        detail = frame[:NOTICE_MAX_BYTES].decode("utf-8", "replace")
        self.notices.append(Notice(kind, self._connection, detail))

    def parsed(self) -> Parsed:
        """All of it."""
        return Parsed(self.events, self.notices, self.odd, self.future_timestamps, self.dropped)
