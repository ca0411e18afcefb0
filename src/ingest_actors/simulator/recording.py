"""Recordings of the exchange, in the formats that recorders of others write, read in bounded memory.

A line is one of these; a file may be gzip-compressed, and a missing end of the compressed data is no error:

- ``<time> <frame>`` or ``<time>: <frame>``: a frame of a combined stream, and when it was received: seconds with a
  decimal point, or an integer of milliseconds, microseconds or nanoseconds, told apart by their size;
- ``wss://<subscribed URL> <-> <time>``: what was subscribed;
- ``https://<URL> -> <time>: <answer>``: an answer of REST;
- ``<time> {"lastUpdateId":...}``: REST's depth answer for the only symbol of the file;
- ``configuration: ...``, replies to control messages, empty lines: passed over.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ingest_actors.errors import SettingsError
from ingest_actors.simulator.handshake import parse_target
from ingest_actors.simulator.wire import TEXT_HEADERS, text_frame

_READ_BYTES = 64 * 1024
_BLOCK_BYTES = 256 * 1024
_ANSWERS_BYTES_MAX = 128 * 1024 * 1024
"""REST answers of a recording are kept in memory; those beyond this are left out."""

_KEPT_BYTES_MAX = 128 * 1024 * 1024
_FRAME_OVERHEAD_BYTES = 250
"""A recording whose frames need no more memory than this is kept there, so that playing it costs next to nothing."""

_LINE = re.compile(rb'^([0-9.]+):? (\{"stream":"([^"\\]+)","data":.*\})\r?$', re.MULTILINE)
_TIMED = re.compile(rb"([0-9.]+):? (\{.*\})\r?", re.DOTALL)
_ANSWER = re.compile(rb"(https?://\S+) -> ([0-9.]+): (\{.*\}|\[.*\])\r?", re.DOTALL)
_SUBSCRIBED = re.compile(rb"wss?://[^/\s]+(/\S*) <-> [0-9.]+\r?")
_SYMBOL_PARAMETER = re.compile(r"[?&]symbol=([^&]+)")
_GZIP_MAGIC = b"\x1f\x8b"
_NS_DIGITS = 19


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


class RecordedFrame(NamedTuple):
    """One frame of a combined stream. The regular expression's groups, as they are: nothing is decoded for speed."""

    time: bytes
    """When it was received, as written; see `time_ns`."""
    frame: bytes
    """The frame's payload, byte for byte."""
    stream: bytes
    """The name of its stream."""


class RecordedAnswer(NamedTuple):
    """One answer of REST."""

    time_ns: int
    endpoint: str
    """The last part of the URL's path: ``depth``, ``exchangeInfo``."""
    symbol: str
    """Uppercase; empty when the URL names none."""
    body: bytes


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
            rows = _LINE.findall(lines)
            if len(rows) == count:
                yield Block(rows), []
            else:
                yield self._by_line(lines, line)
            line += count

    def _by_line(self, lines: bytes, first: int) -> tuple[Block, list[RecordedAnswer | tuple[str, ...]]]:
        frames: list[tuple[bytes, bytes, bytes]] = []
        extras: list[RecordedAnswer | tuple[str, ...]] = []
        for number, line in enumerate(lines.split(b"\n"), first):
            found = _understand(line)
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


def _understand(line: bytes) -> RecordedFrame | RecordedAnswer | tuple[str, ...] | None:
    """A frame, an answer, names of streams (empty: nothing of interest); None: not a line of a recording."""
    stripped = line.strip()
    if not stripped or stripped.startswith(b"configuration: "):
        return ()
    subscribed = _SUBSCRIBED.fullmatch(line)
    if subscribed:
        target = parse_target(subscribed[1].decode())
        return target.streams if target else ()
    answer = _ANSWER.fullmatch(line)
    if answer and _is_json(answer[3]):
        url = answer[1].decode()
        symbol = _SYMBOL_PARAMETER.search(url)
        endpoint = url.partition("?")[0].rpartition("/")[2]
        return RecordedAnswer(time_ns(answer[2]), endpoint, symbol[1].upper() if symbol else "", answer[3])
    timed = _TIMED.fullmatch(line)
    if not timed:
        return None
    return _understand_timed(timed[1], timed[2])


def _understand_timed(time: bytes, text: bytes) -> RecordedFrame | RecordedAnswer | tuple[str, ...] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if isinstance(value.get("stream"), str) and "data" in value:
        return RecordedFrame(time, text, value["stream"].encode())
    if "lastUpdateId" in value:
        return RecordedAnswer(time_ns(time), "", "", text)
    if "result" in value or "error" in value:
        return ()
    return None


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def time_ns(text: bytes) -> int:
    """A time of a recording in nanoseconds since the epoch.

    Args:
        text: seconds with a decimal point, or an integer of seconds, ms, us or ns: their digits tell which.
    """
    seconds, point, fraction = text.partition(b".")
    if point:
        return int(seconds) * 10**9 + int(fraction.ljust(9, b"0")[:9])
    return int(text) * int(10 ** max(0, (_NS_DIGITS - len(text)) // 3 * 3))


def symbol_of(stream: str) -> str:
    """The symbol that a stream is about, uppercase; empty for those about many."""
    return "" if stream.startswith("!") else stream.partition("@")[0].upper()


def raw_payload(frame: bytes, stream: bytes) -> bytes:
    """The event inside a frame of a combined stream, byte for byte."""
    prefix = b'{"stream":"' + stream + b'","data":'
    if frame.startswith(prefix):
        return frame[len(prefix) : -1]
    # another order of keys, or spaces: the value of "data" as it stands
    text = frame.decode()
    found = re.search(r'"data"\s*:\s*', text)
    assert found is not None
    _, end = json.JSONDecoder().raw_decode(text, found.end())
    return text[found.end() : end].encode()
