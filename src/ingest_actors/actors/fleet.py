"""What is wanted, and the connections that are there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import count
from types import MappingProxyType

import trio

from ingest_actors.actors.connection_state import Connection
from ingest_actors.announce import Announcer
from ingest_actors.binance.planning import STREAMS_PER_CONNECTION_MAX
from ingest_actors.binance.stream_table import symbol_of_stream
from ingest_actors.binance.symbols import is_pattern

STREAMS_TOLD_MAX = 20
"""Streams that one log line names."""

LANE_LETTERS = ("", "b")
"""What the names of connections end with that carry what others carry too."""

_NOTHING_NEAR = "the exchange lists nothing that looks like it: check BINANCE_SYMBOLS"
_NO_MATCH = "no symbol that is trading matches it: check BINANCE_SYMBOLS; a listing that does is found within 5 minutes"

_BESIDE = re.compile(r"ws-\d+(?:b|b?\.\d+)")

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

    def with_halted(self, before: Wanted, among: AbstractSet[str] | None = None) -> Wanted:
        """The same, and what was wanted before of symbols that are listed still: one that is halted may trade again.

        Args:
            before: what was wanted.
            among: the streams that the settings could mean; None: they are what they were.
        """
        there = set(self.streams)
        listed = self.symbols_listed or frozenset()
        kept = [
            name
            for name in before.streams
            if name not in there and symbol_of_stream(name) in listed and (among is None or name in among)
        ]
        if not kept:
            return self
        streams = (*self.streams, *kept)
        more = len(kept)
        return replace(
            self,
            streams=streams,
            listed=None if self.listed is None else self.listed + more,
            asked=None if self.asked is None else self.asked + more,
        )


class Fleet:
    """The wanted set and the connections that are there.

    It belongs to the supervisor, outlives the planner's lives, and is all that a new life needs to go on. Nothing here
    waits; the planner is woken and brings about what is wanted.

    Args:
        streams_max: most streams of one connection.
        lanes: by how many connections each stream is carried.

    Attributes:
        wanted: what is to be carried; None until the exchange was asked.
        connections: those that are planned, by name.
        replacements: those that are about to take the place of another, by that one's name.
        retired: connections that carry nothing any more and are about to end.
        on_change: called when other connections may bring a stream than before.
    """

    def __init__(self, *, streams_max: int = STREAMS_PER_CONNECTION_MAX, lanes: int = 1) -> None:
        self.wanted: Wanted | None = None
        self.connections: dict[str, Connection] = {}
        self.replacements: dict[str, Connection] = {}
        self.retired: list[Connection] = []
        self.lanes = lanes
        self.on_change: Callable[[], None] = lambda: None
        self._streams_max = streams_max
        self._leaving: dict[str, str] = {}
        self._changed = trio.Event()
        self._stirred = trio.Event()
        self._asked = trio.Event()

    def everyone(self) -> Iterator[Connection]:
        """All connections, those included that are not planned: about to take a place, or to end."""
        yield from self.connections.values()
        yield from self.replacements.values()
        yield from self.retired

    def shared(self) -> dict[str, str]:
        """Streams that more than one connection may bring, each with the one that has brought it so far."""
        if self.lanes == 1 and not self.replacements and not self.retired:
            return {}
        first: dict[str, str] = {}
        shared: dict[str, str] = {}
        for connection in (*self.retired, *self.connections.values(), *self.replacements.values()):
            for stream in connection.lingering or connection.streams:
                if stream in first:
                    shared[stream] = first[stream]
                else:
                    first[stream] = connection.name
        return shared

    def want(self, wanted: Wanted) -> None:
        """Something else is wanted from now on; what stays is left where it is."""
        self.wanted = wanted
        self._changed.set()
        self.ask_again()

    def ask_again(self) -> None:
        """Have the exchange asked now what is wanted, if it is to be asked from time to time."""
        self._asked.set()
        self._asked = trio.Event()

    async def wait_asked(self) -> None:
        """Until that is so, or something else is wanted."""
        await self._asked.wait()

    def change(self, wanted: Wanted, announce: Announcer, name: str) -> None:
        """The same, and tell what comes and what goes, if anything does."""
        before = dict.fromkeys(self.wanted.streams if self.wanted is not None else ())
        after = dict.fromkeys(wanted.streams)
        added = [stream for stream in after if stream not in before]
        removed = [stream for stream in before if stream not in after]
        known = self.wanted.unlisted if self.wanted is not None else {}
        self.want(wanted)
        self.tell_unlisted(announce, known)
        if added or removed:
            announce(
                name,
                added=len(added),
                removed=len(removed),
                streams_added=added[:STREAMS_TOLD_MAX],
                streams_removed=removed[:STREAMS_TOLD_MAX],
            )

    def tell_unlisted(self, announce: Announcer, known: Mapping[str, str] = MappingProxyType({})) -> None:
        """Tell of what is asked for and not listed, but for those that are known."""
        for symbol, nearest in (self.wanted.unlisted if self.wanted is not None else {}).items():
            if symbol not in known:
                near = {"nearest": nearest} if nearest else {"hint": _NO_MATCH if is_pattern(symbol) else _NOTHING_NEAR}
                announce("symbol_unlisted", level="error", symbol=symbol, **near)

    @property
    def settled(self) -> bool:
        """Whether everything that is wanted is acknowledged on every connection that is to carry it."""
        planned = self.connections.values()
        return not self._changed.is_set() and all(c.acknowledged_streams >= set(c.streams) for c in planned)

    def move(self, stream: str, away_from: str, *, launch: bool = True) -> bool:
        """Move a stream to another connection.

        Args:
            stream: that is to be moved.
            away_from: the connection that carries it.
            launch: whether a new connection may be opened for it.

        Returns:
            False when there is no room elsewhere and no connection may be opened.
        """
        here = self.connections.get(away_from)
        room = any(
            len(connection.streams) < self._streams_max
            for connection in self.connections.values()
            if connection.name != away_from and (here is None or connection.lane == here.lane)
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

    def stir(self) -> None:
        """A connection has opened or ended, or is about to: whoever replaces them should look."""
        self._stirred.set()
        self._stirred = trio.Event()

    async def wait_stirred(self) -> None:
        """Until that is so."""
        await self._stirred.wait()

    def reconcile(self, assign: Assign, launch: Callable[[Connection], None]) -> None:
        """Bring about what is wanted: have streams added and dropped, connections launched and retired.

        One synchronous step; when it fails, the next call begins with what is there.
        """
        if self.wanted is None:
            return
        for lane in range(self.lanes):
            self._reconcile(lane, assign, launch)
        self._leaving.clear()
        self._changed = trio.Event()
        self.on_change()

    def _reconcile(self, lane: int, assign: Assign, launch: Callable[[Connection], None]) -> None:
        assert self.wanted is not None
        carried = {name: connection.streams for name, connection in self.connections.items() if connection.lane == lane}
        plan = assign(self.wanted.streams, carried, self._leaving)
        for name in [name for name in carried if name not in plan]:
            self.give_up(name)
            self._retire(self.connections.pop(name))
        for name, streams in plan.items():
            if name in carried:
                if set(streams) != set(carried[name]):
                    self.connections[name].carry_streams(streams)
                    if name in self.replacements:
                        self.replacements[name].carry_streams(streams)
                continue
            position = sum(connection.lane == lane for connection in self.connections.values()) + lane
            extra = self._leaving.keys() >= set(streams)
            connection = Connection(self._fresh_name(lane), tuple(streams), extra=extra, lane=lane, position=position)
            launch(connection)
            self.connections[connection.name] = connection

    def _fresh_name(self, lane: int) -> str:
        taken = {place_of(connection.name) for connection in self.everyone()}
        return next(name for n in count(1) if (name := f"ws-{n}{LANE_LETTERS[lane]}") not in taken)

    # -- one connection for another

    def named(self, name: str) -> Connection | None:
        """A connection that is planned, or about to be."""
        return next((c for c in (*self.connections.values(), *self.replacements.values()) if c.name == name), None)

    def replace(self, name: str, launch: Callable[[Connection], None], now_s: float) -> Connection:
        """Open another connection with the same streams. Until `exchange` the old one goes on."""
        old = self.connections[name]
        new = Connection(
            next_name(name), old.streams, extra=True, lane=old.lane, position=old.position + 1, predecessor=old,
            since_s=now_s, relieves_life=old.life,
        )  # fmt: skip
        old.successor = new
        self.replacements[name] = new
        self.on_change()
        launch(new)
        return new

    def exchange(self, name: str, now_s: float) -> tuple[Connection, Connection]:
        """The replacement has the place from now on; the old one leaves. Returns both, the old one first."""
        old, new = self.connections[name], self.replacements.pop(name)
        places = [(new.name, new) if place is old else (place.name, place) for place in self.connections.values()]
        self.connections.clear()
        self.connections.update(places)
        old.successor = new.predecessor = None
        new.extra, new.failures = False, 0
        self.retired.append(old)
        old.leave(now_s)
        return old, new

    def give_up(self, name: str) -> None:
        """The replacement of a connection, if there is one, is not wanted any more."""
        new = self.replacements.pop(name, None)
        if new is not None:
            self.connections[name].successor = None
            self._retire(new)

    def gone(self, connection: Connection) -> None:
        """Nothing of a connection is left, in any mailbox."""
        self.retired.remove(connection)
        self.on_change()

    def endpoints_of_twins(self, connection: Connection) -> set[str]:
        """Endpoints of connections that carry what this one carries, and are not exchanged for it."""
        return {other.url for other in self._twins(connection) if other.url}

    def carried_by_twins(self, connection: Connection) -> bool:
        """Whether others that are open carry all that a connection carries."""
        there = {stream for other in self._twins(connection) if other.state == "open" for stream in other.streams}
        return bool(there) and there.issuperset(connection.streams)

    def heard_of_twins(self, connection: Connection, since_s: float) -> bool:
        """Whether any of them has brought something since then, trio's clock."""
        return any(other.heard_at_s is not None and other.heard_at_s >= since_s for other in self._twins(connection))

    def _twins(self, connection: Connection) -> list[Connection]:
        if self.lanes == 1:
            return []
        streams = set(connection.streams)
        return [
            other
            for other in (*self.connections.values(), *self.replacements.values())
            if other.lane != connection.lane and not streams.isdisjoint(other.streams)
        ]

    def _retire(self, connection: Connection) -> None:
        connection.leaving = True
        self.retired.append(connection)
        connection.retirement.cancel()


def place_of(name: str) -> str:
    """What the names of connections have in common that take each other's place."""
    return name.partition(".")[0]


def next_name(name: str) -> str:
    """The name of a connection that takes the place of another: ``ws-1``, ``ws-1.2``, ``ws-1.3``."""
    place, _, generation = name.partition(".")
    return f"{place}.{int(generation or 1) + 1}"


def beside_another(name: str) -> bool:
    """Whether a connection of this name, as a recording has it, has brought what another one brought as well."""
    return _BESIDE.fullmatch(name) is not None
