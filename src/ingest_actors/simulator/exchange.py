"""The simulated exchange as one thing: a source, a WebSocket server, a REST server."""

from __future__ import annotations

import errno
import os
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve as serve_hypercorn
from starlette.applications import Starlette
from trio.testing import memory_stream_pair

from ingest_actors.nursery import most_telling
from ingest_actors.simulator.config import SimulatorConfig
from ingest_actors.simulator.fault_run import FaultRun, Fired
from ingest_actors.simulator.faults import Fault
from ingest_actors.simulator.market.source import MarketSource
from ingest_actors.simulator.playback import RecordingSource
from ingest_actors.simulator.recording import Recording
from ingest_actors.simulator.rest_server import make_rest_app
from ingest_actors.simulator.source import Source
from ingest_actors.simulator.tls import make_tls
from ingest_actors.simulator.websocket_server import WebSocketServer

_GRACE_S = 0.5
"""How long REST requests under way may take to end when the exchange closes."""


class SimulatedExchange:
    """A running exchange.

    Attributes:
        ws_url: base of ``/ws`` and ``/stream``; None without a WebSocket port.
        rest_url: base of ``/api/v3/...``; None without a REST port.
        ca_file: certificate of the throw-away authority, with TLS.
        source: the market or the recording behind it.
        server: the open connections, to look at or to hurt.
        rest_app: the ASGI application, for tests without a socket.
    """

    def __init__(
        self,
        source: Source,
        server: WebSocketServer,
        rest_app: Starlette,
        *,
        faults: FaultRun,
        nursery: trio.Nursery,
        ws_url: str | None,
        rest_url: str | None,
        ca_file: Path | None,
    ) -> None:
        self.source = source
        self.server = server
        self.rest_app = rest_app
        self.ws_url = ws_url
        self.rest_url = rest_url
        self.ca_file = ca_file
        self._nursery = nursery
        self._faults = faults

    @property
    def fired(self) -> list[Fired]:
        """The faults that have happened so far, in their order (the last 100,000)."""
        return list(self._faults.fired)

    def inflict(self, fault: Fault) -> None:
        """Let something go wrong: at once, or, with a trigger, at times and counts that begin now.

        Without a trigger, or with `at_s`, it befalls the connections that are open; otherwise later ones too.

        Raises:
            SettingsError: it changes the market, and this market cannot, or has no such symbol.
        """
        self._faults.inflict(fault)

    async def serve_stream(self, stream: trio.abc.Stream, address: str | None = None) -> None:
        """Serve one WebSocket client over any stream, to the end of the connection.

        Args:
            stream: the server's end of it; it is closed in the end. Cancelled: it is closed at once.
            address: whose connection attempts are counted together; None: the peer's address, if it has one.
        """
        await self.server.serve_stream(stream, address)

    async def connect(self, *_address: object) -> trio.abc.Stream:
        """A client's end of a new connection in memory; the exchange serves the other end.

        Takes, and ignores, whatever says where to connect to, so that it can stand in for the way to the network. Such
        a stream holds any amount of data: nothing pushes back on the exchange.
        """
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self.serve_stream, theirs)
        return ours

    def now_ms(self) -> int:
        """The exchange's clock, ms since the epoch."""
        return self.source.now_ms()


@asynccontextmanager
async def open_exchange(config: SimulatorConfig) -> AsyncIterator[SimulatedExchange]:
    """Run a simulated exchange for the length of a block; ports are open on entry.

    Works in virtual time as well, with ports None or left unused: connect by `SimulatedExchange.serve_stream` and
    `SimulatedExchange.rest_app`. Leaving the block, or cancelling it, cuts every connection.

    Raises:
        SettingsError: TLS was asked for and is not installed; a recording cannot be read; a fault changes the
            market in a way that a recording cannot.
        OSError: a port is taken.
    """
    source = await _open_source(config)
    faults = FaultRun(config.faults, source)
    server = WebSocketServer(source, config.limits, faults, seed=config.seed, frame_per_send=config.frame_per_record)
    limits = config.limits
    rest_app = make_rest_app(
        source,
        weight_per_minute=limits.weight_per_minute,
        raw_requests_max=limits.raw_requests_max,
        strike=faults.rest,
    )
    context: ssl.SSLContext | None = None
    ca_file = server_file = None
    with ExitStack() as stack:
        if config.tls:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="simulated-exchange-")))
            context, ca_file, server_file = make_tls(directory, config.host, "localhost", "127.0.0.1", "::1")
        async with _open_nursery() as nursery:
            await nursery.start(_run_source, source)
            await nursery.start(_run_faults, faults)
            ws_url = await _serve_websocket(nursery, server, config, context)
            rest_url = await _serve_rest(nursery, rest_app, config, server_file)
            yield SimulatedExchange(
                source,
                server,
                rest_app,
                faults=faults,
                nursery=nursery,
                ws_url=ws_url,
                rest_url=rest_url,
                ca_file=ca_file,
            )


@asynccontextmanager
async def _open_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery that ends with its block, and lets what the block raises through as it is instead of in a group."""
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:
                raised = error
                raise
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if raised is None or group.exceptions != (raised,):
            raise
    if raised is not None:
        raise raised


async def run_simulator(config: SimulatorConfig, announce: Callable[[dict[str, str | None]], None]) -> None:
    """Run a simulated exchange until cancelled.

    Args:
        config: what to simulate.
        announce: called once, as soon as clients can connect, with ``ws_url``, ``rest_url`` and ``ca_file``.

    Raises:
        SettingsError, OSError: as `open_exchange`.
    """
    async with open_exchange(config) as exchange:
        ca_file = str(exchange.ca_file) if exchange.ca_file else None
        announce({"ws_url": exchange.ws_url, "rest_url": exchange.rest_url, "ca_file": ca_file})
        await trio.sleep_forever()


async def _open_source(config: SimulatorConfig) -> Source:
    start_us = time.time_ns() // 1000 if config.start_ms is None else config.start_ms * 1000
    if not config.recording:
        return MarketSource(config, start_us)
    recording = await trio.to_thread.run_sync(Recording, config.recording)
    return RecordingSource(recording, config, start_us)


async def _run_source(source: Source, *, task_status: trio.TaskStatus[None]) -> None:
    await source.run(task_status=task_status)


async def _run_faults(faults: FaultRun, *, task_status: trio.TaskStatus[None]) -> None:
    await faults.run(task_status=task_status)


async def _serve_websocket(
    nursery: trio.Nursery, server: WebSocketServer, config: SimulatorConfig, context: ssl.SSLContext | None
) -> str | None:
    if config.ws_port is None:
        return None
    with _naming("ws_port", config.ws_port):
        listeners = await trio.open_tcp_listeners(config.ws_port, host=config.host)

    async def handle(transport: trio.SocketStream) -> None:
        stream = trio.SSLStream(transport, context, server_side=True, https_compatible=True) if context else transport
        await server.serve_stream(stream)

    await nursery.start(trio.serve_listeners, handle, listeners)
    port = listeners[0].socket.getsockname()[1]
    return f"{'wss' if context else 'ws'}://{_host_in_url(config.host)}:{port}"


async def _serve_rest(
    nursery: trio.Nursery, app: Starlette, config: SimulatorConfig, server_file: Path | None
) -> str | None:
    if config.rest_port is None:
        return None
    settings = HypercornConfig()
    settings.bind = [f"{_host_in_url(config.host)}:{config.rest_port}"]
    settings.errorlog = settings.accesslog = None
    settings.graceful_timeout = _GRACE_S
    settings.keep_alive_timeout = 60
    if server_file is not None:
        settings.certfile = settings.keyfile = str(server_file)
    with _naming("rest_port", config.rest_port):
        binds = await nursery.start(serve_hypercorn, app, settings)
    port = binds[0].rpartition(":")[2]
    return f"{'https' if server_file else 'http'}://{_host_in_url(config.host)}:{port}"


@contextmanager
def _naming(field: str, port: int) -> Iterator[None]:
    """A port that cannot be had is told with its number and with what chooses it."""
    try:
        yield
    except (OSError, BaseExceptionGroup) as raised:
        error = most_telling(raised)
        if not isinstance(error, OSError) or error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        option = f"--{field.replace('_', '-')}"
        text = f"{option} {port} ({field}): {os.strerror(error.errno)}; accepted: a free port, or 0 for any"
        raise OSError(error.errno, text) from error


def _host_in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
