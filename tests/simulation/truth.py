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

    def book(self, symbol, update_id):
        """Bids and asks as of an id of the last seconds; None: that is longer ago."""
        as_of, bids, asks = self._source.markets[symbol].book.at(update_id, 10**6)
        return (
            None
            if as_of != update_id
            else tuple({text(price): text(quantity) for price, quantity in side} for side in (bids, asks))
        )

    def _listen(self, name, market):
        reset = market.reset_ids

        def reset_ids():
            self._ended[name].append(self._epoch(market, self._source.scheduler.now_us // 1000))
            reset()

        market.reset_ids = reset_ids

    def _epoch(self, market, ended_ms):
        return Epoch(
            {one.trade_id: _terms(one) for one in market.trades._items},
            {one.aggregate_id: (*_terms(one), one.first_id, one.last_id) for one in market.aggregates._items},
            (market.book.opened_id + 1, market.book.update_id),
            ended_ms,
        )


def _terms(one):
    return one.time_us // 1000, text(one.price), text(one.quantity), one.buyer_is_maker
