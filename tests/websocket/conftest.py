"""Fixtures of the tests of the way to the exchange."""

from __future__ import annotations

import pytest
from small_exchange import AUTHORITY


@pytest.fixture
def trusted(monkeypatch, tmp_path):
    """Everybody trusts the authority of these tests."""
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
