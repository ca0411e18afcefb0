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


class RestData(Protocol):
    """Answers about symbols, by their uppercase names. Nothing is ever ahead of the streams."""

    def symbols(self) -> Sequence[str]:
        """All that is traded."""

    def symbol_info(self, symbol: str) -> dict[str, object]:
        """The symbol's entry in exchangeInfo."""

    def depth(self, symbol: str, limit: int) -> bytes:
        """The book: REST's own answer, at most `limit` levels a side, best first."""

    def trades(self, symbol: str, *, from_id: int | None, limit: int, lagging: bool) -> list[TradeRow]:
        """Trades from an id on, or the newest; oldest first. With `lagging`, those that the database has by now."""

    def aggregates(
        self, symbol: str, *, from_id: int | None, start_us: int | None, end_us: int | None, limit: int
    ) -> list[AggregateRow]:
        """Aggregate trades from an id on, or between two times (both inclusive), or the newest; oldest first."""

    def klines(
        self, symbol: str, interval: str, *, start_us: int | None, end_us: int | None, limit: int
    ) -> list[KlineRow]:
        """Candles by open time; oldest first."""
