"""The exchange's own time."""

from __future__ import annotations

import math

import trio


class ExchangeClock:
    """Microseconds since the epoch on the exchange, driven by trio's clock: virtual time works too.

    Args:
        start_us: the exchange's time now.
        speed: seconds on the exchange a second of trio's clock; 0 = stands still unless `advance_to` moves it.
    """

    def __init__(self, start_us: int, speed: float) -> None:
        self.speed = speed
        self._start_us = start_us
        self._started_at = trio.current_time()

    def now_us(self) -> int:
        """What time it is on the exchange."""
        return self._start_us + int((trio.current_time() - self._started_at) * self.speed * 1e6)

    def now_ms(self) -> int:
        """What time it is on the exchange, in ms."""
        return self.now_us() // 1000

    def when(self, at_us: int) -> float:
        """The time on trio's clock when it will be `at_us` on the exchange."""
        if not self.speed:
            return math.inf
        return self._started_at + (at_us - self._start_us) / 1e6 / self.speed

    def advance_to(self, at_us: int) -> None:
        """Move a clock that stands still."""
        self._start_us = max(self._start_us, at_us)
