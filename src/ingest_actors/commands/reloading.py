"""SIGHUP: the settings are read again, and what may change while the service runs is taken over."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import trio

from ingest_actors.commands.start import read_settings
from ingest_actors.errors import IngestError, SettingsError
from ingest_actors.logs import LOGGER_NAME, get_logger
from ingest_actors.service import Service
from ingest_actors.settings import Settings
from ingest_actors.settings.environment import ENV_FILE, names_in


class Reread(NamedTuple):
    """The settings as they are now."""

    settings: Settings
    shadowed: tuple[str, ...] = ()
    """Names in the file that the environment sets as well, so that what the file says has no effect."""


def reread_settings(env_file: Path | None) -> Reread:
    """Read the environment and the file again.

    Raises:
        SettingsError: with every problem at once.
    """
    settings = read_settings(env_file)
    in_file = names_in(env_file or ENV_FILE, Settings.model_fields)
    return Reread(settings, tuple(name for name in in_file if os.environ.get(name)))


class Reloader:
    """Takes over settings, one time after the other; asked again meanwhile, once more.

    Args:
        service: that takes them over.
        reread: reads them.
    """

    def __init__(self, service: Service, reread: Callable[[], Reread]) -> None:
        self._service = service
        self._reread = reread
        self._send, self._receive = trio.open_memory_channel[None](1)

    def ask(self) -> None:
        """Have it done, as soon as may be."""
        with suppress(trio.WouldBlock):  # then it will be, for nothing was read yet
            self._send.send_nowait(None)

    async def run(self) -> None:
        """Do it whenever it is asked for; ends only by cancellation."""
        async for _ in self._receive:
            await self._reload()

    async def _reload(self) -> None:
        log = get_logger()
        logger = logging.getLogger(LOGGER_NAME)
        level = logger.level
        try:
            settings, shadowed = self._reread()
            if shadowed:
                log.warning("settings_shadowed", names=list(shadowed), hint="the environment goes before the file")
            wanted = logging.getLevelNamesMapping()[settings.log_level]
            logger.setLevel(min(level, wanted))  # that it has changed is told by either
            # Not until all is subscribed: with the exchange away that may take long, and somebody may know better.
            await self._service.reload(settings, settle=False)
            level = wanted
        except SettingsError as error:
            log.warning("reload_refused", signal="SIGHUP", problems=error.problems, hint="the former settings go on")
        except IngestError as error:
            log.warning("reload_failed", signal="SIGHUP", cause=str(error), hint="the former settings go on; try again")
        finally:
            logger.setLevel(level)
