"""A real Prometheus with the shipped rules, quickened where a test cannot wait for an hour."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
from pathlib import Path
from typing import Any, Self

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = DEPLOY / "prometheus"
READY_S_MAX = 20.0

SHORTER_THRESHOLDS = {
    "ingest_actors_last_event_age_seconds > 60": "ingest_actors_last_event_age_seconds > 4",
    "ingest_actors_gap_oldest_seconds > 300": "ingest_actors_gap_oldest_seconds > 4",
    'p99_5m{hop="exchange"} > 5': 'p99_5m{hop="exchange"} > 1',
}
"""Thresholds in seconds that are longer than a test wants to break something."""

SHORTER_FOR = {"1m": "2s", "2m": "3s", "5m": "3s", "10m": "3s", "15m": "3s", "1h": "5s"}
SHORTER_RANGES = {"1m": "5s", "5m": "10s", "10m": "15s", "15m": "30s"}


def shortened(rules: str) -> str:
    """The same rules with shorter ``for:``, ranges and thresholds; nothing else is changed."""
    for given, shorter in SHORTER_THRESHOLDS.items():
        rules = rules.replace(given, shorter)
    rules = re.sub(r"\[(\w+)\]", lambda found: f"[{SHORTER_RANGES[found[1]]}]", rules)
    return re.sub(r"( for: )(\w+)", lambda found: found[1] + SHORTER_FOR[found[2]], rules)


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


class Prometheus:
    """A running Prometheus that scrapes twice a second; gone when the ``with`` block is left.

    Args:
        directory: of its own.
        shorter: take the rules shortened.
    """

    def __init__(self, directory: Path, *, shorter: bool) -> None:
        directory.mkdir()
        self._directory = directory
        for name in ("recording.yml", "alerts.yml"):
            text = (RULES / name).read_text()
            (directory / name).write_text(shortened(text) if shorter else text)
        (directory / "prometheus.yml").write_text(
            "global: {scrape_interval: 500ms, evaluation_interval: 500ms}\n"
            "rule_files: [recording.yml, alerts.yml]\n"
            "scrape_configs:\n"
            "  - job_name: ingest-actors\n"
            "    file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]\n"
        )
        self.watch()
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        directory = self._directory
        with (directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    shutil.which("prometheus") or "prometheus",
                    f"--config.file={directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--log.level=warn",
                ],
                cwd=directory, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + READY_S_MAX
        while not self._is_ready():
            assert self._process.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < deadline, (directory / "log").read_text()
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)

    def watch(self, *ports: int) -> None:
        """Scrape the services at these ports of this machine from now on."""
        targets = [{"targets": [f"127.0.0.1:{port}" for port in ports]}]
        new = self._directory / "targets.new"
        new.write_text(json.dumps(targets))
        new.replace(self._directory / "targets.json")

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The samples that a query answers now."""
        answer = self._get("/api/v1/query?" + urllib.parse.urlencode({"query": expr}))
        assert answer["status"] == "success", f"{expr}: {answer}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire, each with its instance."""
        alerts = self._get("/api/v1/alerts")["data"]["alerts"]
        return {
            (alert["labels"]["alertname"], alert["labels"].get("instance", ""))
            for alert in alerts
            if alert["state"] == "firing"
        }

    def alerts_by_name(self) -> dict[str, dict[str, Any]]:
        """One of each that are pending or fire."""
        return {alert["labels"]["alertname"]: alert for alert in self._get("/api/v1/alerts")["data"]["alerts"]}

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/-/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def _get(self, path: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()
