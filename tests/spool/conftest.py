"""A directory whose syncs cost nothing, for the many runs on virtual time."""

import tempfile
from pathlib import Path

import pytest
from spool_rig import OPENED

MEMORY = Path("/dev/shm")


@pytest.fixture(autouse=True)
def _closed_rigs():
    """A kernel closes what a dead process had open; here Python 3.13 would warn of it, in some later test."""
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.fixture
def quick_path(tmp_path):
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="spool-test-") as directory:
        yield Path(directory)
