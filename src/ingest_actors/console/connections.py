"""The connections of onlookers: bounded in number, so that they cannot use up what the service needs for its own.

A bound that turns newcomers away would let whoever holds the connections keep out the orchestrator, which would take
the service for dead. So it is the oldest one that goes: an answer takes milliseconds, and who has been here for longer
than a hundred others reads an endless one, can ask again, or means harm.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

CONNECTIONS_MAX: Final = 100
"""A process has 1,024 file descriptors as a rule, and wants some for the exchange, for Kafka and for the disk."""


class Connections:
    """Those that are open, oldest first.

    Args:
        most: how many may be.
    """

    def __init__(self, most: int = CONNECTIONS_MAX) -> None:
        self._most = most
        self._open: dict[trio.SocketStream, None] = {}
        self._none = trio.Event()

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, handle: Callable[[trio.SocketStream], Awaitable[None]], stream: trio.SocketStream) -> None:
        """Serve one connection until it ends, or until it is one too many and the oldest."""
        while len(self._open) >= self._most:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.socket.close()  # whoever reads or writes it learns of that, and ends
        self._open[stream] = None
        try:
            await handle(stream)
        finally:
            self._open.pop(stream, None)
            if not self._open:
                self._none.set()

    async def wait_none(self) -> None:
        """Wait until there is none."""
        await trio.lowlevel.checkpoint()
        while self._open:
            self._none = trio.Event()
            await self._none.wait()

    def close_all(self) -> None:
        """End all of them, whatever they are about."""
        for stream in list(self._open):
            stream.socket.close()
