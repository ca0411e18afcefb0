"""How long receiving waits for more, to save CPU. No I/O here.

A wake-up costs about 15 us whatever it brings. Under a steady flow of small reads it pays to wait a moment and find
many messages at once; when the flow is thin nothing is gained by it, and when reads are large nothing is left to gain.
"""

from __future__ import annotations

from typing import Final

SMALLEST_PAUSE_S: Final = 0.001
"""epoll counts in whole milliseconds and rounds up, so no shorter pause can be had."""
READ_ENOUGH_BYTES: Final = 16 * 1024
"""A read of this size is worth its wake-up; pauses aim at it."""
MESSAGES_WORTH_A_PAUSE: Final = 4
"""A pause is taken when at least so many messages are to be expected in it."""
QUIET_S: Final = 0.25
"""After so long without anything the flow counts as new."""
_FADE: Final = 7 / 8


class ReceivePacer:
    """Decides after each read how long to wait before the next one.

    Args:
        pause_max_s: the longest pause, seconds; none at all when it is shorter than a pause can be.
    """

    def __init__(self, pause_max_s: float) -> None:
        self._pause_max_s = pause_max_s if pause_max_s >= SMALLEST_PAUSE_S else 0.0
        self._last_s = float("-inf")
        self._seconds = 0.0
        self._bytes = 0.0
        self._messages = 0.0

    def pause_s(self, now_s: float, size_bytes: int, messages: int) -> float:
        """The pause after a read that was done at `now_s`, seconds; 0 for none.

        Args:
            now_s: a monotonic clock, seconds.
            size_bytes: how much was read.
            messages: how many messages were complete with it.
        """
        if not self._pause_max_s:
            return 0.0
        elapsed_s = now_s - self._last_s
        self._last_s = now_s
        if elapsed_s > QUIET_S:
            # As if the flow were thin: it takes some forty reads to prove that it is not, so bursts are not delayed.
            self._seconds, self._bytes, self._messages = QUIET_S, float(size_bytes), float(messages)
            return 0.0
        self._seconds = self._seconds * _FADE + elapsed_s
        self._bytes = self._bytes * _FADE + size_bytes
        self._messages = self._messages * _FADE + messages
        if (
            size_bytes >= READ_ENOUGH_BYTES
            or self._messages * self._pause_max_s < MESSAGES_WORTH_A_PAUSE * self._seconds
        ):
            return 0.0
        return min(self._pause_max_s, max(SMALLEST_PAUSE_S, READ_ENOUGH_BYTES * self._seconds / self._bytes))
