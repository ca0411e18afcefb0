"""What the record formats take from the code: the table of streams, and the words for reasons."""

from __future__ import annotations

import inspect

from reference_tables import code, table

from ingest_actors.binance import dead_letters
from ingest_actors.binance.gaps import Reason
from ingest_actors.binance.stream_table import KINDS, EventKind

_SHOWN_MAX = 4
_REASONS = {
    Reason.DISCONNECTED: "the connection that should have brought them was not there",
    Reason.RESTARTED: "they were published between two lives of the service",
    Reason.EXCHANGE_SKIPPED: "REST lacks the ids too: the exchange has left them out",
    Reason.CRASHED: "an actor crashed with them",
    Reason.TOO_OLD: "the service was away for longer than `RESUME_MAX_AGE_SECONDS`",
    Reason.SPOOL_FULL: "the spool took nothing more, and the exchange hung up",
    Reason.EXCHANGE_RESET: "the exchange began its ids again",
}


def streams() -> str:
    """THE table, without what only the parser wants to know."""
    columns = ("stream", "`event_type`", "`e`", "topics", "identity", "continuity", "after a gap")
    return table(columns, map(_row, KINDS))


def gap_reasons() -> str:
    """Why ids are missing, as the journal says it."""
    return table(("`reason`", "means"), [(f"`{reason}`", _REASONS[reason]) for reason in Reason])


def dead_letter_reasons() -> str:
    """Why the parser gives something up; the texts stand beside the words in the source."""
    words = {name: value for name, value in vars(dead_letters).items() if isinstance(value, str) and name.isupper()}
    names = [name for name, word in words.items() if word in dead_letters.PARSER_REASONS]
    return table(("`reason`", "means"), [(f"`{getattr(dead_letters, name)}`", _said(name)) for name in names])


def _said(name: str) -> str:
    """The string that follows the constant in its module."""
    lines = inspect.getsource(dead_letters).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"{name} = "))
    return lines[at + 1].strip('"')


def _row(kind: EventKind) -> tuple[str, ...]:
    names = [*kind.stream_types, *kind.arrays]
    shown = code(names[:_SHOWN_MAX]) + (f" and {len(names) - _SHOWN_MAX} more" if len(names) > _SHOWN_MAX else "")
    topics = "raw, " + kind.copy if kind.copy else "raw"
    continuity = f"{kind.continuity.value}" + (f" (`{kind.first_field}`)" if kind.first_field else "")
    return (
        shown or "(REST)", f"`{kind.event_type}`", code(kind.names) or "-", topics, code(kind.identity), continuity,
        kind.repair.value,
    )  # fmt: skip
