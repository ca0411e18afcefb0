"""How `BUFFER_MAX_BYTES` is shared out: every place that holds events, and how much of the whole it may take."""

from __future__ import annotations

from dataclasses import dataclass

from ingest_actors.messages import EVENT_OVERHEAD_BYTES, FRAME_OVERHEAD_BYTES, EventBatch, FrameBatch
from ingest_actors.supervision import Mailbox

READ_AHEAD_BYTES_MAX = 1024 * 1024
"""Most that one connection reads ahead of its mailbox: a few milliseconds of the busiest feed, so more would not make
anything faster, only let more wait."""

READ_AHEAD_BYTES_MIN = 16 * 1024
"""Least that one connection reads ahead, however many there are: less would mean a system call a message."""

NEVER_ISOLATED = 1_000_000_000
"""Strikes of a mailbox whose parcels must stay whole: the sink knows batches by identity and refuses single events by
itself."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The shares, in bytes.

    An event passes through all of these, but it is held in one of them at a time - except that the sink's queue holds
    copies of what is on lease in the batches mailbox, one a topic. Hence the half for the sink.

    Attributes:
        sink: records inside the sink.
        batches_mailbox: batches that wait for the sink, or for its acknowledgement.
        events_mailbox: events that wait for their batch.
        frames_mailbox: messages that wait to be parsed.
        waiting: events that wait for others of their series.
        read_ahead: all connections' reading ahead together.
        spool: batches that are on the disk as well; the share of those that are not is smaller by as much.
    """

    sink: int
    batches_mailbox: int
    events_mailbox: int
    frames_mailbox: int
    waiting: int
    read_ahead: int
    spool: int = 0

    @classmethod
    def of(cls, buffer_bytes_max: int, *, spool: bool = False) -> Bounds:
        """Share out `BUFFER_MAX_BYTES`, with a spool or without one."""
        sink = buffer_bytes_max // 2
        batches = buffer_bytes_max // 4
        eighth = buffer_bytes_max // 8
        events = eighth // 2
        spooled = batches // 2 if spool else 0
        return cls(
            sink=sink,
            batches_mailbox=batches - spooled,
            spool=spooled,
            events_mailbox=events,
            frames_mailbox=eighth - events,
            waiting=events,
            read_ahead=buffer_bytes_max - sink - batches - eighth - events,
        )

    def frames(self, name: str) -> Mailbox[FrameBatch]:
        """The mailbox between the connections and the parser."""
        return Mailbox(name, events_max=self.frames_mailbox // FRAME_OVERHEAD_BYTES, bytes_max=self.frames_mailbox)

    def events(self, name: str) -> Mailbox[EventBatch]:
        """The mailbox between the parser and the batcher."""
        return Mailbox(name, events_max=self.events_mailbox // EVENT_OVERHEAD_BYTES, bytes_max=self.events_mailbox)

    def batches(self, name: str) -> Mailbox[EventBatch]:
        """The mailbox between the batcher and the producer."""
        return Mailbox(
            name,
            events_max=self.batches_mailbox // EVENT_OVERHEAD_BYTES,
            bytes_max=self.batches_mailbox,
            strikes_max=NEVER_ISOLATED,
        )

    def read_ahead_of_each(self, connections: int) -> int:
        """What one of so many connections may read ahead."""
        return max(min(READ_AHEAD_BYTES_MAX, self.read_ahead // max(connections, 1)), READ_AHEAD_BYTES_MIN)
