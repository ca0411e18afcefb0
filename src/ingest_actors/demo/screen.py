"""Showing the demo as it runs: a live screen on a terminal, lines elsewhere. Log lines never tear the screen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import trio
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from ingest_actors.demo.view import Addresses, RateMeter, make_line, make_screen
from ingest_actors.status import Status

SCREEN_PERIOD_S: Final = 0.25
LINES_PERIOD_S: Final = 5.0


async def show_screen(status: Callable[[], Status], addresses: Addresses, *, console: Console) -> None:
    """Keep a live screen up to date, until cancelled; what it showed last stays."""
    meter = RateMeter()

    def screen() -> RenderableType:
        now = status()
        return make_screen(now, meter.update(now), addresses)

    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live, _logs_above(live.console):
        try:
            while True:
                live.update(screen(), refresh=True)
                await trio.sleep(SCREEN_PERIOD_S)
        finally:
            live.update(screen(), refresh=True)


async def show_lines(status: Callable[[], Status], addresses: Addresses, *, console: Console) -> None:
    """Say how it goes now and then, until cancelled."""
    console.print(f"Any Kafka client can look in at {addresses.bootstrap_servers}", soft_wrap=True)
    console.print(f"Metrics: {addresses.http_url}/metrics", soft_wrap=True)
    meter = RateMeter()
    meter.update(status())
    while True:
        await trio.sleep(LINES_PERIOD_S)
        now = status()
        console.print(make_line(now, meter.update(now)), soft_wrap=True)


@contextmanager
def _logs_above(console: Console) -> Iterator[None]:
    """Warnings and worse scroll by above the screen; everything else stays off it. Undone at the end."""
    root = logging.getLogger()
    before = root.handlers[:]
    root.handlers[:] = [_Above(console, before)]
    try:
        yield
    finally:
        root.handlers[:] = before


class _Above(logging.Handler):
    def __init__(self, console: Console, replaced: list[logging.Handler]) -> None:
        super().__init__(logging.WARNING)
        self._console = console
        if replaced and replaced[0].formatter is not None:
            self.setFormatter(replaced[0].formatter)

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(Text.from_ansi(self.format(record)))
