"""Reading the settings for a command, and refusing them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path

from ingest_actors.commands.output import tell
from ingest_actors.errors import SettingsError
from ingest_actors.logs import get_logger, setup_logging
from ingest_actors.proxies import NAMES as PROXY_NAMES
from ingest_actors.settings import Settings
from ingest_actors.settings.environment import ENV_FILE, gather, others_of_file


def read_settings(env_file: Path | None) -> Settings:
    """The settings of the environment and the file, with every check that can be made without a network.

    Raises:
        SettingsError: with every problem at once.
    """
    from ingest_actors.checks import start_problems  # noqa: PLC0415 - heavy

    return _from_env(env_file, start_problems)


def refuse_settings(error: SettingsError, env_file: Path | None = None) -> None:
    """Tell every problem of the service's settings on stderr: as one log line for machines, as a list for people."""
    if sys.stderr.isatty() or _wants_console(env_file):
        tell_problems(error)
        return
    setup_logging()
    get_logger().error("settings_refused", problems=error.problems, exit_code=error.exit_code)


def tell_problems(error: SettingsError) -> None:
    """Every problem on a line of its own."""
    tell("\n  ".join(["settings refused:", *error.problems]))


def _wants_console(env_file: Path | None) -> bool:
    """Whether `LOG_FORMAT` says so; asked of the raw settings, since they could not be used."""
    given = gather(Settings.model_fields, env_file=env_file or ENV_FILE, environ=os.environ)
    return str(given.values.get("log_format", "")).strip().lower() == "console"


def read_http_address(env_file: Path | None) -> tuple[str, int | None]:
    """Where the service of these settings answers over HTTP.

    Raises:
        SettingsError: they are refused.
    """
    settings = _from_env(env_file)
    return settings.http_host, settings.http_port


def adopt_proxies(env_file: Path | str, environ: MutableMapping[str, str]) -> None:
    """Put what a file says about proxies into the environment, where everybody looks for it.

    What the environment has already, in either case of a name, stays.
    """
    given = {name.upper() for name in environ}
    names = {spelling for name in PROXY_NAMES for spelling in (name, name.lower())}
    for name, value in others_of_file(env_file, names).items():
        if name.upper() not in given:
            environ[name] = value


def _from_env(env_file: Path | None, *checks: Callable[[Settings], Iterable[str]]) -> Settings:
    """A file that was named must be there, even when its name is that of the default."""
    if env_file is not None and not env_file.exists():
        raise SettingsError([f"--env-file {env_file}: No such file; accepted: a file of NAME=value lines"])
    adopt_proxies(env_file or ENV_FILE, os.environ)
    return Settings.from_env(env_file or ENV_FILE, checks=checks)
