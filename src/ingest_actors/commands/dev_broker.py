"""`dev-broker`: a real Kafka until a signal ends it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from ingest_actors.commands.signals import run_until_stopped
from ingest_actors.kafka.dev_broker import run_dev_broker


def run_it(*, port: int, nodes: int, data_dir: Path | None, announce: Callable[[dict[str, object]], None]) -> None:
    """See `run_dev_broker`.

    Raises:
        DevBrokerFailed: it cannot be had, does not start, or dies.
    """
    trio.run(run_until_stopped, partial(run_dev_broker, announce=announce, nodes=nodes, port=port, data_dir=data_dir))
