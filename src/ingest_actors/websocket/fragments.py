"""A message in the making: its fragments, and whether its text is UTF-8."""

from __future__ import annotations

import codecs

from ingest_actors.websocket.wire import Violation


class Fragments:
    """The frames of a message that is not complete yet."""

    __slots__ = ("_decoder", "_payload_starts", "binary", "size_bytes", "wire")

    def __init__(self, *, binary: bool) -> None:
        self.binary = binary
        self.wire: list[bytes] = []
        self.size_bytes = 0
        self._payload_starts: list[int] = []
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
        self.wire.append(frame)
        self._payload_starts.append(payload_start)
        self.size_bytes += len(frame) - payload_start

    def message(self) -> bytes:
        """The whole message."""
        return b"".join([frame[start:] for frame, start in zip(self.wire, self._payload_starts, strict=True)])


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
