"""How long receiving waits for more, to save CPU.

A wake-up costs some 100 us whatever it brings, for nothing that it touches is in the processor's caches any more. Under
a steady flow it pays to wait a moment and find many messages at once. How long follows from the flow of all connections
together: nothing while a wait would bring next to nothing, a short moment under a steady flow, and a longer one when
there is so much that CPU counts for more than a millisecond.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

SHORT_PAUSE_S: Final = 0.001
"""The pause under a steady flow of ordinary size. The latency that it adds is nearly won back elsewhere: without it the
loop is busy with wake-ups for about so long, and the brokers with requests of one record."""
WORTH_FROM_PER_S: Final = 2_000
"""Messages a second from which on there are pauses: one brings two messages."""
LONGER_FROM_PER_S: Final = 10_000
"""Messages a second from which on pauses grow."""
FULL_FROM_PER_S: Final = 20_000
"""Messages a second from which on they are as long as they may be: about the whole spot market."""
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
        last_s, self._last_s = self._last_s, now_s
        if now_s - last_s > QUIET_S:
            self.messages_per_s = self.bytes_per_s = 0.0
            self._since_s, self._messages, self._bytes = now_s, 0, 0
            return
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
        per_s = self.flow.messages_per_s
        longest_s = self._pause_max_s
        if per_s < WORTH_FROM_PER_S or longest_s < PAUSE_S_MIN:
            return 0.0
        if per_s <= LONGER_FROM_PER_S or longest_s <= SHORT_PAUSE_S:
            return min(SHORT_PAUSE_S, longest_s)
        share = min((per_s - LONGER_FROM_PER_S) / (FULL_FROM_PER_S - LONGER_FROM_PER_S), 1.0)
        return SHORT_PAUSE_S + share * (longest_s - SHORT_PAUSE_S)

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
