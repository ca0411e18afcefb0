"""One exchange for all clients' runs that do not need one of their own."""

import pytest
from peer_support import simulated_exchange

CUT_ONCE = '[[fault]]\ndo = "cut_mid_frame"\nafter_frames = 100\nconnections = [1]\n'
"""Cuts the first connection in the middle of a frame, after some data."""


@pytest.fixture(scope="session")
def exchange():
    with simulated_exchange() as addresses:
        yield addresses


@pytest.fixture(scope="session")
def tls_exchange():
    with simulated_exchange("--tls") as addresses:
        yield addresses


@pytest.fixture
def cut_once(tmp_path):
    script = tmp_path / "faults.toml"
    script.write_text(CUT_ONCE)
    return script


@pytest.fixture
def exchange_that_cuts(cut_once):
    with simulated_exchange(faults=cut_once) as addresses:
        yield addresses


@pytest.fixture
def tls_exchange_that_cuts(cut_once):
    with simulated_exchange("--tls", faults=cut_once) as addresses:
        yield addresses
