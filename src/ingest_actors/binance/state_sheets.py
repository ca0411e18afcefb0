"""How marks lie in the state topic: what changes is written on few sheets, and everything is written again in turn.

A record for each series that has changed would be a third record for each message as soon as there are more series than
messages between two commits. So a change is written as:

- *changes*: the marks that have changed, so many on a sheet. The sheets of a change have keys that come round again
  after `ROUNDS_KEPT` rounds of changes.
- *blocks*: the marks of a part of all series, changed or not. Which block a series belongs to follows from its name, so
  it is the same for every process. With each change it is the turn of the next few blocks; a round of `TURNS` changes
  writes all of them.

So by the time that a sheet of changes is overwritten, all that it said has long been written with a block, whichever of
the writes in between got lost: a turn is only over when all of its change is written. Each sheet has the number of its
change, and of the marks of a series the one with the highest number holds.

What may grow large, a mark with many holes, is alone in its record, which has the key of the series; of two with one
number it holds. The block goes on saying what the topic knows of that series until the record alone is known to be
written, for of a change any part may get lost.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

from ingest_actors.binance.marks import Mark, Place, Sheet, encode_sheet

TURNS = 32
"""Changes that write everything once. So each writes 20 kB of 10,000 series, beside what has changed."""

BLOCKS_A_TURN = 8
"""A block of the most series that there may be, 65,536, has 256 marks then: see `MARKS_A_SHEET`."""

BLOCKS = TURNS * BLOCKS_A_TURN

ROUNDS_KEPT = 2
"""One would do if all records of a change were always written together, as they are in a transaction."""

MARKS_A_SHEET = 250
"""About 15 kB, and 330 kB at worst: topics take 1 MB."""

WEIGHT_MAX = 16
"""Of a mark that stands on a sheet with others: about 1.3 kB."""

_GAP_WEIGHT = 4
"""A gap is told in four times as many bytes as a hole."""


class Line:
    """A series that is known. Compared by identity.

    Attributes:
        place: which it is.
        name: the same, as a sheet has it.
        mark: where it ended; None: nothing of it is written.
        settled: the mark that the state topic has.
        rank: of the record that the mark was read from: the higher one holds.
    """

    __slots__ = ("mark", "name", "place", "rank", "settled")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.name = place.name
        self.mark: Mark | None = None
        self.settled: Mark | None = None
        self.rank = 0


class Sheets:
    """Which sheets a change is written on.

    Args:
        prefix: what the keys begin with.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._number = 0
        self._turn = 0
        self._blocks: list[list[Line]] = [[] for _ in range(BLOCKS)]

    def add(self, line: Line) -> None:
        """A series is known from now on."""
        self._blocks[zlib.crc32(line.name.encode()) % BLOCKS].append(line)

    def read(self, sheet: Sheet) -> None:
        """A sheet was found in the topic: go on behind it."""
        if sheet.number > self._number:
            self._number = sheet.number
            self._turn = sheet.turn + 1

    def write(self, moved: Sequence[tuple[Line, Mark]]) -> list[tuple[bytes, bytes]]:
        """The records of a change, keys and values; all that was not settled must be in it, with its new mark."""
        self._number += 1
        records: list[tuple[bytes, bytes]] = []
        turn = self._turn % (TURNS * ROUNDS_KEPT)
        for part, start in enumerate(range(0, len(moved), MARKS_A_SHEET)):
            marks = {line.name: mark for line, mark in moved[start : start + MARKS_A_SHEET]}
            heavy = [name for name, mark in marks.items() if (mark.holes or mark.gaps) and _heavy(mark)]
            alone = [self._record(name, {name: marks.pop(name)}) for name in heavy]
            self._add(records, f"changes/{turn}/{part}", marks)
            records += alone
        first = turn % TURNS * BLOCKS_A_TURN
        for block in range(first, first + BLOCKS_A_TURN):
            self._add(records, f"block/{block}", _all_of(self._blocks[block]))
        return records

    def settle(self) -> None:
        """The change that was made last is written."""
        self._turn += 1

    def copy(self) -> Sheets:
        """The same, for copies of the series, which are to be added."""
        other = Sheets(self._prefix)
        other._number, other._turn = self._number, self._turn
        return other

    def _add(self, records: list[tuple[bytes, bytes]], name: str, marks: dict[str, Mark]) -> None:
        if marks:
            records.append(self._record(name, marks))

    def _record(self, name: str, marks: dict[str, Mark]) -> tuple[bytes, bytes]:
        return (self._prefix + name).encode(), encode_sheet(Sheet(self._number, self._turn, marks))


def _all_of(block: Iterable[Line]) -> dict[str, Mark]:
    """What a block says: of a series whose new mark is alone in a record, what the topic knows so far."""
    marks: dict[str, Mark] = {}
    for line in block:
        mark = line.mark
        if mark is not None and (mark.holes or mark.gaps) and _heavy(mark):
            mark = line.settled
            if mark is not None and _heavy(mark):
                continue
        if mark is not None:
            marks[line.name] = mark
    return marks


def rank(sheet: Sheet, *, alone: bool) -> int:
    """Which record holds of those that have a mark of a series; 0 is lower than any."""
    return 2 * sheet.number + alone


def _heavy(mark: Mark) -> bool:
    """Whether a mark is too large for a sheet with others."""
    return len(mark.holes) + _GAP_WEIGHT * len(mark.gaps) > WEIGHT_MAX
