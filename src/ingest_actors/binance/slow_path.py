"""Parsing with care: one frame at a time, any order of fields, unknown fields, whatever a peer may send.

The rules are all here. The fast way in `parser` is a short cut through them for frames of the very form that the
exchange writes, and comes to the same bytes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec
from msgspec import Raw

from ingest_actors.binance import dead_letters
from ingest_actors.binance.dead_letters import DeadLetters, Origin
from ingest_actors.binance.event_time import event_timestamp
from ingest_actors.binance.outcome import CONTROL_REPLY, SHUTDOWN
from ingest_actors.binance.splice import Suffix, Tails, suffix_of
from ingest_actors.binance.stream_table import SERVER_SHUTDOWN, EventKind, StreamTable, symbol_of_stream
from ingest_actors.messages import Event, Route

_ABSENT = Raw()
_INTEGER = re.compile(rb"-?[0-9]{1,40}")
_BLANKS = b" \t\r\n"
_BOOK_TICKER_SHAPE = ("u", "s", "b", "B", "a", "A")


class Members(msgspec.Struct, gc=False):
    """The members that a decision may hang on, not decoded, of an envelope or of an event."""

    stream: Raw = _ABSENT
    data: Raw = _ABSENT
    result: Raw = _ABSENT
    error: Raw = _ABSENT
    code: Raw = _ABSENT
    e: Raw = _ABSENT
    E: Raw = _ABSENT
    T: Raw = _ABSENT
    s: Raw = _ABSENT
    a: Raw = _ABSENT
    b: Raw = _ABSENT
    t: Raw = _ABSENT
    u: Raw = _ABSENT
    A: Raw = _ABSENT
    B: Raw = _ABSENT
    lastUpdateId: Raw = _ABSENT  # noqa: N815 - the exchange's name


class Lane(NamedTuple):
    """What an event turned out to be; alike for all events of a stream and a symbol."""

    kind: EventKind
    name: str
    """Its ``e``, empty when it has none."""
    payload_symbol: str
    """Its ``s``, empty when it has none."""
    key: bytes | None
    suffix: Suffix
    route: Route


class Outcome(NamedTuple):
    """What one frame came to."""

    events: list[Event]
    notice: str | None = None
    """The kind of notice that it is instead."""
    future_timestamps: int = 0
    lane: Lane | None = None
    """Of the last event that was no dead letter."""


class _Unusable(Exception):
    """Ends the look at one event; never leaves this module."""

    def __init__(self, reason: str, detail: str, origin: Origin | None = None) -> None:
        self.reason = reason
        self.detail = detail
        self.origin = origin
        super().__init__(reason, detail)


_members = msgspec.json.Decoder(Members).decode
_elements = msgspec.json.Decoder(list[Raw]).decode
_text = msgspec.json.Decoder(str).decode


class SlowPath:
    """Parses single frames.

    Args:
        table: the stream table.
        letters: makes the dead letters.
    """

    def __init__(self, table: StreamTable, letters: DeadLetters) -> None:
        self._table = table
        self._letters = letters

    def parse(self, frame: bytes, tails: Tails) -> Outcome:
        """Parse one frame; never raises, whatever the bytes.

        Args:
            frame: the payload of one WebSocket message.
            tails: of the batch; they know the time of receipt.
        """
        try:
            return self._frame(_checked(frame), tails)
        except _Unusable as unusable:
            return Outcome([self._letter(frame, unusable, tails)])

    def _frame(self, frame: bytes, tails: Tails) -> Outcome:
        if frame.startswith(b"["):
            return self._array(frame, "", tails)
        members = _object(frame)
        if members.stream and members.data:
            data = bytes(members.data)
            stream = _string(members.stream)
            if data.startswith(b"["):
                return self._array(data, stream, tails)
            return self._event(data, stream, tails)
        if not members.e and (members.result or members.error or members.code):
            return Outcome([], CONTROL_REPLY)
        return self._event(frame, "", tails)

    def _array(self, array: bytes, stream: str, tails: Tails) -> Outcome:
        """Each element is an event; one that cannot be used does not harm its neighbours."""
        try:
            elements = _elements(array)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _Unusable(dead_letters.MALFORMED_JSON, str(error)) from None
        events: list[Event] = []
        future = 0
        lane = None
        for element in map(bytes, elements):
            try:
                outcome = self._event(element, stream, tails)
            except _Unusable as unusable:
                events.append(self._letter(element, unusable, tails))
            else:
                events += outcome.events
                future += outcome.future_timestamps
                lane = outcome.lane
        return Outcome(events, None, future, lane)

    def _event(self, event: bytes, stream: str, tails: Tails) -> Outcome:
        if not event.startswith(b"{"):
            raise _Unusable(dead_letters.NOT_AN_OBJECT, "JSON, but no event", self._origin("", stream, None))
        members = _object(event)
        name = _string(members.e)
        if name == SERVER_SHUTDOWN:
            return Outcome([], SHUTDOWN)
        lane = self._lane(event, members, name, stream)
        time, late = event_timestamp(_integer(members.E), _integer(members.T), tails.received_at_ms)
        return Outcome([(event[:-1] + tails[lane.suffix], lane.key, time, lane.route)], None, late, lane)

    def _lane(self, event: bytes, members: Members, name: str, stream: str) -> Lane:
        payload_symbol = _string(members.s)
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
        if kind.id_fields and all(_integer(getattr(members, field)) is None for field in kind.id_fields):
            raise _Unusable(dead_letters.NO_IDENTITY, f"no whole number in {' or '.join(kind.id_fields)}", origin)
        suffix = suffix_of(kind, symbol=symbol, stream=stream or _raw_stream(kind, symbol))
        return Lane(kind, name, payload_symbol, symbol.encode() or None, suffix, self._table.route(kind))

    def _origin(self, symbol: str, stream: str, kind: EventKind | None) -> Origin:
        known = kind or self._table.kind_of_stream(stream)
        return Origin(stream, symbol or symbol_of_stream(stream), known.event_type if known else "")

    def _letter(self, value: bytes, unusable: _Unusable, tails: Tails) -> Event:
        return self._letters.letter(
            value, unusable.reason, unusable.detail, received_at_ms=tails.received_at_ms, origin=unusable.origin
        )


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


def _object(value: bytes) -> Members:
    try:
        return _members(value)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _Unusable(dead_letters.MALFORMED_JSON, str(error)) from None


def _string(raw: Raw) -> str:
    """The text of a member; empty when it is absent or of another type."""
    value = bytes(raw)
    return _text(value) if value.startswith(b'"') else ""


def _integer(raw: Raw) -> int | None:
    """The value of a member; None when it is absent or no whole number."""
    digits = bytes(raw)
    return int(digits) if _INTEGER.fullmatch(digits) else None


def _raw_stream(kind: EventKind, symbol: str) -> str:
    """The stream of an event that came without an envelope, where its kind leaves no doubt."""
    return f"{symbol.lower()}@{kind.stream_types[0]}" if len(kind.stream_types) == 1 else ""
