"""From a stream's name to the feed that fills it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from ingest_actors.simulator.channel import Channel
from ingest_actors.simulator.market import payloads
from ingest_actors.simulator.market.feeds import (
    ArrayFeed,
    DepthFeed,
    Feed,
    PartialDepthFeed,
    ReferencePriceFeed,
    TickerFeed,
    tenth_or_second,
)
from ingest_actors.simulator.market.kline_feed import KlineFeed
from ingest_actors.simulator.market.prices import average_price, reference_price
from ingest_actors.simulator.market.scheduler import Scheduler
from ingest_actors.simulator.market.streams import StreamName
from ingest_actors.simulator.market.symbol_market import SymbolMarket

Render = Callable[[int, int, SymbolMarket], bytes]


def make_feed(
    channel: Channel,
    name: StreamName,
    markets: Mapping[str, SymbolMarket],
    scheduler: Scheduler,
    *,
    seed: str,
    phase_us: int,
) -> Feed:
    """The feed of a stream that has a rhythm; it is not started yet.

    Args:
        channel: to whom.
        name: which stream.
        markets: all symbols, those that will be listed later too.
        scheduler: the market's time.
        seed: of its rhythm.
        phase_us: where its intervals begin.
    """
    if not name.symbol:
        return ArrayFeed(channel, markets, scheduler, seed=seed, phase_us=phase_us, render=_array_render(name))
    market = markets[name.symbol]
    if name.kind == "kline":
        return KlineFeed(channel, market, scheduler, seed=seed, interval=name.option, offset_us=name.offset_us)
    period_us = tenth_or_second(fast=name.fast)
    if name.kind == "depth":
        return DepthFeed(channel, market, scheduler, seed=seed, period_us=period_us, phase_us=phase_us)
    if name.kind == "partial":
        return PartialDepthFeed(
            channel, market, scheduler, seed=seed, levels=name.levels, period_us=period_us, phase_us=phase_us
        )
    renders: dict[str, Render] = {
        "miniTicker": _mini_ticker,
        "ticker": _ticker,
        "rolling": partial(_rolling_ticker, name.option),
        "avgPrice": _average_price,
        "referencePrice": _reference_price,
    }
    feed = ReferencePriceFeed if name.kind == "referencePrice" else TickerFeed
    return feed(channel, market, scheduler, seed=seed, phase_us=phase_us, render=renders[name.kind])


def _array_render(name: StreamName) -> Render:
    return _mini_ticker if name.kind == "miniTicker" else partial(_rolling_ticker, name.option)


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
    return payloads.reference_price(unit, now_us, market.spec.name, reference_price(market, now_us))
