"""One node of the development broker: a Java process, its directory, its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest_actors.errors import DevBrokerFailed
from ingest_actors.kafka.dev_broker_config import LOG4J2_PROPERTIES, Listener

_POLL_S = 0.02
_LOG_TAIL_BYTES = 16_384
_FORMAT_TIMEOUT_S = 60.0

_WATCHDOG = 'read -r _; kill -9 "$1" 2>/dev/null'
"""Reads until its input ends, which happens when its parent is gone, however that went; then the broker goes too."""


@dataclass(frozen=True, slots=True)
class Java:
    """The program to run.

    Attributes:
        executable: the runtime.
        jars: the class path.
        heap: most memory for objects, as ``-Xmx`` wants it.
    """

    executable: Path
    jars: Sequence[Path]
    heap: str = "256m"

    def command(self, directory: Path, main: str, *arguments: str) -> list[str]:
        """The command line of one of Kafka's programs, small and silent."""
        return [
            str(self.executable),
            f"-Xmx{self.heap}",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            f"-Djava.io.tmpdir={directory / 'tmp'}",
            f"-Dlog4j2.configurationFile={(directory / 'log4j2.properties').as_uri()}",
            "-cp",
            os.pathsep.join(map(str, self.jars)),
            main,
            *arguments,
        ]


class Node:
    """One node; not thread-safe.

    Attributes:
        listener: where it listens.
        directory: its configuration, data and log.
    """

    def __init__(self, listener: Listener, directory: Path, java: Java) -> None:
        self.listener = listener
        self.directory = directory
        self._java = java
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"node {self.listener.node_id}"

    @property
    def data_dir(self) -> Path:
        """Where Kafka keeps topics and metadata."""
        return self.directory / "data"

    @property
    def formatted(self) -> bool:
        """Whether there is data to go on with."""
        return (self.data_dir / "meta.properties").exists()

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self.running and self._process else None

    @property
    def running(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._process is not None and self._process.poll() is None

    def configure(self, properties: str) -> None:
        """Write the configuration files."""
        (self.directory / "tmp").mkdir(parents=True, exist_ok=True)
        self._properties.touch(mode=0o600)  # it may hold a password
        self._properties.write_text(properties, encoding="utf-8")
        (self.directory / "log4j2.properties").write_text(LOG4J2_PROPERTIES, encoding="utf-8")

    def begin_format(self, cluster_id: str, extra_arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start formatting the data directory; pass the process to `finish_format`."""
        command = self._java.command(
            self.directory,
            "kafka.tools.StorageTool",
            *("format", "-t", cluster_id, "-c", str(self._properties)),
            *extra_arguments,
        )
        with self._log.open("ab") as log:
            # What it prints holds the users' credentials; what went wrong comes by stderr.
            return subprocess.Popen(  # noqa: S603 - our own command line
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
            )

    def finish_format(self, process: subprocess.Popen[bytes], checkpoint: Callable[[], None]) -> None:
        """Wait until formatting is done.

        Raises:
            DevBrokerFailed: it failed, or took too long.
        """
        deadline = time.monotonic() + _FORMAT_TIMEOUT_S
        try:
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise self._failure("format", f"not done after {_FORMAT_TIMEOUT_S:.0f} s")
                checkpoint()
                time.sleep(_POLL_S)
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            raise self._failure("format", f"exit code {process.returncode}")

    def start(self) -> None:
        """Start the process; `wait_listening` says when it can be used."""
        command = self._java.command(self.directory, "kafka.Kafka", str(self._properties))
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C in a terminal is for the service, which still has records to hand over.
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._watchdog = subprocess.Popen(  # noqa: S603 - our own command line
            ["/bin/sh", "-c", _WATCHDOG, "sh", str(self._process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )

    def wait_listening(self, deadline: float, checkpoint: Callable[[], None]) -> None:
        """Wait until the node takes connections, which Kafka does once it is up.

        Args:
            deadline: by `time.monotonic`.
            checkpoint: called while waiting; may raise to give up.

        Raises:
            DevBrokerFailed: the process ended, or the deadline passed.
        """
        while not self._listening():
            if not self.running:
                code = self._process.returncode if self._process else None
                raise self._failure("start", f"it ended with exit code {code}")
            if time.monotonic() > deadline:
                raise self._failure("start", "it does not listen in time")
            checkpoint()
            time.sleep(_POLL_S)

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of the process; whether it has ended."""
        if self._process is not None:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return False
        self._dismiss_watchdog()
        return True

    def kill(self) -> None:
        """End the process at once; idempotent."""
        self.send_signal(signal.SIGKILL)
        self.wait(timeout_s=10.0)

    def log_tail(self, lines: int = 40) -> str:
        """The end of the node's log."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def forget_log(self) -> None:
        """Begin the log anew, so that what it says belongs to the next start."""
        self._log.unlink(missing_ok=True)

    @property
    def _properties(self) -> Path:
        return self.directory / "server.properties"

    @property
    def _log(self) -> Path:
        return self.directory / "broker.log"

    def _listening(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.listener.port), timeout=0.5):
                return True
        except OSError:
            return False

    def _dismiss_watchdog(self) -> None:
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.communicate()
            self._watchdog = None

    def _failure(self, step: str, cause: str) -> DevBrokerFailed:
        return DevBrokerFailed(f"{step} {self.name}", cause, log=self.log_tail())
