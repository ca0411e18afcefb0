"""The intervals of candles, numbered without gaps."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from ingest_actors.binance.stream_table import OFFSET

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_INTERVAL = re.compile(r"(\d+)([smhdwM])")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OFFSET_MS = 8 * 3_600_000


class Grid:
    """The intervals of one kind of candle, numbered without gaps.

    Args:
        interval: as the exchange names it, e.g. ``1m``, ``1M``.
        phase_ms: how far after a multiple of the interval candles open; of months: how far ahead of UTC their days are.
    """

    def __init__(self, interval: str, phase_ms: int) -> None:
        found = _INTERVAL.fullmatch(interval)
        if found is None:
            raise ValueError(f"{interval!r} is no interval")
        self._months = int(found[1]) if found[2] == "M" else 0
        self._step_ms = 0 if self._months else int(found[1]) * _SECONDS[found[2]] * 1000
        self._phase_ms = phase_ms

    @classmethod
    def of(cls, interval: str, stream: str, open_ms: int) -> Grid:
        """The grid that a candle lies on."""
        grid = cls(interval, _OFFSET_MS if stream.endswith(OFFSET) else 0)
        if not grid._months:
            grid._phase_ms = open_ms % grid._step_ms
        return grid

    def number(self, open_ms: int) -> int:
        """Of the candle that opens then."""
        if not self._months:
            return (open_ms - self._phase_ms) // self._step_ms
        day = _EPOCH + timedelta(milliseconds=open_ms + self._phase_ms)
        return (day.year * 12 + day.month - 1) // self._months

    def open_ms(self, number: int) -> int:
        """When a candle opens."""
        if not self._months:
            return number * self._step_ms + self._phase_ms
        year, month = divmod(number * self._months, 12)
        return int((datetime(year, month + 1, 1, tzinfo=UTC) - _EPOCH).total_seconds() * 1000) - self._phase_ms
