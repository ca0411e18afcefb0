"""A message in the making: its fragments, and whether its text is UTF-8."""

from __future__ import annotations

import codecs

from ingest_actors.websocket.wire import Violation


class Fragments:
    """The frames of a message that is not complete yet.

    They are put together as they come: a message cut into single bytes costs four times its size, where an object for
    each of them would cost sixty times as much. A continuation without a payload says nothing to anybody and is left
    out, or a server could send them for ever.

    Attributes:
        binary: whether it is no text.
        size_bytes: of the payload so far.
        wire: the frames, headers and all, as far as they say anything.
    """

    __slots__ = ("_decoder", "_payload", "binary", "size_bytes", "wire")

    def __init__(self, *, binary: bool) -> None:
        self.binary = binary
        self.wire = bytearray()
        self.size_bytes = 0
        self._payload = bytearray()
        self._decoder = None if binary else codecs.getincrementaldecoder("utf-8")()

    def add(self, frame: bytes, payload_start: int, *, final: bool) -> None:
        """Take one more frame, header and all.

        Raises:
            Violation: the text is not UTF-8.
        """
        if self._decoder is not None:
            try:
                self._decoder.decode(frame[payload_start:], final)
            except UnicodeDecodeError:
                raise Violation from None
        if self.wire and len(frame) == payload_start and not final:
            return
        self.wire += frame
        self._payload += frame[payload_start:]
        self.size_bytes = len(self._payload)

    def message(self) -> bytes:
        """The whole message."""
        return bytes(self._payload)


def all_utf8(messages: list[bytes]) -> bool:
    """Whether each of the messages is UTF-8; a code point that two of them share is not.

    They are checked in one go. The line feeds between them keep the check exact: no valid code point contains one.
    """
    text = b"\n".join(messages)
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
