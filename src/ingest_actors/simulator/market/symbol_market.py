"""One symbol's market: its orders, and all that follows from them and must agree."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from ingest_actors.simulator.channel import Channel
from ingest_actors.simulator.market import payloads
from ingest_actors.simulator.market.book import OrderBook
from ingest_actors.simulator.market.candle_store import CandleStore
from ingest_actors.simulator.market.candles import DAY_US, HOUR_US, Candle
from ingest_actors.simulator.market.delays import delay_us
from ingest_actors.simulator.market.flow import FirstIds, OrderFlow
from ingest_actors.simulator.market.history import History
from ingest_actors.simulator.market.rolling import RollingWindow, WindowStatistics, statistics_of, window_start
from ingest_actors.simulator.market.scheduler import Scheduler
from ingest_actors.simulator.market.symbols import SymbolSpec
from ingest_actors.simulator.market.trades import Aggregate, Trade

_WINDOWS_US = {"1h": HOUR_US, "4h": 4 * HOUR_US, "1d": DAY_US}
_BLOCKS_KEPT = 1000


class Sleeper(Protocol):
    """Something that waits for an order."""

    channel: Channel

    def start(self) -> None:
        """Go on."""


class SymbolMarket:
    """One symbol. What is published goes to the channels that exist; what REST tells is never ahead of that.

    Its book is made when the first order arrives or somebody asks for it, so that thousands of symbols cost little.

    Args:
        spec: the symbol.
        scheduler: the market's time.
        seed: of everything random.
        activity: multiplies the rate of orders; 0 = nothing ever happens.
        history: how many trades and aggregates are remembered.
        orders_per_block: one block trade in about so many orders; 0 = none.
        old_schema: trades carry the order ids of buyer and seller, as until 2024.

    Attributes:
        status: the symbol's, as exchangeInfo tells it; orders arrive only while it is ``TRADING``.
        candles: all that was published, by interval.
        trades: the newest published trades; likewise `aggregates` and `blocks`.
        channels: streams that are sent at the instant of what they tell, by their type; only those subscribed.
        last_quantity: of the last published trade.
    """

    def __init__(
        self,
        spec: SymbolSpec,
        scheduler: Scheduler,
        *,
        seed: int,
        activity: float,
        history: int,
        orders_per_block: int = 0,
        old_schema: bool = False,
    ) -> None:
        self.spec = spec
        self.status = "TRADING"
        self.channels: dict[str, Channel] = {}
        self._scheduler = scheduler
        self._seed = seed
        self._activity = activity
        self._history = history
        self._orders_per_block = orders_per_block
        self._trade_payload = payloads.trade_with_order_ids if old_schema else payloads.trade
        self._flow: OrderFlow | None = None
        self._resets = 0
        self._due = False
        self._sleepers: list[Sleeper] = []
        self._forget(spec.price)
        self._schedule_first()

    @property
    def flow(self) -> OrderFlow:
        """The orders that arrive."""
        if self._flow is None:
            self._flow = OrderFlow(
                self.spec, seed=str(self._seed), activity=self._activity, orders_per_block=self._orders_per_block
            )
        return self._flow

    @property
    def book(self) -> OrderBook:
        """The order book; another one after `reset_ids`."""
        return self.flow.book

    @property
    def is_active(self) -> bool:
        """Whether anything can happen."""
        return self._activity > 0 and self.status == "TRADING"

    def window(self, name: str, now_us: int) -> WindowStatistics:
        """Statistics of the rolling window ``1h``, ``4h`` or ``1d`` that ends now."""
        window = self._windows.get(name)
        if window is None:
            window = self._windows[name] = RollingWindow(_WINDOWS_US[name], self.candles, now_us)
        return window.statistics(now_us, self.candles, self.last_quantity)

    def window_of(self, length_us: int, now_us: int) -> WindowStatistics:
        """The same for a window of any length."""
        start_us = window_start(now_us, length_us)
        return self.statistics(start_us, now_us // DAY_US * DAY_US + DAY_US - 1)

    def statistics(self, start_us: int, end_us: int) -> WindowStatistics:
        """Statistics of all that was published between two times, both inclusive and borders of minutes."""
        before = self.candles.price_before(start_us)
        return statistics_of(self.candles.span(start_us, end_us), before, self.last_quantity)

    def wait_for_order(self, sleeper: Sleeper) -> None:
        """Start something again when the next order arrives, unless nobody listens to it any more."""
        self._sleepers = [other for other in self._sleepers if other.channel.sessions]
        self._sleepers.append(sleeper)

    def set_status(self, status: str) -> None:
        """Change the status: while it is not ``TRADING`` no orders arrive, and so all streams fall silent.

        What was traded before is still published, and the candles it lies in are closed when they end.
        """
        self.status = status
        self._schedule_first()

    def reset_ids(self) -> None:
        """Begin again as the test network does once a month: an empty past, a new book, ids that are lower."""
        price = self.flow.last_price
        self._resets += 1
        rng = random.Random(f"{self._seed}/reset/{self._resets}/{self.spec.name}")  # noqa: S311 - not for secrets
        self._flow = OrderFlow(
            self.spec, seed=f"{self._seed}/{self._resets}", activity=self._activity, price=price,
            orders_per_block=self._orders_per_block,
            first_ids=FirstIds(rng.randrange(1000), rng.randrange(1000), rng.randrange(1000), 0),
        )  # fmt: skip
        self._forget(price)

    def _forget(self, price: int) -> None:
        """Have no past."""
        self.trades: History[Trade] = History(self._history, _trade_id, _time_us)
        self.aggregates: History[Aggregate] = History(self._history, _aggregate_id, _aggregate_us)
        self.blocks: History[Trade] = History(min(_BLOCKS_KEPT, self._history), _trade_id, _time_us)
        self.candles = CandleStore(price, self._scheduler.now_us, on_minute=self._minute_ended)
        self._windows: dict[str, RollingWindow] = {}
        self.last_quantity = 0
        self._published_us = 0

    def _schedule_first(self) -> None:
        if self._due or not self.is_active:
            return
        self._due = True
        now_us = self._scheduler.now_us
        rng = random.Random(f"{self._seed}/open/{self.spec.name}/{now_us}")  # noqa: S311 - not for secrets
        first_us = int(rng.expovariate(self.spec.orders_per_s * self._activity / 1e6))
        self._scheduler.at(now_us + first_us, self._order)

    def _order(self) -> None:
        """One order arrives."""
        if self.status != "TRADING":
            self._due = False
            return
        flow, scheduler = self.flow, self._scheduler
        book = flow.book
        now_us = scheduler.now_us
        channel = self.channels.get("bookTicker")
        before = (book.best_bid, book.best_ask) if channel is not None else None
        fills = flow.arrive(now_us)
        if self._sleepers:
            sleepers, self._sleepers = self._sleepers, []
            for sleeper in sleepers:
                sleeper.start()
        if fills:
            self._publish_later(self._publish, flow, fills)
        if channel is not None and before != (book.best_bid, book.best_ask):
            channel.emit(payloads.book_ticker, self.spec.name, book.update_id, book.best_bid, book.best_ask)
        if now_us >= book.mark_us:
            book.mark(now_us)
        if flow.block_due():
            self._publish_later(self._publish_block, flow, flow.block_trade(now_us))
        scheduler.at(now_us + flow.gap_us(), self._order)

    def _publish_later(self, publish: Callable[..., None], flow: OrderFlow, what: object) -> None:
        """In the order in which things happened; what a reset has overtaken is dropped."""
        self._published_us = max(self._published_us, self._scheduler.now_us + delay_us(flow.rng))
        self._scheduler.at(self._published_us, publish, flow, what)

    def _publish(self, flow: OrderFlow, fills: list[Aggregate]) -> None:
        """What one taker order traded becomes known, to everybody at once."""
        if flow is not self._flow:
            return
        now_us = self._scheduler.now_us
        name = self.spec.name
        trade_channel, aggregate_channel = self.channels.get("trade"), self.channels.get("aggTrade")
        for fill in fills:
            self.trades.extend(fill.trades, now_us)
            for trade in fill.trades:
                self.candles.add(trade)
                if trade_channel is not None:
                    trade_channel.emit(self._trade_payload, now_us, name, trade)
            self.aggregates.extend((fill,), now_us)
            if aggregate_channel is not None:
                aggregate_channel.emit(payloads.aggregate_trade, now_us, name, fill)
        self.last_quantity = fills[-1].trades[-1].quantity

    def _publish_block(self, flow: OrderFlow, block: Trade) -> None:
        """A block trade: told on its own stream alone; candles and tickers do not count it."""
        if flow is not self._flow:
            return
        now_us = self._scheduler.now_us
        self.blocks.extend((block,), now_us)
        channel = self.channels.get("blockTrade")
        if channel is not None:
            channel.emit(payloads.block_trade, now_us, self.spec.name, block)

    def _minute_ended(self, minute: Candle) -> None:
        for window in self._windows.values():
            window.add(minute)


def _trade_id(trade: Trade) -> int:
    return trade.trade_id


def _time_us(trade: Trade) -> int:
    return trade.time_us


def _aggregate_id(aggregate: Aggregate) -> int:
    return aggregate.aggregate_id


def _aggregate_us(aggregate: Aggregate) -> int:
    return aggregate.time_us
