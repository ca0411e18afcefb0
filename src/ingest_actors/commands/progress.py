"""How far a replay is: a bar where somebody looks; where nobody does, a line in the log for those who want it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final, Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ingest_actors.logs import get_logger
from ingest_actors.replayer import Player
from ingest_actors.status import Status

LINE_INTERVAL_S: Final = 10.0
"""Between two lines in the log."""


class Showing(Protocol):
    """Shows how far a replay is, within a `with` block."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def show(self, player: Player, status: Status) -> None:
        """Take note of how far it is; never waits."""
        ...


def progress_of(stream: TextIO) -> Showing:
    """What fits the stream."""
    return Bar(stream) if stream.isatty() else Lines()


def summary(player: Player, status: Status) -> str:
    """In a few words."""
    at = f"{datetime.fromtimestamp(player.at_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}" if player.at_ns else "-"
    total = status.total
    return f"at {at}  {player.messages:,} messages, {total.delivered:,} events delivered, {total.in_flight:,} in flight"


class Bar:
    """A bar of bytes read, for people."""

    def __init__(self, stream: TextIO) -> None:
        self._progress = Progress(
            TextColumn("{task.percentage:>3.0f}%"),
            BarColumn(24),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=Console(file=stream),
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def show(self, player: Player, status: Status) -> None:
        """Move the bar."""
        told = summary(player, status)
        if self._task is None:
            self._task = self._progress.add_task("replay", total=player.total_bytes, told=told)
        self._progress.update(self._task, completed=player.position_bytes, told=told)


class Lines:
    """A line in the log every `LINE_INTERVAL_S` seconds; below the level that a replay logs at by default."""

    def __init__(self) -> None:
        self._log = get_logger()
        self._due_s = time.monotonic() + LINE_INTERVAL_S

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def show(self, player: Player, status: Status) -> None:
        """Write a line, when it is time."""
        now_s = time.monotonic()
        if now_s >= self._due_s:
            self._due_s = now_s + LINE_INTERVAL_S
            share = 100 * player.position_bytes / max(player.total_bytes, 1)
            self._log.info(
                "replay_progress",
                percent=round(share, 1),
                at=datetime.fromtimestamp(player.at_ns / 1e9, UTC).isoformat(timespec="seconds"),
                messages=player.messages,
                delivered=status.total.delivered,
                in_flight=status.total.in_flight,
            )
