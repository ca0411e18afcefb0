"""Records that are not where or what they should be."""

from __future__ import annotations

from typing import NamedTuple

from ingest_actors.audit.findings import Findings
from ingest_actors.audit.spans import Spans


class Stray(NamedTuple):
    """A record under a key that is not its symbol."""

    id: int
    key: str


class Unreadable(NamedTuple):
    """A record that is no event of ours."""

    partition: int
    offset: int
    reason: str


class Strays:
    """The records of one series that lie under wrong keys."""

    def __init__(self) -> None:
        self.found: Findings[Stray] = Findings()
        self.covered = Spans()
