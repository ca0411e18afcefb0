"""What of a record's value continuity hangs on, for each row of the stream table; nothing else is decoded."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from ingest_actors.binance.stream_table import KINDS, Continuity, EventKind, symbol_of_stream

UNDECODABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoding raises for bytes that are no JSON of the form: no UTF-8 and nesting without end included."""

_MARK = b'"event_type":"'
_MARK_BYTES = len(_MARK)


class Sample(msgspec.Struct, gc=False):
    """An event of which nothing matters but its id. The other forms have these fields too."""

    id: int | None = None
    symbol: str = msgspec.field(default="", name="s")
    late: bool = False


class Trade(msgspec.Struct, gc=False):
    """A trade."""

    id: int = msgspec.field(name="t")
    symbol: str = msgspec.field(name="s")
    price: str = msgspec.field(name="p", default="")
    quantity: str = msgspec.field(name="q", default="")
    maker: bool | None = msgspec.field(name="m", default=None)
    late: bool = False


class AggregateTrade(msgspec.Struct, gc=False):
    """Trades of one taker order at one price."""

    id: int = msgspec.field(name="a")
    symbol: str = msgspec.field(name="s")
    first: int = msgspec.field(name="f")
    last: int = msgspec.field(name="l")
    price: str = msgspec.field(name="p", default="")
    quantity: str = msgspec.field(name="q", default="")
    maker: bool | None = msgspec.field(name="m", default=None)
    late: bool = False


class DepthUpdate(msgspec.Struct, gc=False):
    """A diff of the book."""

    id: int = msgspec.field(name="u")
    symbol: str = msgspec.field(name="s")
    first: int = msgspec.field(name="U")
    late: bool = False


class BookSnapshot(msgspec.Struct, gc=False):
    """The book as REST gave it."""

    id: int = msgspec.field(name="lastUpdateId")
    symbol: str = ""
    late: bool = False


class PartialBook(msgspec.Struct, gc=False):
    """The best levels of a book."""

    last_update_id: int | None = msgspec.field(name="lastUpdateId", default=None)
    u: int | None = None
    symbol: str = ""
    stream: str = ""
    late: bool = False

    @property
    def id(self) -> int | None:
        """Its id, on either market."""
        return self.u if self.last_update_id is None else self.last_update_id


class Candle(msgspec.Struct, gc=False):
    """The inner object of a kline."""

    open_time: int = msgspec.field(name="t")
    interval: str = msgspec.field(name="i")
    last_trade: int | None = msgspec.field(name="L", default=None)
    trades: int = msgspec.field(name="n", default=0)
    closed: bool = msgspec.field(name="x", default=False)


class Kline(msgspec.Struct, gc=False):
    """A candle as it grows, or closes."""

    candle: Candle = msgspec.field(name="k")
    symbol: str = msgspec.field(name="s")
    event_time: int = msgspec.field(name="E", default=0)
    stream: str = ""
    late: bool = False

    @property
    def id(self) -> int:
        """When the candle opens."""
        return self.candle.open_time


class Form(NamedTuple):
    """How records of one event type are read."""

    kind: EventKind
    decode: Callable[[bytes], Any]
    """Raises `UNDECODABLE` for what is no such event."""
    stream: Callable[[Any], str] | None = None
    """Tells the stream of a decoded event where several share a symbol and an event type."""


def _rising(kind: EventKind) -> type[msgspec.Struct]:
    """A form with the last field of the identity as the id."""
    fields: list[Any] = (
        [("id", int | None, msgspec.field(name=kind.identity[-1], default=None))] if kind.identity else []
    )
    if len(kind.identity) > 1:
        fields.append(("name", str, msgspec.field(name=kind.identity[0], default="")))
    return msgspec.defstruct(f"Sample_{kind.event_type}", fields, bases=(Sample,), gc=False)


def _stream_of_kline(event: Kline) -> str:
    return event.stream or f"{event.symbol.lower()}@kline_{event.candle.interval}"


def _stream_of_window(event: Any) -> str:
    """``1hTicker`` comes by ``btcusdt@ticker_1h``."""
    return f"{event.symbol.lower()}@ticker_{event.name.removesuffix('Ticker')}"


def _stream_of_book(event: PartialBook) -> str:
    return event.stream


_FORMS: Mapping[str, tuple[Any, Callable[[Any], str] | None]] = {
    "trade": (Trade, None),
    "aggregate_trade": (AggregateTrade, None),
    "depth_update": (DepthUpdate, None),
    "depth_snapshot": (BookSnapshot, None),
    "partial_depth": (PartialBook, _stream_of_book),
    "kline": (Kline, _stream_of_kline),
}


def _form(kind: EventKind) -> Form:
    struct, stream = _FORMS.get(kind.event_type, (None, None))
    if struct is None:
        struct = _rising(kind)
        stream = _stream_of_window if len(kind.identity) > 1 else None
    return Form(kind, msgspec.json.Decoder(struct).decode, stream)


FORMS: Mapping[bytes, Form] = {kind.event_type.encode(): _form(kind) for kind in KINDS}
"""By event type, as it stands in a value."""

COPIES: Mapping[str, str] = {kind.event_type: kind.copy for kind in KINDS if kind.copy}
"""The topic beside the raw one, by event type."""


def unlisted(event_type: bytes) -> Form:
    """The form of a kind that the table does not know: it is counted."""
    name = event_type.decode("ascii", "replace")
    kind = EventKind(name, (), (), continuity=Continuity.NONE, of_symbol=False)
    return Form(kind, msgspec.json.Decoder(Sample).decode)


def event_type_of(value: bytes) -> bytes:
    """The event type that was appended to a value; empty when none was."""
    at = value.rfind(_MARK)
    if at < 0:
        return b""
    at += _MARK_BYTES
    return value[at : value.find(b'"', at)]


class Letter(NamedTuple):
    """What a dead letter tells of the event that it was."""

    symbol: str
    event_type: str
    stream: str
    span: tuple[int, int] | None
    """The ids that it stood for; None: they cannot be told."""
    reason: str


def read_letter(value: bytes, headers: Mapping[str, str]) -> Letter:
    """Find out what a dead letter was, as far as its headers and its bytes tell.

    Args:
        value: the bytes as they came, perhaps cut short.
        headers: of the record, decoded.
    """
    stream = headers.get("stream", "")
    event_type = headers.get("event_type", "")
    symbol = headers.get("symbol", "") or symbol_of_stream(stream)
    form = FORMS.get(event_type.encode())
    span = None
    names = _letter_ids(form.kind) if form is not None else ()
    if form is not None and names:
        last = _number(value, names)
        first = _number(value, (form.kind.first_field,)) if form.kind.first_field else last
        if last is not None:
            span = (last if first is None or first > last else first, last)
    named = form is not None and form.stream is not None
    return Letter(symbol, event_type, stream if named else "", span, headers.get("reason", ""))


def _letter_ids(kind: EventKind) -> tuple[str, ...]:
    return ("t",) if kind.continuity is Continuity.CANDLES else kind.id_fields


def _number(value: bytes, names: tuple[str, ...]) -> int | None:
    for name in names:
        found = re.search(rb'"%b"\s*:\s*(\d{1,19})(?!\d)' % re.escape(name.encode()), value)
        if found:
            return int(found[1])
    return None
