from __future__ import annotations

import pytest

from ingest_actors.ledger import LedgerEntry
from ingest_actors.protocols import SinkStatus
from ingest_actors.status import ConnectionStatus, MailboxStatus, Offenders, OpenGap, QuietStream, Status, Tallies

NOW_MS = 1_700_000_100_000


def sink_status(**changes):
    fields = {"reachable": True, "queue_records": 12, "queue_bytes": 3456, "errors": 4, "records": {}}
    return SinkStatus(**(fields | changes))


def connection_status(name="ws-1", state="open", **changes):
    fields = {
        "name": name,
        "url": "wss://stream.example:9443/stream",
        "state": state,
        "streams": 20,
        "acknowledged": 20,
        "opened_at_ms": NOW_MS - 90_000,
        "failures": 0,
    }
    return ConnectionStatus(**(fields | changes))


def status_of(**changes):
    ledger = {
        "aggregate_trade": LedgerEntry(received=1000, delivered=990, in_flight=7, dead_lettered=1, duplicates=2),
        "depth_update": LedgerEntry(received=500, backfilled=3, delivered=503),
    }
    fields = {
        "instance_name": "binance-ingest",
        "started_at_ms": NOW_MS - 100_000,
        "at_ms": NOW_MS,
        "ledger": ledger,
        "total": LedgerEntry(received=1500, backfilled=3, delivered=1493, in_flight=7, dead_lettered=1, duplicates=2),
        "connections": (connection_status("ws-1"), connection_status("ws-2")),
        "streams_wanted": 40,
        "streams_listed": 40,
        "streams_flowing": 38,
        "streams_silent": 2,
        "mailboxes": (
            MailboxStatus("frames", events=50, events_max=100, bytes=10, bytes_max=1000),
            MailboxStatus("events", events=0, events_max=100, bytes=0, bytes_max=1000),
        ),
        "buffer_bytes": 4096,
        "sink": sink_status(records={"binance-raw-events": 1494, "binance-trades": 991}),
        "tallies": Tallies(),
        "gaps_open": 1,
        "rest_weight_used": 24,
        "actors": ("parser", "batcher", "producer"),
        "rates": {"aggregate_trade": 10.04, "depth_update": 5.0},
        "samples_missed_s": {"kline": 0.0},
        "offenders": lambda: Offenders((QuietStream("a@trade", 3.0, silent=False),), (OpenGap("a@trade", 2.0, 1),)),
    }
    return Status(**(fields | changes))


@pytest.fixture
def make_status():
    """`make_status(**changes)`: a service that is ready, with some fields otherwise."""
    return status_of


@pytest.fixture
def make_sink_status():
    """`make_sink_status(**changes)`: reachable, unless changed."""
    return sink_status


@pytest.fixture
def make_connection():
    """`make_connection(name, state, **changes)`."""
    return connection_status


@pytest.fixture
def status():
    """A service that is ready and whose ledger balances."""
    tallies = Tallies(gap_ids_lost=17)
    tallies.gaps["disconnected"] = 3
    tallies.actor_restarts["parser"] = 2
    tallies.reconnects.update({"closed_1006": 3, "read_timeout": 1})
    tallies.last_event_ms.update({"aggregate_trade": NOW_MS - 2_500, "depth_update": NOW_MS - 60_000})
    tallies.latency["ack"].observe(0.002, 98)
    tallies.latency["ack"].observe(0.2, 2)
    return status_of(tallies=tallies)
