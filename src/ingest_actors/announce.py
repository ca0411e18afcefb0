"""Telling what happens: one call makes the log line and the event that embedding programs see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

import trio

from ingest_actors.logs import get_logger

LINES_PERIOD_S = 60.0
LINES_MAX: Final[Mapping[str, int]] = MappingProxyType(
    {
        "event_missed": 100,
        "exchange_notice": 100,
        "gap_closed": 10_000,
        "gap_lost": 10_000,
        "gap_opened": 10_000,
        "server_shutdown": 100,
    }
)
"""Lines of one name within `LINES_PERIOD_S`, of what happens as often as a peer likes: a log that grows by gigabytes an
hour is an outage of its own. Ten thousand gaps are two for each stream of the whole spot market. What goes unsaid is
counted, in ``untold_before`` of the next line; metrics and journal have all of it."""

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


class Listener(Protocol):
    """Somebody who is told what happens; called on the trio thread, and must not wait."""

    def tell(self, event: ServiceEvent) -> bool:
        """Take an event; False when there is no room for it."""
        ...

    def end(self) -> None:
        """No more will come."""
        ...


class Announcer:
    """Logs what happens and passes it on to whoever listens. Used on the trio thread only."""

    def __init__(self, instance_name: str, clock_ms: Callable[[], int]) -> None:
        self._log = get_logger(instance=instance_name)
        self._clock_ms = clock_ms
        self._listeners: list[Listener] = []
        self._ended = False
        self._gates = {name: _Gate(most) for name, most in LINES_MAX.items()}

    def __call__(self, name: str, *, level: str = "info", **fields: Any) -> None:
        """Log `name` with `fields`, unless it was said too often (`LINES_MAX`), and pass it on; never waits."""
        self._say(name, level, fields)
        if self._listeners:
            event = ServiceEvent(name, self._clock_ms(), fields)
            for listener in self._listeners.copy():
                if not listener.tell(event):
                    hint = "a listener of events() does not read"
                    self._say("event_missed", "warning", {"missed": name, "hint": hint})

    def _say(self, name: str, level: str, fields: dict[str, Any]) -> None:
        gate = self._gates.get(name)
        if gate is None:
            getattr(self._log, level)(name, **fields)
        elif (untold := gate.passes(self._clock_ms())) is not None:
            getattr(self._log, level)(name, **fields, **({"untold_before": untold} if untold else {}))

    def add(self, listener: Listener) -> None:
        """Tell a listener of everything from now on; when the service has ended, of its end at once."""
        if self._ended:
            listener.end()
        else:
            self._listeners.append(listener)

    def remove(self, listener: Listener) -> None:
        """Tell a listener no more. One that is not there is no error."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    @contextmanager
    def listen(self) -> Iterator[AsyncIterator[ServiceEvent]]:
        """What happens from now on, until the service ends or the block is left."""
        listener = _ChannelListener()
        self.add(listener)
        try:
            with listener.receive:
                yield listener.receive
        finally:
            self.remove(listener)
            listener.end()

    def end(self) -> None:
        """No more will happen: every listener's iteration ends after what it has not read yet."""
        self._ended = True
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.end()


class _Gate:
    """Lets so many pass in each period, and counts the others."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._since_ms = 0
        self._passed = 0
        self._untold = 0

    def passes(self, now_ms: int) -> int | None:
        """How many did not pass since the last one that did; None: neither does this."""
        if not 0 <= now_ms - self._since_ms < LINES_PERIOD_S * 1000:  # a wall clock may be set back
            self._since_ms, self._passed = now_ms, 0
        if self._passed >= self._most:
            self._untold += 1
            return None
        self._passed += 1
        untold, self._untold = self._untold, 0
        return untold


class _ChannelListener:
    """Keeps events in a channel for an iteration on the same thread."""

    def __init__(self) -> None:
        self._send, self.receive = trio.open_memory_channel[ServiceEvent](EVENTS_WAITING_MAX)

    def tell(self, event: ServiceEvent) -> bool:
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            return False
        except trio.BrokenResourceError:
            pass  # it has closed its end: nothing is missed
        return True

    def end(self) -> None:
        self._send.close()
