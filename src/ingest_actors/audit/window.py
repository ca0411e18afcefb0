"""Which records of a series lie in the part of the record that is audited."""

from __future__ import annotations

from typing import Any

from ingest_actors.audit.records import Window
from ingest_actors.audit.sequences import Sequence


def admits(window: Window, sequence: Sequence, event: Any, time: int) -> bool:
    """Whether a record counts.

    A series begins with its first record of the window's time and ends with the first one after it, so that it is
    whole between the two, and the same in every topic, although timestamps are not quite in order.
    """
    since, until = window
    before = since is not None and time < since
    if event.late:
        return not before and (until is None or time < until)
    if sequence.ended:
        return False
    if until is not None and time >= until:
        sequence.ended = True
        return False
    if not before:
        sequence.begun = True
        return True
    if not sequence.begun and since is not None:
        return False
    number = event.id
    return number is None or sequence.first is None or number >= sequence.first
