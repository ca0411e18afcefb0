"""What REST tells about the market."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from ingest_actors.simulator.market import payloads
from ingest_actors.simulator.market.candles import Candle, bucket
from ingest_actors.simulator.market.decimals import plain_text, quote, text
from ingest_actors.simulator.market.feeds import DepthFeed
from ingest_actors.simulator.market.prices import average_price, has_reference_price, reference_price
from ingest_actors.simulator.market.rolling import WindowStatistics
from ingest_actors.simulator.market.scheduler import Scheduler
from ingest_actors.simulator.market.symbol_market import SymbolMarket
from ingest_actors.simulator.market.trades import Trade
from ingest_actors.simulator.rest_data import AggregateRow, KlineRow, TickerRow, TopRow, TradeRow

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
        self.extra_lag_us = 0
        self._rng = random.Random(f"{seed}/rest")  # noqa: S311 - not for secrets

    @property
    def _database_us(self) -> int:
        """Up to which time the database has everything."""
        return self._scheduler.now_us - self._lag_us - self.extra_lag_us

    def symbols(self) -> Sequence[str]:
        """All that is listed."""
        return tuple(self._markets)

    def status(self, symbol: str) -> str:
        """The symbol's status."""
        return self._markets[symbol].status

    def symbol_info(self, symbol: str) -> dict[str, object]:
        """The symbol's entry in exchangeInfo."""
        market = self._markets[symbol]
        return market.spec.info(market.status)

    def depth(self, symbol: str, limit: int) -> bytes:
        """The book as of the border of an event, mostly; sometimes as of now, or as of a few events ago."""
        book = self._markets[symbol].book
        update_id = book.update_id
        feeds = list(self._depth_feeds.get(symbol, {}).values())
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

    def top(self, symbol: str) -> TopRow:
        """The best bid and ask now."""
        book = self._markets[symbol].book
        return TopRow(*(text(value) for value in (*book.best_bid, *book.best_ask)))

    def trades(self, symbol: str, *, from_id: int | None, limit: int, lagging: bool) -> list[TradeRow]:
        """Trades, oldest first."""
        history = self._markets[symbol].trades
        until_us = self._database_us if lagging else self._scheduler.now_us
        if from_id is None:
            found = history.newest(limit, until_us=until_us)
        else:
            found = history.from_id(from_id, limit, until_us=until_us)
        return [
            TradeRow(t.trade_id, text(t.price), text(t.quantity), text(_value(t)), t.time_us, t.buyer_is_maker)
            for t in found
        ]

    def block_trades(self, symbol: str, *, from_id: int, limit: int) -> list[TradeRow]:
        """Block trades from an id on, oldest first; plain decimals."""
        found = self._markets[symbol].blocks.from_id(from_id, limit, until_us=self._database_us)
        return [
            TradeRow(
                t.trade_id, plain_text(t.price), plain_text(t.quantity), plain_text(_value(t)), t.time_us,
                t.buyer_is_maker,
            )
            for t in found
        ]  # fmt: skip

    def aggregates(
        self,
        symbol: str,
        *,
        from_id: int | None,
        start_us: int | None,
        end_us: int | None,
        limit: int,
        lagging: bool = True,
    ) -> list[AggregateRow]:
        """Aggregate trades, oldest first."""
        history = self._markets[symbol].aggregates
        until_us = self._database_us if lagging else self._scheduler.now_us
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
        self, symbol: str, interval: str, *, start_us: int | None, end_us: int | None, limit: int, offset_us: int = 0
    ) -> list[KlineRow]:
        """Candles by open time, oldest first, those without trades included."""
        candles = self._markets[symbol].candles
        last_us = min(self._scheduler.now_us, end_us if end_us is not None else self._scheduler.now_us)
        first_us = candles.first_us(interval, offset_us)
        found: list[Candle] = []
        if start_us is None:
            at_us = last_us
            while at_us >= first_us and len(found) < limit:
                found.append(candles.candle(interval, at_us, offset_us))
                at_us = found[-1].open_us - 1
            found.reverse()
        else:
            at_us = max(start_us, first_us)
            start_of, end_of = bucket(interval, at_us, offset_us)
            if start_of < at_us:
                at_us = end_of + 1
            while at_us <= last_us and len(found) < limit:
                found.append(candles.candle(interval, at_us, offset_us))
                at_us = found[-1].close_us + 1
        return [_kline_row(candle) for candle in found]

    def last_price(self, symbol: str) -> str:
        """Price of the last trade."""
        return text(self._markets[symbol].candles.last_price)

    def average_price(self, symbol: str) -> tuple[str, int]:
        """The five minutes' price, and when the last trade was."""
        market = self._markets[symbol]
        return text(average_price(market, self._scheduler.now_us)), market.candles.last_trade_us

    def reference_price(self, symbol: str) -> tuple[str | None, int] | None:
        """The reference price, None when it is not set just now, and its time; None: it never was set."""
        market, now_us = self._markets[symbol], self._scheduler.now_us
        if not has_reference_price(market):
            return None
        price = reference_price(market, now_us)
        return None if price is None else text(price), now_us

    def ticker(self, symbol: str, window: str, window_us: int) -> TickerRow:
        """Statistics of the window that ends now."""
        market, now_us = self._markets[symbol], self._scheduler.now_us
        statistics = (
            market.window(window, now_us) if window in ("1h", "4h", "1d") else market.window_of(window_us, now_us)
        )
        return _ticker_row(statistics, now_us)

    def trading_day(self, symbol: str, offset_us: int) -> TickerRow:
        """Statistics of the day, in a time zone so far ahead of UTC."""
        start_us, end_us = bucket("1d", self._scheduler.now_us, offset_us)
        return _ticker_row(self._markets[symbol].statistics(start_us, end_us), end_us)


def _value(trade: Trade) -> int:
    return quote(trade.price, trade.quantity)


def _kline_row(c: Candle) -> KlineRow:
    return KlineRow(
        c.open_us,
        c.close_us,
        (text(c.open), text(c.high), text(c.low), text(c.close)),
        (text(c.base), text(c.quote), text(c.taker_base), text(c.taker_quote)),
        c.trades,
    )


def _ticker_row(w: WindowStatistics, close_us: int) -> TickerRow:
    return TickerRow(
        change=text(w.change),
        percent=w.percent,
        average=text(w.average),
        before=text(w.before),
        last=text(w.close),
        last_quantity=text(w.last_quantity),
        open=text(w.open),
        high=text(w.high),
        low=text(w.low),
        base=text(w.base),
        quote=text(w.quote),
        open_us=w.open_us,
        close_us=close_us,
        first_id=w.first_id,
        last_id=w.last_id,
        trades=w.trades,
    )
