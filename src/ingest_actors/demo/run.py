"""The demo from start to end: exchange, Kafka, service, HTTP server, and somebody who shows it all."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import trio
from rich.console import Console

from ingest_actors.bounds import Bounds
from ingest_actors.console.http import serve_http
from ingest_actors.demo.ledger_table import balances, ledger_table
from ingest_actors.demo.screen import show_lines, show_screen
from ingest_actors.demo.view import Addresses
from ingest_actors.kafka.opening import KafkaSink, open_sink
from ingest_actors.network import real_network
from ingest_actors.nursery import open_nursery
from ingest_actors.proxies import Proxies
from ingest_actors.service import Service, wall_clock_ms
from ingest_actors.settings import Settings
from ingest_actors.simulator import SimulatorConfig, open_exchange

DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "ADAUSDT", "XRPUSDT")

FIRST_DELIVERY_S_MAX: Final = 3.0
POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo is started with.

    Attributes:
        symbols: what is traded in the simulated market.
        stream_types: suffixes of the streams, as in `BINANCE_STREAM_TYPES`; None = the default ones.
        seed: the same seed gives the same market.
        activity: how busy the market is; 1 = a few hundred events a second for five symbols.
        duration_s: ends by itself after so many seconds of flow; None = goes on until it is stopped.
        http_port: of health, metrics and page; 0 = any free one.
    """

    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    stream_types: tuple[str, ...] | None = None
    seed: int = 0
    activity: float = 1.0
    duration_s: float | None = None
    http_port: int = 0


class ObeySignals(Protocol):
    """Turns signals into calls; for `nursery.start`."""

    def __call__(
        self, *, stop: Callable[[], None], cancel: Callable[[], None], task_status: trio.TaskStatus[None]
    ) -> Awaitable[None]:
        """Call `stop` for the first signal and `cancel` for the second."""
        ...


async def run_demo(
    options: DemoOptions,
    *,
    announce: Callable[[dict[str, object]], None],
    obey_signals: ObeySignals | None = None,
    console: Console | None = None,
) -> int:
    """Run the demo until it is stopped or its time is over.

    Args:
        options: see `DemoOptions`.
        announce: called once, when events are about to flow, with ``ws_url``, ``rest_url``, ``bootstrap_servers`` and
            ``http_url``.
        obey_signals: started with what stops the demo and what cancels it; None = only time or cancellation ends it.
        console: where to show it; None = stderr. A live table on a terminal, a line now and then elsewhere.

    Returns:
        0 when it drained and the ledger balances, with nothing left in flight; 1 otherwise.

    Raises:
        IngestError: the service failed.
        OSError: no port is to be had.
    """
    console = console or Console(file=sys.stderr)
    market = SimulatorConfig(symbols=options.symbols, seed=options.seed, activity=options.activity)
    async with open_exchange(market) as exchange:
        assert exchange.ws_url is not None
        assert exchange.rest_url is not None
        settings = _settings(options, exchange.ws_url, exchange.rest_url)
        sink = await open_sink(settings, queue_bytes=Bounds.of(settings.buffer_max_bytes).sink)
        # The exchange is in this very process: no proxy of the environment leads there.
        network = real_network(settings, clock_ms=wall_clock_ms, proxies=Proxies({}))
        service = Service(settings, sink=sink, network=network)
        await _run_in_company(service, sink, options, announce=announce, obey_signals=obey_signals, console=console)
    return _tell_end(service, console)


def _settings(options: DemoOptions, ws_url: str, rest_url: str) -> Settings:
    """The defaults, but for where things are."""
    given = {} if options.stream_types is None else {"binance_stream_types": options.stream_types}
    return Settings(
        binance_symbols=options.symbols,
        binance_ws_url=ws_url,
        binance_rest_url=rest_url,
        kafka_bootstrap_servers="embedded",
        instance_name="demo",
        **given,
    )


async def _run_in_company(
    service: Service,
    sink: KafkaSink,
    options: DemoOptions,
    *,
    announce: Callable[[dict[str, object]], None],
    obey_signals: ObeySignals | None,
    console: Console,
) -> None:
    """The service, what shows it, and what ends it."""
    settings = service.settings
    async with open_nursery() as nursery:
        if obey_signals is not None:
            await nursery.start(partial(obey_signals, stop=service.stop, cancel=service.cancel))
        http = partial(
            serve_http,
            service.status,
            details=service.details,
            host="127.0.0.1",
            port=options.http_port,
            instance="demo",
        )
        addresses = Addresses(
            ws_url=settings.binance_ws_url[0],
            rest_url=settings.binance_rest_url[0],
            bootstrap_servers=sink.bootstrap_servers,
            http_url=await nursery.start(http),
        )
        show = show_screen if console.is_terminal else show_lines
        nursery.start_soon(_present, service, addresses, options, announce, partial(show, console=console))
        await service.run()
        nursery.cancel_scope.cancel()


async def _present(
    service: Service,
    addresses: Addresses,
    options: DemoOptions,
    announce: Callable[[dict[str, object]], None],
    show: Callable[..., Awaitable[None]],
) -> None:
    """Announce it once something is in Kafka, show it, and stop it when its time is over."""
    await service.wait_ready()
    await _first_delivery(service)
    announce(addresses._asdict())
    async with open_nursery() as nursery:
        nursery.start_soon(partial(show, service.status, addresses))
        if options.duration_s is not None:
            await trio.sleep(options.duration_s)
            service.stop()


async def _first_delivery(service: Service) -> None:
    """So that whoever looks in at once finds topics; streams may be slow, so not for long."""
    for _ in range(round(FIRST_DELIVERY_S_MAX / POLL_S)):
        if service.status().total.delivered:
            return
        await trio.sleep(POLL_S)


def _tell_end(service: Service, console: Console) -> int:
    status = service.status()
    whole = balances(status) and not status.total.in_flight
    console.print(ledger_table(status, title="The ledger at the end, in events"))
    if whole:
        console.print("Stopped. It balances: every event that was received is accounted for.")
    else:
        console.print(f"Stopped. {status.total.in_flight} events were left in flight.")
    stopped = service.report is not None and service.report.reason == "stopped"
    return 0 if whole and stopped else 1
