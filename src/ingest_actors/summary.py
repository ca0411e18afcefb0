"""The running service in one plain dictionary: what `get_metrics()` answers and the ``service_metrics`` line says."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ingest_actors.ledger import LedgerEntry
from ingest_actors.status import Histogram, Status


def get_metrics(status: Status) -> dict[str, Any]:
    """Sum up a `Status` in values that `json.dumps` takes as they are.

    Returns:
        ``messages_received``, ``messages_processed`` (delivered) and ``messages_buffered`` (in flight), in events;
        ``connected`` (every planned connection is open), ``connections_open``, ``connections_planned``;
        ``reconnect_count`` (unplanned ones); ``ledger`` with ``total`` and ``by_event_type``; ``streams``: how many are
        ``wanted``, ``listed``, ``flowing`` and ``silent``; ``gaps_open``;
        while a repair from REST lasts for more than a minute ``backfill``: ``gaps`` that are being repaired,
        ``ids_fetched``, ``ids_missing``, ``ids_per_s``, ``remaining_s`` (None: nothing came lately);
        ``producer`` with ``queue`` (records), ``ack_ms_p50``, ``ack_ms_p99`` (None before the first acknowledgement)
        and ``errors``; with a spool ``spool``: ``events`` and ``bytes`` on the disk; ``rates``, events received a
        second by event type.
    """
    total = status.total
    spool = status.sink.spool
    return {
        "messages_received": total.received,
        "messages_processed": total.delivered,
        "messages_buffered": total.in_flight,
        "connected": status.connected,
        "connections_open": status.connections_open,
        "connections_planned": len(status.connections),
        "reconnect_count": sum(status.tallies.reconnects.values()),
        "ledger": {
            "total": _entry(total),
            "by_event_type": {event_type: _entry(entry) for event_type, entry in sorted(status.ledger.items())},
        },
        "streams": {
            "wanted": status.streams_wanted,
            "listed": status.streams_listed,
            "flowing": status.streams_flowing,
            "silent": status.streams_silent,
        },
        "gaps_open": status.gaps_open,
        **({} if status.backfill is None else {"backfill": status.backfill._asdict()}),
        "producer": {
            "queue": status.sink.queue_records,
            "ack_ms_p50": _quantile_ms(status.tallies.latency["ack"], 0.5),
            "ack_ms_p99": _quantile_ms(status.tallies.latency["ack"], 0.99),
            "errors": status.sink.errors,
        },
        **({} if spool is None else {"spool": {"events": spool.events, "bytes": spool.used_bytes}}),
        "rates": {event_type: round(rate, 1) for event_type, rate in sorted(status.rates.items())},
    }


def _entry(entry: LedgerEntry) -> dict[str, int]:
    return asdict(entry)


def _quantile_ms(histogram: Histogram, q: float) -> float | None:
    seconds = histogram.quantile(q)
    return None if seconds is None else round(seconds * 1000, 3)
