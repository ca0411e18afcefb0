"""The application on Hypercorn's trio worker. Imported when somebody serves: see `http.serve_http`."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Final

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config, Sockets
from hypercorn.trio.run import worker_serve
from starlette.applications import Starlette

from ingest_actors.console.app import make_app

__all__ = ["SHUTDOWN_MAX_S", "make_app", "serve_until_cancelled"]

SHUTDOWN_MAX_S: Final = 0.5
"""How long answers under way may take once the service is done."""


async def serve_until_cancelled(app: Starlette, sockets: list[socket.socket]) -> None:
    """One life of the server, on these sockets, which stay open: it closes what it is given, so it gets copies.

    Cancellation: no new requests; those under way get `SHUTDOWN_MAX_S`.
    """
    stop = trio.Event()
    with ExitStack() as stack:
        lent = Sockets([], [stack.enter_context(sock.dup()) for sock in sockets], [])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_set_when_cancelled, stop)
            with trio.CancelScope(shield=True):  # so that a cancellation from outside reaches it as `stop` alone
                await worker_serve(ASGIWrapper(app), _config(), sockets=lent, shutdown_trigger=stop.wait)  # type: ignore[arg-type]  # two spellings of ASGI


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
    config.graceful_timeout = SHUTDOWN_MAX_S
    config.shutdown_timeout = SHUTDOWN_MAX_S
    config.keep_alive_timeout = 15  # seconds; also the longest that a request's head may take to arrive
    config.read_timeout = 30
    config.h11_max_incomplete_size = 16 * 1024
    config.websocket_max_message_size = 1024
    return config
