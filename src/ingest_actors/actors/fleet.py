"""What is wanted, and the connections that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import trio

from ingest_actors.actors.connection_state import Connection
from ingest_actors.binance.planning import STREAMS_PER_CONNECTION_MAX

Assign = Callable[[Sequence[str], Mapping[str, Sequence[str]], Mapping[str, str]], Mapping[str, Sequence[str]]]
"""Plans which connection carries which streams, given what they carry and which streams are to leave which."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings amount to, once the exchange was asked.

    Attributes:
        streams: names to subscribe, each once.
        listed: how many of them the exchange lists; None when it could not be asked.
        asked: how many streams the settings amount to, those of unlisted symbols included; None: as many as `streams`.
        unlisted: symbols that were asked for and that the exchange does not list, each with the nearest that it does.
        symbols_listed: symbols that it lists; None when it could not be asked.
        symbols_halted: those of them that are not trading.
    """

    streams: tuple[str, ...]
    listed: int | None = None
    asked: int | None = None
    unlisted: Mapping[str, str] = field(default_factory=dict)
    symbols_listed: AbstractSet[str] | None = None
    symbols_halted: AbstractSet[str] = frozenset()


class Fleet:
    """The wanted set and the connections that are there.

    It belongs to the supervisor, outlives the planner's lives, and is all that a new life needs to go on. Nothing here
    waits; the planner is woken and brings about what is wanted.

    Args:
        streams_max: most streams of one connection.

    Attributes:
        wanted: what is to be carried; None until the exchange was asked.
        connections: by name.
        retired: connections that carry nothing any more and are about to end.
    """

    def __init__(self, *, streams_max: int = STREAMS_PER_CONNECTION_MAX) -> None:
        self.wanted: Wanted | None = None
        self.connections: dict[str, Connection] = {}
        self.retired: list[Connection] = []
        self._streams_max = streams_max
        self._leaving: dict[str, str] = {}
        self._changed = trio.Event()

    def everyone(self) -> Iterator[Connection]:
        """All connections, those included that are about to end."""
        yield from self.connections.values()
        yield from self.retired

    def want(self, wanted: Wanted) -> None:
        """Something else is wanted from now on; what stays is left where it is."""
        self.wanted = wanted
        self._changed.set()

    def move(self, stream: str, away_from: str, *, launch: bool = True) -> bool:
        """Move a stream to another connection.

        Args:
            stream: that is to be moved.
            away_from: the connection that carries it.
            launch: whether a new connection may be opened for it.

        Returns:
            False when there is no room elsewhere and no connection may be opened.
        """
        room = any(
            len(connection.streams) < self._streams_max
            for connection in self.connections.values()
            if connection.name != away_from
        )
        if not room and not launch:
            return False
        self._leaving[stream] = away_from
        self._changed.set()
        return True

    def wants(self, stream: str) -> bool:
        """Whether a stream is to be carried."""
        return self.wanted is not None and stream in self.wanted.streams

    async def wait_changed(self) -> None:
        """Until there is something to be brought about."""
        await self._changed.wait()

    def reconcile(self, assign: Assign, launch: Callable[[Connection], None]) -> None:
        """Bring about what is wanted: have streams added and dropped, connections launched and retired.

        One synchronous step; when it fails, the next call begins with what is there.
        """
        if self.wanted is None:
            return
        carried = {name: connection.streams for name, connection in self.connections.items()}
        plan = assign(self.wanted.streams, carried, self._leaving)
        for name in [name for name in carried if name not in plan]:
            connection = self.connections.pop(name)
            self.retired.append(connection)
            connection.retirement.cancel()
        for name, streams in plan.items():
            if name not in self.connections:
                connection = Connection(name, tuple(streams), extra=self._leaving.keys() >= set(streams))
                launch(connection)
                self.connections[name] = connection
            elif set(streams) != set(carried[name]):
                self.connections[name].carry_streams(streams)
        self._leaving.clear()
        self._changed = trio.Event()
