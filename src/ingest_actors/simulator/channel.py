"""From one stream to the connections that are subscribed to it."""

from __future__ import annotations

from collections.abc import Callable

from ingest_actors.simulator.session import Session
from ingest_actors.simulator.wire import text_frame

MILLISECOND = 1000
MICROSECOND = 1


class Channel:
    """One stream with at least one subscriber. An event is rendered and framed once for each form that is wanted.

    Attributes:
        name: the stream's name, as subscribed.
        sessions: who is subscribed, in the order of subscription.
    """

    __slots__ = ("_prefix", "name", "sessions")

    def __init__(self, name: str) -> None:
        self.name = name
        self.sessions: dict[Session, None] = {}
        self._prefix = b'{"stream":"' + name.encode() + b'","data":'

    def emit(self, render: Callable[..., bytes], *args: object) -> None:
        """Send one event to everybody.

        Args:
            render: makes the payload; called as ``render(unit, *args)``, where times in microseconds are to be divided
                by `unit`: 1000 for connections in milliseconds, 1 for those in microseconds.
            args: see `render`.
        """
        payloads: dict[int, bytes] = {}
        frames: dict[tuple[int, bool], bytes] = {}
        for session in self.sessions:
            unit = MICROSECOND if session.microseconds else MILLISECOND
            form = (unit, session.combined)
            frame = frames.get(form)
            if frame is None:
                payload = payloads.get(unit)
                if payload is None:
                    payload = payloads[unit] = render(unit, *args)
                frame = frames[form] = text_frame(self._prefix + payload + b"}" if session.combined else payload)
            session.push(frame, self.name)
