"""A simulated exchange in a trio test's own loop, with the controls that a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trio

from ingest_actors.simulator import SimulatedExchange, SimulatorConfig
from ingest_actors.simulator import open_exchange as open_simulated_exchange
from ingest_actors.simulator.connection import Connection
from ingest_actors.simulator.fault_run import Fired
from ingest_actors.simulator.faults import Action, Fault, fault_of
from ingest_actors.simulator.rest_data import AggregateRow, TradeRow
from ingest_actors.testing.oracle import Book, Oracle

WAIT_MAX_S = 10.0
"""How long the waiting methods wait when nothing else is said: long for a machine, short for a person."""
_LOOK_FIRST_S, _LOOK_LAST_S = 0.005, 0.1
"""How often they look, at first and after a while: clients, markets and connections have no event in common."""


@dataclass(frozen=True, slots=True)
class ClientConnection:
    """One open connection of a client, as it is at the moment.

    Attributes:
        number: counts handshakes, the refused ones too, from 1.
        streams: what it is subscribed to, in the order in which it was, dead names too.
        combined: whether events are wrapped with the name of their stream.
        microseconds: whether times are in microseconds.
    """

    number: int
    streams: tuple[str, ...]
    combined: bool
    microseconds: bool


def config_of(config: SimulatorConfig | None, changes: dict[str, Any]) -> SimulatorConfig:
    """A configuration with some fields changed; `faults` may be a list of them, or of bare actions.

    Raises:
        TypeError: there is no such field.
        ValueError: as `SimulatorConfig`.
    """
    return replace(config or SimulatorConfig(), **changes)


class Exchange:
    """A running simulated exchange. To be used in its own trio loop; `ThreadedExchange` is for everybody else.

    Attributes:
        config: what it was started with.
        simulated: the exchange itself, for what is not offered here: connections in memory, the ASGI application.
    """

    def __init__(self, simulated: SimulatedExchange, config: SimulatorConfig) -> None:
        self.simulated = simulated
        self.config = config
        self._oracle = Oracle(simulated.source)

    @property
    def ws_url(self) -> str:
        """Base of the stream URLs: a client appends ``/ws...`` or ``/stream...``."""
        if self.simulated.ws_url is None:
            raise LookupError("no WebSocket server was asked for (ws_port=None)")
        return self.simulated.ws_url

    @property
    def rest_url(self) -> str:
        """Base of the REST URLs: a client appends ``/api/v3/...``."""
        if self.simulated.rest_url is None:
            raise LookupError("no REST server was asked for (rest_port=None)")
        return self.simulated.rest_url

    @property
    def ca_file(self) -> Path | None:
        """Certificate of the authority that clients are to trust; None without TLS."""
        return self.simulated.ca_file

    def now_ms(self) -> int:
        """The exchange's clock, ms since the epoch."""
        return self.simulated.now_ms()

    def connections(self) -> list[ClientConnection]:
        """The open connections, oldest first."""
        return [
            ClientConnection(
                number,
                tuple(connection.session.control.streams),
                connection.session.combined,
                connection.session.microseconds,
            )
            for number, connection in sorted(self._open().items())
        ]

    def subscriptions(self) -> set[str]:
        """The streams that any open connection is subscribed to, dead names too."""
        return {name for connection in self.connections() for name in connection.streams}

    @property
    def fired(self) -> list[Fired]:
        """The faults that have happened, oldest first: when, which, and to which connection."""
        return self.simulated.fired

    def inflict(self, fault: Fault | Action) -> None:
        """Let something go wrong: at once, or when its trigger says, counted from now.

        Without a trigger it befalls the connections that are open; with one, later ones too, but for `at_s`.

        Args:
            fault: a fault, or an action alone: ``exchange.inflict(CutMidFrame())``.

        Raises:
            SettingsError: it is done to the market, and this market cannot.
            ValueError: it is neither.
        """
        self.simulated.inflict(fault_of(fault))

    async def cut(self, *numbers: int) -> int:
        """End connections at once, without a close frame; return when they are gone, with how many there were.

        Args:
            numbers: of the connections; none = all that are open.
        """
        chosen = {number: self._find(number) for number in numbers or self._open()}
        for connection in chosen.values():
            connection.cut()
        await self._wait(lambda: not chosen.keys() & self._open().keys(), "connections to be cut", WAIT_MAX_S)
        return len(chosen)

    def close_connections(self, code: int = 1001, reason: str = "") -> int:
        """Send a close frame to all connections, and end them when it is answered; how many there are."""
        chosen = list(self._open().values())
        for connection in chosen:
            connection.close(code, reason)
        return len(chosen)

    def announce_shutdown(self) -> int:
        """Send `serverShutdown` to all connections; how many there are. Nothing ends by that: see `cut`."""
        self.simulated.server.announce_shutdown()
        return len(self._open())

    def book(self, symbol: str, update_id: int | None = None) -> Book:
        """The true order book, now or as it was after one change of the last ten seconds.

        Args:
            symbol: uppercase.
            update_id: a book id, such as the ``u`` of the last event that a client has applied.

        Raises:
            LookupError: no such symbol; the id is not remembered any more, or not yet there.
        """
        return self._oracle.book(symbol, update_id)

    def trades(self, symbol: str, first_id: int | None = None, last_id: int | None = None) -> list[TradeRow]:
        """The trades that have happened, oldest first; as many as are remembered (`SimulatorConfig.history`).

        Args:
            symbol: uppercase.
            first_id: the first id wanted, inclusive; None = the oldest that is remembered.
            last_id: the last one, inclusive; None = the newest.

        Raises:
            LookupError: no such symbol; the first id is not remembered any more.
        """
        return self._oracle.trades(symbol, first_id, last_id)

    def aggregate_trades(
        self, symbol: str, first_id: int | None = None, last_id: int | None = None
    ) -> list[AggregateRow]:
        """The aggregate trades, as `trades`; those too that REST does not have yet because it lags."""
        return self._oracle.aggregate_trades(symbol, first_id, last_id)

    async def wait_for_connections(self, count: int = 1, timeout_s: float = WAIT_MAX_S) -> list[ClientConnection]:
        """Wait until at least `count` connections are open; they are returned.

        Raises:
            TimeoutError: they were not there in time; it says what was.
        """
        await self._wait(lambda: len(self._open()) >= count, f"{count} connections", timeout_s)
        return self.connections()

    async def wait_for_no_connections(self, timeout_s: float = WAIT_MAX_S) -> None:
        """Wait until the last connection has ended. Raises TimeoutError, as `wait_for_connections`."""
        await self._wait(lambda: not self._open(), "the end of all connections", timeout_s)

    async def wait_for_subscriptions(self, *streams: str, timeout_s: float = WAIT_MAX_S) -> list[ClientConnection]:
        """Wait until open connections are subscribed to all of these streams; the connections are returned.

        Raises:
            TimeoutError: they were not in time; it says what was subscribed.
        """
        wanted = set(streams)
        await self._wait(lambda: wanted <= self.subscriptions(), f"subscriptions to {', '.join(streams)}", timeout_s)
        return self.connections()

    async def wait_for_faults(self, count: int = 1, timeout_s: float = WAIT_MAX_S) -> list[Fired]:
        """Wait until at least `count` faults have happened; all that have are returned.

        Raises:
            TimeoutError: fewer had in time.
        """
        await self._wait(lambda: len(self.fired) >= count, f"{count} faults to happen", timeout_s)
        return self.fired

    def _open(self) -> dict[int, Connection]:
        return self.simulated.server.connections

    def _find(self, number: int) -> Connection:
        connection = self._open().get(number)
        if connection is None:
            raise LookupError(f"connection {number} is not open; open are: {sorted(self._open()) or 'none'}")
        return connection

    async def _wait(self, condition: Callable[[], bool], text: str, timeout_s: float) -> None:
        pause_s = _LOOK_FIRST_S
        with trio.move_on_after(timeout_s):
            while not condition():
                await trio.sleep(pause_s)
                pause_s = min(1.1 * pause_s, _LOOK_LAST_S)
            return
        there = "; ".join(f"connection {c.number}: {', '.join(c.streams) or 'none'}" for c in self.connections())
        raise TimeoutError(
            f"waited {timeout_s} s for {text}; subscribed are: {there or 'nothing, nobody is connected'}"
        )


@asynccontextmanager
async def open_exchange(config: SimulatorConfig | None = None, **changes: Any) -> AsyncIterator[Exchange]:
    """A simulated exchange in this trio loop, for the length of a block; clients can connect on entry.

    Leaving the block cuts every connection. Virtual time works, with clients in memory: see `SimulatedExchange`.

    Args:
        config: what to simulate; the default is five symbols in real time on free ports.
        changes: fields of `config` to be changed; `faults` may be a list of faults.

    Raises:
        TypeError: there is no such field.
        SettingsError, OSError: as `ingest_actors.simulator.open_exchange`.
    """
    config = config_of(config, changes)
    async with open_simulated_exchange(config) as simulated:
        yield Exchange(simulated, config)
