"""The ledger as a table for people."""

from __future__ import annotations

from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from ingest_actors.ledger import LedgerEntry
from ingest_actors.status import Status

COLUMNS: Final = ("received", "backfilled", "delivered", "dead_lettered", "duplicates", "in_flight")
"""Those that can be anything but 0 in the demo; `balances` looks at all."""

_HEADS: Final = {"backfilled": "REST", "dead_lettered": "dead"}
"""Where the name would be too long for a terminal of 80 columns."""


def balances(status: Status) -> bool:
    """Whether all that came in is accounted for, for every event type."""
    return not any(entry.difference for entry in status.ledger.values())


def verdict(status: Status) -> Text:
    """The ledger in one line."""
    total = status.total
    text = (
        f"{total.received:,} received + {total.backfilled:,} from REST"
        f" = {total.delivered:,} delivered + {total.dead_lettered:,} dead letters"
        f" + {total.duplicates:,} duplicates + {total.in_flight:,} in flight: "
    )
    if balances(status):
        return Text.assemble(text, ("it balances", "bold green"))
    return Text.assemble(text, (f"{total.difference:,} MISSING", "bold red"))


def ledger_table(status: Status, *, title: str) -> Table:
    """A row an event type, and the sum."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("event type", no_wrap=True)
    for column in COLUMNS:
        table.add_column(_HEADS.get(column, column.replace("_", " ")), justify="right", no_wrap=True)
    for event_type, entry in status.ledger.items():
        table.add_row(event_type, *_cells(entry))
    table.add_section()
    table.add_row("all", *_cells(status.total), style="bold")
    return table


def _cells(entry: LedgerEntry) -> list[str]:
    return [f"{getattr(entry, column):,}" for column in COLUMNS]
