"""How long receiving waits for more, to save CPU.

A wake-up costs some 100 us whatever it brings, for nothing that it touches is in the processor's caches any more. Under
a steady flow it pays to wait a moment and find many messages at once. How long follows from the flow of all connections
together: nothing as long as there is time enough for each message by itself, and the longer the more there is, up to a
bound. So latency comes first where CPU is plentiful, and CPU where it is not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

WORTH_FROM_PER_S: Final = 8_000
"""Messages a second up to which there is no pause: even a wake-up for every second message leaves half a core idle."""
FULL_FROM_PER_S: Final = 20_000
"""Messages a second from which on the pause is as long as it may be: about the whole spot market."""
PAUSE_S_MIN: Final = 0.0002
"""A shorter one costs more than it saves."""
READ_ENOUGH_BYTES: Final = 64 * 1024
"""A read of this size is worth its wake-up; no pause aims at more, and none follows one that brought it."""
WINDOW_S: Final = 0.02
"""The flow is measured over at least so long, and so long it must last before it counts as steady."""
QUIET_S: Final = 0.25
"""After so long without anything the flow counts as new."""


class Flow:
    """Measures how much comes, window by window.

    Attributes:
        messages_per_s: in the last whole window.
        bytes_per_s: likewise.
    """

    def __init__(self) -> None:
        self.messages_per_s = 0.0
        self.bytes_per_s = 0.0
        self._since_s = self._last_s = float("-inf")
        self._messages = 0
        self._bytes = 0

    def note(self, now_s: float, messages: int, size_bytes: int) -> None:
        """So much came since the last call, by a monotonic clock, seconds."""
        if now_s - self._last_s > QUIET_S:
            self.messages_per_s = self.bytes_per_s = 0.0
            self._since_s, self._messages, self._bytes = now_s, 0, 0
        self._last_s = now_s
        self._messages += messages
        self._bytes += size_bytes
        elapsed_s = now_s - self._since_s
        if elapsed_s >= WINDOW_S:
            self.messages_per_s = self._messages / elapsed_s
            self.bytes_per_s = self._bytes / elapsed_s
            self._since_s, self._messages, self._bytes = now_s, 0, 0


class ReceivePacer:
    """Decides how long to wait before reading on; one for all connections of a process.

    Connections that wait at the same time are woken together, by the first that has something: ten of them cost little
    more than one.

    Args:
        pause_max_s: the longest pause, seconds; 0 = none ever.

    Attributes:
        flow: what comes by all connections together.
    """

    def __init__(self, pause_max_s: float) -> None:
        self.flow = Flow()
        self._pause_max_s = pause_max_s
        self._waiting = trio.lowlevel.ParkingLot()
        self._leading = False

    def pause_s(self) -> float:
        """How long to wait at present, seconds."""
        share = (self.flow.messages_per_s - WORTH_FROM_PER_S) / (FULL_FROM_PER_S - WORTH_FROM_PER_S)
        if share <= 0:
            return 0.0
        pause_s = self._pause_max_s * min(share, 1.0)
        return pause_s if pause_s >= PAUSE_S_MIN else 0.0

    async def pause(self, gather: Callable[[], Awaitable[object]]) -> None:
        """Wait by `gather`, or until another connection's is done. Cancelled: the others wait no longer either."""
        if self._leading:
            await self._waiting.park()
            return
        self._leading = True
        try:
            await gather()
        finally:
            self._leading = False
            self._waiting.unpark_all()
