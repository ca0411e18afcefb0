"""The commands of those who run the service, as people type them."""

# No `from __future__ import annotations`: Typer reads the annotations.

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ingest_actors.commands.output import say
from ingest_actors.errors import SettingsError

EnvFile = Annotated[
    Path | None,
    typer.Option(help="File of NAME=value lines, after the environment; [default: .env, if there is one]"),
]


class Format(StrEnum):
    """How a table is written."""

    TABLE = "table"
    JSON = "json"


def run(env_file: EnvFile = None) -> None:
    """Stream from the exchange into Kafka until stopped. SIGINT or SIGTERM drains and stops; a second stops at once.

    SIGHUP reads the environment file again: symbols, stream types and the log level move over without a gap in what
    stays; a change of anything else is refused, and then nothing changes.

    Exit codes: 0 clean stop; 1 failure; 2 bad settings; 75 gave up on the exchange or on Kafka, try again later;
    76 another writer took over, do not restart.

    For example:

        python -m ingest_actors

        BINANCE_SYMBOLS='*USDT' LOG_FORMAT=console python -m ingest_actors run --env-file prod.env
    """
    from ingest_actors.commands.start import read_settings, refuse_settings  # noqa: PLC0415
    from ingest_actors.logs import setup_logging  # noqa: PLC0415

    try:
        settings = read_settings(env_file)
    except SettingsError as error:
        refuse_settings(error, env_file)
        raise typer.Exit(error.exit_code) from None
    setup_logging(settings.log_level, settings.log_format, instance=settings.instance_name)

    import trio  # noqa: PLC0415 - not before the settings are known to be good

    from ingest_actors.commands.reloading import reread_settings  # noqa: PLC0415
    from ingest_actors.commands.run import run_service  # noqa: PLC0415

    raise typer.Exit(trio.run(partial(run_service, settings, reread=partial(reread_settings, env_file))))


def plan(
    env_file: EnvFile = None,
    form: Annotated[Format, typer.Option("--format", help="How the answer is written.")] = Format.TABLE,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Ask neither the exchange nor the brokers.")] = False,
) -> None:
    """Tell what the settings amount to, and check it against the exchange and the brokers. Changes nothing.

    Streams, connections, subscription messages, REST weight, memory, topics. The exchange is asked which symbols it
    lists and what time it has, and each of its WebSocket endpoints whether it lets us in; the brokers, which topics
    there are and what they take.

    Exit codes: 0 it can run; 1 something would go wrong; 2 bad settings; 75 the exchange or the brokers could not be
    asked (the plan is told all the same). A symbol that is not listed is a warning, unless no other is left.

    For example:

        python -m ingest_actors plan

        BINANCE_SYMBOLS='*USDT' python -m ingest_actors plan --format json --env-file prod.env
    """
    from ingest_actors.commands.start import read_settings  # noqa: PLC0415

    settings = read_settings(env_file)

    from ingest_actors.commands.plan import plan as make_plan  # noqa: PLC0415 - not before the settings are good

    raise typer.Exit(make_plan(settings, offline=offline, as_json=form is Format.JSON))


def setup_topics(
    env_file: EnvFile = None,
    form: Annotated[Format, typer.Option("--format", help="How the answer is written.")] = Format.TABLE,
    *,
    mend: Annotated[bool, typer.Option("--apply", help="Mend what differs.")] = False,
    allow_repartition: Annotated[
        bool,
        typer.Option("--allow-repartition", help="With --apply: add partitions too, although keys then move."),
    ] = False,
) -> None:
    """Create the topics that are missing, with their retention, and tell in what those that exist differ.

    Without `--apply` nothing that exists is changed. Partitions are never added to a topic with keys unless
    `--allow-repartition` says so: keys would move to others, which breaks order and co-partitioning.

    For example:

        python -m ingest_actors setup-topics

        python -m ingest_actors setup-topics --apply --format json --env-file prod.env
    """
    from ingest_actors.commands.setup_topics import setup_topics as set_up  # noqa: PLC0415
    from ingest_actors.commands.start import read_settings  # noqa: PLC0415

    if allow_repartition and not mend:
        raise typer.BadParameter("it needs --apply", param_hint="--allow-repartition")
    settings = read_settings(env_file)
    set_up(settings, mend=mend, allow_repartition=allow_repartition, as_json=form is Format.JSON)


def audit(
    env_file: EnvFile = None,
    form: Annotated[Format, typer.Option("--format", help="How the answer is written.")] = Format.TABLE,
    *,
    since: Annotated[
        str | None,
        typer.Option(
            help="From this time on, by Kafka timestamp: ISO 8601 (UTC if it names no zone), or ms since 1970."
        ),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Up to this time, not included; likewise.")] = None,
    symbols: Annotated[
        str | None, typer.Option(help="These alone, comma-separated, any case; shell patterns too: '*USDT'.")
    ] = None,
) -> None:
    """Prove from the topics alone that the record is whole: ids, order, keys, copies, aggregates against trades.

    Reads committed records up to the ends that the topics have when it starts. What is missing and stands in the gap
    journal or in the dead letters is explained. Exit codes: 0 whole or explained; 1 an unexplained defect; 2 bad usage
    or settings; 75 Kafka cannot be reached, try again later; 130 interrupted, no verdict.

    For example:

        python -m ingest_actors audit

        python -m ingest_actors audit --since 2026-01-06T14:00 --until 2026-01-06T15:00 --symbols 'BTC*' --format json
    """
    from ingest_actors.commands.audit import audit as run_audit  # noqa: PLC0415
    from ingest_actors.commands.audit import read_window, symbol_filter  # noqa: PLC0415
    from ingest_actors.commands.start import read_settings  # noqa: PLC0415

    window = read_window(since, until)
    wants = symbol_filter(symbols)
    settings = read_settings(env_file)
    raise typer.Exit(run_audit(settings, window=window, wants=wants, as_json=form is Format.JSON))


def healthcheck(env_file: EnvFile = None) -> None:
    """Ask the running service whether it is healthy; for containers. Exit code 0 = healthy, 1 = not.

    It asks `/healthz` at `HTTP_HOST` and `HTTP_PORT`. An outage of the exchange or of Kafka does not count: a restart
    would not mend it.

    For example:

        python -m ingest_actors healthcheck

        HTTP_PORT=9000 python -m ingest_actors healthcheck
    """
    from ingest_actors.commands.start import read_http_address  # noqa: PLC0415
    from ingest_actors.console.healthcheck import healthcheck as ask  # noqa: PLC0415

    result = ask(*read_http_address(env_file))
    say(result.text)
    raise typer.Exit(result.exit_code)
