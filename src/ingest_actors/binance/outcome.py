"""What comes of parsing a batch of frames."""

from __future__ import annotations

from typing import NamedTuple

from ingest_actors.messages import Event

CONTROL_REPLY = "control_reply"
"""Notice: the exchange answered a control message, and nobody had taken the answer out before."""

SHUTDOWN = "server_shutdown"
"""Notice: the exchange is about to end this connection."""


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
    size_bytes: int
    """What the events are counted as in memory."""
    notices: list[Notice]
    future_timestamps: int = 0
    """Events whose own time lay too far ahead for a broker; they bear the time of receipt instead."""
