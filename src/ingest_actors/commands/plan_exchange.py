"""What the exchange says to a plan: which symbols there are, whether it lets us in, and what time it has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import httpx
import trio

from ingest_actors.binance.endpoint import stream_urls
from ingest_actors.binance.names import streams_for
from ingest_actors.binance.rest import RestClient
from ingest_actors.binance.rest_errors import RequestRefused
from ingest_actors.binance.symbols import TRADING, expand_symbols, is_pattern
from ingest_actors.errors import ExchangeUnreachable
from ingest_actors.nursery import open_nursery
from ingest_actors.proxies import Proxies
from ingest_actors.settings import Settings
from ingest_actors.websocket.connect import Connector
from ingest_actors.websocket.feed import open_feed
from ingest_actors.websocket.proxy import by_proxy

ASK_TIMEOUT_S: Final = 8.0
"""For each question to the exchange: somebody waits at a terminal."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What became of asking one address.

    Attributes:
        url: what was asked.
        reachable: whether it answered as the exchange does.
        cause: why not.
        hint: what to try.
        proxy: through which it was asked, as it may be shown; empty when through none.
    """

    url: str
    reachable: bool
    cause: str = ""
    hint: str = ""
    proxy: str = ""


@dataclass(slots=True)
class Symbols:
    """What the symbols of the settings amount to.

    Attributes:
        wanted: as set.
        streams: what would be subscribed.
        found: how many symbols; None when patterns stand for nobody knows how many.
        unlisted: those that the exchange does not list, each with the nearest that it does.
        not_trading: those that are listed and do not trade, with their status.
        unexpanded: patterns that nobody could be asked about.
    """

    wanted: tuple[str, ...]
    streams: tuple[str, ...] = ()
    found: int | None = None
    unlisted: dict[str, str] = field(default_factory=dict)
    not_trading: dict[str, str] = field(default_factory=dict)
    unexpanded: tuple[str, ...] = ()


@dataclass(slots=True)
class Exchange:
    """What the exchange said.

    Attributes:
        symbols: what is to be subscribed.
        rest: each REST address; empty = not asked.
        websockets: each endpoint; empty = not asked.
        clock_offset_ms: the exchange's clock minus ours, give or take half of `round_trip_ms`; None = not known.
        round_trip_ms: how long the answer took.
        used_weight: REST weight that this address has used of this minute, as the exchange counts.
    """

    symbols: Symbols
    rest: list[Endpoint] = field(default_factory=list)
    websockets: list[Endpoint] = field(default_factory=list)
    clock_offset_ms: int | None = None
    round_trip_ms: int | None = None
    used_weight: int | None = None

    @property
    def listed(self) -> bool:
        """Whether the symbols were checked."""
        return any(endpoint.reachable for endpoint in self.rest)


def unasked(settings: Settings) -> Exchange:
    """What can be said without asking: symbols that are named are taken as they stand."""
    patterns = tuple(symbol for symbol in settings.binance_symbols if is_pattern(symbol))
    named = [symbol for symbol in settings.binance_symbols if symbol not in patterns]
    streams = tuple(streams_for(named, settings.binance_stream_types))
    found = None if patterns else len(named)
    return Exchange(Symbols(settings.binance_symbols, streams, found, unexpanded=patterns))


async def ask_exchange(
    settings: Settings,
    *,
    connect: Connector | None = None,
    rest_transport: httpx.AsyncBaseTransport | None = None,
    proxies: Proxies | None = None,
) -> Exchange:
    """Ask it; whoever does not answer is told in the result. Costs one connection attempt for each endpoint.

    Args:
        settings: whom, and about what.
        connect: the way to the WebSocket endpoints; None = the network.
        rest_transport: the way to the REST interface; None = the network.
        proxies: which addresses are reached through a proxy; None = as the environment has it now.
    """
    proxies = proxies or Proxies()
    told = unasked(settings)
    urls = stream_urls(settings.binance_ws_url)
    found: dict[str, Endpoint] = {}

    async def try_endpoint(url: str) -> None:
        found[url] = await _try_websocket(url, connect or by_proxy(proxies), _shown(proxies, url))

    async def try_rest(base: str) -> None:
        found[base] = await _try_rest(told, base, rest_transport, proxies)

    async with open_nursery() as nursery:
        for base in settings.binance_rest_url:
            nursery.start_soon(try_rest, base)
        for url in urls:
            nursery.start_soon(try_endpoint, url)
    told.websockets = [found[url] for url in urls]
    told.rest = [found[base] for base in settings.binance_rest_url]
    if any(endpoint.reachable for endpoint in told.rest):
        await _ask_for_symbols(told, settings, rest_transport, proxies)
    return told


async def _try_rest(
    told: Exchange, base: str, transport: httpx.AsyncBaseTransport | None, proxies: Proxies
) -> Endpoint:
    proxy = _shown(proxies, base)
    try:
        async with RestClient([base], transport=transport, proxies=proxies, timeout_s=ASK_TIMEOUT_S) as rest:
            began, began_ms = trio.current_time(), time.time_ns() // 1_000_000
            theirs_ms = await rest.server_time()
    except ExchangeUnreachable as failure:
        return Endpoint(base, reachable=False, cause=failure.cause, hint=failure.hint, proxy=proxy)
    except RequestRefused as failure:
        return Endpoint(base, reachable=False, cause=str(failure), proxy=proxy)
    told.round_trip_ms = round((trio.current_time() - began) * 1000)
    told.clock_offset_ms = theirs_ms - began_ms - told.round_trip_ms // 2
    return Endpoint(base, reachable=True, proxy=proxy)


async def _ask_for_symbols(
    told: Exchange, settings: Settings, transport: httpx.AsyncBaseTransport | None, proxies: Proxies
) -> None:
    """Ask whoever has just answered; when that is refused after all, the symbols stay as they were named."""
    bases = [endpoint.url for endpoint in told.rest if endpoint.reachable]
    wanted = settings.binance_symbols
    try:
        async with RestClient(bases, transport=transport, proxies=proxies, timeout_s=ASK_TIMEOUT_S) as rest:
            statuses = await rest.exchange_info(None if any(map(is_pattern, wanted)) else wanted)
            told.used_weight = rest.used_weight
    except (ExchangeUnreachable, RequestRefused) as failure:
        hint = failure.hint if isinstance(failure, ExchangeUnreachable) else ""
        told.rest = [Endpoint(failure.url, reachable=False, cause=str(failure), hint=hint)]
    else:
        told.symbols = _found(wanted, settings.binance_stream_types, statuses)


def _found(wanted: tuple[str, ...], types: Sequence[str], statuses: dict[str, str]) -> Symbols:
    expanded = expand_symbols(wanted, statuses)
    return Symbols(
        wanted,
        tuple(streams_for(expanded.symbols, types)),
        len(expanded.symbols),
        unlisted=dict(expanded.unknown),
        not_trading={symbol: statuses[symbol] for symbol in expanded.symbols if statuses[symbol] != TRADING},
    )


async def _try_websocket(url: str, connect: Connector, proxy: str) -> Endpoint:
    try:
        async with open_feed(url, name="plan", connect=connect, open_timeout_s=ASK_TIMEOUT_S, close_timeout_s=1.0):
            return Endpoint(url, reachable=True, proxy=proxy)
    except ExchangeUnreachable as failure:
        return Endpoint(url, reachable=False, cause=failure.cause, hint=failure.hint, proxy=proxy)


def _shown(proxies: Proxies, url: str) -> str:
    proxy = proxies.for_url(url)
    return proxy.shown if proxy else ""
