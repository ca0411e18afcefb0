"""A slow line between a connection and its client: latency, jitter and a limited rate; the order stays."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable

import trio

from ingest_actors.simulator.fault_actions import Slow
from ingest_actors.simulator.fault_plan import Step

IN_FLIGHT_BYTES_MAX = 8 * 1024 * 1024
"""What may be on its way at once; whoever sends more waits, as with a full socket."""

_SLICES_PER_S = 10
"""Into how many sends a limited rate is cut each second."""


class SlowLine:
    """What has been sent and has not arrived yet.

    Args:
        seed: of the jitter.
    """

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self._waiting: deque[tuple[float, Step, int | None]] = deque()
        self._bytes = 0
        self._last_s = 0.0
        self._work = trio.lowlevel.ParkingLot()
        self._moved = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._waiting)

    async def put(self, step: Step, pace: Slow | None) -> None:
        """Send one step on its way, at this pace (None: as fast as what goes before lets it); wait for room first."""
        while self._bytes > IN_FLIGHT_BYTES_MAX:
            await self._moved.park()
        delay_s = pace.latency_s + self._random.random() * pace.jitter_s if pace else 0.0
        self._last_s = max(self._last_s, trio.current_time() + delay_s)
        self._waiting.append((self._last_s, step, pace.bytes_per_s if pace else None))
        self._bytes += len(step) if isinstance(step, bytes) else 0
        self._work.unpark_all()

    async def wait_empty(self) -> None:
        """Until everything has arrived."""
        while self._waiting:
            await self._moved.park()

    async def run(self, perform: Callable[[Step], Awaitable[None]]) -> None:
        """Let things arrive when they are due, until cancelled."""
        while True:
            while not self._waiting:
                await self._work.park()
            due_s, step, bytes_per_s = self._waiting[0]
            await trio.sleep_until(due_s)
            if isinstance(step, bytes) and bytes_per_s:
                await self._trickle(step, bytes_per_s, perform)
            else:
                await perform(step)
            self._waiting.popleft()
            self._bytes -= len(step) if isinstance(step, bytes) else 0
            self._moved.unpark_all()

    @staticmethod
    async def _trickle(data: bytes, bytes_per_s: int, perform: Callable[[Step], Awaitable[None]]) -> None:
        size = max(1, bytes_per_s // _SLICES_PER_S)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            await trio.sleep(len(piece) / bytes_per_s)
            await perform(piece)
