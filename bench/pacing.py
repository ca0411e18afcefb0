"""Frames at a steady rate, each telling when it was sent.

An event's ``E`` becomes the millisecond in which it is sent, and as its last field it gets ``x``, the microsecond, both
since the epoch: what an exchange might send too, and what every client that keeps the exchange's own bytes passes on.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable
from typing import NamedTuple

STAMP = b',"x":0000000000000000}}'
STAMP_DIGITS = 16
TIME_FIELD = b'"E":'
TIME_DIGITS = 13

SLEEP_S_MIN = 0.00005
"""Shorter sleeps than the system's timer slack only cost."""
TOGETHER_MAX = 64
"""Frames that are due at the same wake-up go out in one write, at most so many with the same stamp."""


class Pace(NamedTuple):
    """How well a rate was kept."""

    seconds: float
    late_s_max: float
    """How late a frame was sent at most: the machine was busy, or the client took no more."""


class PacedFrames:
    """Frames in one piece of memory, and where the stamps stand in them.

    Args:
        payloads: combined-stream payloads, without stamps.
        frame: makes a frame of a payload; must end with it.
    """

    def __init__(self, payloads: Iterable[bytes], frame: Callable[[bytes], bytes]) -> None:
        self._data = bytearray()
        self._times = array("Q")
        self._ends = array("Q", [0])
        for payload in payloads:
            stamped = payload[:-2] + STAMP
            self._data += frame(stamped)
            end = len(self._data)
            self._times.append(end - len(stamped) + stamped.index(TIME_FIELD) + len(TIME_FIELD))
            self._ends.append(end)

    def __len__(self) -> int:
        return len(self._times)

    @property
    def wire_bytes(self) -> int:
        """Size of all frames."""
        return len(self._data)

    def send(self, send: Callable[[memoryview], object], rate: float) -> Pace:
        """Send them all once, whole frames in each call.

        Args:
            send: takes bytes that change after it has returned.
            rate: frames a second.
        """
        with memoryview(self._data) as data:
            return self.pace(lambda start, end: send(data[self._ends[start] : self._ends[end]]), rate)

    def pace(self, send: Callable[[int, int], object], rate: float) -> Pace:
        """As `send`, for whom is told which frames, from one to before another.

        Args:
            send: does with them what it likes; they are stamped.
            rate: frames a second.
        """
        started_s = time.monotonic()
        late_s_max = 0.0
        sent, total = 0, len(self)
        while sent < total:
            elapsed_s = time.monotonic() - started_s
            due = min(int(elapsed_s * rate) + 1, total, sent + TOGETHER_MAX)
            if due <= sent:
                time.sleep(max(sent / rate - elapsed_s, SLEEP_S_MIN))
                continue
            late_s_max = max(late_s_max, elapsed_s - sent / rate)
            self._stamp(sent, due)
            send(sent, due)
            sent = due
        return Pace(time.monotonic() - started_s, late_s_max)

    def event(self, index: int) -> bytes:
        """What stands in the envelope of a frame."""
        end = self._ends[index + 1]
        return bytes(self._data[self._data.index(b'{"e":', self._ends[index], end) : end - 1])

    def _stamp(self, start: int, end: int) -> None:
        now_us = time.time_ns() // 1000
        stamp = b"%016d" % now_us
        time_ms = b"%013d" % (now_us // 1000)
        data, times, ends = self._data, self._times, self._ends
        for index in range(start, end):
            at = times[index]
            data[at : at + TIME_DIGITS] = time_ms
            at = ends[index + 1] - STAMP_DIGITS - 2
            data[at : at + STAMP_DIGITS] = stamp


def stamp_us(value: bytes) -> int:
    """When the message of a record was sent, us since the epoch.

    Raises:
        ValueError: it bears no stamp.
    """
    at = value.rindex(b'"x":') + 4
    return int(value[at : at + STAMP_DIGITS + 1].strip(b", "))  # printed anew, it may follow a space
