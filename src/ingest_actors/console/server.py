"""The application on Hypercorn's trio worker. Imported when somebody serves: see `http.serve_http`."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState
from starlette.applications import Starlette

from ingest_actors.console.app import make_app
from ingest_actors.console.connections import Connections

__all__ = ["SHUTDOWN_MAX_S", "make_app", "serve_until_cancelled"]

SHUTDOWN_MAX_S: Final = 0.5
"""How long answers under way may take once the service is done."""

SEND_MAX_S: Final = 20.0
"""How long a client may leave unread what it is sent, once the socket's buffers are full; then it is hung up on."""


async def serve_until_cancelled(
    app: Starlette, sockets: list[socket.socket], on_end: Callable[[], None] = lambda: None
) -> None:
    """One life of the server, on these sockets, which stay open: it closes what it is given, so it gets copies.

    Hypercorn's own loop of accepting has no bound on connections, and waits for ever for a client that does not read
    its answer; so only what it does with one connection is used.

    Cancellation: no new requests; those under way get `SHUTDOWN_MAX_S`.

    Args:
        app: the application.
        sockets: where to listen.
        on_end: called when the end has come, so that answers without an end can have one.
    """
    stop = trio.Event()
    connections = Connections()
    context = WorkerContext(None)
    wrapped = ASGIWrapper(app)  # type: ignore[arg-type]  # two spellings of ASGI
    state = ConnectionState(LifespanState({}))
    serve = partial(connections.serve, partial(_Client, wrapped, _config(), context, state))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_set_when_cancelled, stop)
        with trio.CancelScope(shield=True):  # so that a cancellation from outside reaches it as `stop` alone
            async with trio.open_nursery() as handlers:
                try:
                    await _accept_until(stop, sockets, serve, handlers)
                    on_end()
                    await context.terminated.set()
                    with trio.move_on_after(SHUTDOWN_MAX_S):
                        await connections.wait_none()
                finally:
                    connections.close_all()
                handlers.cancel_scope.cancel()


async def _accept_until(
    stop: trio.Event,
    sockets: list[socket.socket],
    serve: Callable[[trio.SocketStream], Awaitable[None]],
    handlers: trio.Nursery,
) -> None:
    with ExitStack() as stack:
        lent = [stack.enter_context(sock.dup()) for sock in sockets]
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in lent]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, serve, listeners, handler_nursery=handlers))
            await stop.wait()
            nursery.cancel_scope.cancel()


class _Client(TCPServer):
    """One client's connection; it is hung up on when it does not read, which Hypercorn would wait for."""

    async def protocol_send(self, event: Event) -> None:
        """Send what there is to be sent, within bounds of time; shielded, for half an answer is none."""
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        async with self.send_lock:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + SEND_MAX_S) as scope:
                try:
                    await self.stream.send_all(event.data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):  # gone, or hung up on
                    await self.protocol.handle(Closed())
            if scope.cancelled_caught:
                await trio.aclose_forcefully(self.stream)
                await self.protocol.handle(Closed())


async def _set_when_cancelled(stop: trio.Event) -> None:
    try:
        await trio.sleep_forever()
    finally:
        stop.set()


def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = None  # what goes wrong in the application is logged there; the rest is clients going away
    config.include_server_header = False
    config.keep_alive_timeout = 15  # seconds; also the longest that a request's head may take to arrive
    config.read_timeout = None  # a request has no body, and who listens to events says nothing more
    config.h11_max_incomplete_size = 16 * 1024
    config.websocket_max_message_size = 1024
    return config
