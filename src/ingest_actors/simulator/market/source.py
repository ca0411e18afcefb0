"""The market as a source of streams and of REST's answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from ingest_actors.simulator.channel import Channel
from ingest_actors.simulator.clock import ExchangeClock
from ingest_actors.simulator.config import SimulatorConfig
from ingest_actors.simulator.market import payloads
from ingest_actors.simulator.market.feeds import (
    ArrayFeed,
    DepthFeed,
    Feed,
    KlineFeed,
    PartialDepthFeed,
    TickerFeed,
    average_price,
    tenth_or_second,
)
from ingest_actors.simulator.market.rest import MarketRest
from ingest_actors.simulator.market.scheduler import Scheduler
from ingest_actors.simulator.market.streams import StreamName, parse_stream
from ingest_actors.simulator.market.symbol_market import SymbolMarket
from ingest_actors.simulator.market.symbols import make_specs
from ingest_actors.simulator.rest_data import RestData
from ingest_actors.simulator.session import Session

_SLICE_US = 10_000
"""Market time that passes between two looks at the rest of the program."""

_FLAT_OUT_SLICE_US = 50_000
"""The same, for a market that runs as fast as its readers take it."""

_AT_THE_INSTANT = frozenset(("trade", "aggTrade", "bookTicker"))


class MarketSource:
    """A seeded market of many symbols. What happens in it depends on the seed, not on who listens.

    Args:
        config: symbols, seed, activity, speed, ...
        start_us: market time at the start.
    """

    def __init__(self, config: SimulatorConfig, start_us: int) -> None:
        self.lossless = not config.speed
        self.clock = ExchangeClock(start_us, config.speed)
        self.scheduler = Scheduler(start_us)
        specs = make_specs(config.symbols, seed=config.seed, levels=config.book_levels)
        self.markets = {
            spec.name: SymbolMarket(
                spec, self.scheduler, seed=config.seed, activity=config.activity, history=config.history
            )
            for spec in specs
        }
        self.depth_feeds: dict[str, dict[tuple[str, int], DepthFeed]] = {name: {} for name in self.markets}
        self.rest: RestData = MarketRest(
            self.markets, self.depth_feeds, self.scheduler, seed=config.seed, lag_s=config.rest_lag_s
        )
        self._seed = config.seed
        self._tick_s = config.tick_s
        self._channels: dict[tuple[str, int], Channel] = {}
        self._wanted = trio.lowlevel.ParkingLot()

    def now_ms(self) -> int:
        """Market time, ms since the epoch."""
        return self.clock.now_ms()

    def attach(self, session: Session, stream: str) -> None:
        """Send `stream` to `session` from now on, if there is such a stream."""
        name = parse_stream(stream)
        if name is None or (name.symbol and name.symbol not in self.markets):
            return
        key = _channel_key(session, stream, name)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(stream)
            channel.sessions[session] = None
            self._begin(channel, name, key)
        channel.sessions[session] = None
        self._wanted.unpark_all()

    def detach(self, session: Session, stream: str) -> None:
        """Stop that."""
        name = parse_stream(stream)
        if name is None:
            return
        key = _channel_key(session, stream, name)
        channel = self._channels.get(key)
        if channel is None or session not in channel.sessions:
            return
        del channel.sessions[session]
        if channel.sessions:
            return
        del self._channels[key]
        if name.symbol:
            self.markets[name.symbol].channels.pop(name.kind, None)
            self.depth_feeds[name.symbol].pop(key, None)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let time pass until cancelled."""
        task_status.started()
        if self.clock.speed:
            await self._keep_time()
        else:
            await self._flat_out()

    async def _keep_time(self) -> None:
        while True:
            now_us = self.clock.now_us()
            slice_us = _SLICE_US * max(1, round(self.clock.speed))
            while self.scheduler.now_us < now_us:
                busy_us = max(self.scheduler.next_us or 0, self.scheduler.now_us + slice_us)
                self.scheduler.advance(min(now_us, busy_us))
                await trio.lowlevel.checkpoint()
            due_s = self.clock.when(self.scheduler.next_us or 0)
            await trio.sleep_until(max(due_s, trio.current_time() + self._tick_s))

    async def _flat_out(self) -> None:
        while True:
            sessions = {session for channel in self._channels.values() for session in channel.sessions}
            if not sessions:
                await self._wanted.park()
                continue
            self.scheduler.advance(self.scheduler.now_us + _FLAT_OUT_SLICE_US)
            self.clock.advance_to(self.scheduler.now_us)
            await trio.lowlevel.checkpoint()
            for session in sessions:
                await session.wait_for_room()

    def _begin(self, channel: Channel, name: StreamName, key: tuple[str, int]) -> None:
        """Start what feeds a channel."""
        if name.kind in _AT_THE_INSTANT:
            self.markets[name.symbol].channels[name.kind] = channel
            return
        feed = self._feed(channel, name, key)
        if isinstance(feed, DepthFeed):
            self.depth_feeds[name.symbol][key] = feed
        feed.start()

    def _feed(self, channel: Channel, name: StreamName, key: tuple[str, int]) -> Feed:
        scheduler = self.scheduler
        seed = f"{self._seed}/feed/{key}"
        phase_us = key[1]
        if not name.symbol:
            render = _mini_ticker if name.kind == "miniTicker" else partial(_rolling_ticker, name.option)
            return ArrayFeed(
                channel, list(self.markets.values()), scheduler, seed=seed, phase_us=phase_us, render=render
            )
        market = self.markets[name.symbol]
        if name.kind == "depth":
            period_us = tenth_or_second(fast=name.fast)
            return DepthFeed(channel, market, scheduler, seed=seed, period_us=period_us, phase_us=phase_us)
        if name.kind == "partial":
            period_us = tenth_or_second(fast=name.fast)
            return PartialDepthFeed(
                channel, market, scheduler, seed=seed, levels=name.levels, period_us=period_us, phase_us=phase_us
            )
        if name.kind == "kline":
            return KlineFeed(channel, market, scheduler, seed=seed, interval=name.option, offset_us=name.offset_us)
        return self._ticker_feed(channel, name, market, seed=seed, phase_us=phase_us)

    def _ticker_feed(
        self, channel: Channel, name: StreamName, market: SymbolMarket, *, seed: str, phase_us: int
    ) -> TickerFeed:
        def changing() -> int:
            return market.candles.last_trade_id

        renders: dict[str, Callable[[int, int, SymbolMarket], bytes]] = {
            "miniTicker": _mini_ticker,
            "ticker": _ticker,
            "rolling": partial(_rolling_ticker, name.option),
            "avgPrice": _average_price,
            "referencePrice": _reference_price,
        }
        render = renders[name.kind]
        return TickerFeed(
            channel,
            self.scheduler,
            seed=seed,
            phase_us=phase_us,
            changing=changing,
            render=lambda unit, now_us: render(unit, now_us, market),
        )


def _channel_key(session: Session, stream: str, name: StreamName) -> tuple[str, int]:
    """Streams with a grid are cut where the connection's own phase says, all others are the same for everybody."""
    return stream, session.phase_us if name.kind in ("depth", "partial") else 0


def _mini_ticker(unit: int, now_us: int, market: SymbolMarket) -> bytes:
    return payloads.mini_ticker(unit, now_us, market.spec.name, market.window("1d", now_us))


def _ticker(unit: int, now_us: int, market: SymbolMarket) -> bytes:
    book = market.book
    return payloads.ticker(unit, now_us, market.spec.name, market.window("1d", now_us), (book.best_bid, book.best_ask))


def _rolling_ticker(window: str, unit: int, now_us: int, market: SymbolMarket) -> bytes:
    return payloads.rolling_ticker(unit, now_us, market.spec.name, window, market.window(window, now_us))


def _average_price(unit: int, now_us: int, market: SymbolMarket) -> bytes:
    price = average_price(market, now_us)
    return payloads.average_price(unit, now_us, market.spec.name, price, market.candles.last_trade_us)


def _reference_price(unit: int, now_us: int, market: SymbolMarket) -> bytes:
    return payloads.reference_price(unit, now_us, market.spec.name, market.candles.last_price)
