"""`demo`: the service against a simulated exchange and an embedded Kafka, until a signal ends it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from ingest_actors.commands.signals import obey_signals
from ingest_actors.demo import DemoOptions, run_demo
from ingest_actors.logs import setup_logging


def run_it(options: DemoOptions, announce: Callable[[dict[str, object]], None]) -> int:
    """See `run_demo`; the first signal drains, the second stops at once.

    Returns:
        The exit code.
    """
    setup_logging("WARNING", "console", instance="demo")
    return trio.run(partial(run_demo, options, announce=announce, obey_signals=obey_signals))
