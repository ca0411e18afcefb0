"""Writing a recording: blocks, each complete in itself, into one file or several.

Of everything that was kept, only what lies in the block that is not written yet can be lost when the process is
killed: `BLOCK_INTERVAL_S` of it, and the time that writing takes.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ingest_actors.errors import IngestError, SettingsError
from ingest_actors.messages import FrameBatch
from ingest_actors.recordings.own import batch_lines, foot_line, head_line

COMPRESSION = 5
"""Of zlib's levels: in blocks of a second, 36 to 60 MB of messages a second on one core, a sixth of their size; level
6 takes half as long again for 2 % less."""

_GZIP = 31
_MODE = 0o666


class RecordingFailed(IngestError):
    """A recording could not be written on.

    Attributes:
        path: the file.
        cause: in the words of the system.
    """

    def __init__(self, path: Path, cause: str, *, kept: str = "") -> None:
        self.path = path
        self.cause = cause
        self.kept = kept
        super().__init__(path, cause)

    def __str__(self) -> str:
        return f"recording {self.path}: cannot be written: {self.cause}" + (f"; {self.kept}" if self.kept else "")


class RecordingWriter:
    """The files of one recording. Every method but `part_path` blocks.

    Args:
        path: the first file; it must not exist. Later ones are called ``name-002.gz`` and so on.
        facts: what the head of each file says beside version and part.
        clock_ns: wall clock, ns since the epoch.
        part_bytes_max: begin another file when one has so many bytes; None = never.

    Attributes:
        paths: the files so far.
        frames: messages written.
        size_bytes: of all files together.
    """

    def __init__(
        self,
        path: Path,
        facts: Mapping[str, Any],
        *,
        clock_ns: Callable[[], int],
        part_bytes_max: int | None = None,
    ) -> None:
        self.paths: list[Path] = []
        self.frames = 0
        self.size_bytes = 0
        self._path = path
        self._facts = facts
        self._clock_ns = clock_ns
        self._part_bytes_max = part_bytes_max
        self._part_bytes = 0
        self._file = -1

    def open(self) -> None:
        """Make the first file.

        Raises:
            SettingsError: it exists, or cannot be made there.
        """
        try:
            self._begin_part()
        except FileExistsError as error:
            problem = f"--output {self._path}: exists; accepted: the name of a new file"
            raise SettingsError([problem]) from error
        except OSError as error:
            problem = f"--output {self._path}: {error.strerror}; accepted: a new file where this user may write"
            raise SettingsError([problem]) from error

    def write(self, entries: list[FrameBatch | bytes]) -> None:
        """Write one block, whole or not at all.

        Raises:
            RecordingFailed: it could not be; the file ends with the block before.
        """
        self._write_block(b"".join(batch_lines(entries)))
        self.frames += sum(len(entry) for entry in entries if isinstance(entry, FrameBatch))
        if self._part_bytes_max is not None and self._part_bytes >= self._part_bytes_max:
            self._end_part("continued")
            try:
                self._begin_part()
            except OSError as error:
                raise RecordingFailed(self.part_path(len(self.paths) + 1), error.strerror or str(error)) from error

    def close(self, reason: str) -> None:
        """Write the foot, and let the disk have it all. Raises RecordingFailed; idempotent."""
        if self._file >= 0:
            self._end_part(reason)

    def abandon(self) -> None:
        """Let go of the file as it is; idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def discard(self) -> None:
        """Let go of the file, and remove it. Raises OSError: it cannot be removed."""
        self.abandon()
        self.paths.pop().unlink(missing_ok=True)

    def part_path(self, number: int) -> Path:
        """The name of a file, counted from 1."""
        if number == 1:
            return self._path
        stem, dot, ending = self._path.name.partition(".")
        return self._path.with_name(f"{stem}-{number:03d}{dot}{ending}")

    def _begin_part(self) -> None:
        number = len(self.paths) + 1
        path = self.part_path(number)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        self.paths.append(path)
        self._part_bytes = 0
        self._write_block(head_line(self._clock_ns(), {**self._facts, "part": number}))

    def _end_part(self, reason: str) -> None:
        try:
            self._write_block(foot_line(self._clock_ns(), reason))
            try:
                os.fsync(self._file)
            except OSError as error:
                raise self._failed(error) from error
        finally:
            self.abandon()

    def _write_block(self, text: bytes) -> None:
        deflate = zlib.compressobj(COMPRESSION, wbits=_GZIP)
        block = memoryview(deflate.compress(text) + deflate.flush())
        written = 0
        try:
            while written < len(block):
                written += os.write(self._file, block[written:])
        except OSError as error:
            raise self._failed(error) from error
        self._part_bytes += written
        self.size_bytes += written

    def _failed(self, error: OSError) -> RecordingFailed:
        kept = f"it holds {self.frames:,} messages, whole"
        try:
            os.ftruncate(self._file, self._part_bytes)
        except OSError as another:
            kept = f"its last block may be cut off ({another.strerror}); what stands before can be read"
        return RecordingFailed(self.paths[-1], error.strerror or str(error), kept=kept)
