"""What the watch over streams is shown, and what it finds."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

STATISTICS = "ticker/24hr"
"""Basis of a verdict: the 24-hour statistics."""

UNLISTED = "exchangeInfo"
"""Basis of a verdict: the exchange does not know the symbol."""

Action = Literal["subscribed_again", "moved", "moved_back", "reopened"]
"""What is done about a silent stream: it is moved back where there is room without another connection."""


class Carried(NamedTuple):
    """One connection as the watch sees it."""

    name: str
    life: int
    """Another number whenever it was opened again."""
    acknowledged: AbstractSet[str]
    """Streams whose subscription stands."""
    missing: AbstractSet[str]
    """Those of them that the exchange did not list when it was asked."""
    reading: bool
    """Whether what the exchange sends is being read and parsed."""


class Verdict(NamedTuple):
    """A stream is silent, and what is to be done about it."""

    stream: str
    connection: str
    silent_s: float
    """Since its last event, or since it was first waited for."""
    limit_s: float
    """How long it was waited for this time."""
    basis: str
    """The stream whose flow proves it, `STATISTICS`, `UNLISTED`, or ``limit``."""
    action: Action
    attempt: int
    """Counted from 1, until it has flowed for a while."""


class Flowing(NamedTuple):
    """A stream that was silent flows again."""

    stream: str
    connection: str
    silent_s: float


@dataclass(slots=True)
class Findings:
    """What a look at one connection has found."""

    silent: list[Verdict] = field(default_factory=list)
    flowing: list[Flowing] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Streams that the exchange has lost and that are to be subscribed again."""
    reopen: bool = False
    """The connection is silent as a whole: it is to be closed and opened again, and nothing else done."""


class Question(NamedTuple):
    """What is to be asked of the exchange."""

    symbols: tuple[str, ...]
    top: bool
    """Whether the top of the book is wanted as well."""
