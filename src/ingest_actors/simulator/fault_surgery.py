"""A fault that waits for the next data frames of a connection, and what it makes of them. Sans-IO."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ingest_actors.simulator.fault_actions import (
    AddFields,
    Cut,
    CutMidFrame,
    Drop,
    Duplicate,
    Fragment,
    Reorder,
    Truncate,
)
from ingest_actors.simulator.fault_frames import fragmented, half_of, truncated, with_fields
from ingest_actors.simulator.fault_triggers import Rule

if TYPE_CHECKING:
    from ingest_actors.simulator.fault_plan import Step

HELD_MAX_S = 1.0
"""How long an event waits for the neighbour with which it is to be swapped."""

PING_BETWEEN = b"between fragments"
"""Payload of a ping between two fragments."""

_ORDER = (Drop, AddFields, Truncate, Duplicate, Reorder, Fragment, CutMidFrame)
"""Whole frames are changed first, taken apart last."""


class Armed:
    """One fault for the next frames.

    Attributes:
        rank: its place among others that want the same frame.
        release_s: when an event that is held back is let go.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.fault = rule.fault
        self.release_s = math.inf
        self.rank = _ORDER.index(type(self.fault.action))
        action: Any = self.fault.action
        self._left = getattr(action, "count", 1)
        self._held: list[Step] = []

    @property
    def over(self) -> bool:
        """Whether it has done its work."""
        return self._left <= 0 and not self._held

    def overdue(self, now_s: float) -> bytes:
        """An event that has waited for a neighbour for too long."""
        if now_s < self.release_s:
            return b""
        self.release_s = math.inf
        held, self._held = self._held, []
        return b"".join(piece for piece in held if isinstance(piece, bytes))

    def change(self, pieces: list[Step], now_s: float) -> list[Step]:
        """Make of one frame what goes out in its place; frames are bytes, and stay whole as long as can be."""
        action = self.fault.action
        if isinstance(action, Reorder):
            return self._swap(pieces, now_s)
        self._left -= 1
        if isinstance(action, Drop):
            return []
        changed: list[Step] = []
        for piece in pieces:
            if not isinstance(piece, bytes):
                changed.append(piece)
            elif isinstance(action, AddFields):
                changed.append(with_fields(piece, action.fields))
            elif isinstance(action, Truncate):
                changed.append(truncated(piece))
            elif isinstance(action, Duplicate):
                changed += (piece, piece)
            elif isinstance(action, Fragment):
                changed.append(fragmented(piece, action.pieces, PING_BETWEEN if action.ping else None))
            elif isinstance(action, CutMidFrame):
                return [*changed, half_of(piece), (Cut(reset=action.reset), self.fault)]
        return changed

    def _swap(self, pieces: list[Step], now_s: float) -> list[Step]:
        if not self._held:
            self._held = pieces
            self.release_s = now_s + HELD_MAX_S
            return []
        held, self._held = self._held, []
        self.release_s = math.inf
        self._left -= 1
        return [*pieces, *held]
