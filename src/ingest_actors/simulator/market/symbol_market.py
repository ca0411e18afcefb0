"""One symbol's market: its orders, and all that follows from them and must agree."""

from __future__ import annotations

from ingest_actors.simulator.channel import Channel
from ingest_actors.simulator.market import payloads
from ingest_actors.simulator.market.candles import DAY_US, HOUR_US, Candle, CandleStore
from ingest_actors.simulator.market.flow import Aggregate, OrderFlow, Trade
from ingest_actors.simulator.market.history import History
from ingest_actors.simulator.market.rolling import RollingWindow, WindowStatistics
from ingest_actors.simulator.market.scheduler import Scheduler
from ingest_actors.simulator.market.symbols import SymbolSpec

DELAY_MAX_US = 220_000
"""Longest time from a trade to its publication."""

_WINDOWS_US = {"1h": HOUR_US, "4h": 4 * HOUR_US, "1d": DAY_US}


class SymbolMarket:
    """One symbol. What is published goes to the channels that exist; what REST tells is never ahead of that.

    Args:
        spec: the symbol.
        scheduler: the market's time.
        seed: of everything random.
        activity: multiplies the rate of orders.
        history: how many trades and aggregates are remembered.

    Attributes:
        flow: its orders and its book.
        candles: all that was published, by interval.
        trades: the newest published trades; likewise `aggregates`.
        channels: streams that are sent at the instant of what they tell, by their type; only those subscribed.
    """

    def __init__(self, spec: SymbolSpec, scheduler: Scheduler, *, seed: int, activity: float, history: int) -> None:
        self.spec = spec
        self.flow = OrderFlow(spec, seed=seed, activity=activity)
        self.book = self.flow.book
        self.trades: History[Trade] = History(history, lambda trade: trade.trade_id, lambda trade: trade.time_us)
        self.aggregates: History[Aggregate] = History(history, lambda a: a.aggregate_id, lambda a: a.time_us)
        self.windows = {name: RollingWindow(length_us, spec.price) for name, length_us in _WINDOWS_US.items()}
        self.candles = CandleStore(spec.price, scheduler.now_us, on_minute=self._minute_ended)
        self.channels: dict[str, Channel] = {}
        self.last_quantity = 0
        self._scheduler = scheduler
        self._published_us = 0
        scheduler.at(scheduler.now_us + self.flow.gap_us(), self._order)

    def window(self, name: str, now_us: int) -> WindowStatistics:
        """Statistics of the rolling window ``1h``, ``4h`` or ``1d`` that ends now."""
        return self.windows[name].statistics(now_us, self.candles, self.last_quantity)

    def _order(self) -> None:
        """One order arrives."""
        flow, book, scheduler = self.flow, self.book, self._scheduler
        now_us = scheduler.now_us
        bids, asks = book.bids, book.asks
        quantities = book.quantities
        before = (bids[-1], quantities[bids[-1]], asks[-1], quantities[asks[-1]])
        fills = flow.arrive(now_us)
        if fills:
            self._published_us = max(self._published_us, now_us + self._delay_us())
            scheduler.at(self._published_us, self._publish, fills)
        channel = self.channels.get("bookTicker")
        if channel is not None and before != (bids[-1], quantities[bids[-1]], asks[-1], quantities[asks[-1]]):
            channel.emit(payloads.book_ticker, self.spec.name, book.update_id, book.best_bid, book.best_ask)
        book.mark(now_us)
        scheduler.at(now_us + flow.gap_us(), self._order)

    def _delay_us(self) -> int:
        """From a trade to its publication: a millisecond as a rule, with a long tail."""
        rng = self.flow.rng
        luck = rng.random()
        if luck < 0.9:  # noqa: PLR2004 - shares as measured on the exchange, about
            return rng.randrange(300, 2_000)
        if luck < 0.985:  # noqa: PLR2004
            return rng.randrange(2_000, 20_000)
        return min(DELAY_MAX_US, 20_000 + int(rng.expovariate(1 / 50_000)))

    def _publish(self, fills: list[Aggregate]) -> None:
        """What one taker order traded becomes known, to everybody at once."""
        now_us = self._scheduler.now_us
        name = self.spec.name
        trade_channel, aggregate_channel = self.channels.get("trade"), self.channels.get("aggTrade")
        for fill in fills:
            for trade in fill.trades:
                self.trades.append(trade, now_us)
                self.candles.add(trade)
                if trade_channel is not None:
                    trade_channel.emit(payloads.trade, now_us, name, trade)
            self.aggregates.append(fill, now_us)
            if aggregate_channel is not None:
                aggregate_channel.emit(payloads.aggregate_trade, now_us, name, fill)
        self.last_quantity = fills[-1].trades[-1].quantity

    def _minute_ended(self, minute: Candle) -> None:
        for window in self.windows.values():
            window.add(minute)
