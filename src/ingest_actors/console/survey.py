"""All streams as a table that is filtered, sorted and cut into pages here, so that a page never holds 5,000 rows.

The whole is looked at every few seconds, a part at a time so that nobody waits for long; in between the same survey is
shown. Rates come from how far the ids of a series went between two surveys.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import trio

from ingest_actors.console.cells import Cell, Toned, age, count, rate, span
from ingest_actors.details import Details, StreamDetail

ROWS_MAX: Final = 50
"""Streams on a page."""

CHUNK: Final = 250
"""Streams that are looked at in a row, in about half a millisecond."""

SURVEY_S: Final = 4.0
SURVEY_MAX_S: Final = 20.0
SHARE_MAX: Final = 0.002
"""Between two surveys, while somebody looks; of the loop's time they get this share: with 5,000 streams one takes some
15 ms, so there is one in eight seconds."""

HISTORY: Final = 5
"""Surveys that rates reach back over: some half a minute, so that slow streams have a rate too."""

FORGOTTEN_S: Final = 60.0
"""When nobody has looked for so long, what was then says nothing of now."""

FILTER_MAX: Final = 64
"""Characters of a filter: longer than any stream's name."""

ORDERS_MAX: Final = 32
"""Sorted lists that are kept until the next survey: more than there can be onlookers."""

SHOWN: Final = {
    "all": "all streams",
    "attention": "in need of attention",
    "silent": "silent",
    "waiting": "not subscribed",
    "gaps": "with gaps",
}
"""What can be chosen to be shown, and how that is called."""

_Key = Callable[["Row"], object]


class Query(NamedTuple):
    """Which part of the table somebody looks at.

    Attributes:
        text: what the name, the type or the connection contains.
        show: see `SHOWN`.
        sort: a column of `ORDER`; with a minus the other way round.
        page: from 1.
    """

    text: str = ""
    show: str = "all"
    sort: str = "attention"
    page: int = 1

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Query:
        """The query of a URL; what makes no sense is as if it were not there."""
        number = given.get("page", "1")
        sort = given.get("sort", "")
        return cls(
            given.get("q", "")[:FILTER_MAX].strip(),
            given.get("show", "") if given.get("show", "") in SHOWN else "all",
            sort if sort.removeprefix("-") in ORDER else "attention",
            max(int(number), 1) if number.isascii() and number.isdigit() and len(number) <= 6 else 1,  # noqa: PLR2004
        )


class Row(NamedTuple):
    """A stream, and how much of it comes."""

    stream: StreamDetail
    per_s: float | None


def _trouble(row: Row) -> int:
    stream = row.stream
    if stream.gaps_open:
        return 0
    return {"silent": 1, "waiting": 2}.get(stream.state, 3 if stream.gaps_lost else 4)


ORDER: Final[dict[str, _Key]] = {
    "attention": lambda row: (_trouble(row), row.stream.name),
    "symbol": lambda row: row.stream.name,
    "type": lambda row: (row.stream.name.partition("@")[2], row.stream.name),
    "state": lambda row: (row.stream.state, row.stream.name),
    "newest": lambda row: -1.0 if row.stream.age_s is None else row.stream.age_s,
    "rate": lambda row: -1.0 if row.per_s is None else row.per_s,
    "open": lambda row: row.stream.gaps_open,
    "closed": lambda row: row.stream.gaps_closed,
    "lost": lambda row: row.stream.ids_lost,
    "connection": lambda row: (row.stream.connection, row.stream.name),
}
"""What can be sorted by; figures begin with the largest when they are asked for with a minus."""

_SHOWS: Final[dict[str, Callable[[StreamDetail], bool]]] = {
    "all": lambda _: True,
    "attention": lambda stream: bool(stream.gaps_open or stream.gaps_lost or stream.state in ("silent", "waiting")),
    "silent": lambda stream: stream.state == "silent",
    "waiting": lambda stream: stream.state == "waiting",
    "gaps": lambda stream: bool(stream.gaps_open or stream.gaps_closed or stream.gaps_lost),
}

_TONES: Final = {"flowing": "good", "silent": "bad", "waiting": "warn", "quiet": "idle"}


class Page(NamedTuple):
    """What is shown of the streams."""

    rows: list[list[Cell]]
    note: str
    page: int
    pages: int


class Survey:
    """Looks at all streams from time to time.

    Args:
        details: who tells.
        clock: seconds, monotonic.
    """

    def __init__(self, details: Details, clock: Callable[[], float]) -> None:
        self._details = details
        self._clock = clock
        self._rows: list[Row] = []
        self._history: deque[tuple[float, dict[str, int]]] = deque(maxlen=HISTORY)
        self._orders: dict[Query, list[Row]] = {}
        self._looking = trio.Lock()
        self._next_s = 0.0

    async def refresh(self) -> None:
        """Look at all streams, if that was long enough ago."""
        if self._clock() < self._next_s:
            return
        async with self._looking:
            if self._clock() >= self._next_s:
                await self._look()

    async def _look(self) -> None:
        began, cost_s = self._clock(), 0.0
        rows: list[Row] = []
        ids: dict[str, int] = {}
        if self._history and began - self._history[-1][0] > FORGOTTEN_S:
            self._history.clear()
        then_s, before = self._history[0] if self._history else (began, {})
        chunks = self._details.streams(CHUNK)
        while True:
            slice_began = time.thread_time()
            chunk = next(chunks, None)
            for stream in chunk or ():
                rows.append(Row(stream, _rate(stream, before, began - then_s)))
                if stream.next_id is not None:
                    ids[stream.name] = stream.next_id
            cost_s += time.thread_time() - slice_began
            if chunk is None:
                break
            await trio.lowlevel.checkpoint()
        self._history.append((began, ids))
        self._rows, self._orders = rows, {}
        self._next_s = began + min(max(SURVEY_S, cost_s / SHARE_MAX), SURVEY_MAX_S)

    def page(self, query: Query) -> Page:
        """The rows that somebody looks at, as they are now; which they are was found by the last survey."""
        key = query._replace(page=1)
        rows = self._orders.get(key)
        if rows is None:
            rows = self._ordered(key)
            if len(self._orders) < ORDERS_MAX:
                self._orders[key] = rows
        pages = max(-(-len(rows) // ROWS_MAX), 1)
        page = min(query.page, pages)
        first = (page - 1) * ROWS_MAX
        shown = self._details.again([row.stream for row in rows[first : first + ROWS_MAX]])
        then_s, before = self._history[0] if self._history else (0.0, {})
        elapsed_s = self._clock() - then_s
        cells = [_cells(Row(stream, _rate(stream, before, elapsed_s))) for stream in shown]
        return Page(cells, self._note(len(rows), first, len(shown)), page, pages)

    def _ordered(self, query: Query) -> list[Row]:
        wanted, text = _SHOWS[query.show], query.text.lower()
        rows = [row for row in self._rows if wanted(row.stream) and (not text or text in _words(row.stream))]
        rows.sort(key=ORDER[query.sort.removeprefix("-")], reverse=query.sort.startswith("-"))  # type: ignore[arg-type]
        return rows

    def _note(self, found: int, first: int, shown: int) -> str:
        known = len(self._rows)
        if not found:
            return "No stream fits the filter." if known else "No stream is carried yet."
        part = f"{first + 1:,}–{first + shown:,} of {found:,}" if shown < found else f"All {found:,}"
        return f"{part} streams" + (f" that fit, of {known:,}" if found < known else "")


def _words(stream: StreamDetail) -> str:
    return f"{stream.name} {stream.event_type} {stream.connection}".lower()


def _rate(stream: StreamDetail, before: Mapping[str, int], elapsed_s: float) -> float | None:
    """Ids a second; for streams without any the inverse of their mean gap, which is never below a second."""
    if stream.next_id is None:
        return 1 / stream.gap_s if stream.gap_s else None
    then = before.get(stream.name)
    return None if then is None or elapsed_s <= 0 else max(stream.next_id - then, 0) / elapsed_s


def _cells(row: Row) -> list[Cell]:
    stream = row.stream
    symbol, _, stream_type = stream.name.partition("@")
    return [
        stream.symbol or symbol,
        stream_type,
        Toned(stream.state, _TONES.get(stream.state, "idle")),
        age(stream.age_s),
        _rate_text(row),
        _some(stream.gaps_open, "warn"),
        _some(stream.gaps_closed, ""),
        _some(stream.ids_lost, "bad"),
        stream.connection,
    ]


def _rate_text(row: Row) -> str:
    if row.per_s is None or row.stream.state == "waiting":
        return "–"
    if row.stream.next_id is None:
        gap_s = row.stream.gap_s
        return "every second" if gap_s < 1.5 else f"every {span(gap_s)}"  # noqa: PLR2004
    unit = "" if row.stream.by_ones else " ids"
    return f"{rate(row.per_s)}{unit}/s"


def _some(number: int, tone: str) -> Cell:
    return "0" if not number else Toned(count(number), tone) if tone else count(number)
