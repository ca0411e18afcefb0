"""Dead letters: what could not be parsed or was refused, kept as it came, with the reason beside it."""

from __future__ import annotations

import re
from typing import NamedTuple

from ingest_actors.binance.splice import Unspliced, unsplice
from ingest_actors.binance.stream_table import UNPARSED, Append, StreamTable, symbol_of_stream
from ingest_actors.messages import EVENT_OVERHEAD_BYTES, HEADER_OVERHEAD_BYTES, Event, Route

BINARY_FRAME = "binary_frame"
"""Sent as binary; this feed is text."""
INVALID_UTF8 = "invalid_utf8"
"""Not text."""
MALFORMED_JSON = "malformed_json"
"""Garbage, cut short, or with something that JSON does not know, such as NaN."""
NOT_AN_OBJECT = "not_an_object"
"""JSON, but neither an event nor an array of events."""
EMPTY_EVENT = "empty_event"
"""An object without any field."""
UNKNOWN_EVENT = "unknown_event"
"""Neither its ``e`` nor its stream's name nor its shape tells what it is."""
NO_SYMBOL = "no_symbol"
"""Of a kind that belongs to a symbol, but nothing tells which."""
NO_IDENTITY = "no_identity"
"""Without the id that would tell it from the others of its series."""
TOO_MANY_ELEMENTS = "too_many_elements"
"""An array of more events than the exchange has symbols, kept as a whole."""

PARSER_REASONS = frozenset(
    {
        BINARY_FRAME,
        INVALID_UTF8,
        MALFORMED_JSON,
        NOT_AN_OBJECT,
        EMPTY_EVENT,
        UNKNOWN_EVENT,
        NO_SYMBOL,
        NO_IDENTITY,
        TOO_MANY_ELEMENTS,
    }
)
"""Why the parser gives something up. A sink has reasons of its own, see `ingest_actors.protocols.Refusal`."""

DETAIL_MAX_CHARACTERS = 300
"""Of each header: names that come from the exchange may be as long as a message."""

KEY_BYTES_MAX = 1024
"""A dead letter whose symbol is longer has no key: key and headers count in a record's size as its value does, and
cannot be cut like it, so a letter might be too large for ever."""

CUT_BYTES = 256 * 1024
"""What is left of a dead letter that is too large even for its own topic: a quarter of what a topic takes by Kafka's
default. The header ``cut_from`` tells how many bytes there were."""

_TOO_LARGE = "too_large"
_STREAM_BYTES_MAX = 200
_STREAM_OF_WRECK = re.compile(rb'\s*\{\s*"stream"\s*:\s*"([^"\\\x00-\x1f]{1,%d})"' % _STREAM_BYTES_MAX)


class Origin(NamedTuple):
    """What is known of something that becomes a dead letter; empty = not known."""

    stream: str = ""
    symbol: str = ""
    event_type: str = ""


class DeadLetters:
    """Makes dead letters for one service.

    Args:
        table: names the topic.
    """

    def __init__(self, table: StreamTable) -> None:
        self._table = table
        self._last: tuple[tuple[str, str, Origin, int], Route] | None = None

    def letter(
        self, value: bytes, reason: str, detail: str, *, received_at_ms: int, origin: Origin | None = None
    ) -> Event:
        """A dead letter.

        Args:
            value: the bytes as they came.
            reason: one snake_case word.
            detail: for people; cut to `DETAIL_MAX_CHARACTERS`.
            received_at_ms: when they came; also the Kafka timestamp.
            origin: what is known of them; None = what the beginning of the bytes tells.
        """
        known = self._origin_of_wreck(value) if origin is None else origin
        key = _key(known.symbol.encode("utf-8", "replace"))
        why = (reason, detail[:DETAIL_MAX_CHARACTERS], known, received_at_ms)
        if self._last is None or self._last[0] != why:  # in a flood one is like the other: they share their headers
            headers = _headers(*why)
            self._last = (why, self._route(known.event_type or UNPARSED, headers))
        return value, key, received_at_ms, self._last[1]

    def refused_event(self, event: Event, reason: str, detail: str, *, timestamp_ms: int | None = None) -> Event:
        """An event that was parsed and that the sink will never take; the ledger keeps counting it as what it was.

        Its value is what the exchange wrote: what we had appended is told by headers.

        Args:
            event: as it was offered; the key is kept, and the headers of one that was a dead letter already. Of such a
                one, if it is too large, the first `CUT_BYTES` are kept.
            reason: one snake_case word, e.g. ``too_large``.
            detail: for people.
            timestamp_ms: instead of the event's own, where that is what was refused.
        """
        offered, key, timestamp, route = event
        came = Unspliced(offered, "", None) if route.dead_letter else unsplice(offered, self._appended_to(route))
        origin = Origin(came.stream, key.decode("utf-8", "replace") if key else "", route.event_type)
        headers = _headers(reason, detail, origin, came.received_at_ms)
        names = {name for name, _ in headers}
        kept = tuple(header for header in route.headers if header[0] not in names | {"reason", "detail"})
        value = came.event
        if route.dead_letter and reason == _TOO_LARGE and len(value) > CUT_BYTES:
            kept += (("cut_from", str(len(value)).encode()),)
            value = value[:CUT_BYTES]
        return (
            value,
            _key(key),
            timestamp if timestamp_ms is None else timestamp_ms,
            self._route(route.event_type, headers + kept),
        )

    def _appended_to(self, route: Route) -> Append:
        kind = self._table.kind(route.event_type)
        return Append.NEVER if kind is None else kind.append

    def _origin_of_wreck(self, value: bytes) -> Origin:
        stream = stream_of_wreck(value)
        if not stream:
            return Origin()
        kind = self._table.kind_of_stream(stream)
        return Origin(stream, symbol_of_stream(stream), kind.event_type if kind else "")

    def _route(self, event_type: str, headers: tuple[tuple[str, bytes], ...]) -> Route:
        return Route(
            event_type,
            self._table.dead_letter_topics,
            headers=headers,
            dead_letter=True,
            timed=False,
            overhead_bytes=EVENT_OVERHEAD_BYTES + sum(HEADER_OVERHEAD_BYTES + len(text) for _, text in headers),
        )


def stream_of_wreck(value: bytes) -> str:
    """The stream that the beginning of a message names, whatever comes after it; empty when it names none."""
    found = _STREAM_OF_WRECK.match(value)
    return found[1].decode("utf-8", "replace") if found else ""


def _key(symbol: bytes | None) -> bytes | None:
    return symbol if symbol and len(symbol) <= KEY_BYTES_MAX else None


def _headers(reason: str, detail: str, origin: Origin, received_at_ms: int | None) -> tuple[tuple[str, bytes], ...]:
    texts = {
        "reason": reason,
        "detail": detail,
        "stream": origin.stream,
        "symbol": origin.symbol,
        "event_type": origin.event_type,
        "received_at": "" if received_at_ms is None else str(received_at_ms),
    }
    shown = {name: text[:DETAIL_MAX_CHARACTERS] for name, text in texts.items() if text}
    return tuple((name, text.encode("utf-8", "replace")) for name, text in shown.items())
