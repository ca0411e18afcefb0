"""Saying so when the market cannot keep up with its clock."""

from __future__ import annotations

import math

from ingest_actors.logs import get_logger

_WORTH_TELLING_S = 1.0
"""Seconds of the clock: shorter delays are what any busy machine has."""
_INTERVAL_S = 60.0
"""Seconds of the clock between two warnings."""

log = get_logger()


class LagWatch:
    """Warns when the market is behind its clock, once a minute at most.

    Args:
        speed: seconds of market a second of the clock, as asked for.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._told_at = -math.inf

    def look(self, lag_us: int, now_s: float) -> None:
        """Take note of how far the market is behind.

        Args:
            lag_us: the clock's market time less what the market has got to.
            now_s: time of the clock.
        """
        lag_s = lag_us / 1e6 / self._speed
        if lag_s < _WORTH_TELLING_S or now_s - self._told_at < _INTERVAL_S:
            return
        self._told_at = now_s
        log.warning(
            "market_lags",
            lag_s=round(lag_s, 1),
            speed=self._speed,
            hint="this machine cannot simulate so much: lower the speed, the activity or the number of symbols",
        )
