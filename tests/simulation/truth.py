"""What the simulated exchange has published, all of it, whoever listened: what a record is judged by."""

from typing import NamedTuple

from ingest_actors.simulator.market.decimals import text


class Epoch(NamedTuple):
    """One numbering of a symbol: until its ids begin again."""

    trades: dict
    """By id: time in ms, price, quantity, whether the buyer was the maker."""
    aggregates: dict
    """The same, and the first and last trade's id."""
    updates: tuple[int, int]
    """First and last id of the book."""
    ended_ms: int
    """When it ended; beyond all times: it has not."""


class Published:
    """Listens at the source, not at the streams.

    Args:
        exchange: open, before anything has happened.
    """

    def __init__(self, exchange):
        self._source = exchange.source
        self._ended = {}
        for name, market in exchange.source.markets.items():
            self._ended[name] = []
            self._listen(name, market)

    def epochs(self, symbol):
        """The numberings of a symbol, oldest first."""
        return [*self._ended[symbol], self._epoch(self._source.markets[symbol], 1 << 62)]

    def newest(self, symbol):
        """The newest ids of trades, aggregates and the book, and how often they have begun again."""
        market = self._source.markets[symbol]
        trades, aggregates = market.trades._items, market.aggregates._items
        return (
            trades[-1].trade_id if trades else -1,
            aggregates[-1].aggregate_id if aggregates else -1,
            market.book.update_id,
            len(self._ended[symbol]),
        )

    def _listen(self, name, market):
        reset = market.reset_ids

        def reset_ids():
            self._ended[name].append(self._epoch(market, self._source.scheduler.now_us // 1000))
            reset()

        market.reset_ids = reset_ids

    def _epoch(self, market, ended_ms):
        return Epoch(
            {t.trade_id: (t.time_us // 1000, text(t.price), text(t.quantity), t.buyer_is_maker)
             for t in market.trades._items},
            {a.aggregate_id: (a.time_us // 1000, text(a.price), text(a.quantity), a.buyer_is_maker, a.first_id, a.last_id)
             for a in market.aggregates._items},
            (market.book.opened_id + 1, market.book.update_id),
            ended_ms,
        )  # fmt: skip
