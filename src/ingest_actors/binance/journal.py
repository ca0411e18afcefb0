"""The gap journal among the events: its records, and the mark of an event that comes late."""

from __future__ import annotations

from ingest_actors.binance.series import Journalled
from ingest_actors.messages import Event, Route

LATE = b',"late":true}'
"""In place of the closing brace of an event that comes after some that should follow it."""


class Journal:
    """Makes the journal's records.

    Args:
        topic: where they go.
    """

    def __init__(self, topic: str) -> None:
        self._route = Route("gap", (topic,), counted=False)

    def record(self, journalled: Journalled) -> Event:
        """The event of what is journalled: key = symbol."""
        gap = journalled.gap
        return journalled.value, gap.symbol.encode(), journalled.at_ms, self._route


def late(event: Event) -> Event:
    """The same event, marked as one that comes late."""
    value, key, timestamp_ms, route = event
    return value[:-1] + LATE, key, timestamp_ms, route
