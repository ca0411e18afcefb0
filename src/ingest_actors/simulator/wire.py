"""Frames that a server sends (RFC 6455, section 5): never masked, so a frame is a header and the payload itself."""

from __future__ import annotations

OPCODE_CONTINUATION = 0x0
OPCODE_TEXT = 0x1
OPCODE_BINARY = 0x2
OPCODE_CLOSE = 0x8
OPCODE_PING = 0x9
OPCODE_PONG = 0xA

_FIN = 0x80
_SHORT_MAX = 125
_MEDIUM_MAX = 0xFFFF
_MEDIUM = 126
_LONG = 127


def frame_header(size_bytes: int, opcode: int = OPCODE_TEXT, *, final: bool = True) -> bytes:
    """The header of one unmasked frame with a payload of `size_bytes`; `final`: the last, or only, one of a message."""
    first = opcode | (_FIN if final else 0)
    if size_bytes <= _SHORT_MAX:
        return bytes((first, size_bytes))
    if size_bytes <= _MEDIUM_MAX:
        return bytes((first, _MEDIUM)) + size_bytes.to_bytes(2, "big")
    return bytes((first, _LONG)) + size_bytes.to_bytes(8, "big")


TEXT_HEADERS = tuple(frame_header(size_bytes) for size_bytes in range(4096))
"""Headers of the usual text frames, by payload size: looking one up is cheaper than making it."""


def text_frame(payload: bytes) -> bytes:
    """One text message as it goes over the wire."""
    size_bytes = len(payload)
    if size_bytes < len(TEXT_HEADERS):
        return TEXT_HEADERS[size_bytes] + payload
    return frame_header(size_bytes) + payload


def control_frame(opcode: int, payload: bytes = b"") -> bytes:
    """A ping, pong or close frame; `payload` has at most 125 bytes."""
    return frame_header(len(payload), opcode) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame with a status code and a reason (cut at what fits)."""
    return control_frame(OPCODE_CLOSE, code.to_bytes(2, "big") + reason.encode()[: _SHORT_MAX - 2])
