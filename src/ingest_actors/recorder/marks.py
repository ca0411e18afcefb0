"""Openings and ends of connections, put on tape as they are announced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ingest_actors.announce import ServiceEvent
from ingest_actors.recordings.own import mark_line


class Marks:
    """Listens to the announcer of the service that is recorded.

    Args:
        say: takes a line.
        streams: what each connection carries, by its name.
        clock_ns: wall clock, ns since the epoch.
    """

    def __init__(
        self,
        say: Callable[[bytes], None],
        streams: Callable[[], Mapping[str, Sequence[str]]],
        clock_ns: Callable[[], int],
    ) -> None:
        self._say = say
        self._streams = streams
        self._clock_ns = clock_ns
        self._open: dict[str, None] = {}

    def tell(self, event: ServiceEvent) -> bool:
        """Take note of what happened; there is always room."""
        name = str(event.fields.get("connection", ""))
        if event.name == "connection_opened":
            self._open[name] = None
            self._mark(name, "opened", {"url": event.fields["url"], "streams": self._streams().get(name, ())})
        elif event.name == "connection_closed":
            self._open.pop(name, None)
            self._mark(name, "closed", {"code": event.fields["code"], "reason": event.fields["reason"]})
        return True

    def end(self) -> None:
        """The service has ended, and what was open has ended with it."""
        for name in self._open:
            self._mark(name, "closed", {"code": None, "reason": "the recording ended"})
        self._open.clear()

    def _mark(self, connection: str, event: str, facts: Mapping[str, Any]) -> None:
        self._say(mark_line(self._clock_ns(), connection, event, facts))
