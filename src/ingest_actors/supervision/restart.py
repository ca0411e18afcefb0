"""How often something may be started again, and how long to wait before."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

import trio


class RestartWindow:
    """A sliding window over crashes, as OTP's supervisors have it: more than so many in so long is too much.

    One window may be shared by several actors, whose crashes then count together.

    Attributes:
        max_restarts: most crashes within the period that are answered by a restart; 0 = none is.
        period_s: length of the period.
    """

    def __init__(
        self, max_restarts: int = 5, period_s: float = 60.0, *, clock: Callable[[], float] = trio.current_time
    ) -> None:
        if max_restarts < 0 or period_s <= 0:
            raise ValueError("max_restarts must not be negative, and period_s must be positive")
        self.max_restarts = max_restarts
        self.period_s = period_s
        self._clock = clock
        self._crashes: deque[float] = deque()

    @property
    def recent(self) -> int:
        """How many crashes lie within the period that ends now."""
        horizon = self._clock() - self.period_s
        while self._crashes and self._crashes[0] < horizon:
            self._crashes.popleft()
        return len(self._crashes)

    def spend(self) -> bool:
        """Count a crash that happens now; returns whether a restart is still allowed."""
        self._crashes.append(self._clock())
        return self.recent <= self.max_restarts


class Backoff:
    """Delays that grow with each failure in a row, spread so that many who failed together do not return together.

    Attributes:
        initial_s: the first delay, before it is spread.
        max_s: no delay is longer.
        factor: how much longer each delay is than the one before.
        jitter: the part of each delay that is left to chance: delays lie between (1 - jitter) and 1 times the full one.
        failures: delays handed out since the last success.
    """

    def __init__(
        self,
        initial_s: float = 0.1,
        max_s: float = 5.0,
        *,
        factor: float = 2.0,
        jitter: float = 0.2,
        rng: random.Random | None = None,
    ) -> None:
        if not 0 <= initial_s <= max_s or factor < 1 or not 0 <= jitter <= 1:
            raise ValueError("a backoff needs 0 <= initial_s <= max_s, factor >= 1 and 0 <= jitter <= 1")
        self.initial_s = initial_s
        self.max_s = max_s
        self.factor = factor
        self.jitter = jitter
        self.failures = 0
        self._rng = random.Random() if rng is None else rng  # noqa: S311 - spreads load, guards nothing
        self._full_s = initial_s

    def next_s(self) -> float:
        """How long to wait after one more failure, in seconds."""
        full_s = self._full_s
        self._full_s = min(full_s * self.factor, self.max_s)
        self.failures += 1
        return full_s * (1 - self.jitter * self._rng.random())

    def reset(self) -> None:
        """It worked: the next failure is the first again."""
        self.failures = 0
        self._full_s = self.initial_s
