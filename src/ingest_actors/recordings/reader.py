"""Reading a file of any of the known formats, in bounded memory.

A file may be gzip-compressed. Of a recording of others a missing end of the compressed data is no error; its last line
is left out then, if it was cut off. Of one of ours only whole blocks are read: each is checked before it is handed out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

from ingest_actors.errors import SettingsError
from ingest_actors.recordings.lines import FRAMES, RecordedAnswer, RecordedFrame, Subscribed, Timed, understand
from ingest_actors.recordings.own import HEAD, VERSION, Connection, Foot, Head, Mark, Message, understand_own

READ_BYTES = 64 * 1024
BLOCK_BYTES = 256 * 1024
"""Text is handed on in pieces of about this size."""

CHECKED_BYTES_MAX = 64 * 1024 * 1024
"""A block of ours has a few megabytes. One of more text than this was compressed by somebody else, and is read as it
comes: what is wrong with it is then found at its end."""

LINE_BYTES_MAX = 80 * 1024 * 1024
"""An answer of REST has 64 MiB at most, and a message of the exchange 4 MiB as a rule. A file that goes on for longer
without a line feed is no recording, and would be read into memory as a whole."""

INFLATED_AT_ONCE_BYTES = 1024 * 1024
"""Compressed data may grow a thousandfold: it is handed on, or given up, piece by piece."""

_HEAD_BYTES = 64
_GZIP_MAGIC = b"\x1f\x8b"

Frames: TypeAlias = list[tuple[bytes, bytes, bytes]]
"""A run of frames; plain tuples that fit `RecordedFrame`."""

Entry: TypeAlias = Frames | RecordedAnswer | Subscribed | Connection | Message | Mark | Head | Foot


class RecordingError(SettingsError):
    """A recording cannot be used.

    Attributes:
        path: the file.
        line: the offending line, counted from 1; 0 = the file as a whole.
    """

    def __init__(self, path: Path, line: int, problem: str) -> None:
        self.path = path
        self.line = line
        where = f", line {line}" if line else ""
        super().__init__([f"recording {path}{where}: {problem}"])


class RecordingReader:
    """The entries of one file, piece by piece of text. To be gone through once.

    Attributes:
        path: the file.
        position_bytes: how much of the file has been read.
        lines: how many whole lines have been handed out.
        version: of a recording of ours; None = it is of others, or nothing is read yet.
        incomplete: whether the last line was cut off and left out, or the last block.
        left_bytes: size of the last block, when that was left out.
        foot: how the recording ended, by its own word; empty without one.

    Raises, when gone through:
        RecordingError: it cannot be read, is damaged, has a line that is none of a recording, or is of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position_bytes = 0
        self.lines = 0
        self.version: int | None = None
        self.incomplete = False
        self.left_bytes = 0
        self.foot = ""
        self._cut_short = False

    def __iter__(self) -> Iterator[list[Entry]]:
        for text in self._whole_lines():
            count = text.count(b"\n") + (not text.endswith(b"\n"))
            rows = FRAMES.findall(text)
            yield [rows] if len(rows) == count else list(self._by_line(text))
            self.lines += count

    def _by_line(self, text: bytes) -> Iterator[Entry]:
        run: Frames = []
        match = FRAMES.match
        for number, line in enumerate(text.split(b"\n"), self.lines + 1):
            row = match(line)
            if row is not None:
                run.append(row.groups())  # type: ignore[arg-type]
                continue
            found = understand(line)
            if isinstance(found, RecordedFrame):
                run.append(found)
                continue
            entry = self._own(found, number) if isinstance(found, Timed) else found
            if entry is None:
                if self._is_cut_off(text, line):
                    self.incomplete = True
                    continue
                start = line[:60].decode("utf-8", "replace")
                raise RecordingError(self.path, number, f"is neither a frame nor an answer of REST: {start!r}")
            if run:
                yield run
                run = []
            if entry != Subscribed(()):
                yield entry
        if run:
            yield run

    def _own(self, line: Timed, number: int) -> Entry | None:
        try:
            entry = understand_own(line)
        except ValueError:
            return None
        if isinstance(entry, Head):
            self._check_version(entry, number)
        elif self.version is None:
            return None
        elif isinstance(entry, Foot):
            self.foot = entry.reason
        return entry

    def _check_version(self, head: Head, number: int) -> None:
        version = head.version
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise RecordingError(self.path, number, f"has no usable version: {version!r}")
        if version > VERSION:
            raise RecordingError(
                self.path,
                number,
                f"is of version {version} of the format, written by {head.facts.get('program', 'a newer release')};"
                f" this release reads up to version {VERSION}: use a newer one",
            )
        self.version = version
        self.foot = ""

    def _is_cut_off(self, text: bytes, line: bytes) -> bool:
        """Whether a bad line is merely the last one of a file that ends too early."""
        return self._cut_short and not text.endswith(b"\n") and text.endswith(line)

    def _whole_lines(self) -> Iterator[bytes]:
        """The text in pieces of some hundred kilobytes that end with a line; the last one may lack its line feed."""
        pieces: list[bytes] = []
        size_bytes = 0
        for piece in self._text():
            pieces.append(piece)
            size_bytes += len(piece)
            if size_bytes < BLOCK_BYTES or b"\n" not in piece:
                if size_bytes > LINE_BYTES_MAX:
                    problem = f"is longer than {LINE_BYTES_MAX:,} bytes, or one of the lines behind it is"
                    raise RecordingError(self.path, self.lines + 1, problem)
                continue
            text = b"".join(pieces)
            cut = text.rfind(b"\n") + 1
            pieces = [text[cut:]]
            size_bytes = len(pieces[0])
            yield text[:cut]
        text = b"".join(pieces)
        if text:
            yield text

    def _text(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                first = self._read(file)
                if first.startswith(_GZIP_MAGIC):
                    yield from self._inflated(file, first)
                    return
                self._cut_short = HEAD.match(first) is not None
                while first:
                    yield first
                    first = self._read(file)
        except OSError as error:
            raise RecordingError(self.path, 0, f"cannot be read: {error.strerror}") from error

    def _read(self, file: BinaryIO) -> bytes:
        piece = file.read(READ_BYTES)
        self.position_bytes += len(piece)
        return piece

    def _inflated(self, file: BinaryIO, data: bytes) -> Iterator[bytes]:
        member = _Member(0)
        while data:
            try:
                yield from member.feed(data)
            except zlib.error as error:
                if member.ours and not member.size_bytes and self._only_zeros(file, data):
                    break  # the system had made room and not filled it when the power went
                raise RecordingError(self.path, 0, self._damage(member, error)) from error
            data = member.rest
            if member.ended:
                member = _Member(self.position_bytes - len(data), ours=member.ours)
            data = data or self._read(file)
        if member.started and member.checked:
            self.incomplete = True
            self.left_bytes = self.position_bytes - member.start
        elif member.started:
            self._cut_short = True
            yield from member.tail()

    def _only_zeros(self, file: BinaryIO, data: bytes) -> bool:
        self.incomplete = True
        while data and not data.strip(b"\0"):
            self.left_bytes += len(data)
            data = self._read(file)
        return not data

    def _damage(self, member: _Member, error: zlib.error) -> str:
        what = str(error).rpartition(": ")[2]
        return (
            f"is damaged: {what} in the compressed block that begins at byte {member.start:,} of"
            f" {self.path.stat().st_size:,}; what stands before it, {self.lines:,} lines and more, was read"
        )


class _Member:
    """One gzip member: handed out as it comes, or, if it is ours, as a whole when its end has proven it."""

    def __init__(self, start: int, *, ours: bool | None = None) -> None:
        self.start = start
        self.size_bytes = 0
        self.started = False
        self.ours = ours
        self.rest = b""
        self._inflate = zlib.decompressobj(wbits=31)
        self._held: list[bytes] = []

    @property
    def ended(self) -> bool:
        return self._inflate.eof

    @property
    def checked(self) -> bool:
        """Whether nothing of it is handed out before its end."""
        return bool(self.ours) and self.size_bytes <= CHECKED_BYTES_MAX

    def feed(self, data: bytes) -> Iterator[bytes]:
        self.started = True
        more = True
        while more:
            text = self._inflate.decompress(data, INFLATED_AT_ONCE_BYTES)
            data = self._inflate.unconsumed_tail
            self.rest = self._inflate.unused_data
            self.size_bytes += len(text)
            self._held.append(text)
            if self.ours is None and (self.size_bytes >= _HEAD_BYTES or self.ended):
                self.ours = HEAD.match(b"".join(self._held)) is not None
            more = not self.ended and (bool(data) or len(text) == INFLATED_AT_ONCE_BYTES)
            if self.ended or not (self.checked or self.ours is None):
                yield from self.tail()

    def tail(self) -> Iterator[bytes]:
        held, self._held = self._held, []
        yield b"".join(held)
