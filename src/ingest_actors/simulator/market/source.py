"""The market as a source of streams and of REST's answers."""

from __future__ import annotations

from collections import Counter

import trio

from ingest_actors.errors import SettingsError
from ingest_actors.simulator.channel import Channel
from ingest_actors.simulator.clock import ExchangeClock
from ingest_actors.simulator.config import SimulatorConfig
from ingest_actors.simulator.market.extended import ExtendedChannel
from ingest_actors.simulator.market.feed_factory import make_feed
from ingest_actors.simulator.market.feeds import DepthFeed
from ingest_actors.simulator.market.lag import LagWatch
from ingest_actors.simulator.market.rest import MarketRest
from ingest_actors.simulator.market.scheduler import Scheduler
from ingest_actors.simulator.market.streams import StreamName, parse_stream
from ingest_actors.simulator.market.symbol_market import SymbolMarket
from ingest_actors.simulator.market.symbol_names import check_status, refused_names
from ingest_actors.simulator.market.symbols import SymbolSpec, make_spec, make_specs
from ingest_actors.simulator.rest_data import RestData
from ingest_actors.simulator.session import Session

_SLICE_US = 10_000
"""Market time that passes between two looks at the rest of the program."""

_FLAT_OUT_SLICE_US = 50_000
"""The same, for a market that runs as fast as its readers take it."""

_AT_THE_INSTANT = frozenset(("trade", "aggTrade", "blockTrade", "bookTicker"))


class MarketSource:
    """A seeded market of many symbols. What happens in it depends on the seed, not on who listens.

    Args:
        config: symbols, seed, activity, speed, ...
        start_us: market time at the start.

    Raises:
        SettingsError: a symbol's name is none.
    """

    events = frozenset(("reset_ids", "set_status", "list_symbol", "rest_lag"))

    def __init__(self, config: SimulatorConfig, start_us: int) -> None:
        self.lossless = not config.speed
        self.clock = ExchangeClock(start_us, config.speed)
        self.scheduler = Scheduler(start_us)
        self._config = config
        names = [*config.symbols, *config.quiet]
        problems = refused_names(names)
        if problems:
            raise SettingsError([f"symbols: {problem}" for problem in problems])
        quiet = {name.upper() for name in config.quiet}
        self.markets: dict[str, SymbolMarket] = {
            spec.name: self._market(spec, is_quiet=spec.name in quiet)
            for spec in make_specs(names, seed=config.seed, levels=config.book_levels)
        }
        self.depth_feeds: dict[str, dict[tuple[str, int], DepthFeed]] = {}
        self.rest: RestData = MarketRest(
            self.markets, self.depth_feeds, self.scheduler, seed=config.seed, lag_s=config.rest_lag_s
        )
        self._channels: dict[tuple[str, int], Channel] = {}
        self._listeners: Counter[Session] = Counter()  # of how many channels; no session has none
        self._early: dict[str, dict[tuple[Session, str], None]] = {}
        self._wanted = trio.lowlevel.ParkingLot()

    def now_ms(self) -> int:
        """Market time, ms since the epoch."""
        return self.clock.now_ms()

    def attach(self, session: Session, stream: str) -> None:
        """Send `stream` to `session` from now on, if there is such a stream; else as soon as its symbol is listed."""
        name = parse_stream(stream)
        if name is None:
            return
        if name.symbol and name.symbol not in self.markets:
            self._early.setdefault(name.symbol, {})[session, stream] = None
            return
        key = _channel_key(session, stream, name)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = (ExtendedChannel if self._config.extra_fields else Channel)(stream)
            self._join(channel, session)
            self._begin(channel, name, key)
        self._join(channel, session)
        self._wanted.unpark_all()

    def detach(self, session: Session, stream: str) -> None:
        """Stop that."""
        name = parse_stream(stream)
        if name is None:
            return
        early = self._early.get(name.symbol)
        if early is not None:
            early.pop((session, stream), None)
            if not early:
                del self._early[name.symbol]
        key = _channel_key(session, stream, name)
        channel = self._channels.get(key)
        if channel is None or session not in channel.sessions:
            return
        del channel.sessions[session]
        self._listeners[session] -= 1
        if not self._listeners[session]:
            del self._listeners[session]
        if channel.sessions:
            return
        del self._channels[key]
        if name.symbol:
            self.markets[name.symbol].channels.pop(name.kind, None)
            self.depth_feeds.get(name.symbol, {}).pop(key, None)

    def reset_ids(self, symbol: str | None = None) -> None:
        """Wipe the past of one symbol, or of all, as the test network does: ids begin again, lower, at later times.

        Raises:
            SettingsError: there is no such symbol.
        """
        for market in list(self.markets.values()) if symbol is None else [self._listed(symbol)]:
            market.reset_ids()

    def set_status(self, symbol: str, status: str) -> None:
        """Change a symbol's status: REST tells it, and while it is not ``TRADING`` nothing happens.

        Raises:
            SettingsError: there is no such symbol, or no such status.
        """
        check_status(status)
        self._listed(symbol).set_status(status)

    def list_symbol(self, name: str) -> None:
        """Begin to trade one more symbol; whoever has subscribed to its streams before gets them. Listed = no change.

        Raises:
            SettingsError: no symbol can have this name.
        """
        problems = refused_names([name])
        if problems:
            raise SettingsError(problems)
        symbol = name.upper()
        if symbol in self.markets:
            return
        spec = make_spec(symbol, rank=len(self.markets), seed=self._config.seed, levels=self._config.book_levels)
        self.markets[symbol] = self._market(spec)
        for session, stream in self._early.pop(symbol, {}):
            self.attach(session, stream)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let time pass until cancelled."""
        task_status.started()
        if self.clock.speed:
            await self._keep_time()
        else:
            await self._flat_out()

    def _listed(self, symbol: str) -> SymbolMarket:
        market = self.markets.get(symbol.upper())
        if market is None:
            raise SettingsError([f"symbol {symbol!r}: is not listed by the simulated exchange"])
        return market

    def _market(self, spec: SymbolSpec, *, is_quiet: bool = False) -> SymbolMarket:
        config = self._config
        return SymbolMarket(
            spec, self.scheduler, seed=config.seed, activity=0.0 if is_quiet else config.activity,
            history=config.history, orders_per_block=config.orders_per_block, old_schema=config.old_trade_schema,
        )  # fmt: skip

    async def _keep_time(self) -> None:
        lag = LagWatch(self.clock.speed)
        while True:
            now_us = self.clock.now_us()
            slice_us = _SLICE_US * max(1, round(self.clock.speed))
            while self.scheduler.now_us < now_us:
                busy_us = max(self.scheduler.next_us or 0, self.scheduler.now_us + slice_us)
                self.scheduler.advance(min(now_us, busy_us))
                lag.look(self.clock.now_us() - self.scheduler.now_us, trio.current_time())
                await trio.lowlevel.checkpoint()
            due_s = self.clock.when(self.scheduler.next_us or 0)
            await trio.sleep_until(max(due_s, trio.current_time() + self._config.tick_s))

    async def _flat_out(self) -> None:
        while True:
            if not self._listeners:
                await self._wanted.park()
                continue
            self.scheduler.advance(self.scheduler.now_us + _FLAT_OUT_SLICE_US)
            self.clock.advance_to(self.scheduler.now_us)
            await trio.lowlevel.checkpoint()
            for session in list(self._listeners):
                await session.wait_for_room()

    def _join(self, channel: Channel, session: Session) -> None:
        if session not in channel.sessions:
            channel.sessions[session] = None
            self._listeners[session] += 1

    def _begin(self, channel: Channel, name: StreamName, key: tuple[str, int]) -> None:
        """Start what feeds a channel."""
        if name.kind in _AT_THE_INSTANT:
            self.markets[name.symbol].channels[name.kind] = channel
            return
        seed = f"{self._config.seed}/feed/{key}"
        feed = make_feed(channel, name, self.markets, self.scheduler, seed=seed, phase_us=key[1])
        if isinstance(feed, DepthFeed):
            self.depth_feeds.setdefault(name.symbol, {})[key] = feed
        feed.start()


def _channel_key(session: Session, stream: str, name: StreamName) -> tuple[str, int]:
    """Streams with a grid are cut where the connection's own phase says, all others are the same for everybody."""
    return stream, session.phase_us if name.kind in ("depth", "partial") else 0
