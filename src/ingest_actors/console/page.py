"""The page for people, as HTML: whole without any script, and kept up to date by `assets/console.js` if there is one.

Tables, captions and buttons stand here once; rows come from the board, and the script puts in the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final, NamedTuple

from ingest_actors.console.board import LEDGER_COLUMNS, Board, Figure, Table
from ingest_actors.console.cells import CROWDED, FULL, Cell, Meter, Toned
from ingest_actors.console.survey import SHOWN, Page, Query
from ingest_actors.console.verdict import Verdict

REFRESH_S: Final = 5
"""How often a browser without scripts loads the page again."""


class Column(NamedTuple):
    """One column of a table."""

    name: str
    number: bool = False
    sort: str = ""
    """What it is sorted by when its button is pressed; empty: it has none."""


class Frame(NamedTuple):
    """A table but for its rows."""

    heading: str
    caption: str
    columns: tuple[Column, ...]


STREAMS: Final = Frame(
    "Streams",
    "One row for each symbol and stream. Newest: how long ago it last brought something.",
    (
        Column("Symbol", sort="symbol"),
        Column("Stream", sort="type"),
        Column("State", sort="state"),
        Column("Newest", number=True, sort="-newest"),
        Column("Rate", number=True, sort="-rate"),
        Column("Gaps open", number=True, sort="-open"),
        Column("Closed", number=True, sort="-closed"),
        Column("Ids lost", number=True, sort="-lost"),
        Column("Connection", sort="connection"),
    ),
)

FRAMES: Final = {
    "connections": Frame(
        "Connections",
        "To the exchange. Each is replaced, overlapping, before it grows too old.",
        (
            Column("Name"), Column("State"), Column("Subscribed", number=True), Column("Age", number=True),
            Column("Replaced", number=True), Column("Last data", number=True), Column("Failures", number=True),
            Column("Address"),
        ),
    ),
    "kinds": Frame(
        "Ledger by event type",
        "Events. Received + backfilled + recovered = delivered + dead letters + duplicates + spooled + in flight.",
        (
            Column("Event type"), Column("A second", number=True), Column("Newest", number=True),
            *(Column(column.replace("_", " ").replace("dead lettered", "dead letters").capitalize(), number=True)
              for column in LEDGER_COLUMNS),
            Column("Ids lost", number=True),
        ),
    ),
    "journal": Frame(
        "Gap journal",
        "The last records, newest first; all of them are in Kafka.",
        (
            Column("Time, UTC"), Column("State"), Column("Stream"), Column("Missing", number=True),
            Column("Recovered", number=True), Column("Why"), Column("Ids"),
        ),
    ),
    "happenings": Frame(
        "What happened lately",
        "What the actors told last, newest first. The log has more.",
        (Column("Time, UTC"), Column("What"), Column("About")),
    ),
    "mailboxes": Frame(
        "Mailboxes",
        "What waits between the actors. A full one holds up whoever fills it.",
        (Column("Mailbox"), Column("Fill"), Column("Items", number=True), Column("Memory", number=True)),
    ),
    "latency": Frame(
        "Latency",
        "Over the last minute.",
        (Column("From, to"), Column("Half within", number=True), Column("99 % within", number=True)),
    ),
    "topics": Frame("Kafka", "Records acknowledged.", (Column("Topic"), Column("Records", number=True))),
    "actors": Frame("Actors", "In the order of the data.", (Column("Actor"), Column("Restarts", number=True))),
}  # fmt: skip
"""In the order of the page."""


def title_of(verdicts: Iterable[Verdict], instance: str) -> str:
    """What the browser's tab says."""
    return f"{', '.join(verdict.word for verdict in verdicts)} – {instance}"


def render_page(board: Board, streams: Page | None, query: Query, *, instance: str, version: str) -> str:
    """The page as HTML. Whatever comes from outside (names, addresses, causes) is escaped."""
    name = escape(instance)
    shown = "" if streams is None else _streams(streams, query)
    sections = "".join(_section(key, FRAMES[key], board.tables[key]) for key in FRAMES if key in board.tables)
    return (
        f'<!doctype html>\n<html lang="en" data-tone="{board.tone}" data-instance="{name}">\n<head>\n'
        f'<meta charset="utf-8">\n<title>{escape(title_of(board.verdicts, instance))}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<link rel="stylesheet" href="/assets/console.css">\n'
        f'<link rel="icon" id="icon" type="image/svg+xml" href="/assets/{board.tone}.svg">\n'
        '<script type="module" src="/assets/console.js"></script>\n'
        f'<noscript><meta http-equiv="refresh" content="{REFRESH_S}"></noscript>\n</head>\n<body>\n'
        '<a class="skip" href="#main">Skip to the answers</a>\n'
        f"<header><h1>{name}</h1>"
        f'<p id="live" data-tone="idle">As of <time id="at">{escape(board.at)}</time></p>'
        f"<p>Version {escape(version)}, up since {escape(board.since)}</p></header>\n"
        f'<main id="main" tabindex="-1">\n<div class="verdicts">{"".join(map(_verdict, board.verdicts))}</div>\n'
        f'<dl class="figures" id="figures">{"".join(map(_figure, board.figures))}</dl>\n'
        f'{shown}<div class="sections">{sections}</div>\n</main>\n'
        '<footer><nav aria-label="For programs"><a href="/metrics">Metrics</a> <a href="/healthz">Health</a> '
        '<a href="/readyz">Readiness</a></nav></footer>\n</body>\n</html>\n'
    )


def _verdict(verdict: Verdict) -> str:
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in verdict.reasons)
    return (
        f'<section class="verdict" id="{verdict.key}" data-tone="{verdict.tone}" aria-labelledby="{verdict.key}-q">'
        f'<h2 id="{verdict.key}-q">{escape(verdict.question)}</h2>'
        f'<p class="word" aria-live="polite">{escape(verdict.word)}</p>'
        f'<p class="text">{escape(verdict.text)}</p><ul class="reasons">{reasons}</ul></section>'
    )


def _figure(figure: Figure) -> str:
    return (
        f'<div data-tone="{figure.tone}"><dt>{escape(figure.name)}</dt><dd class="value">{escape(figure.value)}</dd>'
        f'<dd class="more">{escape(figure.more)}</dd></div>'
    )


def _streams(page: Page, query: Query) -> str:
    shows = "".join(
        f'<option value="{key}"{" selected" * (key == query.show)}>{escape(text)}</option>'
        for key, text in SHOWN.items()
    )
    form = (
        '<form id="filter" role="search" aria-label="Streams" action="/" method="get">'
        '<label for="q">Filter by name</label>'
        f'<input id="q" name="q" type="search" maxlength="64" autocomplete="off" spellcheck="false"'
        f' value="{escape(query.text)}">'
        f'<label for="show">Show</label><select id="show" name="show">{shows}</select>'
        f'<button type="submit" id="apply">Apply</button>'
        f'<input type="hidden" id="sort" name="sort" value="{escape(query.sort)}"></form>'
    )
    pages = (
        '<nav class="pages" aria-label="Pages of streams">'
        f'<button form="filter" id="previous" name="page" value="{page.page - 1}"{_disabled(page.page <= 1)}>'
        "Previous</button>"
        f'<span id="pages">Page {page.page} of {page.pages}</span>'
        f'<button form="filter" id="next" name="page" value="{page.page + 1}"{_disabled(page.page >= page.pages)}>'
        "Next</button></nav>"
    )
    table = _table("streams", STREAMS, Table(page.rows, page.note), sort=query.sort)
    head = '<section id="streams" aria-labelledby="h-streams"><h2 id="h-streams">Streams</h2>'
    return f"{head}{form}{table}{pages}</section>\n"


def _disabled(disabled: bool) -> str:  # noqa: FBT001 - one attribute
    return " disabled" if disabled else ""


def _section(key: str, frame: Frame, table: Table) -> str:
    return (
        f'<section id="{key}" aria-labelledby="h-{key}"><h2 id="h-{key}">{escape(frame.heading)}</h2>'
        f"{_table(key, frame, table)}</section>"
    )


def _table(key: str, frame: Frame, table: Table, *, sort: str = "") -> str:
    head = "".join(_head(column, sort) for column in frame.columns)
    rows = "".join(_row(row, frame.columns) for row in table.rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="h-{key}"><table id="table-{key}">'
        f'<caption><span>{escape(frame.caption)}</span> <span class="note">{escape(table.note)}</span></caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _head(column: Column, sort: str) -> str:
    number = ' class="num"' if column.number else ""
    if not column.sort:
        return f'<th scope="col"{number}>{escape(column.name)}</th>'
    field = column.sort.removeprefix("-")
    sorted_now = sort.removeprefix("-") == field
    order = ("descending" if sort.startswith("-") else "ascending") if sorted_now else "none"
    other = field if sort.startswith("-") else f"-{field}"
    value = other if sorted_now else column.sort
    return (
        f'<th scope="col"{number} aria-sort="{order}"><button form="filter" name="sort" value="{value}"'
        f' data-sort="{column.sort}">{escape(column.name)}</button></th>'
    )


def _row(row: Sequence[Cell], columns: Sequence[Column]) -> str:
    cells = []
    for index, (cell, column) in enumerate(zip(row, columns, strict=True)):
        tag, scope = ("th", ' scope="row"') if index == 0 else ("td", "")
        number = ' class="num"' if column.number else ""
        cells.append(f"<{tag}{scope}{number}{_tone(cell)}>{_content(cell)}</{tag}>")
    return f"<tr>{''.join(cells)}</tr>"


def _tone(cell: Cell) -> str:
    return f' data-tone="{cell.tone}"' if isinstance(cell, Toned | Meter) and cell.tone else ""


def _content(cell: Cell) -> str:
    if isinstance(cell, Meter):
        return (
            f'<meter min="0" max="1" low="{CROWDED}" high="{FULL}" optimum="0" value="{cell.ratio}"'
            f' aria-label="fill">{cell.text}</meter> <span>{cell.text}</span>'
        )
    return escape(cell.text if isinstance(cell, Toned) else cell)
