"""What is remembered of where series ended, and its forms in the state topic and in the spool's file."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta

from ingest_actors.errors import JournalTooNew, StateUnreadable

MARK_VERSION = 1
"""Of a record that has one mark."""

SHEET_VERSION = 2
"""Of a record that has many."""


_Number: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Last: TypeAlias = Annotated[int, Meta(ge=-1, le=2**63 - 1)]
"""-1: ids have begun again, and the first of them has not been written."""


class Place(NamedTuple):
    """Which series: an event type and a symbol. A stream's name would not do, for REST's events have none."""

    event_type: str
    """Of candles, of which a symbol has many, the type of the stream: ``kline_1m``."""
    symbol: str

    @property
    def name(self) -> str:
        """As in ``trade/BTCUSDT``."""
        return f"{self.event_type}/{self.symbol}"

    @classmethod
    def named(cls, name: str) -> Place:
        """The one of that name."""
        event_type, _, symbol = name.partition("/")
        return cls(event_type, symbol)


class OpenGap(msgspec.Struct, frozen=True, gc=False):
    """A record of the gap journal that says ``open``, as far as it is needed to go on with it."""

    gap: str
    stream: str
    first_id: _Number
    last_id: _Number
    reason: str
    detected_at: _Number


class Mark(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Where a series ended. Never changed; a series that goes on gets a new one.

    Attributes:
        last: the highest id that is written.
        at: time of the newest event, ms since the epoch.
        holes: ids below it that are missing and may still come, ascending, both ends included.
        gaps: what the journal says is open.
    """

    last: _Last
    at: _Number
    holes: tuple[tuple[_Number, _Number], ...] = ()
    gaps: tuple[OpenGap, ...] = ()


class Sheet(msgspec.Struct, gc=False):
    """A record of many marks; see `state_sheets`.

    Attributes:
        number: rises from change to change; of the marks of one series the one with the highest number holds.
        turn: whose turn it was in the change that it is part of.
        marks: by `Place.name`.
    """

    number: _Number
    turn: _Number
    marks: dict[str, Mark]
    v: int = SHEET_VERSION


class _Versioned(msgspec.Struct):
    v: int


class _Single(_Versioned):
    last: _Last
    at: _Number
    holes: tuple[tuple[_Number, _Number], ...] = ()
    gaps: tuple[OpenGap, ...] = ()


class _Spooled(_Versioned):
    drained: _Number


def encode_mark(mark: Mark) -> bytes:
    """The record of one mark."""
    return msgspec.json.encode(_Single(MARK_VERSION, mark.last, mark.at, mark.holes, mark.gaps))


def encode_spooled(number: int) -> bytes:
    """The record of how far the spool is drained."""
    return msgspec.json.encode(_Spooled(MARK_VERSION, number))


encode_sheet = msgspec.json.Encoder().encode


def decode_marks(name: str, value: bytes) -> Mark | Sheet:
    """A record of one mark, or of many.

    Raises:
        JournalTooNew: a newer release wrote it.
        StateUnreadable: it is none of what this or an earlier release writes.
    """
    if _version(name, value, SHEET_VERSION) == SHEET_VERSION:
        sheet: Sheet = _decode(name, value, Sheet)
        return sheet
    single: _Single = _decode(name, value, _Single)
    return Mark(single.last, single.at, single.holes, single.gaps)


def decode_spooled(name: str, value: bytes) -> int:
    """How far the spool is drained. Raises as `decode_marks`."""
    _version(name, value, MARK_VERSION)
    spooled: _Spooled = _decode(name, value, _Spooled)
    return spooled.drained


def _version(name: str, value: bytes, newest: int) -> int:
    versioned: _Versioned = _decode(name, value, _Versioned)
    if versioned.v > newest:
        raise JournalTooNew(_where(name), versioned.v, newest)
    return versioned.v


def _decode(name: str, value: bytes, form: type[Any]) -> Any:
    try:
        return msgspec.json.decode(value, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StateUnreadable(_where(name), str(error)) from error


def _where(name: str) -> str:
    return f"record {name} of the state topic"
