"""The exchange's budget of connection attempts, shared by all connections of a service."""

from __future__ import annotations

from collections import deque

import trio

ATTEMPTS_MAX = 250
ATTEMPTS_PERIOD_S = 300.0
"""The exchange allows an address 300 attempts in 5 minutes, refused ones included, and bans who goes on; others may
share the address."""

ATTEMPT_INTERVAL_S = 0.25
"""Between two attempts, so that twenty connections do not come as one blow."""


class AttemptBudget:
    """Lets connection attempts through no faster than the exchange allows, in the order of asking.

    Args:
        attempts_max: most attempts within any `period_s`.
        period_s: length of the sliding window.
        interval_s: least time between two attempts.
    """

    def __init__(
        self,
        attempts_max: int = ATTEMPTS_MAX,
        period_s: float = ATTEMPTS_PERIOD_S,
        interval_s: float = ATTEMPT_INTERVAL_S,
    ) -> None:
        self._period_s = period_s
        self._interval_s = interval_s
        self._made: deque[float] = deque(maxlen=attempts_max)
        self._held_until = 0.0
        self._turn = trio.StrictFIFOLock()

    async def spend(self) -> None:
        """Wait until one more attempt may be made, and count it. Cancelled: it is not counted."""
        async with self._turn:
            while (next_at := self.next_at()) > trio.current_time():  # noqa: ASYNC110 - it moves while we sleep
                await trio.sleep_until(next_at)
            await trio.lowlevel.checkpoint()
            self._made.append(trio.current_time())

    def hold(self, seconds: float) -> None:
        """Let nobody through for so long: the exchange has banned this address."""
        self._held_until = max(self._held_until, trio.current_time() + seconds)

    def next_at(self) -> float:
        """When the next attempt may be made, by trio's clock."""
        if not self._made:
            return self._held_until
        next_at = max(self._made[-1] + self._interval_s, self._held_until)
        return max(next_at, self._made[0] + self._period_s) if len(self._made) == self._made.maxlen else next_at


def attempts_take_s(
    attempts: int,
    *,
    attempts_max: int = ATTEMPTS_MAX,
    period_s: float = ATTEMPTS_PERIOD_S,
    interval_s: float = ATTEMPT_INTERVAL_S,
) -> float:
    """How long an `AttemptBudget` of which nothing is spent takes for so many attempts: from the first to the last."""
    made: list[float] = []
    for number in range(attempts):
        at = made[-1] + interval_s if made else 0.0
        made.append(max(at, made[number - attempts_max] + period_s) if number >= attempts_max else at)
    return made[-1] if made else 0.0
