"""What a stream URL asks for, and who may connect how often. Sans-IO."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from urllib.parse import unquote

_TIME_UNITS = {"MILLISECOND": False, "millisecond": False, "MICROSECOND": True, "microsecond": True}


@dataclass(frozen=True, slots=True)
class Target:
    """A stream URL, understood.

    Attributes:
        combined: whether events come wrapped with their stream's name.
        streams: names to be subscribed from the start.
        microseconds: whether times are wanted in microseconds; None: an unknown unit was asked for.
    """

    combined: bool
    streams: tuple[str, ...]
    microseconds: bool | None = False


def parse_target(target: str) -> Target | None:
    """Understand the path and query of a handshake; None: there is nothing at this path (HTTP 404).

    Percent-encoding is undone before names are separated. A plus sign stays one: it is part of ``kline_1d@+08:00``.
    """
    path, _, query = target.partition("?")
    parameters: dict[str, str] = {}
    for item in query.split("&"):
        key, _, value = item.partition("=")
        parameters.setdefault(unquote(key), unquote(value))
    unit = parameters.get("timeUnit")
    microseconds = False if unit is None else _TIME_UNITS.get(unit)
    segments = [segment for segment in unquote(path).split("/") if segment]
    if segments == ["stream"]:
        return Target(
            combined=True, streams=_names(parameters.get("streams", "").split("/")), microseconds=microseconds
        )
    if segments[:1] == ["ws"]:
        return Target(combined=False, streams=_names(segments[1:]), microseconds=microseconds)
    return None


def _names(parts: list[str]) -> tuple[str, ...]:
    # some clients put a number of their own behind /ws; it names no stream
    return tuple(dict.fromkeys(part for part in parts if "@" in part))


class HandshakeLimiter:
    """Counts connection attempts by address within a sliding window, refused ones included.

    Args:
        attempts_max: allowed within the window.
        window_s: its length, seconds.
    """

    _BAN_FACTOR = 2
    """An address that goes on regardless, to this many times the limit, is answered 418 instead of 429."""

    def __init__(self, attempts_max: int, window_s: float) -> None:
        self._attempts_max = attempts_max
        self._window_s = window_s
        self._attempts: dict[str, deque[float]] = {}

    def attempt(self, address: str, now_s: float) -> int | None:
        """Count an attempt; the HTTP status to refuse it with, or None."""
        attempts = self._attempts.setdefault(address, deque(maxlen=self._attempts_max * self._BAN_FACTOR + 1))
        while attempts and attempts[0] <= now_s - self._window_s:
            attempts.popleft()
        attempts.append(now_s)
        if len(attempts) > self._attempts_max * self._BAN_FACTOR:
            return 418
        return 429 if len(attempts) > self._attempts_max else None

    def retry_after_s(self, address: str, now_s: float) -> int:
        """How long until an attempt of this address succeeds, if it makes no more until then; whole seconds."""
        attempts = self._attempts.get(address, ())
        if len(attempts) < self._attempts_max:
            return 0
        return max(0, math.ceil(attempts[-self._attempts_max] + self._window_s - now_s))


class MessageLimiter:
    """At most so many incoming messages within any second.

    Args:
        messages_max: allowed within one second.
    """

    def __init__(self, messages_max: int) -> None:
        self._recent: deque[float] = deque(maxlen=messages_max + 1)

    def message(self, now_s: float) -> bool:
        """Count a message; False when it is one too many."""
        self._recent.append(now_s)
        return len(self._recent) < (self._recent.maxlen or 0) or now_s - self._recent[0] >= 1.0
