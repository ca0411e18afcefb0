"""Cut the bytes of a WebSocket connection into messages, many at a time. No I/O here.

Only what makes up nearly all of a market data feed is handled: unmasked text, binary and continuation frames of a
server. Everything else (control frames, and every violation of RFC 6455) comes back as bytes to be given to a
complete implementation, which answers and judges it. So there is one judge, and this module only has to know what it
does not know.

Two rules make the judge see what it would have seen without this module. Control frames may stand between the frames
of a message (RFC 6455, section 5.4), so they can be handed on ahead of data. And a violation hands on everything
from the first frame of the message in which it stands, and all that follows.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from ingest_actors.websocket.fragments import Fragments, all_utf8
from ingest_actors.websocket.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FINAL,
    LENGTH_7_MAX,
    LENGTH_16_MAX,
    MASKED,
    OPCODE_BITS,
    PONG,
    RESERVED_BITS,
    TEXT,
    Violation,
    data_header,
)

PIECES_MAX: Final = 1024
"""Reads that a frame may lie in before they are put together: small ones take many times what they hold."""

_two_words = Struct(">HH").unpack_from


class Segment(NamedTuple):
    """Messages of one kind that came one after the other."""

    binary: bool
    messages: list[bytes]


class Cut(NamedTuple):
    """What became of the bytes of one read."""

    segments: list[Segment]
    """The whole messages, in order."""
    passed: bytes
    """What is not ours to judge: control frames, or everything from a violation or a close frame on."""


class FrameCutter:
    """Cuts what a server sends after its handshake.

    Args:
        message_bytes_max: a larger message, the sum of its fragments included, is handed on for the judge to refuse.

    Attributes:
        passing: a close frame or a violation was seen, and all bytes are handed on.
        hushed: we have sent a close frame: pings and pongs are dropped, since nothing may be sent after it.
    """

    def __init__(self, message_bytes_max: int) -> None:
        self.passing = False
        self.hushed = False
        self._message_bytes_max = message_bytes_max
        self._opcode = TEXT
        self._fragments: Fragments | None = None
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._rest_needs = 0
        self._segments: list[Segment] = []
        self._passed: list[bytes] = []

    @property
    def held_bytes(self) -> int:
        """Bytes of messages and frames that are not complete yet."""
        return self._rest_bytes + (self._fragments.size_bytes if self._fragments else 0)

    def feed(self, data: bytes) -> Cut:
        """Cut the bytes of one read; an incomplete frame at the end is kept for the next."""
        if self.passing:
            return Cut([], data)
        if self._rest:
            # A large message comes in many reads: they are joined once, when the frame is complete.
            self._rest.append(data)
            self._rest_bytes += len(data)
            if self._rest_bytes < self._rest_needs:
                if len(self._rest) > PIECES_MAX:
                    self._rest = [b"".join(self._rest)]
                return Cut([], b"")
            data = b"".join(self._rest)
            self._rest.clear()
            self._rest_bytes = 0
        self._cut(data)
        cut = Cut(self._segments, b"".join(self._passed))
        self._segments = []
        self._passed = []
        return cut

    def finish(self) -> bytes:
        """The connection has ended: what is kept, for the judge, who may find a violation in it."""
        kept = b"".join([self._fragments.wire if self._fragments else b"", *self._rest])
        self.passing = True
        self._fragments = None
        self._rest.clear()
        self._rest_bytes = 0
        return kept

    def _cut(self, data: bytes) -> None:
        position = 0
        try:
            while position < len(data):
                if self._fragments is None:
                    position = self._run(data, position)
                step = self._step(data, position)
                if not step:
                    break
                position += step
        except Violation as violation:
            (position,) = violation.args or (position,)
            self._hand_over(data, position)
        else:
            if position < len(data):
                self._rest.append(data[position:] if position else data)
                self._rest_bytes = len(data) - position

    def _hand_over(self, data: bytes, position: int) -> None:
        self.passing = True
        if self._fragments is not None:
            self._passed.append(bytes(self._fragments.wire))
            self._fragments = None
        self._passed.append(data[position:])

    def _run(self, data: bytes, position: int) -> int:
        """Cut whole, final frames of the current opcode for as long as they follow each other. The hot loop.

        One `Struct` call reads both header words: 0.17 us a frame of 340 bytes, against 0.22 with four indexings and
        0.4 with `bytes.split` or a regex and a check of what it found.
        """
        messages: list[bytes] = []
        append = messages.append
        unpack = _two_words
        size = len(data)
        shortest = (FINAL | self._opcode) << 8
        longest_7 = shortest + min(LENGTH_7_MAX, self._message_bytes_max)
        head_16 = shortest + 126
        longest_16 = min(LENGTH_16_MAX, self._message_bytes_max)
        end = start = position
        try:
            while True:
                head, length = unpack(data, start)
                if head == head_16 and LENGTH_7_MAX < length <= longest_16:
                    end = start + 4 + length
                    if end > size:
                        break
                    append(data[start + 4 : end])
                elif shortest <= head <= longest_7:
                    end = start + 2 + head - shortest
                    if end > size:
                        break
                    append(data[start + 2 : end])
                else:
                    break
                start = end
        except struct_error:
            pass  # fewer than four bytes are left
        if messages:
            if self._opcode == TEXT and not all_utf8(messages):
                start = self._up_to_invalid(messages, position)
                raise Violation(start)
            self._emit(messages)
        return start

    def _up_to_invalid(self, messages: list[bytes], position: int) -> int:
        """Emit the messages before the one that is not UTF-8, and tell where that one's frame begins."""
        valid = 0
        while all_utf8(messages[valid : valid + 1]):
            length = len(messages[valid])
            position += length + (2 if length <= LENGTH_7_MAX else 4)
            valid += 1
        if valid:
            self._emit(messages[:valid])
        return position

    def _emit(self, messages: list[bytes], *, binary: bool | None = None) -> None:
        if binary is None:
            binary = self._opcode == BINARY
        if self._segments and self._segments[-1].binary == binary:
            self._segments[-1].messages.extend(messages)
        else:
            self._segments.append(Segment(binary, messages))

    def _step(self, data: bytes, position: int) -> int:
        """Deal with one frame of any kind; returns its length, or 0 when it is incomplete."""
        available = len(data) - position
        if available < 2:  # noqa: PLR2004 the shortest header
            self._rest_needs = 2
            return 0
        first, second = data[position], data[position + 1]
        if first & RESERVED_BITS or second & MASKED:
            raise Violation
        opcode = first & OPCODE_BITS
        if opcode >= CLOSE:
            return self._control(data, position, opcode)
        return self._data(data, position, opcode, final=bool(first & FINAL))

    def _control(self, data: bytes, position: int, opcode: int) -> int:
        length = data[position + 1]
        final = data[position] & FINAL
        if not final or length > LENGTH_7_MAX or opcode > PONG or opcode == CLOSE:
            raise Violation  # after a close frame all is the judge's too
        if len(data) - position < 2 + length:
            self._rest_needs = 2 + length
            return 0
        if not self.hushed:
            self._passed.append(data[position : position + 2 + length])
        return 2 + length

    def _data(self, data: bytes, position: int, opcode: int, *, final: bool) -> int:
        fragments = self._fragments
        if opcode > BINARY or (opcode == CONTINUATION) != (fragments is not None):
            raise Violation
        header, length = data_header(data, position)
        if length < 0:
            self._rest_needs = header
            return 0
        if length + (fragments.size_bytes if fragments else 0) > self._message_bytes_max:
            raise Violation
        if len(data) - position < header + length:
            self._rest_needs = header + length
            return 0
        frame = data[position : position + header + length]
        if fragments is None and final:
            self._opcode = opcode  # the next ones are probably of the same kind
            message = [frame[header:]]
            if opcode == TEXT and not all_utf8(message):
                raise Violation
            self._emit(message)
            return header + length
        if fragments is None:
            fragments = Fragments(binary=opcode == BINARY)
        fragments.add(frame, header, final=final)
        self._fragments = None if final else fragments
        if final:
            self._emit([fragments.message()], binary=fragments.binary)
        return header + length
