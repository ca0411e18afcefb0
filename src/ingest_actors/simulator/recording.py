"""Recordings of the exchange, ours and those of others, made ready to be served. For the files see `recordings`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ingest_actors.recordings.lines import RecordedAnswer, Subscribed, symbol_of
from ingest_actors.recordings.own import Mark
from ingest_actors.recordings.reader import Entry, Frames, RecordingError, RecordingReader
from ingest_actors.simulator.wire import TEXT_HEADERS, text_frame

_ANSWERS_BYTES_MAX = 128 * 1024 * 1024
"""REST answers of a recording are kept in memory; those beyond this are left out."""

_KEPT_BYTES_MAX = 128 * 1024 * 1024
_FRAME_OVERHEAD_BYTES = 250
"""A recording whose frames need no more memory than this is kept there, so that playing it costs next to nothing."""


class Block:
    """Frames that lie together in a file.

    Attributes:
        frames: in the recorded order; plain tuples that fit `RecordedFrame`.
        streams: the names of their streams.
    """

    def __init__(self, frames: Frames) -> None:
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
            for entries in RecordingReader(path):
                block = _block_of(entries)
                if block.frames:
                    yield path, block

    def _look_through(self, path: Path) -> None:
        reader = RecordingReader(path)
        frames = 0
        streams: set[str] = set()
        answers: list[RecordedAnswer] = []
        for entries in reader:
            block = _block_of(entries)
            frames += len(block.frames)
            self._keep(path, block)
            streams.update(stream.decode("utf-8", "replace") for stream in block.streams)
            answers += [entry for entry in entries if isinstance(entry, RecordedAnswer)]
            streams.update(name for entry in entries for name in _subscribed(entry))
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


def _subscribed(entry: Entry) -> Sequence[str]:
    if isinstance(entry, Subscribed):
        return entry.streams
    named = entry.facts.get("streams") if isinstance(entry, Mark) else None
    return [name for name in named if isinstance(name, str)] if isinstance(named, list) else ()


def _block_of(entries: list[Entry]) -> Block:
    """The frames among what was read; messages that belong to no stream are not for those who subscribe."""
    runs = [entry for entry in entries if isinstance(entry, list)]
    return Block(runs[0] if len(runs) == 1 else [frame for run in runs for frame in run])
