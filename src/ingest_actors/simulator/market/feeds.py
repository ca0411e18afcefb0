"""Streams with a rhythm of their own: each feed wakes up by market time and sends what is due, while anyone listens."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping

from ingest_actors.simulator.channel import Channel
from ingest_actors.simulator.market import payloads
from ingest_actors.simulator.market.candles import SECOND_US
from ingest_actors.simulator.market.prices import has_reference_price, reference_price
from ingest_actors.simulator.market.scheduler import Scheduler
from ingest_actors.simulator.market.symbol_market import SymbolMarket

_TENTH_US = 100_000


class Feed(ABC):
    """Sends to one channel from time to time. Subclasses say when and what.

    Args:
        channel: to whom.
        scheduler: the market's time.
        seed: of its rhythm.
    """

    def __init__(self, channel: Channel, scheduler: Scheduler, *, seed: str) -> None:
        self.channel = channel
        self.rng = random.Random(seed)  # noqa: S311 - not for secrets
        self._scheduler = scheduler

    def start(self) -> None:
        """Begin; the first wake-up is later than now."""
        self._scheduler.at(self.next_us(self._scheduler.now_us), self._wake)

    @abstractmethod
    def next_us(self, now_us: int) -> int:
        """When to wake up next."""

    @abstractmethod
    def send(self, now_us: int) -> None:
        """Send what is due now."""

    def _wake(self) -> None:
        if not self.channel.sessions:
            return
        now_us = self._scheduler.now_us
        self.send(now_us)
        self._scheduler.at(self.next_us(now_us), self._wake)


class _GridFeed(Feed):
    """Wakes up at whole multiples of a period, plus a phase."""

    def __init__(self, channel: Channel, scheduler: Scheduler, *, seed: str, period_us: int, phase_us: int) -> None:
        super().__init__(channel, scheduler, seed=seed)
        self._period_us = period_us
        self._phase_us = phase_us

    def next_us(self, now_us: int) -> int:
        """The next point of the grid."""
        return (now_us - self._phase_us) // self._period_us * self._period_us + self._period_us + self._phase_us


class _BookFeed(_GridFeed):
    """Tells of a symbol's book: sleeps until an order arrives, so that thousands of quiet books cost nothing."""

    def __init__(
        self, channel: Channel, market: SymbolMarket, scheduler: Scheduler, *, seed: str, period_us: int, phase_us: int
    ) -> None:
        super().__init__(channel, scheduler, seed=seed, period_us=period_us, phase_us=phase_us)
        self._market = market

    def _wake(self) -> None:
        if self.channel.sessions:
            self.send(self._scheduler.now_us)
            self._market.wait_for_order(self)


class DepthFeed(_BookFeed):
    """`depthUpdate`: all changes between two points of the grid. An interval without change sends nothing.

    Attributes:
        borders: ids on which the last events ended, newest last.
    """

    def __init__(
        self, channel: Channel, market: SymbolMarket, scheduler: Scheduler, *, seed: str, period_us: int, phase_us: int
    ) -> None:
        super().__init__(channel, market, scheduler, seed=seed, period_us=period_us, phase_us=phase_us)
        self._book = market.book
        self.borders: deque[int] = deque([self._book.update_id], maxlen=20)

    def send(self, now_us: int) -> None:
        """One event, or none. Now and then it leaves a moment after its event time, as other streams' do not."""
        book = self._market.book
        if book is not self._book:  # ids have begun again
            self._book = book
            self.borders.clear()
            self.borders.append(book.opened_id)
        first_id, last_id = self.borders[-1] + 1, book.update_id
        if first_id > last_id:
            return
        self.borders.append(last_id)
        render = (payloads.depth_update, now_us, self._market.spec.name, (first_id, last_id), book.changes(first_id))
        if self.rng.random() < 0.02:  # noqa: PLR2004 - a few inversions among thousands of frames
            self._scheduler.at(now_us + self.rng.randrange(1000, 4000), self.channel.emit, *render)
        else:
            self.channel.emit(*render)


class PartialDepthFeed(_BookFeed):
    """The best levels, each second or each 100 ms, when the book has changed."""

    def __init__(
        self, channel: Channel, market: SymbolMarket, scheduler: Scheduler, *, seed: str, levels: int,
        period_us: int, phase_us: int,
    ) -> None:  # fmt: skip
        super().__init__(channel, market, scheduler, seed=seed, period_us=period_us, phase_us=phase_us)
        self._levels = levels
        self._sent_id = market.book.update_id

    def send(self, _now_us: int) -> None:
        """One frame, or none."""
        book = self._market.book
        if book.update_id != self._sent_id:
            self._sent_id = book.update_id
            self.channel.emit(payloads.partial_depth, book.update_id, *book.top(self._levels))


class TickerFeed(_GridFeed):
    """Something about one symbol each second, when it has changed.

    Args:
        market: of the symbol.
        render: makes the payload: ``render(unit, now_us, market)``.
    """

    def __init__(
        self, channel: Channel, market: SymbolMarket, scheduler: Scheduler, *, seed: str, phase_us: int,
        render: Callable[[int, int, SymbolMarket], bytes],
    ) -> None:  # fmt: skip
        super().__init__(channel, scheduler, seed=seed, period_us=SECOND_US, phase_us=phase_us)
        self._market = market
        self._render = render
        self._sent: object = None

    def send(self, now_us: int) -> None:
        """One event, or none."""
        state = self.state(now_us)
        if state != self._sent and self._market.is_active:
            self._sent = state
            self.channel.emit(self._render, now_us, self._market)

    def state(self, _now_us: int) -> object:
        """Something that changes with what is told; None: there is nothing to tell yet."""
        last_id = self._market.candles.last_trade_id
        return None if last_id == -1 else last_id


class ReferencePriceFeed(TickerFeed):
    """The reference price, when it has changed: as trades come and as they grow old."""

    def state(self, now_us: int) -> object:
        """The price, and whether there ever was one."""
        market = self._market
        return (reference_price(market, now_us),) if has_reference_price(market) else None


class ArrayFeed(_GridFeed):
    """An array each second with one element for each symbol that traded meanwhile.

    Args:
        markets: all symbols, those that will be listed later too.
        render: makes one element: ``render(unit, now_us, market)``.
    """

    def __init__(
        self, channel: Channel, markets: Mapping[str, SymbolMarket], scheduler: Scheduler, *, seed: str, phase_us: int,
        render: Callable[[int, int, SymbolMarket], bytes],
    ) -> None:  # fmt: skip
        super().__init__(channel, scheduler, seed=seed, period_us=SECOND_US, phase_us=phase_us)
        self._markets = markets
        self._render = render
        self._sent: dict[str, int] = {}

    def send(self, now_us: int) -> None:
        """One array, or nothing when nothing traded."""
        changed = []
        for name, market in self._markets.items():
            state = market.candles.last_trade_id
            if state != self._sent.get(name, -1) and market.is_active:
                self._sent[name] = state
                changed.append(market)
        if changed:
            self.channel.emit(
                lambda unit: b"[" + b",".join([self._render(unit, now_us, market) for market in changed]) + b"]"
            )


def tenth_or_second(*, fast: bool) -> int:
    """Period of a depth stream, microseconds."""
    return _TENTH_US if fast else SECOND_US
