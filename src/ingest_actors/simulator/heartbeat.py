"""Pings, the deadline of their pongs, and the age of a connection. Sans-IO; times are seconds of trio's clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ingest_actors.simulator.config import Limits

Due: TypeAlias = Literal["ping", "pong timeout", "too old"]


@dataclass(slots=True)
class _Unanswered:
    payload: bytes
    sent_s: float


class Heartbeat:
    """What is due on one connection.

    A pong answers the ping whose payload it carries, and the pings before that one; any other pong means nothing.

    Args:
        limits: how often, how long.
        opened_s: when the connection opened.
    """

    def __init__(self, limits: Limits, opened_s: float) -> None:
        self._limits = limits
        self._end_s = opened_s + limits.lifetime_s
        self._ping_s = opened_s + limits.ping_interval_s
        self._unanswered: list[_Unanswered] = []

    @property
    def next_s(self) -> float:
        """When something is due."""
        return min(self._ping_s, self._pong_s, self._end_s)

    def due(self, now_s: float) -> Due | None:
        """What is due, the worst first; None: nothing."""
        if now_s >= self._end_s:
            return "too old"
        if now_s >= self._pong_s:
            return "pong timeout"
        return "ping" if now_s >= self._ping_s else None

    def skip_ping(self) -> None:
        """The ping that is due is not sent."""
        self._ping_s += self._limits.ping_interval_s

    def pinged(self, payload: bytes, now_s: float) -> None:
        """The ping that is due is sent."""
        self._unanswered.append(_Unanswered(payload, now_s))
        self.skip_ping()

    def pong(self, payload: bytes) -> None:
        """A pong has come."""
        for place, ping in enumerate(self._unanswered):
            if ping.payload == payload:
                del self._unanswered[: place + 1]
                return

    @property
    def _pong_s(self) -> float:
        first_s = self._unanswered[0].sent_s if self._unanswered else float("inf")
        return first_s + self._limits.pong_timeout_s
