"""What REST tells about the market."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from ingest_actors.simulator.market import payloads
from ingest_actors.simulator.market.candles import Candle, bucket
from ingest_actors.simulator.market.decimals import quote, text
from ingest_actors.simulator.market.feeds import DepthFeed
from ingest_actors.simulator.market.scheduler import Scheduler
from ingest_actors.simulator.market.symbol_market import SymbolMarket
from ingest_actors.simulator.rest_data import AggregateRow, KlineRow, TradeRow

_BORDER, _INSIDE, _OLD = 0.85, 0.94, 0.98
"""Shares of the snapshots, cumulative: on the border of the last event; as of now; some events old; older yet."""


class MarketRest:
    """Answers from the market's own state.

    Args:
        markets: by symbol.
        depth_feeds: the depth streams that run, by symbol: snapshots fall on the borders of their events as a rule.
        scheduler: the market's time.
        seed: of the choice where a snapshot falls.
        lag_s: how far the database lags behind the streams, seconds.
    """

    def __init__(
        self,
        markets: Mapping[str, SymbolMarket],
        depth_feeds: Mapping[str, Mapping[tuple[str, int], DepthFeed]],
        scheduler: Scheduler,
        *,
        seed: int,
        lag_s: float,
    ) -> None:
        self._markets = markets
        self._depth_feeds = depth_feeds
        self._scheduler = scheduler
        self._lag_us = round(lag_s * 1e6)
        self._rng = random.Random(f"{seed}/rest")  # noqa: S311 - not for secrets

    def symbols(self) -> Sequence[str]:
        """All that is traded."""
        return tuple(self._markets)

    def symbol_info(self, symbol: str) -> dict[str, object]:
        """The symbol's entry in exchangeInfo."""
        return self._markets[symbol].spec.info()

    def depth(self, symbol: str, limit: int) -> bytes:
        """The book as of the border of an event, mostly; sometimes as of now, or as of a few events ago."""
        book = self._markets[symbol].book
        update_id = book.update_id
        feeds = list(self._depth_feeds[symbol].values())
        luck = self._rng.random()
        if feeds:
            borders = self._rng.choice(feeds).borders
            if luck < _BORDER:
                update_id = borders[-1]
            elif luck >= _OLD:
                update_id = borders[0] - self._rng.randrange(1, 50)
            elif luck >= _INSIDE:
                update_id = self._rng.choice(borders)
        return payloads.partial_depth(0, *book.at(update_id, limit))

    def trades(self, symbol: str, *, from_id: int | None, limit: int, lagging: bool) -> list[TradeRow]:
        """Trades, oldest first."""
        history = self._markets[symbol].trades
        until_us = self._scheduler.now_us - (self._lag_us if lagging else 0)
        if from_id is None:
            found = history.newest(limit, until_us=until_us)
        else:
            found = history.from_id(from_id, limit, until_us=until_us)
        return [
            TradeRow(
                trade.trade_id,
                text(trade.price),
                text(trade.quantity),
                text(quote(trade.price, trade.quantity)),
                trade.time_us,
                trade.buyer_is_maker,
            )
            for trade in found
        ]

    def aggregates(
        self, symbol: str, *, from_id: int | None, start_us: int | None, end_us: int | None, limit: int
    ) -> list[AggregateRow]:
        """Aggregate trades, oldest first."""
        history = self._markets[symbol].aggregates
        until_us = self._scheduler.now_us - self._lag_us
        if from_id is None:
            found = history.between(start_us, end_us, limit, until_us=until_us)
        else:
            found = history.from_id(from_id, limit, until_us=until_us)
        return [
            AggregateRow(
                a.aggregate_id, text(a.price), text(a.quantity), a.first_id, a.last_id, a.time_us, a.buyer_is_maker
            )
            for a in found
        ]

    def klines(
        self, symbol: str, interval: str, *, start_us: int | None, end_us: int | None, limit: int
    ) -> list[KlineRow]:
        """Candles by open time, oldest first, those without trades included."""
        candles = self._markets[symbol].candles
        last_us = min(self._scheduler.now_us, end_us if end_us is not None else self._scheduler.now_us)
        first_us = candles.first_us(interval)
        found: list[Candle] = []
        if start_us is None:
            at_us = last_us
            while at_us >= first_us and len(found) < limit:
                found.append(candles.candle(interval, at_us))
                at_us = found[-1].open_us - 1
            found.reverse()
        else:
            at_us = max(start_us, first_us)
            if bucket(interval, at_us)[0] < at_us:
                at_us = bucket(interval, at_us)[1] + 1
            while at_us <= last_us and len(found) < limit:
                found.append(candles.candle(interval, at_us))
                at_us = found[-1].close_us + 1
        return [_kline_row(candle) for candle in found]


def _kline_row(c: Candle) -> KlineRow:
    return KlineRow(
        c.open_us,
        c.close_us,
        (text(c.open), text(c.high), text(c.low), text(c.close)),
        (text(c.base), text(c.quote), text(c.taker_base), text(c.taker_quote)),
        c.trades,
    )
