"""One exchange for all clients' runs that do not need one of their own."""

import pytest
from peer_support import simulated_exchange


@pytest.fixture(scope="session")
def exchange():
    with simulated_exchange() as addresses:
        yield addresses


@pytest.fixture
def exchange_that_cuts(tmp_path):
    """Cuts the first connection in the middle of a frame, after some data."""
    script = tmp_path / "faults.toml"
    script.write_text('[[fault]]\ndo = "cut_mid_frame"\nafter_frames = 100\nconnections = [1]\n')
    with simulated_exchange(faults=script) as addresses:
        yield addresses
