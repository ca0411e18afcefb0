"""The order flow of one symbol: orders arrive, rest in the book, are cancelled, or take what rests there."""

from __future__ import annotations

import random
from math import log
from typing import NamedTuple

from ingest_actors.simulator.market.book import OrderBook
from ingest_actors.simulator.market.symbols import SymbolSpec
from ingest_actors.simulator.market.trades import Aggregate, Trade

_KEEP_LEVELS = 5
"""A side of the book never has fewer levels than this ..."""

_KEEP_SHARE = 0.6
"""... and no order takes it below this share of its usual depth."""

_TAKE, _CANCEL = 0.27, 0.52
"""Shares of the arrivals, cumulative: takers, cancellations; the rest are orders that come to rest."""

_NEAR_LEVELS = 12.0
"""Mean distance from the top, in levels, at which orders are placed and cancelled."""

_CLUSTER = 0.02
"""How often the next order follows within the same instant, as those of one trader's algorithm do."""

_LIQUIDATION, _SWEEP = 0.001, 0.008
"""Shares of the takers, cumulative: hundreds of trades in an instant; several levels at once."""

_LIQUIDATION_SIZE = 80
"""How many usual orders a liquidation amounts to; small makers then stand at every level."""

_CROWD = 0.01
"""How often many small makers stand at a level otherwise."""


class FirstIds(NamedTuple):
    """The last ids before the first ones."""

    trade_id: int
    aggregate_id: int
    update_id: int
    block_id: int


class OrderFlow:
    """One symbol's orders, one at a time; the same seed gives the same orders.

    Args:
        spec: the symbol.
        seed: of everything random.
        activity: multiplies the rate of orders.
        price: around which the book is made, in 1e-8; None = the symbol's own.
        first_ids: where ids begin; None = as high as those of the exchange.
        orders_per_block: one block trade in about so many orders; 0 = none.

    Attributes:
        book: the order book.
        last_price: of the last trade, or the price at the start.
    """

    def __init__(
        self,
        spec: SymbolSpec,
        *,
        seed: str,
        activity: float,
        price: int | None = None,
        first_ids: FirstIds | None = None,
        orders_per_block: int = 0,
    ) -> None:
        rng = self.rng = random.Random(f"{seed}/flow/{spec.name}")  # noqa: S311 - not for secrets
        if first_ids is None:
            trade_id = rng.randrange(5 * 10**9, 8 * 10**9)
            first_ids = FirstIds(trade_id, trade_id - 5 * 10**8, rng.randrange(5 * 10**10, 9 * 10**10), 90)
        self.spec = spec
        self.book = OrderBook(first_ids.update_id)
        self.last_price = spec.price if price is None else price
        self._trade_id = first_ids.trade_id
        self._aggregate_id = first_ids.aggregate_id
        self._block_id = first_ids.block_id
        self._block_rate = 1 / orders_per_block if orders_per_block else 0.0
        self._until_block = self._draw_block()
        self._mean_gap_us = 1e6 / (spec.orders_per_s * activity * (1 - _CLUSTER)) if activity else 0.0
        self._random = rng.random
        self._drift = 0.0
        self._repeat: tuple[bool, int] | None = None
        self._fill_book()

    def gap_us(self) -> int:
        """How long until the next order."""
        uniform = self._random
        if uniform() < _CLUSTER:
            return int(300 * uniform())
        self._repeat = None
        return int(-log(1.0 - uniform()) * self._mean_gap_us)

    def arrive(self, now_us: int) -> list[Aggregate]:
        """One order arrives; what it traded, best price first."""
        uniform = self._random
        if self._repeat is not None:
            buys, steps = self._repeat
            return self._take(buys, max(1, steps // 2), now_us)
        kind = uniform()
        if kind < _TAKE:
            self._drift = 0.995 * self._drift + 0.07 * (uniform() - 0.5)
            pull = 0.15 * (1 - self.last_price / self.spec.price)
            buys = uniform() < 0.5 + min(0.3, max(-0.3, self._drift + pull))
            steps = self._taker_steps()
            self._repeat = (buys, steps)
            return self._take(buys, steps, now_us)
        is_bid = uniform() < 0.5  # noqa: PLR2004 - a fair coin
        side = self.book.bids if is_bid else self.book.asks
        excess = len(side) - self.spec.levels
        if kind < _CANCEL + 0.2 * (excess > 0) - 0.2 * (excess < 0):
            self._cancel(side)
        else:
            self._rest(side, is_bid=is_bid)
        return []

    def block_due(self) -> bool:
        """Whether a block trade follows the order that has just arrived. To be asked once an order."""
        self._until_block -= 1
        if self._until_block:
            return False
        self._until_block = self._draw_block()
        return True

    def block_trade(self, now_us: int) -> Trade:
        """A large trade that two parties agreed on outside the book, near the last price; its ids are their own."""
        rng = self.rng
        self._block_id += 1
        price = self.last_price + self.spec.tick * rng.randint(-3, 3)
        quantity = self.spec.step * self.spec.typical_steps * rng.randrange(1000, 5000)
        return Trade(self._block_id, max(self.spec.tick, price), quantity, now_us, rng.random() < 0.5)  # noqa: PLR2004

    def _draw_block(self) -> int:
        """After how many more orders the next block trade comes; never reaching 0 when there are none."""
        return 1 + int(self.rng.expovariate(self._block_rate)) if self._block_rate else -1

    def _taker_steps(self) -> int:
        steps = -log(1.0 - self._random()) * self.spec.typical_steps / 2.4
        luck = self._random()
        if luck < _LIQUIDATION:
            steps = _LIQUIDATION_SIZE * self.spec.typical_steps
        elif luck < _SWEEP:
            steps *= 8
        return 1 + int(steps)

    def _take(self, buys: bool, steps: int, now_us: int) -> list[Aggregate]:  # noqa: FBT001 - internal
        book, step = self.book, self.spec.step
        side = book.asks if buys else book.bids
        wanted = steps * step
        crowd = _CROWD if steps < _LIQUIDATION_SIZE * self.spec.typical_steps else 1.0
        fills = []
        keep = max(_KEEP_LEVELS, int(_KEEP_SHARE * self.spec.levels))
        while wanted and len(side) > keep:
            key = side[-1]
            available = book.quantities[key]
            quantity = min(wanted, available)
            fills.append(self._fill(key, available, quantity, now_us, not buys, crowd))
            wanted -= quantity
        return fills

    def _fill(  # noqa: PLR0917 - called for every fill
        self,
        key: int,
        available: int,
        quantity: int,
        now_us: int,
        buyer_is_maker: bool,  # noqa: FBT001
        crowd: float,
    ) -> Aggregate:
        """Trade with the makers who stand at one level, one trade each."""
        price = self.last_price = abs(key)
        steps = quantity // self.spec.step
        luck = self._random()
        many = 3.5 if luck < crowd else 0.35 if quantity < available else 0.6
        makers = min(steps, 1 + int(-log(1.0 - self._random()) * many))
        share = steps // makers * self.spec.step
        trades = []
        for maker in range(makers):
            part = share if maker < makers - 1 else quantity - share * (makers - 1)
            available -= part
            self.book.set(key, available)
            self._trade_id += 1
            trades.append(Trade(self._trade_id, price, part, now_us, buyer_is_maker))
        self._aggregate_id += 1
        first_id = self._trade_id - makers + 1
        return Aggregate(
            self._aggregate_id, price, quantity, first_id, self._trade_id, now_us, buyer_is_maker, tuple(trades)
        )

    def _rest(self, side: list[int], *, is_bid: bool) -> None:
        """An order comes to rest: inside the spread, at the top, or somewhat behind it."""
        uniform, book, tick = self._random, self.book, self.spec.tick
        spread_ticks = -(book.asks[-1] + book.bids[-1]) // tick
        place = uniform()
        if spread_ticks > 1 and place < min(0.9, 0.1 + 0.02 * spread_ticks):
            key = side[-1] + tick * (1 + int(uniform() * min(spread_ticks - 1, 1 + spread_ticks // 2)))
        else:
            depth = min(len(side) - 1, int(-log(1.0 - uniform()) * _NEAR_LEVELS))
            key = side[-1 - depth]
            if place >= 0.6:  # noqa: PLR2004 - the others join a level that is there
                key -= tick * (1 + int(uniform() * (1 + depth)))
        if is_bid and key <= 0:
            return
        book.set(key, book.quantities.get(key, 0) + self._resting_quantity())

    def _cancel(self, side: list[int]) -> None:
        if len(side) <= _KEEP_LEVELS:
            return
        book = self.book
        far = len(side) > 1.2 * self.spec.levels
        uniform = self._random
        depth = int(uniform() * len(side)) if far else int(-log(1.0 - uniform()) * _NEAR_LEVELS)
        key = side[-1 - min(depth, len(side) - 1)]
        steps = book.quantities[key] // self.spec.step
        left = 0 if uniform() < 0.6 else int(uniform() * steps)  # noqa: PLR2004 - mostly whole levels
        book.set(key, left * self.spec.step)

    def _resting_quantity(self) -> int:
        return (1 + int(-log(1.0 - self._random()) * self.spec.typical_steps / 0.7)) * self.spec.step

    def _fill_book(self) -> None:
        """The book that the market opens with: dense at the top, sparse far from it."""
        spec, book = self.spec, self.book
        reach = max(1.0, 0.02 * spec.price / spec.tick / spec.levels)
        for sign in (1, -1):
            key = sign * self.last_price - (spec.tick if sign > 0 else 0)
            for level in range(spec.levels):
                if sign * key <= 0:
                    break
                book.set(key, self._resting_quantity())
                wide = reach * min(1.0, 0.05 + level / 50)
                key -= spec.tick * (1 + int(-log(1.0 - self._random()) * wide))
        book.open()
