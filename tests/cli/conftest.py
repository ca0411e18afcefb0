"""What the tests of the command line share: a clean environment, and real processes that end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from programs import Program


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path):
    """No setting of the developer's shell, and no `.env` of theirs."""
    for name in list(os.environ):
        if name.startswith(("BINANCE_", "KAFKA_", "LOG_", "HTTP_")) or name in ("BATCH_SIZE", "MAX_RETRIES"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., Program]]:
    """Starts programs: arguments of the command line, settings by keyword."""
    with ExitStack() as ends:

        def start(*arguments: str, **environ: str) -> Program:
            program = Program.start(*arguments, cwd=tmp_path, **environ)
            ends.callback(program.kill)
            return program

        yield start
