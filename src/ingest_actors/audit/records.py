"""What an audit is fed with, and the series that records belong to."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

Record = tuple[int, bytes | None, bytes, int]
"""One record of a partition: offset, key, value, Kafka timestamp in ms. A plain tuple, as there are millions."""


class Role(StrEnum):
    """What a topic is for."""

    RAW = "raw"
    TRADES = "trades"
    DEPTH = "depth"
    GAPS = "gaps"
    DEAD_LETTERS = "dead_letters"


class SeriesName(NamedTuple):
    """The unit of order and continuity."""

    symbol: str
    """Empty for events that belong to none."""
    event_type: str
    stream: str = ""
    """Where symbol and event type leave it open: intervals of klines, windows of tickers, sizes of partial books."""

    def __str__(self) -> str:
        return f"{self.symbol or '-'} {self.event_type}" + (f" {self.stream}" if self.stream else "")


class Window(NamedTuple):
    """A part of the record, by Kafka timestamps, ms since the epoch."""

    since_ms: int | None = None
    """Included; None = from the beginning."""
    until_ms: int | None = None
    """Not included; None = to the end."""
