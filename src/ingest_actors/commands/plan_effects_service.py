"""What the settings of the service itself bring about."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from ingest_actors.kafka.config import transactional_id
from ingest_actors.settings import Settings
from ingest_actors.settings.values import size_text

GRACE_S = 10
"""What whoever stops the service should wait beyond the drain before a SIGKILL."""


def service_effects(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Names of settings that belong together, and what they bring about."""
    yield ("instance_name",), _instance(settings)
    yield ("batch_size", "batch_timeout_seconds", "batch_eager"), _batches(settings)
    yield ("buffer_max_bytes",), _buffer(settings)
    yield ("spool_dir", "spool_max_bytes"), _spool(settings)
    yield (
        ("shutdown_timeout_seconds",),
        (
            f"a stop drains for {settings.shutdown_timeout_seconds:g} s at the most, then ends with exit code 1;"
            f" whoever stops it should wait {settings.shutdown_timeout_seconds + GRACE_S:g} s before a SIGKILL"
        ),
    )
    yield ("http_host", "http_port", "http_token"), _http(settings)
    yield (
        ("log_level", "log_format", "monitor_interval_seconds"),
        (
            f"{'lines of JSON' if settings.log_format == 'json' else 'lines for people'} from {settings.log_level} on;"
            f" `service_metrics` every {settings.monitor_interval_seconds:g} s"
        ),
    )


def disk_room(directory: Path) -> int | None:
    """Bytes that are free where a directory is, or would be made; None when nobody can tell."""
    there = directory
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    try:
        return shutil.disk_usage(there).free
    except OSError:
        return None


def _instance(settings: Settings) -> str:
    name = settings.instance_name
    text = (
        "one process may have this name: of two the one started later goes on, the other ends with exit code 76;"
        f" {name}/... are its keys in the state topic"
    )
    if settings.kafka_delivery == "exactly_once":
        text += f", {transactional_id(name)} is its transactional id"
    return text


def _batches(settings: Settings) -> str:
    if settings.batch_eager:
        return (
            f"at most {settings.batch_size} events, handed on as soon as the producer is idle: nothing waits needlessly"
        )
    return (
        f"{settings.batch_size} events, or what {settings.batch_timeout_seconds:g} s brought: events wait as long"
        " for their batch"
    )


def _buffer(settings: Settings) -> str:
    then = "then the spool takes over" if settings.spool_dir else "then reading stops, and the exchange hangs up"
    return f"{size_text(settings.buffer_max_bytes)} for all that is held; in an outage of Kafka they fill up, {then}"


def _spool(settings: Settings) -> str:
    if settings.spool_dir is None:
        return (
            "no spool: in a long outage of Kafka trades come from REST later, everything else is lost; SPOOL_DIR keeps"
            " all of it on the disk"
        )
    hours = settings.spool_max_bytes / (1000 * 350 * 3600)
    room = disk_room(settings.spool_dir)
    there = "" if room is None else f", of which the disk has {_rounded(room)} left"
    return (
        f"an outage of Kafka goes to {settings.spool_dir}, up to {size_text(settings.spool_max_bytes)}{there}: about"
        f" {hours:.3g} h of 1,000 events/s"
    )


def _rounded(count: int) -> str:
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB")):
        if count >= 1024**power:
            return f"{count / 1024**power:.3g}{unit}"
    return size_text(count)


def _http(settings: Settings) -> str:
    if settings.http_port is None:
        return "no health, no metrics, no page"
    port = f"port {settings.http_port}" if settings.http_port else "any free port, which the log tells"
    text = f"health, metrics and page on {settings.http_host}, {port}"
    if settings.http_token is not None:
        return f"{text}; the page wants the token"
    return text if _loopback(settings.http_host) else f"{text}; the page is open to whoever reaches it: HTTP_TOKEN"


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
