"""Recordings of the exchange, in the formats that recorders of others write, read in bounded memory.

A file may be gzip-compressed; a missing end of the compressed data is no error. For its lines see `recording_lines`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ingest_actors.errors import SettingsError
from ingest_actors.simulator.recording_lines import FRAMES, RecordedAnswer, RecordedFrame, symbol_of, understand
from ingest_actors.simulator.wire import TEXT_HEADERS, text_frame

_READ_BYTES = 64 * 1024
_BLOCK_BYTES = 256 * 1024
_ANSWERS_BYTES_MAX = 128 * 1024 * 1024
"""REST answers of a recording are kept in memory; those beyond this are left out."""

_KEPT_BYTES_MAX = 128 * 1024 * 1024
_FRAME_OVERHEAD_BYTES = 250
"""A recording whose frames need no more memory than this is kept there, so that playing it costs next to nothing."""

_GZIP_MAGIC = b"\x1f\x8b"


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


class Block:
    """Frames that lie together in a file.

    Attributes:
        frames: in the recorded order; plain tuples that fit `RecordedFrame`.
        streams: the names of their streams.
    """

    def __init__(self, frames: list[tuple[bytes, bytes, bytes]]) -> None:
        self.frames = frames
        self.streams = frozenset([stream for _, _, stream in frames])

    @cached_property
    def wire(self) -> bytes:
        """All frames in combined form, as they go over the wire."""
        headers = TEXT_HEADERS
        try:
            return b"".join([headers[len(frame)] + frame for _, frame, _ in self.frames])
        except IndexError:  # one is longer than the table
            return b"".join([text_frame(frame) for _, frame, _ in self.frames])


class Recording:
    """One or more files, looked through once: every line is checked before anything is served.

    Args:
        paths: the files, in the order in which they are to be played.

    Attributes:
        streams: names of all streams, those subscribed without a frame included, sorted.
        symbols: their symbols, uppercase, sorted.
        frames: how many.
        frames_bytes: size of all their payloads.
        answers: REST's answers, by time.
        incomplete: files whose last line was cut off and left out.

    Raises:
        RecordingError: a file cannot be read, or holds no frame and no answer, or has a line that is none of the above.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self.frames = 0
        self.frames_bytes = 0
        self.answers: list[RecordedAnswer] = []
        self.incomplete: list[Path] = []
        self._streams: set[str] = set()
        self._answers_bytes = 0
        self._kept: list[tuple[Path, Block]] | None = []
        for path in self.paths:
            self._look_through(path)
        self.answers.sort(key=lambda answer: answer.time_ns)
        self.streams = tuple(sorted(self._streams))
        named = [symbol_of(stream) for stream in self.streams] + [answer.symbol for answer in self.answers]
        self.symbols = tuple(sorted(set(named) - {""}))

    def blocks(self) -> Iterator[tuple[Path, Block]]:
        """All frames, block by block, each with its file; of a large recording only one block is in memory."""
        if self._kept is not None:
            yield from self._kept
            return
        for path in self.paths:
            for block, _ in _Reader(path):
                if block.frames:
                    yield path, block

    def _look_through(self, path: Path) -> None:
        reader = _Reader(path)
        frames = 0
        streams: set[str] = set()
        answers: list[RecordedAnswer] = []
        for block, extras in reader:
            frames += len(block.frames)
            self._keep(path, block)
            streams.update(stream.decode() for stream in block.streams)
            for extra in extras:
                if isinstance(extra, RecordedAnswer):
                    answers.append(extra)
                else:
                    streams.update(extra)
        if not frames and not answers:
            raise RecordingError(path, 0, "holds no frame and no answer of REST")
        if reader.incomplete:
            self.incomplete.append(path)
        self._streams |= streams
        symbols = {symbol_of(stream) for stream in streams} - {""}
        for answer in answers:
            named = answer
            if not answer.endpoint:
                if len(symbols) != 1:
                    continue  # nobody can tell whose book it is
                named = answer._replace(endpoint="depth", symbol=next(iter(symbols)))
            self._answers_bytes += len(named.body)
            if self._answers_bytes <= _ANSWERS_BYTES_MAX:
                self.answers.append(named)

    def _keep(self, path: Path, block: Block) -> None:
        self.frames_bytes += sum([len(frame) for _, frame, _ in block.frames])
        self.frames += len(block.frames)
        if self._kept is None or not block.frames:
            return
        self._kept.append((path, block))
        if self.frames_bytes + self.frames * _FRAME_OVERHEAD_BYTES > _KEPT_BYTES_MAX:
            self._kept = None


class _Reader:
    """The blocks of one file, each with what else was found between its frames: answers, names of streams."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.incomplete = False
        self._cut_short = False

    def __iter__(self) -> Iterator[tuple[Block, list[RecordedAnswer | tuple[str, ...]]]]:
        line = 1
        for lines in self._whole_lines():
            count = lines.count(b"\n") + (not lines.endswith(b"\n"))
            rows = FRAMES.findall(lines)
            if len(rows) == count:
                yield Block(rows), []
            else:
                yield self._by_line(lines, line)
            line += count

    def _by_line(self, lines: bytes, first: int) -> tuple[Block, list[RecordedAnswer | tuple[str, ...]]]:
        frames: list[tuple[bytes, bytes, bytes]] = []
        extras: list[RecordedAnswer | tuple[str, ...]] = []
        for number, line in enumerate(lines.split(b"\n"), first):
            found = understand(line)
            if found is None:
                if self._is_cut_off(lines, line):
                    self.incomplete = True
                    continue
                start = line[:60].decode("utf-8", "replace")
                raise RecordingError(self.path, number, f"is neither a frame nor an answer of REST: {start!r}")
            if isinstance(found, RecordedAnswer):
                extras.append(found)
            elif isinstance(found, RecordedFrame):
                frames.append(found)
            elif found:
                extras.append(found)
        return Block(frames), extras

    def _is_cut_off(self, lines: bytes, line: bytes) -> bool:
        """Whether a bad line is merely the last one of a file that ends too early."""
        return self._cut_short and not lines.endswith(b"\n") and lines.endswith(line)

    def _whole_lines(self) -> Iterator[bytes]:
        """The text in pieces of some hundred kilobytes that end with a line; the last one may lack its line feed."""
        rest = b""
        pieces: list[bytes] = []
        size_bytes = 0
        for piece in self._text():
            pieces.append(piece)
            size_bytes += len(piece)
            if size_bytes < _BLOCK_BYTES:
                continue
            text = b"".join((rest, *pieces))
            pieces, size_bytes = [], 0
            cut = text.rfind(b"\n") + 1
            rest = text[cut:]
            if cut:
                yield text[:cut]
        text = b"".join((rest, *pieces))
        if text:
            yield text

    def _text(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                piece = file.read(_READ_BYTES)
                if not piece.startswith(_GZIP_MAGIC):
                    while piece:
                        yield piece
                        piece = file.read(_READ_BYTES)
                    return
                inflate = zlib.decompressobj(wbits=31)
                while piece:
                    yield inflate.decompress(piece)
                    while inflate.eof and inflate.unused_data:
                        more = inflate.unused_data
                        inflate = zlib.decompressobj(wbits=31)
                        yield inflate.decompress(more)
                    piece = file.read(_READ_BYTES)
                self._cut_short = not inflate.eof
                yield inflate.flush()
        except OSError as error:
            raise RecordingError(self.path, 0, f"cannot be read: {error.strerror}") from error
        except zlib.error as error:
            raise RecordingError(self.path, 0, f"is damaged: {error}") from error
