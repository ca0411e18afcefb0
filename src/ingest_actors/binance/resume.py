"""What a restart has to know: where each series ended, and what of it is still missing.

A pure fold over what is written, in the order in which it is written: an event moves its series on, or fills a hole
that was given up; a record of the gap journal opens or ends a gap. So whatever writes the events can say, at any
moment, from where another process has to go on, and nobody else needs to keep count.

Of candles the last closed one is known, by the time when it opened. Other kinds whose events do not say which one comes
before are left out: they begin anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from ingest_actors.binance.closed_candles import CLOSED, KLINE, closed_candle
from ingest_actors.binance.gaps import Reason, State
from ingest_actors.binance.sequence import Hole, without
from ingest_actors.binance.stream_table import KINDS
from ingest_actors.binance.stream_table import Continuity as Kind
from ingest_actors.errors import JournalTooNew, StateUnreadable
from ingest_actors.messages import Event, EventBatch, Route

STATE_VERSION = 1

_BY_ID = frozenset((Kind.CONSECUTIVE, Kind.OVERLAPPING))


class Place(NamedTuple):
    """Which series: an event type and a symbol. A stream's name would not do, for REST's events have none."""

    event_type: str
    """Of candles, of which a symbol has many, the type of the stream: ``kline_1m``."""
    symbol: str


class OpenGap(msgspec.Struct, frozen=True):
    """A record of the gap journal that says ``open``, as far as it is needed to go on with it."""

    gap: str
    stream: str
    first_id: int
    last_id: int
    reason: str
    detected_at: int


class Mark(msgspec.Struct, frozen=True):
    """Where a series ended. Never changed; a series that goes on gets a new one.

    Attributes:
        last: the highest id that is written.
        at: time of the newest event, ms since the epoch.
        holes: ids below it that are missing and may still come, ascending, both ends included.
        gaps: what the journal says is open.
        v: version of the form that it is written in.
    """

    last: int
    at: int
    holes: tuple[tuple[int, int], ...] = ()
    gaps: tuple[OpenGap, ...] = ()
    v: int = STATE_VERSION


class Change(NamedTuple):
    """What has changed since it was last settled."""

    records: list[tuple[bytes, bytes]]
    """For the state topic: keys and values."""
    marks: Mapping[Place, Mark]
    spooled: int | None


class _Version(msgspec.Struct):
    v: int


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


class _Spooled(msgspec.Struct):
    drained: int
    v: int = STATE_VERSION


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
        self._readers: dict[str, Callable[[bytes], int]] = {}
        self._first_readers: dict[str, Callable[[bytes], int]] = {}
        for kind in KINDS:
            if kind.continuity in _BY_ID:
                self._readers[kind.event_type] = _reader(kind.id_fields[0])
                self._first_readers[kind.event_type] = _reader(kind.first_field or kind.id_fields[0])
        self._begun: set[tuple[Route, bytes | None]] = set()
        self._newest: dict[tuple[Route, bytes | None], Event] = {}
        """Of each series the last event that was applied and not looked at: to decode each would cost too much."""
        self._marks: dict[Place, Mark] = {}
        self._before: dict[Place, Mark | None] = {}
        self._incomplete: set[Place] = set()
        self.spooled: int | None = None
        self._spooled_before: int | None = None

    @classmethod
    def of(cls, instance: str, marks: Mapping[Place, Mark]) -> ResumeState:
        """One that knows these marks."""
        state = cls(instance)
        for place, mark in marks.items():
            state._put(place, mark)
        return state

    @property
    def marks(self) -> Mapping[Place, Mark]:
        """Where each series ended."""
        self._catch_up()
        return self._marks

    def __len__(self) -> int:
        return len(self.marks)

    # -- read at start

    def load(self, key: bytes, value: bytes | None) -> bool:
        """Take in a record of the state topic; the last one of a key holds.

        Returns: whether it was one of ours: of this instance, and about series or the spool.

        Raises:
            JournalTooNew: a newer release wrote it.
            StateUnreadable: it is none of what this or an earlier release writes.
        """
        name = key.decode("utf-8", "replace")
        if key == self._spool_key:
            self.spooled = self._spooled_before = None if value is None else _decode(_Spooled, name, value).drained
            return True
        if not name.startswith(self._prefix):
            return False
        event_type, _, symbol = name.removeprefix(self._prefix).partition("/")
        place = Place(event_type, symbol)
        if value is None:
            self._marks.pop(place, None)
        else:
            self._put(place, _decode(Mark, name, value))
        return True

    def everything(self) -> list[tuple[bytes, bytes]]:
        """All of it, as records."""
        records = [(self._key(place), msgspec.json.encode(mark)) for place, mark in self.marks.items()]
        if self.spooled is not None:
            records.append((self._spool_key, msgspec.json.encode(_Spooled(self.spooled))))
        return records

    def take_over(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Go on from records of `everything` that know more than what was read; they count as changed."""
        newer = self.copy()
        for key, value in records:
            newer.load(key, value)
        for place, mark in newer.marks.items():
            if self._marks.get(place) != mark:
                self._move(place, mark)
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
            mine = self._marks.get(place)
            if mine is None or (mark != mine and (mark.last >= mine.last or mark.at > mine.at)):
                self._move(place, mark)
        self.spooled = later.spooled

    def copy(self) -> ResumeState:
        """The same marks, to be moved on apart from these."""
        self._catch_up()
        other = object.__new__(ResumeState)
        other.__dict__ = dict(self.__dict__)
        other._marks, other._before, other._newest = dict(self._marks), {}, {}
        other._incomplete, other._begun = set(self._incomplete), set()
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
            read = self._first_readers.get(route.event_type)
            if read is None or key is None or (place := Place(route.event_type, key.decode())) in self._marks:
                continue
            mark = Mark(read(value) - 1, timestamp_ms - 1)
            self._move(place, mark)
            records.append((self._key(place), msgspec.json.encode(mark)))
        return records

    def apply(self, batch: EventBatch) -> None:
        """Move on over a batch that is written, or is about to be in the same transaction."""
        readers, routes = self._readers, batch.routes()
        if any(route.event_type == KLINE for route in routes):
            self._candles(batch)
        if self._incomplete or any(not route.counted for route in routes):
            self._catch_up()
            for value, key, timestamp_ms, route in batch.events:
                if route.event_type in readers and not route.dead_letter and key is not None:
                    place = Place(route.event_type, key.decode())
                    self._event(place, readers[route.event_type](value), timestamp_ms)
                elif not route.counted:
                    self._journal(value)
        else:
            self._newest.update(batch.newest())
        if batch.spooled is not None:
            self.spooled = batch.spooled

    def change(self) -> Change:
        """What has changed since the last `settle`, whole."""
        self._catch_up()
        marks = {place: self._marks[place] for place in self._before if place in self._marks}
        records = [(self._key(place), msgspec.json.encode(mark)) for place, mark in marks.items()]
        spooled = None
        if self.spooled is not None and self.spooled != self._spooled_before:
            spooled = self.spooled
            records.append((self._spool_key, msgspec.json.encode(_Spooled(spooled))))
        return Change(records, marks, spooled)

    def settle(self, change: Change) -> None:
        """A change is written. What came since is left to the next."""
        for place, mark in change.marks.items():
            if self._marks.get(place) is mark:
                self._before.pop(place, None)
            else:
                self._before[place] = mark
        if change.spooled is not None:
            self._spooled_before = change.spooled

    def roll_back(self) -> None:
        """Nothing that was told since the last `settle` is written."""
        self._newest.clear()
        for place, mark in self._before.items():
            if mark is None:
                self._marks.pop(place, None)
                self._incomplete.discard(place)
            else:
                self._put(place, mark)
        self._before.clear()
        self.spooled = self._spooled_before

    # --

    def _catch_up(self) -> None:
        """Move on to the newest events."""
        for (route, key), (value, _, timestamp_ms, _) in self._newest.items():
            if route.event_type in self._readers and not route.dead_letter and key is not None:
                place = Place(route.event_type, key.decode())
                self._event(place, self._readers[route.event_type](value), timestamp_ms)
        self._newest.clear()

    def _key(self, place: Place) -> bytes:
        return f"{self._prefix}{place.event_type}/{place.symbol}".encode()

    def _put(self, place: Place, mark: Mark) -> None:
        self._marks[place] = mark
        (self._incomplete.add if mark.holes or mark.gaps else self._incomplete.discard)(place)

    def _move(self, place: Place, mark: Mark) -> None:
        self._before.setdefault(place, self._marks.get(place))
        self._put(place, mark)

    def _event(self, place: Place, number: int, timestamp_ms: int) -> None:
        mark = self._marks.get(place)
        if mark is None:
            self._move(place, Mark(number, timestamp_ms))
        elif number > mark.last:
            holes = _filled(mark.holes, number, number) if mark.holes else ()
            self._move(place, Mark(number, timestamp_ms, holes, mark.gaps))
        elif mark.holes:
            self._move(place, Mark(mark.last, mark.at, _filled(mark.holes, number, number), mark.gaps))

    def _candles(self, batch: EventBatch) -> None:
        for value, key, timestamp_ms, route in batch.events:
            if route.event_type == KLINE and CLOSED in value and not route.dead_letter and key is not None:
                closed = closed_candle(value)
                if closed is not None:
                    stream_type = closed.stream.partition("@")[2] or f"{KLINE}_{closed.interval}"
                    self._event(Place(stream_type, key.decode()), closed.open_ms, timestamp_ms)

    def _journal(self, value: bytes) -> None:
        line = _decode_journal(value)
        place = Place(line.event_type, line.symbol)
        mark = self._marks.get(place)
        if mark is None:
            return  # a gap of a series of which nothing is written
        if line.state == State.OPEN:
            gap = OpenGap(line.gap, line.stream, line.first_id, line.last_id, line.reason, line.detected_at)
            last, holes = mark.last, mark.holes
            if line.reason == Reason.EXCHANGE_RESET:
                last = min(last, line.first_id - 1)  # ids are used again from here on
            else:
                holes = tuple(sorted((*holes, (line.first_id, line.last_id))))
            self._move(place, Mark(last, mark.at, holes, (*mark.gaps, gap)))
            return
        gaps = tuple(gap for gap in mark.gaps if gap.gap != line.gap)
        holes = _filled(mark.holes, line.first_id, line.last_id)
        last = mark.last
        if line.reason != Reason.EXCHANGE_RESET and line.first_id <= last + 1:
            last = max(last, line.last_id)  # what waited for it goes on behind it
        self._move(place, Mark(last, mark.at, holes, gaps))


def _reader(field: str) -> Callable[[bytes], int]:
    """Reads the id of an event."""
    struct = msgspec.defstruct("Id", [(field, int)], gc=False)
    decode = msgspec.json.Decoder(struct).decode

    def read(value: bytes) -> int:
        number: int = getattr(decode(value), field)
        return number

    return read


def _filled(holes: Iterable[tuple[int, int]], first: int, last: int) -> tuple[tuple[int, int], ...]:
    return tuple((part.first, part.last) for hole in holes for part in without(Hole(*hole), first, last))


def _decode(form: type[Any], name: str, value: bytes) -> Any:
    where = f"record {name} of the state topic"
    try:
        version = msgspec.json.decode(value, type=_Version).v
        if version > STATE_VERSION:
            raise JournalTooNew(where, version, STATE_VERSION)
        return msgspec.json.decode(value, type=form)
    except msgspec.MsgspecError as error:
        raise StateUnreadable(where, str(error)) from error
