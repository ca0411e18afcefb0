"""The splice: the exchange's own bytes, with our fields appended before the closing brace."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import msgspec

from ingest_actors.binance.stream_table import OFFSET, SOURCE_WEBSOCKET, Append, EventKind

_INGESTED = b',"ingestion_timestamp":'
_TAIL = re.compile(_INGESTED + rb'(\d+),"source":"\w+","event_type":"\w+"\}\Z')
_NAMES = re.compile(rb',"symbol":"(?:[^"\\]|\\.)*"(?:,"stream":("(?:[^"\\]|\\.)*"))?\Z')
_NAMES_BYTES_MAX = 4096
_NAMES_KEPT_MAX = 512
"""Characters of symbol and stream; suffixes of longer names are made anew for each event."""


class Suffix:
    """What is appended to events of one kind, or of one stream where its name is appended. Compared by identity."""

    __slots__ = ("after", "before")

    def __init__(self, before: bytes, after: bytes) -> None:
        self.before = before
        self.after = after

    def tail(self, received_at_ms: int) -> bytes:
        """The bytes that take the place of the closing brace."""
        return b"%b%b%d%b" % (self.before, _INGESTED, received_at_ms, self.after)


class Tails(dict[Suffix, bytes]):
    """The tails of one batch, each made when it is first needed."""

    __slots__ = ("received_at_ms",)

    def __init__(self, received_at_ms: int) -> None:
        super().__init__()
        self.received_at_ms = received_at_ms

    def __missing__(self, suffix: Suffix) -> bytes:
        tail = self[suffix] = suffix.tail(self.received_at_ms)
        return tail


def suffix_of(kind: EventKind, *, symbol: str, stream: str, source: str = SOURCE_WEBSOCKET) -> Suffix:
    """The suffix of events of a kind.

    Args:
        kind: the row of the table; says whether symbol and stream are appended.
        symbol: upper case, may be of any alphabet.
        stream: as the exchange names it.
        source: where the bytes come from.
    """
    appends = (
        kind.append is Append.ALWAYS
        or kind.append is Append.SYMBOL
        or (kind.append is Append.WITH_OFFSET and stream.endswith(OFFSET))
    )
    if not appends:
        return _suffix(kind.event_type, "", "", source)
    names = (symbol, "" if kind.append is Append.SYMBOL else stream)
    make = _suffix if sum(map(len, names)) <= _NAMES_KEPT_MAX else _suffix.__wrapped__
    return make(kind.event_type, *names, source)


@lru_cache(maxsize=65536)  # with the bound on names, this bounds what a peer that makes up names can cost
def _suffix(event_type: str, symbol: str, stream: str, source: str) -> Suffix:
    encode = msgspec.json.encode
    before = b',"symbol":%b' % encode(symbol) if symbol else b""
    if stream:
        before += b',"stream":%b' % encode(stream)
    return Suffix(before, b',"source":%b,"event_type":%b}' % (encode(source), encode(event_type)))


class Unspliced(NamedTuple):
    """A record's value taken apart again."""

    event: bytes
    """As the exchange wrote it."""
    stream: str
    """Where that was appended; else empty."""
    received_at_ms: int | None
    """None: the value is no record of ours, and `event` is all of it."""


def unsplice(value: bytes, append: Append) -> Unspliced:
    """Take off what a suffix has appended.

    Args:
        value: of a record.
        append: what its kind says; fields of the exchange's own that look like ours are left alone.
    """
    tail = _TAIL.match(value, max(value.rfind(_INGESTED), 0))
    if tail is None:
        return Unspliced(value, "", None)
    end = tail.start()
    stream = ""
    if append is not Append.NEVER:
        names = _NAMES.search(value, max(end - _NAMES_BYTES_MAX, 0), end)
        if names is not None:
            end = names.start()
            stream = msgspec.json.decode(names[1], type=str) if names[1] else ""
    return Unspliced(value[:end] + b"}", stream, int(tail[1]))
