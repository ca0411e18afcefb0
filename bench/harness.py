"""What the benches share: processes, their CPU time, topics, watermarks, statistics, a description of the machine."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import queue
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from confluent_kafka import KafkaException, TopicPartition, libversion
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

BENCH = Path(__file__).parent
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A run did not do what it should; the text says what."""


class TimedOut(Failed):
    """Nothing came."""


class Process:
    """A child whose stdout is lines of JSON. It is gone when the ``with`` block is left.

    Args:
        arguments: of the program.
        env: all of its environment.
        log: what its stderr is appended to.
        program: Python, if not said otherwise; empty: the first of the arguments.
    """

    def __init__(
        self, arguments: list[str], env: Mapping[str, str], log: Path, *, program: str = sys.executable
    ) -> None:
        self._log = log
        self._stderr = log.open("ab")
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._popen = subprocess.Popen(
            [*filter(None, [program]), *arguments], env=dict(env), stdout=subprocess.PIPE, stderr=self._stderr
        )
        self.pid = self._popen.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._popen.kill()
        self._popen.wait()
        self._reader.join()
        self._stderr.close()

    def line(self, timeout_s: float) -> dict[str, Any]:
        """The next line of its stdout.

        Raises:
            TimedOut: there was none.
            Failed: there will be none.
        """
        try:
            found = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise TimedOut(f"{self._popen.args!r} said nothing within {timeout_s} s{self.end_of_log()}") from None
        if found is None:
            raise Failed(f"{self._popen.args!r} has ended{self.end_of_log()}")
        return found

    def check(self) -> None:
        """Raise when it has ended."""
        if self._popen.poll() is not None:
            raise Failed(f"{self._popen.args!r} ended with {self._popen.returncode}{self.end_of_log()}")

    def stop(self, timeout_s: float = 30) -> int:
        """SIGTERM; its exit code."""
        self._popen.send_signal(signal.SIGTERM)
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self._popen.args!r} did not stop within {timeout_s} s{self.end_of_log()}") from None

    def cpu_s(self) -> float:
        """User and system time so far, of all its threads, seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND

    def memory_peak_mib(self) -> float:
        """Most resident memory so far."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def end_of_log(self) -> str:
        self._stderr.flush()
        return f"\n--- {self._log}\n{self._log.read_text(errors='replace')[-3000:]}"

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as stdout:
            for line in stdout:
                with contextlib.suppress(ValueError):
                    self._lines.put(json.loads(line))
        self._lines.put(None)


def clean_env(**settings: str) -> dict[str, str]:
    """An environment with nothing of the caller's that a setting could come from."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | settings


def create_topics(admin: AdminClient, names: list[str], partitions: int) -> None:
    """Create topics that live as long as the broker does."""
    new = [NewTopic(name, partitions, 1, config={"retention.ms": "-1"}) for name in names]
    for future in admin.create_topics(new).values():
        future.result(timeout=30)


def delete_topics(admin: AdminClient, names: list[str]) -> None:
    for future in admin.delete_topics(names).values():
        with contextlib.suppress(Exception):
            future.result(timeout=30)


def record_counts(admin: AdminClient, names: list[str], partitions: int) -> dict[str, int]:
    """Records in each topic by its high watermarks: as many as were written, since no transaction marks are."""
    wanted = {TopicPartition(name, index): OffsetSpec.latest() for name in names for index in range(partitions)}
    for attempts_left in reversed(range(50)):
        counts = dict.fromkeys(names, 0)
        try:
            for partition, future in admin.list_offsets(wanted).items():
                counts[partition.topic] += future.result(timeout=10).offset
        except KafkaException as error:
            if not attempts_left:
                raise Failed(f"the broker does not tell its offsets: {error}") from error
            time.sleep(0.1)  # a topic that was just made may have no leader yet
            with contextlib.suppress(KafkaException):
                admin.list_topics(timeout=10)  # and a broker that was too busy leads anew: then what is known is old
        else:
            break
    return counts


@contextlib.contextmanager
def broker(bootstrap_servers: str | None) -> Iterator[tuple[str, str]]:
    """The brokers to use, and what they are: those given, or a real single-node Kafka of our own."""
    if bootstrap_servers:
        yield bootstrap_servers, f"given: {bootstrap_servers}"
        return
    from ingest_actors.kafka.dev_broker import dev_broker  # noqa: PLC0415 - needs an extra

    with dev_broker(heap="1g") as cluster:
        yield cluster.bootstrap_servers, "dev-broker: Apache Kafka, one node, KRaft, on the same machine"


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    cpu = "unknown"
    with contextlib.suppress(OSError, IndexError):
        cpu = Path("/proc/cpuinfo").read_text().split("model name\t: ", 1)[1].partition("\n")[0]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    packages = ("trio", "trio-websocket", "wsproto", "msgspec", "confluent-kafka", "websockets", "picows", "uvloop")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{package: version_of(package) for package in packages},
        "librdkafka": libversion()[0],
        "load_before": round(os.getloadavg()[0], 2),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def summarise(values: list[float]) -> dict[str, float]:
    """Median and spread."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def show(values: dict[str, float], digits: int = 1) -> str:
    return f"{values['median']:,.{digits}f} ({values['min']:,.{digits}f} to {values['max']:,.{digits}f})"


def print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """To stdout, in Markdown."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, tuple("-" * width for width in widths), *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
