"""Parsing with care: one frame at a time, any order of fields, unknown fields, whatever a peer may send.

The rules are all here. The fast way in `parser` is a short cut through them for frames of the very form that the
exchange writes, and comes to the same bytes.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import Raw

from ingest_actors.binance import dead_letters
from ingest_actors.binance.closed_candles import Candles
from ingest_actors.binance.continuity import Continuity
from ingest_actors.binance.dead_letters import DeadLetters, Origin
from ingest_actors.binance.event_time import event_timestamp
from ingest_actors.binance.outcome import CONTROL_REPLY, SHUTDOWN, Outcome
from ingest_actors.binance.series import ID_MAX, Series
from ingest_actors.binance.splice import Suffix, suffix_of
from ingest_actors.binance.stream_table import SERVER_SHUTDOWN, EventKind, StreamTable, symbol_of_stream
from ingest_actors.messages import Route

_ABSENT = Raw()
_BLANKS = b" \t\r\n"
_BOOK_TICKER_SHAPE = ("u", "s", "b", "B", "a", "A")
_LANES_MAX = 65536
"""Bounds what a peer that makes up names can cost; one entry a stream and symbol is some hundred bytes."""

NAMES_BYTES_MAX = 512
"""Stream, event name and symbol together: of an event whose names are longer than any of the exchange's nothing is
remembered, or each entry could cost megabytes. Its record is written like any other."""

ELEMENTS_MAX = 10_000
"""Events in one array: three times as many as the whole spot market has symbols. A longer one is no array of events,
and taken apart it would cost hundreds of times its size; it is one dead letter as a whole."""

_COMMAS_MAX = 64 * ELEMENTS_MAX
"""No element has so many members; what has more commas is not even looked into."""


class _Frame(msgspec.Struct, gc=False):
    """The members of a message that tell what it is; not decoded."""

    stream: Raw = _ABSENT
    data: Raw = _ABSENT
    e: Raw = _ABSENT
    result: Raw = _ABSENT
    error: Raw = _ABSENT
    code: Raw = _ABSENT


class _Members(msgspec.Struct, gc=False):
    """The members of an event that a decision may hang on; not decoded."""

    e: Raw = _ABSENT
    E: Raw = _ABSENT
    s: Raw = _ABSENT
    a: Raw = _ABSENT
    t: Raw = _ABSENT
    T: Raw = _ABSENT
    u: Raw = _ABSENT
    U: Raw = _ABSENT
    lastUpdateId: Raw = _ABSENT  # noqa: N815 - the exchange's name
    b: Raw = _ABSENT
    A: Raw = _ABSENT
    B: Raw = _ABSENT


class Lane(NamedTuple):
    """What an event turned out to be; alike for all events of a stream, an event name and a symbol."""

    kind: EventKind
    name: str
    """The event's ``e``, empty when it has none."""
    payload_symbol: str
    """The event's ``s``, empty when it has none."""
    key: bytes | None
    suffix: Suffix
    route: Route
    series: Series | None = None
    """Where its continuity is watched."""
    candles: Candles | None = None
    """Where closed candles are watched."""

    @property
    def telling(self) -> bool:
        """Whether an event that looks like this one cannot be an empty object, to which nothing can be appended."""
        return bool(self.name or self.payload_symbol or self.kind.id_fields)

    @property
    def memorable(self) -> bool:
        """Whether it may be remembered: it is telling, and its names are short enough to be kept in a table."""
        return self.telling and memorable(self.name, self.payload_symbol)


class _Unusable(Exception):
    """Ends the look at one event; never leaves this module."""

    def __init__(self, reason: str, detail: str, origin: Origin | None = None) -> None:
        self.reason = reason
        self.detail = detail
        self.origin = origin
        super().__init__(reason, detail)


_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_members = msgspec.json.Decoder(_Members).decode
_decode_elements = msgspec.json.Decoder(list[Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


class SlowPath:
    """Parses single frames.

    Args:
        table: the stream table.
        letters: makes the dead letters.
        continuity: watches what can be watched.

    Attributes:
        stream: that the frame parsed last came by; empty when nothing in it tells.
    """

    def __init__(self, table: StreamTable, letters: DeadLetters, continuity: Continuity | None = None) -> None:
        self.stream = ""
        self._table = table
        self._continuity = continuity
        self._letters = letters
        self._lanes: dict[tuple[str, bytes, bytes], Lane] = {}

    def parse(self, frame: bytes, outcome: Outcome) -> Lane | None:
        """Parse one frame; never raises, whatever the bytes.

        Args:
            frame: the payload of one WebSocket message.
            outcome: what comes of it is added to this.

        Returns:
            What the event was, for a frame that is one good event.
        """
        self.stream = ""
        try:
            return self._frame(_checked(frame), outcome)
        except _Unusable as unusable:
            self._bury(frame, unusable, outcome)
            self.stream = self.stream or dead_letters.stream_of_wreck(frame)
            return None

    def _frame(self, frame: bytes, outcome: Outcome) -> Lane | None:
        if frame.startswith(b"["):
            self._array(frame, "", outcome)
            return None
        try:
            members = _decode_frame(frame)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _Unusable(dead_letters.MALFORMED_JSON, str(error)) from None
        if members.stream and members.data:
            data = bytes(members.data)
            self.stream = stream = _string(bytes(members.stream))
            if data.startswith(b"["):
                self._array(data, stream, outcome)
                return None
            return self._event(data, stream, outcome)
        if not members.e and (members.result or members.error or members.code):
            outcome.notice(CONTROL_REPLY, frame)
            return None
        return self._event(frame, "", outcome)

    def _array(self, array: bytes, stream: str, outcome: Outcome) -> None:
        """Each element is an event; one that cannot be used does not harm its neighbours."""
        try:
            elements = _decode_elements(array) if array.count(b",") <= _COMMAS_MAX else []
        except (msgspec.DecodeError, RecursionError) as error:
            raise _Unusable(dead_letters.MALFORMED_JSON, str(error)) from None
        if len(elements) > ELEMENTS_MAX or (not elements and array.count(b",")):
            origin = self._origin("", stream, None)
            raise _Unusable(dead_letters.TOO_MANY_ELEMENTS, f"more than {ELEMENTS_MAX} events in one message", origin)
        for element in map(bytes, elements):
            try:
                self._event(element, stream, outcome)
            except _Unusable as unusable:
                self._bury(element, unusable, outcome)

    def _event(self, event: bytes, stream: str, outcome: Outcome) -> Lane | None:
        """Parse one event: valid JSON without blanks around it."""
        if not event.startswith(b"{"):
            raise _Unusable(dead_letters.NOT_AN_OBJECT, "JSON, but no event", self._origin("", stream, None))
        members = _decode_members(event)
        names = (stream, bytes(members.e), bytes(members.s))
        lane = self._lanes.get(names)
        if lane is None:
            if _string(names[1]) == SERVER_SHUTDOWN:
                outcome.notice(SHUTDOWN, event)
                return None
            lane = self._lane(event, members, stream)
            if (stream or lane.name) and lane.telling and memorable(*names) and len(self._lanes) < _LANES_MAX:
                self._lanes[names] = lane
        number = self._identity(members, lane, stream)
        time, late = event_timestamp(_integer(members.E), _integer(members.T), outcome.received_at_ms)
        outcome.future_timestamps += late
        made = (event[:-1] + outcome.tails[lane.suffix], lane.key, time, lane.route)
        if lane.series is None or number is None:
            lead = outcome.lead(stream)
            if lead is None:
                outcome.events.append(made)
            else:
                outcome.sample(lead, made)
        else:
            outcome.offer(lane.series, self._first(members, lane, number, stream), number, made)
        if lane.candles is not None and self._continuity is not None and outcome.events and outcome.events[-1] is made:
            self._continuity.closed_candles.note(lane.candles, made)
        return lane

    def _lane(self, event: bytes, members: _Members, stream: str) -> Lane:
        name, payload_symbol = _string(bytes(members.e)), _string(bytes(members.s))
        symbol = payload_symbol or symbol_of_stream(stream)
        kind = self._table.kind_of_event(name, stream)
        if kind is None and not stream and all(getattr(members, field) for field in _BOOK_TICKER_SHAPE):
            kind = self._table.kind("book_ticker")  # the one event that neither names itself nor needs to
        origin = self._origin(symbol, stream, kind)
        if not event[1:-1].strip():
            raise _Unusable(dead_letters.EMPTY_EVENT, "an object without members", origin)
        if kind is None:
            raise _Unusable(dead_letters.UNKNOWN_EVENT, f"event name {name!r}, stream {stream!r}", origin)
        if not symbol and kind.of_symbol:
            raise _Unusable(dead_letters.NO_SYMBOL, "neither the payload nor the stream's name has one", origin)
        suffix = suffix_of(kind, symbol=symbol, stream=stream or _raw_stream(kind, symbol))
        route = self._table.route(kind)
        series = candles = None
        name_of_stream = stream or _raw_stream(kind, symbol)
        named = (symbol_of_stream(name_of_stream), self._table.kind_of_stream(name_of_stream))
        known = named == (symbol, kind) and memorable(stream, name, symbol)
        if self._continuity is not None and known:  # what bears a wrong name is no part of a series
            series = self._continuity.series(kind, name_of_stream, symbol, route)
            candles = self._continuity.candles(kind, name_of_stream, symbol, route)
        return Lane(kind, name, payload_symbol, symbol.encode() or None, suffix, route, series, candles)

    def _identity(self, members: _Members, lane: Lane, stream: str) -> int | None:
        """The event's id; None for kinds that need none."""
        fields = lane.kind.id_fields
        for field in fields:
            number = _integer(getattr(members, field))
            if number is not None and 0 <= number <= ID_MAX:
                return number
        if fields:
            origin = self._origin(lane.payload_symbol, stream, lane.kind)
            detail = f"no whole number from 0 to {ID_MAX} in {' or '.join(fields)}"
            raise _Unusable(dead_letters.NO_IDENTITY, detail, origin)
        return None

    def _first(self, members: _Members, lane: Lane, last: int, stream: str) -> int:
        """The first id that an event covers; the last one where each has one of its own."""
        if not lane.kind.first_field:
            return last
        first = _integer(getattr(members, lane.kind.first_field))
        if first is None or not 0 <= first <= last:
            origin = self._origin(lane.payload_symbol, stream, lane.kind)
            raise _Unusable(
                dead_letters.NO_IDENTITY, f"no whole number from 0 to {last} in {lane.kind.first_field}", origin
            )
        return first

    def _bury(self, value: bytes, unusable: _Unusable, outcome: Outcome) -> None:
        letter = self._letters.letter(
            value, unusable.reason, unusable.detail, received_at_ms=outcome.received_at_ms, origin=unusable.origin
        )
        outcome.events.append(letter)

    def _origin(self, symbol: str, stream: str, kind: EventKind | None) -> Origin:
        known = kind or self._table.kind_of_stream(stream)
        return Origin(stream, symbol or symbol_of_stream(stream), known.event_type if known else "")


def _checked(frame: bytes) -> bytes:
    """The frame without the blanks around it, once it is known to be text and no bare number or word."""
    if not frame.isascii():
        try:
            frame.decode()
        except UnicodeDecodeError as error:
            raise _Unusable(dead_letters.INVALID_UTF8, str(error)) from None
    value = frame.strip(_BLANKS)
    if not value.startswith((b"{", b"[")):
        try:
            msgspec.json.decode(value)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise _Unusable(dead_letters.MALFORMED_JSON, str(error)) from None
        raise _Unusable(dead_letters.NOT_AN_OBJECT, "JSON, but no event")
    return value


def _string(value: bytes) -> str:
    """The text of a member; empty when it is absent or of another type."""
    return _decode_text(value) if value.startswith(b'"') else ""


def _integer(member: Raw) -> int | None:
    """The value of a member; None when it is absent or no whole number."""
    if not member:
        return None
    try:
        return int(bytes(member))  # of all JSON values only whole numbers are taken
    except ValueError:
        return None


def memorable(*names: str | bytes) -> bool:
    """Whether names are short enough to be kept in a table."""
    return sum(map(len, names)) <= NAMES_BYTES_MAX


def _raw_stream(kind: EventKind, symbol: str) -> str:
    """The stream of an event that came without an envelope, where its kind leaves no doubt."""
    return f"{symbol.lower()}@{kind.stream_types[0]}" if len(kind.stream_types) == 1 else ""
