"""The running service, looked at from outside: its log, its memory, its metrics."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness import Failed, Process

MIB = 1024 * 1024
PERIOD_S = 0.5
_SAMPLE = re.compile(r'^ingest_actors_(\w+)(?:\{\w+="([^"]*)"\})? (\S+)$', re.MULTILINE)


class Look(NamedTuple):
    """The service at one moment."""

    at_s: float
    resident_mib: float
    held_mib: float
    received: int
    delivered: int
    fullest_mailbox: float
    connections: dict[str, int]
    """By state."""
    streams: dict[str, int]
    """By state."""


class RunningService:
    """A service that writes its log as JSON lines into a file, and serves metrics.

    Args:
        process: it.
        log: the file.
    """

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._url = str(self.wait_for("http_listening", 30)["url"])

    def lines(self) -> list[dict[str, object]]:
        """Its log so far."""
        return [json.loads(line) for line in self._log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def wait_for(self, event: str, timeout_s: float) -> dict[str, object]:
        """The first log line of that name."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            self._process.check()
            for line in self.lines():
                if line["event"] == event:
                    return line
            time.sleep(0.02)
        raise Failed(f"no {event} in {timeout_s} s{self._process.end_of_log()}")

    def resident_mib(self) -> float:
        """Its memory now."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu_s(self) -> float:
        """Its CPU time so far, of all threads."""
        return self._process.cpu_s()

    def look(self) -> Look:
        """All that is measured."""
        self._process.check()
        with urllib.request.urlopen(f"{self._url}/metrics", timeout=30) as answer:
            samples = _SAMPLE.findall(answer.read().decode())

        def by_label(wanted: str) -> dict[str, int]:
            return {label: int(float(value)) for name, label, value in samples if name == wanted}

        sums = {name: sum(float(value) for other, _, value in samples if other == name) for name, _, _ in samples}
        fill = max(float(value) for name, _, value in samples if name == "mailbox_fill_ratio")
        return Look(
            time.monotonic(), self.resident_mib(), sums["buffer_bytes"] / MIB,
            int(sums.get("received_total", 0)), int(sums.get("delivered_total", 0)), fill,
            by_label("connections"), by_label("streams"),
        )  # fmt: skip

    def gauge(self, wanted: str) -> float:
        """One metric that has no labels, or the sum over its labels."""
        self._process.check()
        with urllib.request.urlopen(f"{self._url}/metrics", timeout=30) as answer:
            samples = _SAMPLE.findall(answer.read().decode())
        return sum(float(value) for name, _, value in samples if name == wanted)

    def looks(self, seconds: float) -> Iterator[Look]:
        """What is seen in so many seconds, twice a second."""
        until_s = time.monotonic() + seconds
        yield self.look()
        while time.monotonic() < until_s:
            time.sleep(PERIOD_S)
            yield self.look()
