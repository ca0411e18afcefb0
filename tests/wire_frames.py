"""Frames of WebSocket (RFC 6455, section 5.2) as a server sends them, and as none may."""

from __future__ import annotations

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = False,
    length_form: int | None = None,
    claimed: int | None = None,
) -> bytes:
    """One frame as a server sends it; the keywords make it an unlawful one.

    `length_form`: 7, 16 or 64 bits whatever the length; `claimed`: a length other than the payload's.
    """
    length = len(payload) if claimed is None else claimed
    form = length_form or (7 if length < 126 else 16 if length < 65536 else 64)
    mask_bit = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if form == 7:
        head += bytes([mask_bit | length])
    elif form == 16:
        head += bytes([mask_bit | 126]) + length.to_bytes(2, "big")
    else:
        head += bytes([mask_bit | 127]) + length.to_bytes(8, "big")
    return head + (b"\0\0\0\0" if masked else b"") + payload


def text(message: str | bytes) -> bytes:
    """A whole text message in one frame."""
    return frame(TEXT, message.encode() if isinstance(message, str) else message)


def close(code: int = 1000, reason: str = "") -> bytes:
    """A close frame."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode())
