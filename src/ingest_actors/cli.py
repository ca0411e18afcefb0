"""The command line: which commands there are, and what becomes of their errors. `--help` must be quick."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Annotated

import typer

from ingest_actors.commands import development, operation, recordings
from ingest_actors.commands.output import program_version, say, tell
from ingest_actors.errors import IngestError, SettingsError

PROGRAM = "python -m ingest_actors"

SCRIPT = "ingest-actors"
"""The same, as it is installed; what shells complete."""

COMPLETING = "_INGEST_ACTORS_COMPLETE"
"""By this variable a shell asks what a line could go on with; Typer's convention."""

_ABOUT_THE_PROGRAM = ("-h", "--help", "--version", "--install-completion", "--show-completion")

COMMANDS: dict[str, Callable[..., None]] = {
    "run": operation.run,
    "plan": operation.plan,
    "demo": development.demo,
    "simulate": development.simulate,
    "record": recordings.record,
    "replay": recordings.replay,
    "setup-topics": operation.setup_topics,
    "audit": operation.audit,
    "dev-broker": development.dev_broker,
    "healthcheck": operation.healthcheck,
}


def make_app(*, boxes: bool) -> typer.Typer:
    """All commands.

    Args:
        boxes: usage errors in boxes of the terminal's width; False: each in a line, for logs and pipes.
    """
    app = typer.Typer(
        name=PROGRAM,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown" if boxes else None,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Binance market data into Apache Kafka. Without a command: `run`. Settings come from the environment and"
        " from `.env`; docs/SETTINGS.md lists them.",
    )
    for name, command in COMMANDS.items():
        app.command(name)(command)
    app.callback(invoke_without_command=True)(_options)
    return app


def main(arguments: Sequence[str]) -> int:
    """Run a command; returns its exit code. Errors that are ours are told in a line, without a traceback."""
    arguments = with_command(arguments)
    boxes = sys.stderr.isatty() or not {"-h", "--help"}.isdisjoint(arguments)
    try:
        make_app(boxes=boxes)(args=arguments, prog_name=_program())
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except (IngestError, OSError, BaseExceptionGroup) as error:
        return _tell_failure(arguments[0], error)
    return 0


def with_command(arguments: Sequence[str]) -> list[str]:
    """`run` is meant when no command is named."""
    first = arguments[0] if arguments else ""
    if COMPLETING in os.environ or first in _ABOUT_THE_PROGRAM:
        return list(arguments)
    if not first or first.startswith("-"):
        return ["run", *arguments]
    return list(arguments)


def _program() -> str:
    """As it was called."""
    return SCRIPT if PurePath(sys.argv[0]).stem == SCRIPT else PROGRAM


def _tell_failure(command: str, error: BaseException) -> int:
    from ingest_actors.commands.endings import exit_code_of, told  # noqa: PLC0415
    from ingest_actors.commands.start import tell_problems  # noqa: PLC0415

    cause = told(error)
    if isinstance(cause, SettingsError):
        tell_problems(cause)
    elif isinstance(cause, IngestError | OSError):
        tell(f"{command}: {cause}")
    else:
        raise cause
    return exit_code_of(cause)


def _options(
    *, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False
) -> None:
    if version:
        say(program_version())
        raise typer.Exit
