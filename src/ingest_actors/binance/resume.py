"""What a restart has to know: where each series ended, and what of it is still missing.

A pure fold over what is written, in the order in which it is written: an event moves its series on, or fills a hole
that was given up; a record of the gap journal opens or ends a gap. So whatever writes the events can say, at any
moment, from where another process has to go on, and nobody else needs to keep count.

Of candles the last closed one is known, by the time when it opened. Other kinds whose events do not say which one comes
before are left out: they begin anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from ingest_actors.binance.closed_candles import CLOSED, KLINE, closed_candle
from ingest_actors.binance.gaps import Reason, State
from ingest_actors.binance.marks import (
    Mark,
    OpenGap,
    Place,
    Sheet,
    decode_marks,
    decode_spooled,
    encode_mark,
    encode_spooled,
)
from ingest_actors.binance.sequence import Hole, without
from ingest_actors.binance.state_sheets import Line, Sheets, rank
from ingest_actors.binance.stream_table import KINDS
from ingest_actors.binance.stream_table import Continuity as Kind
from ingest_actors.messages import Event, EventBatch, Route

__all__ = ["Change", "Mark", "OpenGap", "Place", "ResumeState"]

_BY_ID = frozenset((Kind.CONSECUTIVE, Kind.OVERLAPPING))

_Decode = Callable[[bytes], Any]
"""Reads an event into something whose ``id`` is its id."""

_EventOf = tuple[Route, bytes | None]
"""The route and the key that all events of a series have."""


class Change(NamedTuple):
    """What has changed since it was last settled."""

    records: list[tuple[bytes, bytes]]
    """For the state topic: keys and values."""
    moved: list[tuple[Line, Mark]]
    spooled: int | None


class _JournalLine(msgspec.Struct):
    """What is read of a record of the gap journal."""

    gap: str
    symbol: str
    stream: str
    event_type: str
    first_id: int
    last_id: int
    state: str
    reason: str
    detected_at: int


_decode_journal = msgspec.json.Decoder(_JournalLine).decode


class ResumeState:
    """The marks of one instance; fits `ingest_actors.protocols.Progress`.

    Args:
        instance: `INSTANCE_NAME`: what the keys of its records begin with.

    Attributes:
        spooled: highest number of a spooled batch that is written; None: none ever was.
    """

    def __init__(self, instance: str) -> None:
        self._prefix = f"{instance}/series/"
        self._spool_key = f"{instance}/spool".encode()
        self._decoders: dict[str, _Decode] = {}
        self._first_decoders: dict[str, _Decode] = {}
        for kind in KINDS:
            if kind.continuity in _BY_ID:
                self._decoders[kind.event_type] = _decoder(kind.id_fields[0])
                self._first_decoders[kind.event_type] = _decoder(kind.first_field or kind.id_fields[0])
        self._begun: set[_EventOf] = set()
        self._newest: dict[_EventOf, Event] = {}
        """Of each series the last event that was applied and not looked at: to decode each would cost too much."""
        self._known: dict[_EventOf, tuple[Line, _Decode]] = {}
        self._lines: dict[Place, Line] = {}
        self._changed: dict[Line, None] = {}
        self._incomplete: set[Line] = set()
        self._sheets = Sheets(self._prefix)
        self.spooled: int | None = None
        self._spooled_before: int | None = None

    @classmethod
    def of(cls, instance: str, marks: Mapping[Place, Mark]) -> ResumeState:
        """One that knows these marks."""
        state = cls(instance)
        for place, mark in marks.items():
            state._put(state._line(place), mark)
        return state

    @property
    def marks(self) -> Mapping[Place, Mark]:
        """Where each series ended."""
        self._catch_up()
        return {place: line.mark for place, line in self._lines.items() if line.mark is not None}

    def __len__(self) -> int:
        return len(self.marks)

    # -- read at start

    def load(self, key: bytes, value: bytes | None) -> bool:
        """Take in a record of the state topic; of each key the last one, of all keys in any order.

        Returns: whether it was one of ours: of this instance, and about series or the spool.

        Raises:
            JournalTooNew: a newer release wrote it.
            StateUnreadable: it is none of what this or an earlier release writes.
        """
        name = key.decode("utf-8", "replace")
        if key == self._spool_key:
            self.spooled = self._spooled_before = None if value is None else decode_spooled(name, value)
            return True
        if not name.startswith(self._prefix):
            return False
        line_name = name.removeprefix(self._prefix)
        if value is None:
            self._load_mark(self._line(Place.named(line_name)), 0, None)
            return True
        found = decode_marks(name, value)
        if isinstance(found, Sheet):
            self._load_sheet(found, line_name)
        else:
            self._load_mark(self._line(Place.named(line_name)), 0, found)
        return True

    def everything(self) -> list[tuple[bytes, bytes]]:
        """All of it, as records."""
        records = [(self._key(place), encode_mark(mark)) for place, mark in self.marks.items()]
        if self.spooled is not None:
            records.append((self._spool_key, encode_spooled(self.spooled)))
        return records

    def take_over(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Go on from records of `everything` that know more than what was read; they count as changed."""
        newer = self.copy()
        for key, value in records:
            newer.load(key, value)
        for place, mark in newer.marks.items():
            line = self._line(place)
            if line.mark != mark:
                self._move(line, mark)
        self.spooled = newer.spooled

    def go_further(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Take in records of `everything` that were written later, some of them perhaps not: of each series the newer.

        Ids alone do not tell which that is, for an exchange that is reset begins anew; times alone neither, for those
        of events from REST may lie before that of the event before.
        """
        later = self.copy()
        for key, value in records:
            later.load(key, value)
        for place, mark in later.marks.items():
            line = self._line(place)
            mine = line.mark
            if mine is None or (mark != mine and (mark.last >= mine.last or mark.at > mine.at)):
                self._move(line, mark)
        self.spooled = later.spooled

    def copy(self) -> ResumeState:
        """The same marks, to be moved on apart from these."""
        other = object.__new__(ResumeState)
        other.__dict__ = dict(self.__dict__)
        other._begun, other._newest, other._known, other._changed = set(), {}, {}, {}
        other._lines, other._incomplete, other._sheets = {}, set(), self._sheets.copy()
        for place, mark in self.marks.items():
            line = other._line(place)
            other._put(line, mark)
            line.settled = mark
        return other

    # -- told what is written

    def begin(self, batch: EventBatch) -> list[tuple[bytes, bytes]]:
        """A batch is about to be written, without a transaction. Returns keys and values that must be written before.

        They say of each series that nothing is known of where it begins. Without them a process that dies before the
        first state is written would leave events that its successor does not know of.
        """
        fresh = batch.newest().keys() - self._begun
        records = []
        for value, key, timestamp_ms, route in batch.events if fresh else ():
            if route.dead_letter or (route, key) not in fresh:
                continue
            fresh.discard((route, key))
            self._begun.add((route, key))
            decode = self._first_decoders.get(route.event_type)
            if decode is None or key is None:
                continue
            line = self._line(Place(route.event_type, key.decode()))
            if line.mark is not None:
                continue
            mark = Mark(decode(value).id - 1, timestamp_ms - 1)
            self._move(line, mark)
            records.append((self._key(line.place), encode_mark(mark)))
        return records

    def apply(self, batch: EventBatch) -> None:
        """Move on over a batch that is written, or is about to be in the same transaction."""
        routes, newest = batch.routes(), batch.newest()
        if any(route.event_type == KLINE for route in routes):
            self._candles(batch)
        if any(not route.counted for route in routes):
            self._one_by_one(batch, newest.keys())
        else:
            if self._incomplete:
                incomplete = self._incomplete
                which = {event_of for event_of in newest if (found := self._find(event_of)) and found[0] in incomplete}
                if which:
                    self._one_by_one(batch, which)
            self._newest.update(newest)
        if batch.spooled is not None:
            self.spooled = batch.spooled

    def change(self) -> Change:
        """What has changed since the last `settle`, whole."""
        self._catch_up()
        moved = [(line, mark) for line in self._changed if (mark := line.mark) is not None]
        records = self._sheets.write(moved) if moved else []
        spooled = None
        if self.spooled is not None and self.spooled != self._spooled_before:
            spooled = self.spooled
            records.append((self._spool_key, encode_spooled(spooled)))
        return Change(records, moved, spooled)

    def settle(self, change: Change) -> None:
        """A change is written. What came since is left to the next."""
        changed = self._changed
        for line, mark in change.moved:
            line.settled = mark
            if line.mark is mark:
                changed.pop(line, None)
        if change.moved:
            self._sheets.settle()
        if change.spooled is not None:
            self._spooled_before = change.spooled

    def roll_back(self) -> None:
        """Nothing that was told since the last `settle` is written."""
        self._newest.clear()
        for line in self._changed:
            self._put(line, line.settled)
        self._changed.clear()
        self.spooled = self._spooled_before

    # --

    def _load_sheet(self, sheet: Sheet, key_name: str) -> None:
        self._sheets.read(sheet)
        for name, mark in sheet.marks.items():
            self._load_mark(self._line(Place.named(name)), rank(sheet, alone=name == key_name), mark)

    def _load_mark(self, line: Line, rank: int, mark: Mark | None) -> None:
        if rank >= line.rank:
            self._put(line, mark)
            line.settled, line.rank = mark, rank

    def _key(self, place: Place) -> bytes:
        return (self._prefix + place.name).encode()

    def _line(self, place: Place) -> Line:
        line = self._lines.get(place)
        if line is None:
            line = self._lines[place] = Line(place)
            self._sheets.add(line)
        return line

    def _find(self, event_of: _EventOf) -> tuple[Line, _Decode] | None:
        """The series of events with such a route and key, and what reads their ids; None: they are of none."""
        found = self._known.get(event_of)
        if found is None:
            route, key = event_of
            decode = self._decoders.get(route.event_type)
            if decode is None or route.dead_letter or key is None:
                return None
            found = self._known[event_of] = (self._line(Place(route.event_type, key.decode())), decode)
        return found

    def _put(self, line: Line, mark: Mark | None) -> None:
        line.mark = mark
        if mark is not None and (mark.holes or mark.gaps):
            self._incomplete.add(line)
        elif self._incomplete:
            self._incomplete.discard(line)

    def _move(self, line: Line, mark: Mark) -> None:
        self._changed[line] = None
        self._put(line, mark)

    def _catch_up(self) -> None:
        """Move on to the newest events."""
        known, changed = self._known, self._changed
        for event_of, (value, _, timestamp_ms, _) in self._newest.items():
            found = known.get(event_of) or self._find(event_of)
            if found is None:
                continue
            line, decode = found
            number = decode(value).id
            mark = line.mark
            if mark is not None and (number <= mark.last or mark.holes or mark.gaps):
                self._event(line, number, timestamp_ms)
            else:
                changed[line] = None
                line.mark = Mark(number, timestamp_ms)
        self._newest.clear()

    def _one_by_one(self, batch: EventBatch, which: Collection[_EventOf]) -> None:
        """Move on over each event of some series, and over what the journal says."""
        self._catch_up()
        for value, key, timestamp_ms, route in batch.events:
            found = self._find((route, key)) if (route, key) in which else None
            if found is not None:
                line, decode = found
                self._event(line, decode(value).id, timestamp_ms)
            elif not route.counted:
                self._journal(value)

    def _event(self, line: Line, number: int, timestamp_ms: int) -> None:
        mark = line.mark
        if mark is None:
            self._move(line, Mark(number, timestamp_ms))
        elif number > mark.last:
            holes = _filled(mark.holes, number, number) if mark.holes else ()
            self._move(line, Mark(number, timestamp_ms, holes, mark.gaps))
        elif mark.holes:
            self._move(line, Mark(mark.last, mark.at, _filled(mark.holes, number, number), mark.gaps))

    def _candles(self, batch: EventBatch) -> None:
        for value, key, timestamp_ms, route in batch.events:
            if route.event_type == KLINE and CLOSED in value and not route.dead_letter and key is not None:
                closed = closed_candle(value)
                if closed is not None:
                    stream_type = closed.stream.partition("@")[2] or f"{KLINE}_{closed.interval}"
                    self._event(self._line(Place(stream_type, key.decode())), closed.open_ms, timestamp_ms)

    def _journal(self, value: bytes) -> None:
        line = _decode_journal(value)
        series = self._lines.get(Place(line.event_type, line.symbol))
        mark = None if series is None else series.mark
        if series is None or mark is None:
            return  # a gap of a series of which nothing is written
        if line.state == State.OPEN:
            gap = OpenGap(line.gap, line.stream, line.first_id, line.last_id, line.reason, line.detected_at)
            last, holes = mark.last, mark.holes
            if line.reason == Reason.EXCHANGE_RESET:
                last = min(last, line.first_id - 1)  # ids are used again from here on
            else:
                holes = tuple(sorted((*holes, (line.first_id, line.last_id))))
            self._move(series, Mark(last, mark.at, holes, (*mark.gaps, gap)))
            return
        gaps = tuple(gap for gap in mark.gaps if gap.gap != line.gap)
        holes = _filled(mark.holes, line.first_id, line.last_id)
        last = mark.last
        if line.reason != Reason.EXCHANGE_RESET and line.first_id <= last + 1:
            last = max(last, line.last_id)  # what waited for it goes on behind it
        self._move(series, Mark(last, mark.at, holes, gaps))


def _decoder(field: str) -> _Decode:
    """Reads the id of an event."""
    struct = msgspec.defstruct("Id", [("id", int, msgspec.field(name=field))], gc=False)
    return msgspec.json.Decoder(struct).decode


def _filled(holes: Iterable[tuple[int, int]], first: int, last: int) -> tuple[tuple[int, int], ...]:
    return tuple((part.first, part.last) for hole in holes for part in without(Hole(*hole), first, last))
