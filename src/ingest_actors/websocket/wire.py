"""Frames on the wire (RFC 6455, section 5.2), as far as the cutter knows them."""

from __future__ import annotations

from struct import Struct
from typing import Final

MASKED: Final = 0x80
FINAL: Final = 0x80
RESERVED_BITS: Final = 0x70
OPCODE_BITS: Final = 0x0F
CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PONG: Final = 0xA
LENGTH_7_MAX: Final = 125
LENGTH_16_MAX: Final = 65535
LENGTH_63_MAX: Final = (1 << 63) - 1

_word = Struct(">H").unpack_from
_long = Struct(">Q").unpack_from


class Violation(Exception):  # never leaves the cutter
    """From here on the bytes are for the judge."""


def data_header(data: bytes, position: int) -> tuple[int, int]:
    """Length of an unmasked frame's header and of its payload.

    The first two bytes must be there. When more are needed, the payload's length is given as -1.

    Raises:
        Violation: the length is not in its shortest form, or has more than 63 bits.
    """
    length: int = data[position + 1]
    if length <= LENGTH_7_MAX:
        return 2, length
    header = 4 if length == LENGTH_7_MAX + 1 else 10
    if len(data) - position < header:
        return header, -1
    if header == 4:  # noqa: PLR2004
        (length,) = _word(data, position + 2)
        lawful = length > LENGTH_7_MAX
    else:
        (length,) = _long(data, position + 2)
        lawful = LENGTH_16_MAX < length <= LENGTH_63_MAX
    if not lawful:
        raise Violation
    return header, length
