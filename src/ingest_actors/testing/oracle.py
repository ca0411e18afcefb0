"""What is true on the simulated exchange, to compare a client's opinion with."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from ingest_actors.simulator.market.decimals import text
from ingest_actors.simulator.market.source import MarketSource
from ingest_actors.simulator.rest_data import AggregateRow, TradeRow
from ingest_actors.simulator.source import Source

ROWS_MAX = 1_000_000
"""More than the exchange remembers; see `SimulatorConfig.history`."""


class Book(NamedTuple):
    """An order book, whole, as of one update id.

    Attributes:
        update_id: of the last change that is in it.
        bids: prices and quantities, as the exchange prints them, best first.
        asks: likewise.
    """

    update_id: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class Oracle:
    """Tells what has happened on the market. A recording knows trades, and no book.

    Args:
        source: the market or the recording.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def book(self, symbol: str, update_id: int | None) -> Book:
        """See `Exchange.book`."""
        self._check(symbol)
        if not isinstance(self._source, MarketSource):
            raise LookupError("a recording has no book of its own: compare with REST")  # noqa: TRY004 - nothing is there
        book = self._source.markets[symbol].book
        wanted = book.update_id if update_id is None else update_id
        found, bids, asks = book.at(wanted, ROWS_MAX)
        if found != wanted:
            range_text = f"after {found}" if wanted < found else f"up to {found}"
            raise LookupError(f"no book of {symbol} at id {wanted}: the last seconds are remembered, {range_text}")
        return Book(found, [(text(p), text(q)) for p, q in bids], [(text(p), text(q)) for p, q in asks])

    def trades(self, symbol: str, first_id: int | None, last_id: int | None) -> list[TradeRow]:
        """See `Exchange.trades`."""
        self._check(symbol)
        ask = partial(self._source.rest.trades, symbol, lagging=False)
        _check_remembered(f"trade of {symbol}", first_id, [row.trade_id for row in ask(from_id=0, limit=1)])
        rows = ask(from_id=first_id, limit=ROWS_MAX)
        return [row for row in rows if last_id is None or row.trade_id <= last_id]

    def aggregate_trades(self, symbol: str, first_id: int | None, last_id: int | None) -> list[AggregateRow]:
        """See `Exchange.aggregate_trades`."""
        self._check(symbol)
        ask = partial(self._source.rest.aggregates, symbol, start_us=None, end_us=None, lagging=False)
        oldest = [row.aggregate_id for row in ask(from_id=0, limit=1)]
        _check_remembered(f"aggregate trade of {symbol}", first_id, oldest)
        rows = ask(from_id=first_id, limit=ROWS_MAX)
        return [row for row in rows if last_id is None or row.aggregate_id <= last_id]

    def _check(self, symbol: str) -> None:
        symbols = self._source.rest.symbols()
        if symbol not in symbols:
            raise LookupError(f"no symbol {symbol!r} here; there are {', '.join(symbols)}")


def _check_remembered(kind: str, first_id: int | None, oldest: list[int]) -> None:
    """A truth that began later than asked would make a client look as if it had invented what came before."""
    if first_id is not None and oldest and first_id < oldest[0]:
        raise LookupError(
            f"no {kind} has the id {first_id} any more: remembered are those from {oldest[0]} on (history)"
        )
