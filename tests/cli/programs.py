"""Real processes of the command line, whose lines can be waited for, and which end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Self

TIMEOUT_S = 30.0

KEPT = ("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME")
"""What Python and the development broker need of the environment."""


@dataclass
class Program:
    """A running `python -m ingest_actors`, whose lines can be waited for."""

    process: subprocess.Popen[str]
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    _answers: Queue[str] = field(default_factory=Queue)
    _lines: Queue[str] = field(default_factory=Queue)
    _readers: list[threading.Thread] = field(default_factory=list)

    @classmethod
    def start(cls, *arguments: str, cwd: Path, **environ: str) -> Self:
        """Start it with nothing in the environment but what is given and what Python needs."""
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        kept |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        environment = kept | environ
        process = subprocess.Popen(
            [sys.executable, "-m", "ingest_actors", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, env=environment,
        )  # fmt: skip
        program = cls(process)
        for stream, lines, queue in (
            (process.stdout, program.stdout, program._answers),
            (process.stderr, program.stderr, program._lines),
        ):
            reader = threading.Thread(target=_read, args=(stream, lines, queue), daemon=True)
            reader.start()
            program._readers.append(reader)
        return program

    def answer(self) -> Any:
        """The next line of stdout, which is JSON."""
        try:
            return json.loads(self._answers.get(timeout=TIMEOUT_S))
        except Empty:
            raise AssertionError(f"no answer in {TIMEOUT_S} s; stderr:\n{''.join(self.stderr)}") from None

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next log line of that name."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                text = self._lines.get(timeout=max(deadline - time.monotonic(), 0))
            except Empty:
                raise AssertionError(f"no {event} in {TIMEOUT_S} s; so far:\n{''.join(self.stderr)}") from None
            if text.startswith("{") and (line := json.loads(text))["event"] == event:
                return line

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self, timeout_s: float = TIMEOUT_S) -> int:
        """Wait for it to end; its exit code."""
        code = self.process.wait(timeout_s)
        for reader in self._readers:
            reader.join(timeout_s)
        return code

    def log(self) -> list[dict[str, Any]]:
        """Its log so far; every line of stderr must be JSON."""
        return [json.loads(text) for text in self.stderr]

    def kill(self) -> None:
        """End it if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.end()
        self.process.stdout.close()
        self.process.stderr.close()


def _read(stream, lines, queue) -> None:
    for text in stream:
        lines.append(text)
        queue.put(text)
