"""A plain page for people: does it run, does the ledger balance, which connections are open. No script, no assets."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from ingest_actors.ledger import LedgerEntry
from ingest_actors.status import ConnectionStatus, Status

REFRESH_S: Final = 5

STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}"
    "body{color:#1b1f24;background:#fff}"
    "h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}"
    "table{border-collapse:collapse;width:100%}caption{text-align:left;color:#57606a}"
    "th,td{padding:.25rem .6rem;border-bottom:1px solid #d0d7de;text-align:right}"
    "th:first-child,td:first-child{text-align:left}tfoot td{font-weight:600}"
    ".good{color:#116329}.bad{color:#a40e26;font-weight:600}"
    "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,td{border-color:#30363d}"
    ".good{color:#56d364}.bad{color:#ff7b72}caption{color:#8b949e}}"
)
STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
"""For the content security policy, which allows this style sheet and nothing else."""

LEDGER_COLUMNS: Final = (
    "received", "backfilled", "recovered", "delivered", "dead_lettered", "duplicates", "spooled", "in_flight",
)  # fmt: skip


def render_page(status: Status, *, instance: str) -> str:
    """The page as HTML. Whatever comes from outside (names, addresses, causes) is escaped."""
    reasons = status.unready()
    flowing = "" if status.streams_flowing is None else f", {status.streams_flowing} are flowing"
    verdict = (
        "<p class=good>Ready: every connection is open and Kafka accepts.</p>"
        if not reasons
        else "<p class=bad>Not ready:</p><ul>" + "".join(f"<li>{escape(reason)}" for reason in reasons) + "</ul>"
    )
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{escape(instance)}</title>"
        f"<meta name=viewport content='width=device-width'><meta http-equiv=refresh content={REFRESH_S}>"
        f"<style>{STYLE}</style></head><body><h1>{escape(instance)}</h1>{verdict}"
        f"<p>Up since {_time(status.started_at_ms)}; as of {_time(status.at_ms)}."
        f" {status.streams_listed} of {status.streams_wanted} wanted streams are listed by the exchange{flowing}.</p>"
        f"<h2>Ledger</h2>{_ledger(status)}<h2>Connections</h2>{_connections(status.connections)}"
        "<p><a href=/metrics>/metrics</a>, <a href=/healthz>/healthz</a>, <a href=/readyz>/readyz</a></p>"
        "</body></html>"
    )


def _ledger(status: Status) -> str:
    difference = {kind: entry.difference for kind, entry in status.ledger.items() if entry.difference}
    verdict = (
        "<span class=good>It balances.</span>"
        if not difference
        else f"<span class=bad>It does not balance: {escape(str(difference))}</span>"
    )
    rows = [_ledger_row(kind, entry, status.rates.get(kind, 0.0)) for kind, entry in sorted(status.ledger.items())]
    head = ("event type", *(column.replace("_", " ") for column in LEDGER_COLUMNS), "events/s")
    total = _ledger_row("total", status.total, sum(status.rates.values()))
    caption = f"Events. Received + backfilled + recovered = all the others. {verdict}"
    return _table(caption, head, rows, total)


def _ledger_row(name: str, entry: LedgerEntry, rate: float) -> Sequence[str]:
    return (name, *(f"{getattr(entry, column):,}" for column in LEDGER_COLUMNS), f"{rate:,.1f}")


def _connections(connections: Iterable[ConnectionStatus]) -> str:
    rows = [
        (
            connection.name,
            connection.url,
            connection.state,
            f"{connection.acknowledged} of {connection.streams}",
            "-" if connection.opened_at_ms is None else _time(connection.opened_at_ms),
            str(connection.failures),
        )
        for connection in connections
    ]
    return _table("", ("name", "address", "state", "streams acknowledged", "open since", "failures in a row"), rows)


def _table(caption: str, head: Iterable[str], rows: Iterable[Iterable[str]], total: Iterable[str] = ()) -> str:
    foot = f"<tfoot>{_row(total)}</tfoot>" if total else ""
    return (
        f"<table><caption>{caption}</caption><thead><tr>{''.join(f'<th scope=col>{escape(name)}' for name in head)}"
        f"</thead><tbody>{''.join(_row(row) for row in rows)}</tbody>{foot}</table>"
    )


def _row(cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<td>{escape(cell)}" for cell in cells)


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"
