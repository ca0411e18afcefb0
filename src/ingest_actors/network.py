"""The real ways to the exchange: its WebSocket endpoints, and its REST interface for what the settings amount to."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial

import httpx

from ingest_actors.actors.fleet import Wanted
from ingest_actors.actors.watch import Ask, OpenStatistics
from ingest_actors.announce import Announcer
from ingest_actors.binance.endpoint import Endpoints, stream_urls
from ingest_actors.binance.findings import Question
from ingest_actors.binance.names import streams_for
from ingest_actors.binance.rest import RestClient
from ingest_actors.binance.rest_errors import RequestRefused
from ingest_actors.binance.subscriber import StreamSubscriber
from ingest_actors.binance.symbols import TRADING, expand_symbols, is_pattern
from ingest_actors.binance.watched_stream import Activity
from ingest_actors.binance.weight import WeightBudget
from ingest_actors.errors import ExchangeUnreachable, SettingsError
from ingest_actors.protocols import Feed, Subscriber
from ingest_actors.proxies import Proxies
from ingest_actors.settings import Settings
from ingest_actors.websocket.connect import Connector
from ingest_actors.websocket.feed import open_feed
from ingest_actors.websocket.pacing import ReceivePacer
from ingest_actors.websocket.proxy import by_proxy


@dataclass(frozen=True)
class Network:
    """The ways to the exchange.

    Attributes:
        endpoints: WebSocket URLs, used in turn.
        open_feed: opens a WebSocket; gets how much it may read ahead, in bytes, beside what `OpenFeed` gets.
        subscriber: makes the control protocol of a connection from its streams.
        resolve: asks the exchange what the settings amount to.
        statistics: opens a way to ask it for the statistics of symbols; None = it cannot be asked.
        way: the proxy that leads to a URL, as it may be shown; empty when none does.
        open_rest: opens the REST interface for as long as it is wanted; None = there is none, nothing can be repaired.
        weight_used: REST weight that was spent within the last minute.
        resolving: makes another `resolve`, for other settings; None = there is none.
    """

    endpoints: Sequence[str]
    open_feed: Callable[..., AbstractAsyncContextManager[Feed]]
    subscriber: Callable[[tuple[str, ...]], Subscriber]
    resolve: Callable[[Announcer], Awaitable[Wanted]]
    statistics: OpenStatistics | None = None
    way: Callable[[str], str] = lambda _: ""
    open_rest: Callable[[], AbstractAsyncContextManager[RestClient]] | None = None
    weight_used: Callable[[], int] = lambda: 0
    resolving: Callable[[Settings], Callable[[Announcer], Awaitable[Wanted]]] | None = None


LISTING_TIMEOUT_S = 5.0
"""How long symbols that are named one by one wait to be checked: the stream matters more than the check."""


def real_network(
    settings: Settings,
    *,
    clock_ms: Callable[[], int],
    clock_ns: Callable[[], int] | None = None,
    connect: Connector | None = None,
    rest_transport: httpx.AsyncBaseTransport | None = None,
    proxies: Proxies | None = None,
) -> Network:
    """The network that the settings describe.

    Args:
        settings: endpoints and limits.
        clock_ms: wall clock for the time of receipt, ms since the epoch.
        clock_ns: a finer one instead, ns since the epoch.
        connect: the way to the WebSocket endpoints; None = the network, through a proxy where one is set.
        rest_transport: the way to the REST interface; None = likewise.
        proxies: which addresses are reached through a proxy; None = as the environment has it now.
    """
    proxies = proxies or Proxies()
    budget = WeightBudget(settings.rest_weight_per_minute)
    open_rest = partial(
        RestClient,
        Endpoints(settings.binance_rest_url),
        budget=budget,
        transport=rest_transport,
        proxies=proxies,
        trusted=cache(ssl.create_default_context),  # read once for all clients, when the first one needs it
    )

    def way(url: str) -> str:
        proxy = proxies.for_url(url) if connect is None else None
        return proxy.shown if proxy else ""

    return Network(
        endpoints=stream_urls(settings.binance_ws_url),
        open_feed=partial(
            open_feed,
            connect=connect or by_proxy(proxies),
            max_message_bytes=settings.ws_message_max_bytes,
            fast=settings.websocket_fast_path,
            pacer=ReceivePacer(settings.receive_pause_max_ms / 1000),
            clock_ms=clock_ms,
            clock_ns=clock_ns,
        ),
        subscriber=StreamSubscriber,
        resolve=partial(_resolve, settings, open_rest),
        statistics=partial(_open_statistics, open_rest),
        way=way,
        open_rest=open_rest,
        weight_used=lambda: budget.used,
        resolving=lambda other: partial(_resolve, other, open_rest),
    )


async def _resolve(settings: Settings, open_rest: Callable[..., RestClient], announce: Announcer) -> Wanted:
    """What is to be subscribed.

    Symbols that are named are subscribed even if the exchange cannot be asked about them; patterns mean nothing then.

    Raises:
        ExchangeUnreachable: there are patterns, and nobody to ask.
        RequestRefused: there are patterns, and the exchange does not answer the question.
        SettingsError: the exchange lists none of the symbols.
    """
    symbols, types = settings.binance_symbols, settings.binance_stream_types
    patterns = any(is_pattern(symbol) for symbol in symbols)
    try:
        async with open_rest(timeout_s=LISTING_TIMEOUT_S) as rest:
            statuses = await rest.exchange_info(None if patterns else symbols)
    except (ExchangeUnreachable, RequestRefused) as failure:
        if patterns:
            raise
        announce(
            "symbols_unchecked",
            level="warning",
            url=failure.url,
            cause=failure.cause if isinstance(failure, ExchangeUnreachable) else str(failure),
            hint="a misspelt symbol would be silent; BINANCE_REST_URL is where symbols are checked",
        )
        return Wanted(tuple(streams_for(symbols, types)))
    expanded = expand_symbols(symbols, statuses)
    streams = tuple(streams_for(expanded.symbols, types))
    if not streams:
        given = ",".join(symbols)
        nearest = ", ".join(name for name in expanded.unknown.values() if name)
        raise SettingsError(
            [f"BINANCE_SYMBOLS={given}: the exchange lists none of these" + (f"; near: {nearest}" if nearest else "")]
        )
    return Wanted(
        streams,
        listed=len(streams),
        asked=len(streams_for([*expanded.symbols, *expanded.unknown], types)),
        unlisted=expanded.unknown,
        symbols_listed=frozenset(statuses),
        symbols_halted=frozenset(symbol for symbol, status in statuses.items() if status != TRADING),
    )


def streams_under_patterns(settings: Settings, symbols: Iterable[str]) -> frozenset[str]:
    """The streams of those symbols, whether they trade or not, that the settings mean by a pattern."""
    patterns = [symbol for symbol in settings.binance_symbols if is_pattern(symbol)]
    meant = expand_symbols(patterns, dict.fromkeys(symbols, TRADING)).symbols
    return frozenset(streams_for(meant, settings.binance_stream_types))


@asynccontextmanager
async def _open_statistics(open_rest: Callable[[], RestClient]) -> AsyncIterator[Ask]:
    """Ask about symbols through one client, made when it is first needed: reading the certificates takes 50 ms."""
    async with AsyncExitStack() as stack:
        rest: RestClient | None = None

        async def ask(question: Question) -> Mapping[str, Activity] | None:
            nonlocal rest
            if rest is None:
                rest = await stack.enter_async_context(open_rest())
            try:
                return await rest.ticker_24h(question.symbols, top=question.top)
            except (ExchangeUnreachable, RequestRefused):
                return None  # the watch does without, and says what its verdicts are based on

        yield ask
