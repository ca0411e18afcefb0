"""When a recorded message is due. Sans-IO."""

from __future__ import annotations

SEAM_NS = 60 * 10**9
"""A longer pause between two messages, or a longer step back, is the seam of two recordings: replay goes on at once."""


class Pace:
    """Recorded time, mapped to the clock of whoever replays.

    Args:
        speed: recorded seconds a second; 0 = as fast as may be.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._origin: tuple[int, float] | None = None
        self._last_ns = 0

    def due_s(self, at_ns: int, now_s: float) -> float:
        """When a message that was received at `at_ns` is due; messages are asked about in their order.

        Args:
            at_ns: ns since the epoch.
            now_s: the clock now, seconds.
        """
        if not self._speed:
            return now_s
        if self._origin is None or abs(at_ns - self._last_ns) > SEAM_NS:
            self._origin = (at_ns, now_s)
        self._last_ns = at_ns
        origin_ns, origin_s = self._origin
        return origin_s + (at_ns - origin_ns) / 1e9 / self._speed
