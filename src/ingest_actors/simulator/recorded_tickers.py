"""Tickers put together from the trades of a recording."""

from __future__ import annotations

from collections.abc import Sequence

from ingest_actors.simulator.market.candles import bucket
from ingest_actors.simulator.market.decimals import ONE, percent_text, text
from ingest_actors.simulator.rest_data import TickerRow, TradeRow


def units(decimal: str) -> int:
    """A decimal as printed by the exchange, in 1e-8."""
    whole, _, fraction = decimal.partition(".")
    return int(whole) * ONE + int(fraction.ljust(8, "0")[:8])


def price_text(quote: int, base: int) -> str:
    """A price weighted by volume."""
    return text(quote * ONE // base if base else 0)


def day_of(now_us: int, offset_us: int) -> tuple[int, int]:
    """First and last microsecond of today, in a time zone so far ahead of UTC."""
    return bucket("1d", now_us, offset_us)


def statistics(rows: Sequence[TradeRow], start_us: int, end_us: int) -> TickerRow:
    """The ticker of those trades that lie between two times, both inclusive.

    Args:
        rows: oldest first.
        start_us: microseconds since the epoch.
        end_us: likewise.
    """
    earlier = [row for row in rows if row.time_us < start_us]
    inside = [row for row in rows if start_us <= row.time_us <= end_us]
    before = units(earlier[-1].price) if earlier else 0
    prices = [units(row.price) for row in inside] or [before]
    base = sum(units(row.quantity) for row in inside)
    quote = sum(units(row.quote_quantity) for row in inside)
    return TickerRow(
        change=text(prices[-1] - prices[0]),
        percent=percent_text(prices[-1] - prices[0], prices[0]),
        average=price_text(quote, base),
        before=text(before),
        last=text(prices[-1]),
        last_quantity=inside[-1].quantity if inside else text(0),
        open=text(prices[0]),
        high=text(max(prices)),
        low=text(min(prices)),
        base=text(base),
        quote=text(quote),
        open_us=start_us,
        close_us=end_us,
        first_id=inside[0].trade_id if inside else -1,
        last_id=inside[-1].trade_id if inside else -1,
        trades=len(inside),
    )
