"""How far an audit is: a bar for each topic on stderr, if somebody sits there."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from ingest_actors.audit.run import Progress as Watcher

_REFRESH_S = 0.1


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        seconds = task.finished_time or task.elapsed
        return Text(f"{task.completed / seconds:,.0f} records/s" if seconds else "")


class ShownProgress:
    """A bar for what is being read, one below the other.

    Args:
        progress: shows them.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=0, visible=False)
        self._shown_s = 0.0

    def begin(self, what: str, total: int) -> None:
        """See `Watcher`."""
        self.finish()
        self._task = self._progress.add_task(what, total=total)

    def advance(self, count: int) -> None:
        """See `Watcher`."""
        self._progress.advance(self._task, count)
        now_s = time.monotonic()
        if now_s - self._shown_s > _REFRESH_S:
            self._shown_s = now_s
            self._progress.refresh()

    def finish(self) -> None:
        """What is shown has been read.

        Markers of transactions have offsets and are no records: the bar would stay short of its end.
        """
        task = self._progress.tasks[-1]
        self._progress.update(self._task, total=task.completed)
        self._progress.refresh()


@contextmanager
def shown_progress() -> Iterator[Watcher | None]:
    """Show progress while the block runs; None when stderr is no terminal."""
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, auto_refresh=False) as progress:
        shown = ShownProgress(progress)
        yield shown
        shown.finish()
