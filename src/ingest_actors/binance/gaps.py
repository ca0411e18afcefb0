"""Gaps: ids of a series that are missing, and the journal that says what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from ingest_actors.binance.sequence import Hole

JOURNAL_VERSION = 1


class Reason(StrEnum):
    """Why ids are missing."""

    DISCONNECTED = "disconnected"
    RESTARTED = "restarted"
    EXCHANGE_SKIPPED = "exchange_skipped"
    CRASHED = "crashed"
    TOO_OLD = "too_old"
    SPOOL_FULL = "spool_full"
    EXCHANGE_RESET = "exchange_reset"


class ResolvedBy(StrEnum):
    """What brought them, or made up for them."""

    REST_BACKFILL = "rest_backfill"
    OTHER_CONNECTION = "other_connection"
    BOOK_SNAPSHOT = "book_snapshot"


class State(StrEnum):
    """What the journal says of a gap: first that it is open, later that it is closed or lost."""

    OPEN = "open"
    CLOSED = "closed"
    LOST = "lost"


@dataclass(slots=True)
class Gap:
    """Ids that were found missing at one instant.

    Attributes:
        stream: name of the stream.
        symbol: upper case.
        event_type: of the series.
        hole: the ids.
        reason: why they are missing, as far as is known.
        detected_at_ms: wall clock.
        repairable: whether what is missing can be fetched again.
        recovered: how many of the ids have come since, as far as they are counted one by one.
        lost: how many will never come.
        resolved_by: what brought the last of them.
        count: how many ids lie within, where ids are not numbered one by one; None = all numbers are ids.
    """

    stream: str
    symbol: str
    event_type: str
    hole: Hole
    reason: Reason
    detected_at_ms: int
    repairable: bool = False
    recovered: int = 0
    lost: int = 0
    resolved_by: ResolvedBy | None = None
    count: int | None = None

    @property
    def name(self) -> str:
        """The same in all records of this gap, and in no other's."""
        return f"{self.stream}:{self.hole.first}-{self.hole.last}"

    @property
    def size(self) -> int:
        """How many ids are missing, or were."""
        return self.hole.size if self.count is None else self.count

    @property
    def over(self) -> bool:
        """Whether nothing of it is waited for any more."""
        return self.recovered + self.lost >= self.hole.size

    def record(self, state: State, resolved_at_ms: int | None = None) -> bytes:
        """The journal's record of it, one JSON object.

        Args:
            state: what it is now.
            resolved_at_ms: wall clock, once it is closed or lost.
        """
        fields = {
            "v": JOURNAL_VERSION,
            "gap": self.name,
            "symbol": self.symbol,
            "stream": self.stream,
            "event_type": self.event_type,
            "first_id": self.hole.first,
            "last_id": self.hole.last,
            "state": str(state),
            "reason": str(self.reason),
            "detected_at": self.detected_at_ms,
            "resolved_at": resolved_at_ms,
            "resolved_by": str(self.resolved_by) if self.resolved_by else None,
            "recovered": self.recovered,
        }
        return msgspec.json.encode(fields)
