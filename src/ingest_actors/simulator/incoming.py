"""What a client sends on an open connection: pings, pongs, whole messages, the close."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

import trio
from wsproto import WSConnection
from wsproto.events import CloseConnection, Message, Ping, Pong, TextMessage

from ingest_actors.simulator.valve import Valve

_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole message, as far as it is read: one byte more than may be looked at."""

    data: bytes


Arrival: TypeAlias = Ping | Pong | Whole | CloseConnection


class Incoming:
    """Reads one client.

    Args:
        stream: the transport.
        ws: the protocol state that the handshake left behind.
        valve: while it is shut, nothing is read.
        text_bytes_max: how much of a message is kept.
    """

    def __init__(self, stream: trio.abc.Stream, ws: WSConnection, valve: Valve, *, text_bytes_max: int) -> None:
        self._stream = stream
        self._ws = ws
        self._valve = valve
        self._text_bytes_max = text_bytes_max
        self._message = bytearray()
        self._arrived: deque[Arrival] = deque()
        self._reading = trio.CancelScope()
        self._take_in()

    def interrupt(self) -> None:
        """Look at the valve now, rather than when the client has sent something."""
        self._reading.cancel()

    async def next(self) -> Arrival | None:
        """What comes next; None at the end of the stream.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: the connection broke.
        """
        while True:
            await self._valve.passed()
            if self._arrived:
                return self._arrived.popleft()
            data = b""
            with trio.CancelScope() as self._reading:
                data = bytes(await self._stream.receive_some(_READ_BYTES))
            if self._reading.cancelled_caught:
                continue
            if not data:
                return None
            self._ws.receive_data(data)
            self._take_in()

    def _take_in(self) -> None:
        for event in self._ws.events():
            if isinstance(event, Message):
                room = self._text_bytes_max + 1 - len(self._message)
                data = event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
                self._message += data[:room]
                if event.message_finished:
                    self._arrived.append(Whole(bytes(self._message)))
                    self._message.clear()
            elif isinstance(event, Ping | Pong | CloseConnection):
                self._arrived.append(event)
