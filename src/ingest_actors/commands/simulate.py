"""`simulate`: the simulated exchange until a signal ends it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from ingest_actors.commands.signals import run_until_stopped
from ingest_actors.logs import setup_logging
from ingest_actors.simulator import SimulatorConfig, run_simulator


def run_it(config: SimulatorConfig, announce: Callable[[dict[str, Any]], None]) -> None:
    """See `run_simulator`.

    Raises:
        SettingsError: TLS was asked for and is not installed; a recording cannot be read.
        OSError: a port is taken.
    """
    setup_logging(form="console")
    trio.run(run_until_stopped, partial(run_simulator, config, announce))
