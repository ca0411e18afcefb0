"""A look at recordings before they are played: whether they can be, and how old their records would be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from ingest_actors.actors.parser import Parsed
from ingest_actors.messages import FrameBatch
from ingest_actors.recordings.reader import RecordingError, RecordingReader
from ingest_actors.replayer.player import UNNAMED, batches_of

PIECES_MAX: Final = 64
"""How much of a file is looked through for its first messages: 16 MiB, more than all marks and answers that `record`
writes before them."""


def look_into(paths: Sequence[Path], parse: Callable[[FrameBatch], Parsed[object, Any]]) -> int | None:
    """Open every file and read its beginning; blocks.

    Args:
        paths: the files.
        parse: makes events of messages.

    Returns:
        The earliest timestamp that a record of these beginnings gets in Kafka, ms since the epoch; None when there is
        no event.

    Raises:
        RecordingError: one cannot be read, or is none.
    """
    return min((at_ms for path in paths for at_ms in _timestamps(path, parse)), default=None)


def _timestamps(path: Path, parse: Callable[[FrameBatch], Parsed[object, Any]]) -> Iterable[int]:
    """Those of the first piece of the file that has any."""
    empty = True
    for entries in islice(RecordingReader(path), PIECES_MAX):
        empty = False
        batches = (batch for entry in entries for batch in batches_of(entry, UNNAMED))
        found = [event[2] for batch in batches for event in parse(batch).events]
        if found:
            return found
    if empty:
        raise RecordingError(path, 0, "is empty")
    return []
