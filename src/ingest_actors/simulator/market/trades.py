"""Trades, and the aggregates that they make."""

from __future__ import annotations

from typing import NamedTuple


class Trade(NamedTuple):
    """One match. Decimals in 1e-8."""

    trade_id: int
    price: int
    quantity: int
    time_us: int
    buyer_is_maker: bool


class Aggregate(NamedTuple):
    """What one taker order traded at one price, and the trades that it consists of."""

    aggregate_id: int
    price: int
    quantity: int
    first_id: int
    last_id: int
    time_us: int
    buyer_is_maker: bool
    trades: tuple[Trade, ...]
