"""Whether a series goes on where it ended, when nothing has come to tell.

That something is missing shows when the next event comes. Of a symbol that is seldom traded that may be hours later, or
never: what was traded while nobody listened would be missing from the record as long. So after a connection has opened,
the series that it has brought nothing of are compared with what the exchange says is their newest event.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import trio

from ingest_actors.binance.continuity import Continuity
from ingest_actors.binance.series import Series
from ingest_actors.binance.stream_table import StreamTable, symbol_of_stream

QUIET_S = 5.0
"""A series that has brought nothing for so long after its connection opened is asked about. The exchange's database
lags behind the stream by two seconds or so: what is asked sooner may not know yet what was missed."""

ASKED_MAX = 100
"""Series that are asked about together: the statistics of so many symbols are one question."""


class _Ended(NamedTuple):
    next_id: int
    """What it goes on with, when nothing was missed."""
    ask_at: float


class Ends:
    """The series that are to be asked about. Owned by the supervisor; no input or output.

    Args:
        continuity: knows where they ended.
        table: the stream table.
    """

    def __init__(self, continuity: Continuity, table: StreamTable) -> None:
        self._continuity = continuity
        self._table = table
        self._ended: dict[Series, _Ended] = {}
        self._changed = trio.Event()

    def opened(self, streams: Iterable[str]) -> None:
        """These streams are subscribed to, for the first time or again."""
        at = trio.current_time() + QUIET_S
        for stream in streams:
            kind, symbol = self._table.kind_of_stream(stream), symbol_of_stream(stream)
            if kind is None or not kind.repairable or not symbol:
                continue
            series = self._continuity.begun(kind, stream, symbol, self._table.route(kind))
            if series is not None and series.repairable and series.sequence.next_id is not None:
                self._ended[series] = _Ended(series.sequence.next_id, at)
        self._changed.set()

    async def wait_due(self) -> list[Series]:
        """Those that it is time to ask about; waits until there are any. They stay until they are answered for."""
        while True:
            await trio.lowlevel.checkpoint()
            now = trio.current_time()
            self._ended = {series: ended for series, ended in self._ended.items() if _still(series, ended)}
            due = [series for series, ended in self._ended.items() if ended.ask_at <= now]
            if due:
                return due[:ASKED_MAX]
            self._changed = trio.Event()
            with trio.move_on_at(min((ended.ask_at for ended in self._ended.values()), default=math.inf)):
                await self._changed.wait()

    def answer(self, series: Series, newest: int | None) -> None:
        """The exchange says which id of a series is its newest; None: it has none.

        While a batch that has brought something of it waits to go downstream, nothing can be said: ask again.
        """
        if series.touched:
            self.put_off(series, QUIET_S)
            return
        ended = self._ended.pop(series, None)
        if ended is not None and newest is not None and _still(series, ended):
            self._continuity.expect(series, newest)

    def put_off(self, series: Series, seconds: float) -> None:
        """The exchange does not answer about a series; ask again later."""
        ended = self._ended.get(series)
        if ended is not None:
            self._ended[series] = ended._replace(ask_at=trio.current_time() + seconds)


def _still(series: Series, ended: _Ended) -> bool:
    """Whether nothing has come of a series since."""
    return series.sequence.next_id == ended.next_id and not series.sequence.held
