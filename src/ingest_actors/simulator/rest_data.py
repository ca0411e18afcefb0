"""What REST is answered from, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class TradeRow(NamedTuple):
    """One trade as REST tells it; decimals as the exchange prints them."""

    trade_id: int
    price: str
    quantity: str
    quote_quantity: str
    time_us: int
    buyer_is_maker: bool


class AggregateRow(NamedTuple):
    """One aggregate trade as REST tells it."""

    aggregate_id: int
    price: str
    quantity: str
    first_id: int
    last_id: int
    time_us: int
    buyer_is_maker: bool


class KlineRow(NamedTuple):
    """One candle as REST tells it."""

    open_us: int
    close_us: int
    prices: tuple[str, str, str, str]
    """Open, high, low, close."""
    volumes: tuple[str, str, str, str]
    """Base, quote, taker-buy base, taker-buy quote."""
    trades: int


class TopRow(NamedTuple):
    """The best bid and ask."""

    bid_price: str
    bid_quantity: str
    ask_price: str
    ask_quantity: str


class TickerRow(NamedTuple):
    """Statistics of a span of time; without trades the ids are -1."""

    change: str
    percent: str
    average: str
    before: str
    """Price of the last trade before the span."""
    last: str
    last_quantity: str
    open: str
    high: str
    low: str
    base: str
    quote: str
    open_us: int
    close_us: int
    first_id: int
    last_id: int
    trades: int


class RestData(Protocol):
    """Answers about symbols, by their uppercase names. Nothing is ever ahead of the streams.

    Each may raise `ingest_actors.simulator.rest_rules.RestRefusal` when there is nothing to answer from.
    """

    extra_lag_us: int
    """How much further the database lags behind just now, microseconds; a recording's does not."""

    def symbols(self) -> Sequence[str]:
        """All that is listed."""

    def status(self, symbol: str) -> str:
        """The symbol's status: ``TRADING``, ``HALT``, ..."""

    def symbol_info(self, symbol: str) -> dict[str, object]:
        """The symbol's entry in exchangeInfo."""

    def depth(self, symbol: str, limit: int) -> bytes:
        """The book: REST's own answer, at most `limit` levels a side, best first."""

    def top(self, symbol: str) -> TopRow:
        """The best bid and ask now."""

    def trades(self, symbol: str, *, from_id: int | None, limit: int, lagging: bool) -> list[TradeRow]:
        """Trades from an id on, or the newest; oldest first. With `lagging`, those that the database has by now."""

    def block_trades(self, symbol: str, *, from_id: int, limit: int) -> list[TradeRow]:
        """Block trades from an id on, as far as the database has them; oldest first."""

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
        """Aggregate trades from an id on, or between two times (both inclusive), or the newest; oldest first.

        With `lagging`, those that the database has by now.
        """

    def klines(
        self, symbol: str, interval: str, *, start_us: int | None, end_us: int | None, limit: int, offset_us: int = 0
    ) -> list[KlineRow]:
        """Candles by open time; oldest first; cut in a time zone that is `offset_us` ahead of UTC."""

    def last_price(self, symbol: str) -> str:
        """Price of the last trade."""

    def average_price(self, symbol: str) -> tuple[str, int]:
        """Price of the last five minutes weighted by volume, and the time of the last trade, microseconds."""

    def reference_price(self, symbol: str) -> tuple[str | None, int] | None:
        """The reference price (None: not set just now) and its time, microseconds; None: it never was set."""

    def ticker(self, symbol: str, window: str, window_us: int) -> TickerRow:
        """Statistics of the window that ends now, given by its name (``1d``) and its length; from a full minute on."""

    def trading_day(self, symbol: str, offset_us: int) -> TickerRow:
        """Statistics of today, in a time zone that is `offset_us` ahead of UTC."""
