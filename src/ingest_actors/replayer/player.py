"""Recordings, put into the mailbox of the parser as if they had just been received then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import trio

from ingest_actors.messages import FrameBatch
from ingest_actors.recordings.lines import RecordedAnswer, time_ns
from ingest_actors.recordings.own import Connection, Message
from ingest_actors.recordings.reader import Entry, RecordingReader
from ingest_actors.replayer.pace import Pace
from ingest_actors.supervision import Mailbox

BATCH_FRAMES_MAX: Final = 256
"""In one batch: enough that handing it on costs nothing, little enough for the smallest mailbox."""

EARLY_S: Final = 0.001
"""A message is not waited for that is due so soon: a clock tick of the system is not much shorter."""

UNNAMED: Final = "recording"
"""The connection of messages of which the recording does not say by which they came."""

_NS_PER_MS: Final = 1_000_000


class Player:
    """Plays files, one after the other; called with the mailbox, as `Topology` does.

    Args:
        paths: in the order in which they are played.
        speed: recorded seconds a second; 0 = as fast as they are taken.

    Attributes:
        file: the one being played.
        messages: put into the mailbox so far.
        at_ns: receipt of the newest of them, ns since the epoch; 0 before the first.
        answers: of REST, which belong to no stream and are not played.
        finished: whether everything was played.
        total_bytes: size of all files.
        unended: files of ours that ended without their foot: the recorder was killed, or still runs.
    """

    def __init__(self, paths: Sequence[Path], *, speed: float = 0.0) -> None:
        self.file = paths[0]
        self.messages = 0
        self.at_ns = 0
        self.answers = 0
        self.finished = False
        self.total_bytes = sum(path.stat().st_size for path in paths)
        self.unended: list[tuple[Path, int]] = []
        self._paths = tuple(paths)
        self._pace = Pace(speed)
        self._before_bytes = 0
        self._reader: RecordingReader | None = None

    @property
    def position_bytes(self) -> int:
        """How much of all files has been read."""
        return self._before_bytes + (self._reader.position_bytes if self._reader else 0)

    async def __call__(self, outbox: Mailbox[FrameBatch]) -> None:
        """Play everything. Cancelled: what is in the mailbox is what `messages` says.

        Raises:
            RecordingError: a file cannot be read on; what stands before the place is in the mailbox.
        """
        for path in self._paths:
            self.file = path
            self._reader = reader = RecordingReader(path)
            pieces = iter(reader)
            connection = UNNAMED
            while (entries := await trio.to_thread.run_sync(next, pieces, None)) is not None:
                self.answers += sum(isinstance(entry, RecordedAnswer) for entry in entries)
                connection = await self._play(entries, connection, outbox)
            if (reader.version is not None and not reader.foot) or reader.incomplete:
                self.unended.append((path, reader.left_bytes))
            self._before_bytes += reader.position_bytes
            self._reader = None
        self.finished = True

    async def _play(self, entries: list[Entry], connection: str, outbox: Mailbox[FrameBatch]) -> str:
        """Play what was read together; the connection of what comes next."""
        for entry in entries:
            if isinstance(entry, Connection):
                connection = entry.name
                continue
            for batch in batches_of(entry, connection):
                now_s = trio.current_time()
                due_s = self._pace.due_s(batch.received_at_ns, now_s)
                if due_s - now_s > EARLY_S:
                    await trio.sleep_until(due_s)
                await outbox.wait_for_room(batch)
                outbox.put_nowait(batch)
                self.messages += len(batch)
                self.at_ns = batch.received_at_ns
        return connection


def batches_of(entry: Entry, connection: str) -> Iterator[FrameBatch]:
    """The messages of an entry, those together that were received within a millisecond."""
    if isinstance(entry, Message):
        at_ns = time_ns(entry.time)
        yield _batch([entry.payload], at_ns, connection, binary=entry.binary)
    elif isinstance(entry, list):
        frames: list[bytes] = []
        began_ns, last = 0, b""
        for time, frame, _ in entry:
            if time != last:
                last, at_ns = time, time_ns(time)
                if frames and at_ns // _NS_PER_MS != began_ns // _NS_PER_MS:
                    yield _batch(frames, began_ns, connection)
                    frames = []
                began_ns = began_ns if frames else at_ns
            elif not frames:
                began_ns = at_ns
            frames.append(frame)
            if len(frames) == BATCH_FRAMES_MAX:
                yield _batch(frames, began_ns, connection)
                frames = []
        if frames:
            yield _batch(frames, began_ns, connection)


def _batch(frames: list[bytes], at_ns: int, connection: str, *, binary: bool = False) -> FrameBatch:
    return FrameBatch(
        frames, received_at_ms=at_ns // _NS_PER_MS, received_at_ns=at_ns, connection=connection, binary=binary
    )
