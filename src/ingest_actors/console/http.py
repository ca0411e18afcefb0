"""Serving the application on Hypercorn's trio worker, inside the caller's nursery."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, NoReturn

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config, Sockets
from hypercorn.trio.run import worker_serve
from starlette.applications import Starlette

from ingest_actors.console.app import make_app
from ingest_actors.console.heartbeat import Heartbeat
from ingest_actors.errors import HttpUnavailable
from ingest_actors.logs import get_logger
from ingest_actors.status import Status

log = get_logger()

SHUTDOWN_MAX_S: Final = 0.5
"""How long answers under way may take once the service is done."""

RESTART_S: Final = 1.0
"""Pause before the server is started again, should it ever crash: an onlooker must not end what it looks at."""

_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - recognised, not bound here


async def serve_http(
    status: Callable[[], Status],
    *,
    host: str,
    port: int,
    token: str | None = None,
    instance: str,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Serve health, metrics and the page until cancelled; for `nursery.start`, which returns the URL.

    Args:
        status: looks at the running service; called on the trio thread, once a request.
        host: name or address to listen on; IPv6 without brackets.
        port: 0 = any free one.
        token: guards the page; never health and metrics.
        instance: the service's name, for people.
        task_status: started with the URL as soon as connections are accepted.

    Raises:
        HttpUnavailable: the address cannot be listened on; before `task_status` is started.

    Cancellation: no new requests; those under way get `SHUTDOWN_MAX_S`.
    """
    heartbeat = Heartbeat()
    app = make_app(status, heartbeat, instance=instance, token=token)
    with ExitStack() as stack:
        sockets = [stack.enter_context(sock) for sock in await listen(host, port)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heartbeat.run)
            task_status.started(http_url(host, sockets[0].getsockname()[1]))
            while True:
                try:
                    await _serve_until_cancelled(app, sockets)
                except Exception as error:
                    log.exception("http_server_failed", error=repr(error), restart_s=RESTART_S)
                    await trio.sleep(RESTART_S)


def http_url(host: str, port: int) -> str:
    """Where a server that listens on `host` can be asked from the same machine."""
    reachable = _ANY_ADDRESS.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


async def listen(host: str, port: int) -> list[socket.socket]:
    """Listening sockets on every address that `host` stands for, all on one port.

    Raises:
        HttpUnavailable: none of them can be had, or one is taken.
    """
    try:
        found = await trio.socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise HttpUnavailable(host, port, error.strerror or str(error)) from error
    sockets: list[socket.socket] = []
    with ExitStack() as undo:
        missing: OSError | None = None
        for family, _, _, _, address in found:
            try:
                sock = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
                _bind(sock, address[0], port)
            except OSError as error:
                if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:  # as ::1 where there is no IPv6
                    raise HttpUnavailable(host, port, error.strerror or str(error)) from error
                missing = error
            else:
                sockets.append(sock)
                port = sock.getsockname()[1]
        if not sockets:
            raise HttpUnavailable(host, port, str(missing and missing.strerror)) from missing
        undo.pop_all()
    return sockets


def _bind(sock: socket.socket, address: str | int, port: int) -> None:
    sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
    sock.bind((address, port))
    sock.listen()


async def _serve_until_cancelled(app: Starlette, sockets: list[socket.socket]) -> None:
    """One life of the server. It closes what it is given, so it gets copies of the sockets."""
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
