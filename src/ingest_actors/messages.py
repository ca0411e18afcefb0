"""What travels between the actors.

Two kinds of parcel pass through the pipeline: a `FrameBatch` from a connection to the parser, and an `EventBatch`
from the parser through the batcher to the producer. Both are counted in items and in bytes and can be split, which is
all that a mailbox asks of what it carries.

An event is a plain tuple, not an object: it is made once for each message of the exchange, and a tuple costs a
quarter of what the cheapest class does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from operator import itemgetter
from typing import Final, TypeAlias

import msgspec

EVENT_OVERHEAD_BYTES = 200
"""What an event costs in memory beside its value: the tuple, the bytes header, the time stamp, its place in a list."""

HEADER_OVERHEAD_BYTES = 200
"""What a header costs beside its value, here and in librdkafka's queue."""

FRAME_OVERHEAD_BYTES = 60
"""What a frame costs in memory beside its payload: the bytes header and its place in a list."""


class Route(msgspec.Struct, eq=False, frozen=True, gc=False):
    """Where events of one kind go, and what the ledger calls them. Compared by identity; made once and shared.

    Not tracked by the garbage collector, so that the tuples of events are not either: walking through them again and
    again took a fifth of the pipeline's time.
    """

    event_type: str
    """The name in the record and in the ledger, e.g. ``aggregate_trade``."""
    topics: tuple[str, ...]
    """The Kafka topics that each event of this kind is written to, in this order."""
    headers: tuple[tuple[str, bytes], ...] = ()
    """Kafka headers of the record; only dead letters have any."""
    counted: bool = True
    """Whether the ledger counts it: it came from the exchange, and is no word of ours about that."""
    dead_letter: bool = False
    """Whether an acknowledged event counts as dead-lettered instead of delivered."""
    overhead_bytes: int = EVENT_OVERHEAD_BYTES
    """What an event costs in memory beside its value; more where it has a route of its own, with headers."""
    timed: bool = True
    """Whether its timestamp is the exchange's own time, so that it tells how long the way was."""


Event: TypeAlias = tuple[bytes, bytes | None, int, Route]
"""One event: the record's value, its key (None: no symbol), its Kafka timestamp in ms, its route."""


class FrameBatch:
    """WebSocket messages read together from one connection, in the order of arrival.

    Attributes:
        frames: the payloads, unmasked and reassembled, each one whole message.
        received_at_ms: wall clock, ms since the epoch, when the bytes were read.
        received_at_ns: the same instant, ns since the epoch, as exactly as the clock tells; of bytes that were read
            within one millisecond and put together, the first.
        connection: name of the connection that they came by.
        binary: whether the messages were sent as binary instead of text. Text is known to be valid UTF-8.
        size_bytes: what the batch is counted as in memory.
    """

    __slots__ = ("binary", "connection", "frames", "received_at_ms", "received_at_ns", "size_bytes")

    def __init__(
        self,
        frames: list[bytes],
        *,
        received_at_ms: int,
        connection: str,
        binary: bool = False,
        size_bytes: int | None = None,
        received_at_ns: int | None = None,
    ) -> None:
        self.frames = frames
        self.received_at_ms = received_at_ms
        self.received_at_ns = received_at_ms * 1_000_000 if received_at_ns is None else received_at_ns
        self.connection = connection
        self.binary = binary
        self.size_bytes = (
            sum(map(len, frames)) + FRAME_OVERHEAD_BYTES * len(frames) if size_bytes is None else size_bytes
        )

    def __len__(self) -> int:
        return len(self.frames)

    def split(self, count: int) -> tuple[FrameBatch, FrameBatch]:
        """The first `count` frames, and the others."""
        return self._part(self.frames[:count]), self._part(self.frames[count:])

    def parts(self, most: int) -> Iterator[FrameBatch]:
        """All frames in batches of nearly the same size and of at most so many, as few as can be; it may be itself."""
        count = len(self.frames)
        pieces = -(-count // most)
        if pieces <= 1:
            yield self
            return
        bounds = [-(-count * piece // pieces) for piece in range(pieces + 1)]
        for start, end in pairwise(bounds):
            yield self._part(self.frames[start:end])

    def _part(self, frames: list[bytes]) -> FrameBatch:
        return FrameBatch(
            frames,
            received_at_ms=self.received_at_ms,
            received_at_ns=self.received_at_ns,
            connection=self.connection,
            binary=self.binary,
        )


class EventBatch:
    """Events in the order in which they are to be written.

    Attributes:
        events: see `Event`.
        received_at_ms: when the bytes of the oldest event were read; ms since the epoch.
        size_bytes: what the batch is counted as in memory.
        spooled: its number in the spool that it was read back from; None: it comes from no spool.
    """

    __slots__ = ("_newest", "_routes", "events", "received_at_ms", "size_bytes", "spooled")

    def __init__(
        self, events: list[Event], *, received_at_ms: int, size_bytes: int | None = None, spooled: int | None = None
    ) -> None:
        self.events = events
        self.received_at_ms = received_at_ms
        self.spooled = spooled
        self._routes: Counter[Route] | None = None
        self.size_bytes = self._size() if size_bytes is None else size_bytes
        self._newest: dict[tuple[Route, bytes | None], Event] | None = None

    def __len__(self) -> int:
        return len(self.events)

    def split(self, count: int) -> tuple[EventBatch, EventBatch]:
        """The first `count` events, and the others; only the first are looked at."""
        front = EventBatch(self.events[:count], received_at_ms=self.received_at_ms)
        rest = EventBatch(
            self.events[count:],
            received_at_ms=self.received_at_ms,
            size_bytes=self.size_bytes - front.size_bytes,
        )
        return front, rest

    def routes(self) -> Counter[Route]:
        """How many events of each route there are; counted once, so do not change it."""
        if self._routes is None:
            self._routes = Counter(map(_ROUTE, self.events))
        return self._routes

    def newest(self) -> dict[tuple[Route, bytes | None], Event]:
        """The last event of each route and key; found once, so do not change it."""
        if self._newest is None:
            self._newest = dict(zip(map(_ROUTE_AND_KEY, self.events), self.events, strict=True))
        return self._newest

    def _size(self) -> int:
        """What the events are counted as; of each only the value is looked at, the rest is the same for a route."""
        overhead_bytes = sum([route.overhead_bytes * count for route, count in self.routes().items()])
        return sum(map(len, map(_VALUE, self.events))) + overhead_bytes


_VALUE: Final = itemgetter(0)
_ROUTE: Final = itemgetter(3)
_ROUTE_AND_KEY: Final = itemgetter(3, 1)
