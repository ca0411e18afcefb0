"""The commands that make and play recordings, as people type them."""

# No `from __future__ import annotations`: Typer reads the annotations.

from pathlib import Path
from typing import Annotated

import typer

from ingest_actors.commands.operation import EnvFile
from ingest_actors.commands.output import announce

MIB = 1024 * 1024


def record(
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            help="The file, which must not exist, or a directory; [default: here, recording-TIME.gz, TIME in UTC]"
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(help="Stop so many seconds after everything is subscribed; otherwise Ctrl-C stops it.", min=0),
    ] = None,
    rotate_mib: Annotated[
        float | None, typer.Option(help="Begin another file (name-002.gz, ...) when one has so many MiB.", min=0.01)
    ] = None,
    answers: Annotated[
        bool, typer.Option(help="Ask REST for a book of each depth stream and for the symbols' rules, at the start.")
    ] = True,
    env_file: EnvFile = None,
) -> None:
    """Keep what the exchange sends, message by message as it came, in a compressed file.

    It connects as the service does, by the same settings; Kafka is not needed. The file can be read while it is being
    written, and after a SIGKILL it lacks the last second at most: it is a row of gzip members, begun anew twice a
    second (`zcat` reads them). SIGINT or SIGTERM stops it. Two lines of JSON on stdout: the file, once everything is
    subscribed; what is in it, at the end.

    Exit codes: 0 stopped; 1 failure, such as a full disk; 2 bad settings or a file that cannot be made; 75 gave up on
    the exchange.

    For example:

        python -m ingest_actors record --duration 60

        BINANCE_SYMBOLS=BTCUSDT,ETHUSDT python -m ingest_actors record --output tuesday.gz --rotate-mib 512
    """
    from ingest_actors.commands.record import run_it  # noqa: PLC0415
    from ingest_actors.commands.start import read_settings  # noqa: PLC0415
    from ingest_actors.recorder import RecordOptions  # noqa: PLC0415

    part_bytes_max = None if rotate_mib is None else int(rotate_mib * MIB)
    options = RecordOptions(output=output, duration_s=duration, part_bytes_max=part_bytes_max, answers=answers)
    run_it(read_settings(env_file), options, announce)


def replay(
    recordings: Annotated[list[Path], typer.Argument(metavar="FILE...", help="In the order in which they are played.")],
    *,
    speed: Annotated[
        float, typer.Option(help="Recorded seconds a second: 1 = as it was; 0 = as fast as Kafka takes it.", min=0)
    ] = 0.0,
    topic_prefix: Annotated[
        str,
        typer.Option(
            help="Write to topics with this before their names; missing ones are created to keep records for ever."
        ),
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Go on although Kafka will delete the records for their age.")
    ] = False,
    env_file: EnvFile = None,
) -> None:
    """Send recordings through the same pipeline into Kafka, as if they had just been received then.

    Every record is what the service would have written: `ingestion_timestamp` is the recorded time of receipt. Files
    of `record` are taken, and those of other recorders, one frame of a combined stream a line: `<time> <frame>` or
    `<time>: <frame>`, gzip-compressed or not.

    Kafka deletes records by their own time, so old ones vanish minutes after they are written: that is told before
    anything is written, and needs a yes (or `--yes` where nobody can be asked). SIGINT or SIGTERM drains and stops.
    One line of JSON on stdout at the end.

    Exit codes: 0 everything was delivered, and the ledger balances; 1 failure, or stopped before the end; 2 bad
    settings, or a recording that cannot be used; 75 gave up on Kafka.

    For example:

        python -m ingest_actors replay tuesday.gz tuesday-002.gz --topic-prefix replay-

        python -m ingest_actors replay tuesday.gz --speed 1 --yes
    """
    from ingest_actors.commands.replay import ReplayOptions, run_it  # noqa: PLC0415
    from ingest_actors.commands.start import read_settings  # noqa: PLC0415

    options = ReplayOptions(tuple(recordings), speed=speed, topic_prefix=topic_prefix, yes=yes)
    raise typer.Exit(run_it(read_settings(env_file), options, confirm=lambda text: typer.confirm(text, err=True)))
