"""The service as its users have it: a process with an environment, a log, an HTTP port, and a ledger that balances.

While it runs, a thread of the test's looks at ``/metrics`` and at the resident memory several times a second. The law
of the ledger is checked at every look; one that does not balance fails the test that started the service.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

TIMEOUT_S = 60.0
LOOK_PERIOD_S = 0.2
KEPT = ("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "PYTHONPATH")
"""What Python and the development broker need of the environment."""
CAME = ("received", "backfilled", "recovered")
WENT = ("delivered", "dead_lettered", "duplicates", "spooled", "in_flight")
_SAMPLE = re.compile(r"^ingest_actors_(\w+?)(?:_total)?(?:\{(?:\w+)=\"([^\"]*)\"\})? (\S+)$", re.MULTILINE)


def wait_until(what: Callable[[], object], timeout_s: float = 2 * TIMEOUT_S) -> None:
    """Until it is so."""
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, f"not so within {timeout_s} s"
        time.sleep(0.05)


class Command:
    """A running ``python -m ingest_actors ...``. It is gone when the ``with`` block is left."""

    def __init__(self, directory: Path, *arguments: str, **environ: str) -> None:
        self._log = directory / f"{arguments[0]}-{time.monotonic_ns()}.log"
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        kept |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        with self._log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ingest_actors", *arguments],
                cwd=directory, env=kept | environ, stdout=subprocess.PIPE, stderr=stderr, text=True,
            )  # fmt: skip
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.running:
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def answer(self) -> dict[str, Any]:
        """The first line of stdout, which is JSON."""
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        assert text, self.text()
        answer: dict[str, Any] = json.loads(text)
        return answer

    def answers(self) -> str:
        """All that is left of stdout, once it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.read()

    def text(self) -> str:
        return self._log.read_text()

    def log(self, event: str = "") -> list[dict[str, Any]]:
        """The lines of its log so far, or those of one name. Every line must be JSON."""
        lines = [json.loads(line) for line in self.text().splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if event in ("", line["event"])]

    def wait_for(self, event: str, timeout_s: float = TIMEOUT_S, count: int = 1) -> dict[str, Any]:
        """The log line of that name, or the second, third, ... of them."""
        deadline = time.monotonic() + timeout_s
        while len(lines := self.log(event)) < count:
            assert self.running, f"ended with {self._process.returncode} before {event}:\n{self.text()[-4000:]}"
            assert time.monotonic() < deadline, f"no {event} ({count}) in {timeout_s} s:\n{self.text()[-4000:]}"
            time.sleep(0.05)
        return lines[count - 1]

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, timeout_s: float = TIMEOUT_S) -> int:
        """Wait for its end; the exit code."""
        return self._process.wait(timeout_s)


class Service(Command):
    """``run``, watched.

    Attributes:
        looks: how many times the ledger was looked at.
        unbalanced: every time that it did not balance.
        rss_peak_bytes: most resident memory seen since `forget_peaks`.
        buffer_peak_bytes: most of what the service says that it holds, likewise.
        fill_peak: fullest that each mailbox was, likewise.
    """

    def __init__(self, directory: Path, **environ: str) -> None:
        self.looks = 0
        self.unbalanced: list[str] = []
        self._port: int | None = None
        self.forget_peaks()
        super().__init__(directory, "run", **{"HTTP_PORT": "0", "LOG_LEVEL": "INFO"} | environ)
        self._stopped = threading.Event()
        self._watch = threading.Thread(target=self._look_on, daemon=True)
        self._watch.start()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._stopped.set()
        self._watch.join()
        assert self.unbalanced == []
        assert self.looks or self._port is None

    def forget_peaks(self) -> None:
        """Begin anew to look for the highest figures."""
        self.rss_peak_bytes = self.buffer_peak_bytes = 0
        self.fill_peak: dict[str, float] = defaultdict(float)

    def wait_ready(self) -> Self:
        """Until everything is subscribed and Kafka accepts."""
        self.wait_for("service_ready")
        return self

    def rss_bytes(self) -> int:
        """Resident memory now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def metrics(self) -> dict[str, dict[str, float]]:
        """What ``/metrics`` says now: by name without prefix and ``_total``, then by the value of the label."""
        if self._port is None:
            self._port = int(self.wait_for("http_listening")["url"].rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse().read().decode()
        except OSError as error:
            raise AssertionError(f"no metrics: {error!r}:\n{self.text()[-4000:]}") from error
        finally:
            connection.close()
        found: dict[str, dict[str, float]] = defaultdict(dict)
        for name, label, value in _SAMPLE.findall(answer):
            found[name][label] = float(value)
        return found

    def reconnects(self) -> dict[str, float]:
        """Unplanned reconnections, by reason; those that there were none of are left out."""
        return {reason: count for reason, count in self.metrics()["reconnects"].items() if count}

    def total(self, name: str) -> int:
        """A figure of the ledger, over all event types."""
        return int(sum(self.metrics()[name].values()))

    def wait_until_settled(self, count: int, timeout_s: float = TIMEOUT_S) -> None:
        """Until so many events of streams are delivered or dead-lettered; book snapshots are none."""
        deadline = time.monotonic() + timeout_s
        while (done := self._settled()) < count:
            assert self.running, f"ended with {self._process.returncode}:\n{self.text()[-4000:]}"
            assert time.monotonic() < deadline, f"{done} of {count} settled:\n{self.text()[-4000:]}"
            time.sleep(0.1)
        assert done == count

    def _settled(self) -> int:
        figures = self.metrics()
        delivered = {kind: number for kind, number in figures["delivered"].items() if kind != "depth_snapshot"}
        return int(sum(delivered.values()) + sum(figures["dead_lettered"].values()))

    def stop(self, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """SIGTERM; it must end well. Its last line."""
        self.signal(signal.SIGTERM)
        assert self.end(timeout_s) == 0, self.text()[-4000:]
        last = self.log()[-1]
        assert (last["event"], last["reason"], last["exit_code"]) == ("service_stopped", "stopped", 0)
        assert last["ledger"]["in_flight"] == 0
        return last

    def _look_on(self) -> None:
        while not self._stopped.wait(LOOK_PERIOD_S) and self.running:
            try:
                rss_bytes = self.rss_bytes()
                metrics = self.metrics()
            except (OSError, http.client.HTTPException, ValueError, AssertionError):
                continue  # it starts, or it ends
            self.rss_peak_bytes = max(self.rss_peak_bytes, rss_bytes)
            if not metrics:
                continue
            self.looks += 1
            self.buffer_peak_bytes = max(self.buffer_peak_bytes, int(metrics["buffer_bytes"][""]))
            for name, ratio in metrics["mailbox_fill_ratio"].items():
                self.fill_peak[name] = max(self.fill_peak[name], ratio)
            for kind in metrics["received"].keys() | metrics["in_flight"].keys():
                tally = {name: int(metrics.get(name, {}).get(kind, 0)) for name in CAME + WENT}
                if sum(tally[name] for name in CAME) != sum(tally[name] for name in WENT):
                    self.unbalanced.append(f"{kind}: {tally}")
