"""Fixtures for pytest: write ``pytest_plugins = ["ingest_actors.testing.fixtures"]`` into the top ``conftest.py``.

This is the one module of the package that imports pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ingest_actors.simulator import SimulatorConfig
from ingest_actors.testing.threaded import ThreadedExchange, exchange_in_thread


@pytest.fixture
def simulated_exchange_config() -> SimulatorConfig:
    """What `simulated_exchange` is started with: define a fixture of this name to have it otherwise."""
    return SimulatorConfig()


@pytest.fixture
def simulated_exchange(simulated_exchange_config: SimulatorConfig) -> Iterator[ThreadedExchange]:
    """A simulated exchange of this test's own, in a thread."""
    with exchange_in_thread(simulated_exchange_config) as exchange:
        yield exchange


@pytest.fixture
def make_simulated_exchange() -> Iterator[Callable[..., ThreadedExchange]]:
    """Starts exchanges, which end with the test; takes the arguments of `exchange_in_thread`."""
    with ExitStack() as exchanges:

        def make(config: SimulatorConfig | None = None, **changes: Any) -> ThreadedExchange:
            return exchanges.enter_context(exchange_in_thread(config, **changes))

        yield make
