"""The settings of the service itself: its name, its buffers, its end, its HTTP server, its logs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, SecretStr

from ingest_actors.settings.addresses import listen_host
from ingest_actors.settings.field import Spec
from ingest_actors.settings.values import matching, number, off_or, one_of, optional, path, secret, size, truth, whole


class ServiceSettings(BaseModel):
    """What concerns neither the exchange nor Kafka alone."""

    instance_name: Annotated[
        str,
        Spec(
            "Identity of this writer: in logs, in the transactional id, in the keys of the state topic. Of two"
            " processes with the same name the one started later goes on; the other one stops with exit code 76.",
            matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "1 to 100 letters, digits, '.', '_' and '-'"),
        ),
    ] = "binance-ingest"
    batch_size: Annotated[int, Spec("Most events in a batch.", whole(1, 100_000))] = 100
    batch_timeout_seconds: Annotated[
        float, Spec("Longest that an event waits for its batch to fill, s.", number(0.001, 3600))
    ] = 5.0
    batch_eager: Annotated[
        bool,
        Spec(
            "Hand a batch on as soon as the producer is idle, so that nothing waits needlessly; `false` = by size or"
            " timeout alone.",
            truth(),
        ),
    ] = True
    buffer_max_bytes: Annotated[
        int,
        Spec(
            "Bound on all that is held in memory: mailboxes and librdkafka's queue together.",
            size(1024**2, 1024**4),
            in_bytes=True,
        ),
    ] = 64 * 1024**2
    spool_dir: Annotated[
        Path | None,
        Spec(
            "When set, a Kafka outage spills to disk here and drains in order; made if it is not there. One file for"
            " each `INSTANCE_NAME`: see `docs/how-to/spool.md`.",
            optional(path("a directory")),
        ),
    ] = None
    spool_max_bytes: Annotated[
        int,
        Spec(
            "Most that the spool's file may grow to; some megabytes of SQLite's log lie beside it. Full, what comes"
            " waits as without a spool.",
            size(1024**2, 1024**5),
            in_bytes=True,
        ),
    ] = 10 * 1024**3
    shutdown_timeout_seconds: Annotated[
        float,
        Spec(
            "Deadline of the drain, s; past it exit code 1, and `service_stopped` says who was unfinished and how much"
            " is in flight.",
            number(0.1, 3600),
        ),
    ] = 10.0
    monitor_interval_seconds: Annotated[
        float, Spec("Period of the `service_metrics` log line, s.", number(0.1, 86_400))
    ] = 30.0
    http_host: Annotated[
        str, Spec("Where health, metrics and console listen; the container image sets `0.0.0.0`.", listen_host())
    ] = "127.0.0.1"
    http_port: Annotated[
        int | None,
        Spec("Their port; `0` = any free one, `off` = no HTTP server.", off_or(whole(0, 65_535)), unset="off"),
    ] = 8000
    http_token: Annotated[
        SecretStr | None,
        Spec(
            "Guards the console, never health and metrics.",
            optional(secret("8 or more visible ASCII characters", r"[!-~]{8,}")),
            secret=True,
        ),
    ] = None
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        Spec("The least severe that is logged.", one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")),
    ] = "INFO"
    log_format: Annotated[
        Literal["json", "console"], Spec("`json` for machines, `console` for people.", one_of("json", "console"))
    ] = "json"
