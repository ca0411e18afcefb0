"""An exchange that keeps the connection open and says nothing: what a dead router looks like."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.broker


def test_an_exchange_that_falls_silent_is_left_after_the_read_deadline(silent_exchange):
    """Started with the first test of the directory, since the deadline is a minute."""
    silent, service = silent_exchange
    silent.client(2, timeout_s=90)
    while service.total("delivered") <= 200:
        time.sleep(0.1)
    (closed,) = service.log("connection_closed")
    assert (closed["code"], closed["reason"]) == (1006, "nothing was received for 60 s")
    ledger = service.stop()["ledger"]
    assert ledger["received"] == ledger["delivered"] + ledger["duplicates"]
