"""How late trio's loop is: the one thing that tells a process that should be killed from one that merely waits."""

from __future__ import annotations

from typing import Final, NoReturn

import trio

BEAT_S: Final = 1.0
LAG_MAX_S: Final = 5.0
"""A loop this late answers no ping in time and is no use to anybody."""


class Heartbeat:
    """Wakes every `BEAT_S` and notes by how much it was late."""

    def __init__(self) -> None:
        self._due: float | None = None
        self._lag_s = 0.0

    async def run(self) -> NoReturn:
        """Beat until cancelled."""
        while True:
            self._due = trio.current_time() + BEAT_S
            await trio.sleep_until(self._due)
            self._lag_s = trio.current_time() - self._due

    def lag_s(self) -> float:
        """Seconds by which the last beat came late, or by which the next one already is, whichever is more."""
        overdue = 0.0 if self._due is None else trio.current_time() - self._due
        return max(self._lag_s, overdue)
