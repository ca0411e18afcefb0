from __future__ import annotations

import json

from ingest_actors.ledger import LedgerEntry
from ingest_actors.protocols import SinkStatus, SpoolStatus
from ingest_actors.status import BackfillProgress, ConnectionStatus, Status, Tallies
from ingest_actors.summary import get_metrics


def a_status(**changes):
    entry = LedgerEntry(received=10, delivered=6, in_flight=3, dead_lettered=1)
    connection = ConnectionStatus("ws-1", "wss://x", "open", 2, 2, 1, 0)
    fields = {
        "instance_name": "binance-ingest", "started_at_ms": 0, "at_ms": 1000,
        "ledger": {"trade": entry}, "total": entry, "connections": (connection,),
        "streams_wanted": 2, "streams_listed": 2, "streams_flowing": 1, "streams_silent": 1,
        "mailboxes": (), "buffer_bytes": 0, "tallies": Tallies(),
        "sink": SinkStatus(reachable=True, queue_records=5, queue_bytes=500, errors=2, records={}),
        "gaps_open": 4, "rest_weight_used": 0, "actors": (), "rates": {"trade": 3.14159},
    }  # fmt: skip
    return Status(**(fields | changes))


def test_the_summary_has_the_promised_fields_and_no_other():
    tallies = Tallies()
    tallies.reconnects.update({"closed_1006": 2, "silent": 1})
    tallies.latency["ack"].observe(0.0015, 100)
    entry = {
        "received": 10, "backfilled": 0, "recovered": 0, "delivered": 6, "dead_lettered": 1, "duplicates": 0,
        "spooled": 0, "in_flight": 3,
    }  # fmt: skip
    assert get_metrics(a_status(tallies=tallies)) == {
        "messages_received": 10,
        "messages_processed": 6,
        "messages_buffered": 3,
        "connected": True,
        "connections_open": 1,
        "connections_planned": 1,
        "reconnect_count": 3,
        "ledger": {"total": entry, "by_event_type": {"trade": entry}},
        "streams": {"wanted": 2, "listed": 2, "flowing": 1, "silent": 1},
        "gaps_open": 4,
        "producer": {"queue": 5, "ack_ms_p50": 1.75, "ack_ms_p99": 2.485, "errors": 2},
        "rates": {"trade": 3.1},
    }


def test_before_the_first_acknowledgement_there_is_no_quantile():
    producer = get_metrics(a_status())["producer"]
    assert (producer["ack_ms_p50"], producer["ack_ms_p99"]) == (None, None)


def test_the_summary_is_plain_json():
    summary = get_metrics(a_status())
    assert json.loads(json.dumps(summary)) == summary


def test_without_planned_connections_the_service_is_not_connected():
    assert get_metrics(a_status(connections=()))["connected"] is False


def test_a_spool_is_summed_up_where_there_is_one():
    sink = SinkStatus(
        reachable=True,
        queue_records=0,
        queue_bytes=0,
        errors=0,
        records={},
        spool=SpoolStatus(used_bytes=65_536, events=7),
    )
    assert get_metrics(a_status(sink=sink))["spool"] == {"events": 7, "bytes": 65_536}


def test_a_long_repair_is_summed_up_while_there_is_one():
    progress = BackfillProgress(gaps=2, ids_fetched=120_000, ids_missing=480_000, ids_per_s=2000.0, remaining_s=240)
    assert get_metrics(a_status(backfill=progress))["backfill"] == {
        "gaps": 2, "ids_fetched": 120_000, "ids_missing": 480_000, "ids_per_s": 2000.0, "remaining_s": 240,
    }  # fmt: skip
