"""What the page shows, as plain data: the same for the page that is rendered here and for the script that keeps it up.

A part is a verdict, a row of figures, or a table's rows with a note. Each is bounded: rows and texts are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from ingest_actors.console.cells import (
    Cell,
    Toned,
    age,
    clipped,
    clock,
    count,
    meter,
    milliseconds,
    moment,
    rate,
    size,
    span,
)
from ingest_actors.console.verdict import Verdict, overall
from ingest_actors.details import ConnectionDetail, Details, Happening, JournalEntry
from ingest_actors.ledger import LedgerEntry
from ingest_actors.status import ConnectionStatus, Histogram, Status

T = TypeVar("T")

CONNECTIONS_MAX: Final = 100
JOURNAL_ROWS_MAX: Final = 40
HAPPENINGS_ROWS_MAX: Final = 30
KINDS_MAX: Final = 100
"""Rows of a table, whatever there is: the newest or the first, and the note says that there are more."""

LEDGER_COLUMNS: Final = (
    "received", "backfilled", "recovered", "delivered", "dead_lettered", "duplicates", "spooled", "in_flight",
)  # fmt: skip

HOPS: Final = {
    "exchange": "exchange to receipt",
    "pipeline": "receipt to the Kafka client",
    "receive": "receipt to batch",
    "batch": "receipt to batch",
    "ack": "Kafka client to acknowledgement",
}
"""Names of hops for people; one that is not here goes by its own."""

_JOURNAL_TONES: Final = {"open": "warn", "closed": "good", "lost": "bad"}

_STATE_TONES: Final = {"open": "good", "closed": "bad", "waiting": "bad", "connecting": "warn", "subscribing": "warn"}

_ALARMS: Final = frozenset(
    (
        "actor_restarted", "connection_closed", "kafka_unreachable", "second_writer", "websocket_connection_failed",
        "kafka_producer_creation_failed", "dead_lettered", "stream_silent", "streams_silent", "symbol_unlisted",
        "rest_failed", "replacement_failed", "spool_failed",
    )
)  # fmt: skip
"""What is told in amber among what happened."""


class Table(NamedTuple):
    """A table's rows, and what is said of them."""

    rows: list[list[Cell]]
    note: str = ""


class Figure(NamedTuple):
    """One figure with its name, and what belongs to it."""

    name: str
    value: str
    more: str
    tone: str


class Board(NamedTuple):
    """All of it, but for the streams."""

    at: str
    since: str
    tone: str
    verdicts: tuple[Verdict, ...]
    figures: list[Figure]
    tables: dict[str, Table]

    def parts(self) -> dict[str, Any]:
        """Each part by its name, as the script wants it."""
        return {
            "at": self.at,
            "tone": self.tone,
            **{verdict.key: verdict._asdict() for verdict in self.verdicts},
            "figures": self.figures,
            **{f"table-{name}": table for name, table in self.tables.items()},
        }


def make_board(
    status: Status,
    details: Details | None,
    verdicts: tuple[Verdict, ...],
    latency: Mapping[str, Histogram],
) -> Board:
    """Put it together.

    Args:
        status: the service.
        details: of its parts; None: they are not shown.
        verdicts: the answers.
        latency: by hop, what was measured lately.
    """
    tables = {
        "kinds": _kinds(status, details),
        "connections": _connections(status, details),
        "actors": _actors(status),
        "mailboxes": _mailboxes(status),
        "latency": _latency(latency),
        "topics": _topics(status),
    }
    if details is not None:
        tables["journal"] = _journal(details, status.at_ms)
        tables["happenings"] = _happenings(details, status.at_ms)
    return Board(
        moment(status.at_ms),
        moment(status.started_at_ms),
        overall(verdicts),
        verdicts,
        _figures(status, details, latency.get("ack")),
        tables,
    )


def _figures(status: Status, details: Details | None, ack: Histogram | None) -> list[Figure]:
    sums = {} if details is None else details.gap_sums()
    closed = sum(entry.closed for entry in sums.values())
    lost = sum(entry.lost for entry in sums.values())
    wanted, listed, flowing = status.streams_wanted, status.streams_listed, status.streams_flowing
    silent = status.streams_silent or 0
    planned, opened = len(status.connections), status.connections_open
    spool = status.sink.spool
    p50 = None if ack is None else ack.quantile(0.5)
    p99 = None if ack is None else ack.quantile(0.99)
    held = f"of {size(details.buffer_bytes_max)}" if details is not None else ""
    figures = [
        Figure("Events a second", rate(sum(status.rates.values())), f"{count(status.total.received)} received", ""),
        Figure(
            "Streams flowing",
            "–" if flowing is None else count(flowing),
            f"{count(listed)} listed of {count(wanted)} wanted" + (f", {count(silent)} silent" if silent else ""),
            "warn" if silent or listed < wanted else "",
        ),
        Figure(
            "Gaps open",
            count(status.gaps_open),
            f"{count(closed)} closed, {count(lost)} lost" if details is not None else "",
            "warn" if status.gaps_open else "",
        ),
        Figure(
            "Connections open",
            f"{opened} of {planned}",
            ", ".join(
                f"{number} {what}"
                for number, what in (
                    (status.connections_replacing, "replacing"),
                    (status.connections_draining, "going"),
                    (sum(status.tallies.reconnects.values()), "reconnects"),
                )
                if number
            ),
            "bad" if opened < planned or not planned else "",
        ),
        Figure(
            "Kafka acknowledges in",
            milliseconds(p50) if status.sink.reachable else "not at all",
            f"99 % within {milliseconds(p99)}, last minute" if p99 is not None else "nothing in the last minute",
            "" if status.sink.reachable else "bad",
        ),
        Figure("In flight", count(status.total.in_flight), f"{size(status.buffer_bytes)} {held}".strip(), ""),
    ]
    if spool is None:
        figures.append(Figure("Spool", "none", "SPOOL_DIR is not set", ""))
    else:
        tone = "bad" if spool.detail else "warn" if spool.events else ""
        text = f"{count(spool.events)} events" + (f"; {clipped(spool.detail)}" if spool.detail else "")
        figures.append(Figure("Spool", size(spool.used_bytes), text, tone))
    return figures


def _kinds(status: Status, details: Details | None) -> Table:
    difference = {kind: entry.difference for kind, entry in status.ledger.items() if entry.difference}
    note = f"It does not balance: {clipped(str(difference))}" if difference else "It balances."
    sums = {} if details is None else details.gap_sums()
    rows = []
    for kind, entry in sorted(status.ledger.items())[:KINDS_MAX]:
        newest_ms = status.tallies.last_event_ms.get(kind)
        newest = "–" if newest_ms is None else age(max(0, status.at_ms - newest_ms) / 1000)
        lost = sums[kind].ids_lost if kind in sums else 0
        rows.append(_ledger_row(kind, entry, status.rates.get(kind, 0.0), newest, lost))
    every_lost = status.tallies.gap_ids_lost
    return Table([*rows, _ledger_row("total", status.total, sum(status.rates.values()), "", every_lost)], note)


def _ledger_row(name: str, entry: LedgerEntry, per_s: float, newest: str, lost: int) -> list[Cell]:
    tallies: list[Cell] = [count(getattr(entry, column)) for column in LEDGER_COLUMNS]
    if entry.dead_lettered:
        tallies[LEDGER_COLUMNS.index("dead_lettered")] = Toned(count(entry.dead_lettered), "warn")
    return [clipped(name), rate(per_s), newest, *tallies, Toned(count(lost), "bad") if lost else "0"]


def _connections(status: Status, details: Details | None) -> Table:
    found = _known(status.connections, status.at_ms) if details is None else details.connections()
    rows = [_connection(connection) for connection in found[:CONNECTIONS_MAX]]
    more = len(found) - len(rows)
    return Table(rows, f"{more} more are not shown." if more > 0 else "")


def _known(connections: Iterable[ConnectionStatus], at_ms: int) -> list[ConnectionDetail]:
    """What the status alone tells of them."""
    return [
        ConnectionDetail(
            c.name, c.url, c.state, "", c.streams, c.acknowledged,
            None if c.opened_at_ms is None else (at_ms - c.opened_at_ms) / 1000, None, None, c.failures, held_up=False,
        )
        for c in connections
    ]  # fmt: skip


def _connection(connection: ConnectionDetail) -> list[Cell]:
    state = f"{connection.state}, held up" if connection.held_up else connection.state
    tone = "warn" if connection.held_up else _STATE_TONES.get(connection.state, "idle")
    return [
        clipped(connection.name),
        Toned(f"{state}, {connection.role}" if connection.role else state, "idle" if connection.role else tone),
        f"{count(connection.acknowledged)} of {count(connection.streams)}",
        "–" if connection.age_s is None else span(connection.age_s),
        "–" if connection.rotation_in_s is None else f"in {span(connection.rotation_in_s)}",
        "–" if connection.heard_s is None else age(connection.heard_s),
        Toned(count(connection.failures), "warn") if connection.failures else "0",
        clipped(connection.url),
    ]


def _actors(status: Status) -> Table:
    restarts = dict.fromkeys(status.actors, 0) | dict(status.tallies.actor_restarts)
    rows: list[list[Cell]] = [
        [name, Toned(count(number), "warn") if number else "0"] for name, number in restarts.items()
    ]
    total = sum(restarts.values())
    return Table(rows, f"{count(total)} restarts after a crash" if total else "None has crashed.")


def _mailboxes(status: Status) -> Table:
    rows: list[list[Cell]] = [
        [
            box.name,
            meter(box.fill_ratio),
            f"{count(box.events)} of {count(box.events_max)}",
            f"{size(box.bytes)} of {size(box.bytes_max)}",
        ]
        for box in status.mailboxes
    ]
    return Table(rows)


def _latency(latency: Mapping[str, Histogram]) -> Table:
    rows: list[list[Cell]] = [
        [
            HOPS.get(hop, hop.replace("_", " ")),
            milliseconds(histogram.quantile(0.5)),
            milliseconds(histogram.quantile(0.99)),
        ]
        for hop, histogram in latency.items()
    ]
    return Table(rows)


def _topics(status: Status) -> Table:
    rows: list[list[Cell]] = [
        [clipped(topic), count(records)] for topic, records in sorted(status.sink.records.items())
    ]
    bytes_ = f" ({size(status.sink.queue_bytes)})" if status.sink.queue_records else ""
    queue = f"{count(status.sink.queue_records)} records{bytes_} wait for an acknowledgement"
    errors = f"; {count(status.sink.errors)} errors so far" if status.sink.errors else "; no error so far"
    return Table(rows, queue + errors + ".")


def _journal(details: Details, now_ms: int) -> Table:
    entries = details.journal()
    rows = _newest(entries, JOURNAL_ROWS_MAX, lambda entry: _journalled(entry, now_ms))
    return Table(rows, "" if rows else "No gap was found since the start.")


def _journalled(entry: JournalEntry, now_ms: int) -> list[Cell]:
    reason = entry.reason.replace("_", " ")
    by = f", by {entry.resolved_by.replace('_', ' ')}" if entry.resolved_by else ""
    return [
        clock(entry.at_ms, now_ms),
        Toned(entry.state, _JOURNAL_TONES.get(entry.state, "idle")),
        clipped(entry.stream),
        count(entry.missing),
        "" if entry.state == "open" else count(entry.recovered),
        reason + by,
        f"{entry.first_id}–{entry.last_id}" if entry.first_id != entry.last_id else str(entry.first_id),
    ]


def _happenings(details: Details, now_ms: int) -> Table:
    rows = _newest(details.happenings(), HAPPENINGS_ROWS_MAX, lambda happening: _happened(happening, now_ms))
    return Table(rows, "" if rows else "Nothing worth a line since the start.")


def _happened(happening: Happening, now_ms: int) -> list[Cell]:
    name: Cell = Toned(happening.name, "warn") if happening.name in _ALARMS else happening.name
    return [clock(happening.at_ms, now_ms), name, clipped(happening.text)]


def _newest(found: Sequence[T], rows_max: int, row: Callable[[T], list[Cell]]) -> list[list[Cell]]:
    """The last of them, the newest first."""
    return [row(entry) for entry in reversed(list(found)[-rows_max:])]
