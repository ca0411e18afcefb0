"""Surgery on data frames as a server sends them: unmasked, each a whole message (RFC 6455, section 5)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ingest_actors.simulator.wire import (
    OPCODE_BINARY,
    OPCODE_CONTINUATION,
    OPCODE_PING,
    OPCODE_TEXT,
    control_frame,
    frame_header,
    text_frame,
)

_MEDIUM, _LONG = 126, 127
_STREAM = b'{"stream":"'


def header_bytes(frame: bytes) -> int:
    """Size of a frame's header."""
    return {_MEDIUM: 4, _LONG: 10}.get(frame[1], 2)


def payload_of(frame: bytes) -> bytes:
    """The payload of one whole frame."""
    return frame[header_bytes(frame) :]


def split_frames(data: bytes) -> Iterator[bytes]:
    """Whole frames, one by one, out of frames that were joined; a last one that is not whole stays as it is."""
    start = 0
    while start < len(data):
        size = data[start + 1] if start + 1 < len(data) else 0
        head = 2
        if size in (_MEDIUM, _LONG):
            head = 4 if size == _MEDIUM else 10
            size = int.from_bytes(data[start + 2 : start + head], "big")
        yield data[start : start + head + size]
        start += head + size


def stream_of(frame: bytes) -> str:
    """The stream that a combined message names; empty for others."""
    payload = payload_of(frame)
    if not payload.startswith(_STREAM):
        return ""
    return payload[len(_STREAM) : payload.find(b'"', len(_STREAM))].decode()


def half_of(frame: bytes) -> bytes:
    """The first half of a frame, as it goes over the wire."""
    return frame[: max(1, len(frame) // 2)]


def truncated(frame: bytes) -> bytes:
    """A whole frame with the first half of the payload."""
    payload = payload_of(frame)
    return text_frame(payload[: len(payload) // 2])


def fragmented(frame: bytes, pieces: int, ping: bytes | None) -> bytes:
    """The same message in several frames, as even as can be; with a ping behind the first, when there is one."""
    payload = payload_of(frame)
    borders = [len(payload) * piece // pieces for piece in range(pieces + 1)]
    parts = []
    for piece in range(pieces):
        part = payload[borders[piece] : borders[piece + 1]]
        opcode = OPCODE_CONTINUATION if piece else OPCODE_TEXT
        parts.append(frame_header(len(part), opcode, final=piece == pieces - 1) + part)
        if ping is not None and piece == 0:
            parts.append(control_frame(OPCODE_PING, ping))
    return b"".join(parts)


def with_fields(frame: bytes, fields: dict[str, Any]) -> bytes:
    """The same event with more fields at its end; whatever is no single event stays as it is."""
    payload = payload_of(frame)
    end = b"}}" if payload.startswith(_STREAM) else b"}"
    if not payload.endswith(end) or payload.startswith(b"["):
        return frame
    more = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()[1:]
    return text_frame(payload[: -len(end)] + b"," + more + end[1:])


def garbage(form: str) -> bytes:
    """What no client can use; see `fault_actions.Garbage`."""
    if form == "text":
        return text_frame(b"this is no JSON")
    if form == "invalid_utf8":
        return text_frame(b'{"e":"\xff\xfe"}')
    if form == "binary":
        return frame_header(8, OPCODE_BINARY) + bytes(range(8))
    return b"\xf7\xff" + b"\xff" * 62  # all reserved bits set, a reserved opcode, a mask: wrong in every respect
