"""Prices that are averages: of five minutes, and of the last moments."""

from __future__ import annotations

from ingest_actors.simulator.market.candles import MINUTE_US, SECOND_US
from ingest_actors.simulator.market.decimals import ONE
from ingest_actors.simulator.market.symbol_market import SymbolMarket

AVERAGE_MINUTES = 5
"""Window of the average price."""

REFERENCE_BUCKETS = 10
REFERENCE_BUCKET_US = SECOND_US
"""The reference price is the mean of the trades in so many buckets of this width, the current one included."""

_TRADES_MAX = 100_000
"""More trades than any symbol has in the buckets of a reference price."""


def average_price(market: SymbolMarket, now_us: int) -> int:
    """Price of the last five minutes, weighted by volume; the last price when nothing traded."""
    start_us = now_us // MINUTE_US * MINUTE_US - (AVERAGE_MINUTES - 1) * MINUTE_US
    span = market.candles.span(start_us, start_us + AVERAGE_MINUTES * MINUTE_US - 1)
    return span.quote * ONE // span.base if span.base else market.candles.last_price


def has_reference_price(market: SymbolMarket) -> bool:
    """Whether the symbol ever had a reference price: since its first trade."""
    return market.candles.last_trade_id != -1


def reference_price(market: SymbolMarket, now_us: int) -> int | None:
    """Arithmetic mean of the prices of the trades in the buckets; None when there were none."""
    start_us = (now_us // REFERENCE_BUCKET_US - REFERENCE_BUCKETS + 1) * REFERENCE_BUCKET_US
    if market.candles.last_trade_us < start_us:
        return None
    trades = market.trades.between(start_us, None, _TRADES_MAX, until_us=now_us)
    return sum(trade.price for trade in trades) // len(trades) if trades else None
