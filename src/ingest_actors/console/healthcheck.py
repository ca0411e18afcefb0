"""Asking a running service how it is: for containers, which have no curl."""

from __future__ import annotations

import http.client
import json
from typing import Any, Final, NamedTuple

from ingest_actors.console.http import http_url

TIMEOUT_S: Final = 4.0
"""For each answer: below the loop lag that counts as unhealthy, so that a stalled service shows as one."""

BODY_MAX_BYTES: Final = 64 * 1024


class HealthcheckResult(NamedTuple):
    """What the service answered.

    Attributes:
        exit_code: 0 healthy, 1 not.
        text: one line for people.
    """

    exit_code: int
    text: str


def healthcheck(host: str, port: int | None, *, timeout_s: float = TIMEOUT_S) -> HealthcheckResult:
    """Ask ``/healthz``, and for the text ``/readyz`` too. Blocks; never raises for what the other side does.

    Readiness does not count: an outage of the exchange or of Kafka is not mended by restarting the container.

    Args:
        host: as the service was told (``HTTP_HOST``); an address that stands for all becomes the loopback one.
        port: as the service was told (``HTTP_PORT``); None: it has no HTTP server.
        timeout_s: for each of the two answers.
    """
    if port is None:
        return HealthcheckResult(1, "unhealthy: HTTP_PORT=off, so there is nothing to ask; set a port")
    if port == 0:
        return HealthcheckResult(1, "unhealthy: HTTP_PORT=0 means any free port, and nobody knows which; set one")
    url = http_url(host, port)
    try:
        code, body = _get(url, "/healthz", timeout_s)
        if code != 200:  # noqa: PLR2004 - HTTP's own number
            return HealthcheckResult(1, f"unhealthy: {url}/healthz answered {code}: {_said(body)}")
        ready = _get(url, "/readyz", timeout_s)[1]
    except (OSError, http.client.HTTPException) as error:
        cause = str(error) or type(error).__name__
        return HealthcheckResult(1, f"unhealthy: {url} does not answer: {cause}; is the service running?")
    reasons = _json(ready).get("reasons") or []
    note = f"not ready: {'; '.join(map(str, reasons))}" if reasons else "ready"
    return HealthcheckResult(0, f"healthy ({url}); {note}")


def _get(url: str, path: str, timeout_s: float) -> tuple[int, bytes]:
    """Without proxies, which `http.client` knows nothing of: this is the same machine."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(BODY_MAX_BYTES)
    finally:
        connection.close()


def _said(body: bytes) -> str:
    return str(_json(body).get("status") or body[:200].decode("utf-8", "replace"))


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
