"""Telling what happens: one call makes the log line and the event that embedding programs see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from ingest_actors.logs import get_logger

EVENTS_WAITING_MAX = 256
"""Events that a listener may leave unread before it misses new ones: a slow listener must not hold the service up."""


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """Something that happened to the service.

    Attributes:
        name: as in the log, e.g. ``connection_opened``.
        at_ms: wall clock, ms since the epoch.
        fields: as in the log.
    """

    name: str
    at_ms: int
    fields: dict[str, Any] = field(default_factory=dict)


class Announcer:
    """Logs what happens and passes it on to whoever listens. Used on the trio thread only."""

    def __init__(self, instance_name: str, clock_ms: Callable[[], int]) -> None:
        self._log = get_logger(instance=instance_name)
        self._clock_ms = clock_ms
        self._listeners: set[trio.MemorySendChannel[ServiceEvent]] = set()
        self._ended = False

    def __call__(self, name: str, *, level: str = "info", **fields: Any) -> None:
        """Log `name` with `fields` and pass it on; never waits."""
        getattr(self._log, level)(name, **fields)
        if self._listeners:
            event = ServiceEvent(name, self._clock_ms(), fields)
            for listener in self._listeners:
                try:
                    listener.send_nowait(event)
                except trio.WouldBlock:
                    self._log.warning("event_missed", missed=name, hint="a listener of events() does not read")
                except trio.BrokenResourceError:
                    pass  # it has closed its end, and will leave its block

    @contextmanager
    def listen(self) -> Iterator[AsyncIterator[ServiceEvent]]:
        """What happens from now on, until the service ends or the block is left."""
        send, receive = trio.open_memory_channel[ServiceEvent](EVENTS_WAITING_MAX)
        if self._ended:
            send.close()
        else:
            self._listeners.add(send)
        try:
            with receive:
                yield receive
        finally:
            self._listeners.discard(send)
            send.close()

    def end(self) -> None:
        """No more will happen: every listener's iteration ends after what it has not read yet."""
        self._ended = True
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
