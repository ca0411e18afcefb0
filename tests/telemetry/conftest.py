"""What the tests of metrics, alerts and the dashboard share."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

# Services as processes, and topics of a test's own, are the system tests'.
sys.path.append(str(Path(__file__).resolve().parents[1] / "system"))


@pytest.fixture
def prometheus_installed():
    """Skips where Prometheus and its tool are not installed (Debian, Ubuntu: ``apt-get install prometheus``)."""
    for program in ("prometheus", "promtool"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
