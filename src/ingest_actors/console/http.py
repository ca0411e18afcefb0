"""The HTTP server inside the caller's nursery: it listens at once, and imports the web server while it does."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from typing import Final, NoReturn

import trio

from ingest_actors.console.heartbeat import Heartbeat
from ingest_actors.details import Details
from ingest_actors.errors import HttpUnavailable
from ingest_actors.logs import get_logger
from ingest_actors.status import Status

log = get_logger()

RESTART_S: Final = 1.0
"""Pause before the server is started again, should it ever crash: an onlooker must not end what it looks at."""

_SERVER: Final = "ingest_actors.console.server"

_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - recognised, not bound here


async def serve_http(
    status: Callable[[], Status],
    *,
    host: str,
    port: int,
    token: str | None = None,
    instance: str,
    details: Details | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Serve health, metrics and the page until cancelled; for `nursery.start`, which returns the URL.

    Args:
        status: looks at the running service; called on the trio thread, once a request.
        host: name or address to listen on; IPv6 without brackets.
        port: 0 = any free one.
        token: guards the page; never health and metrics.
        instance: the service's name, for people.
        details: tells of single streams, connections and gaps; None: the page does without.
        task_status: started with the URL as soon as connections are accepted.

    Raises:
        HttpUnavailable: the address cannot be listened on; before `task_status` is started.

    Cancellation: no new requests; those under way get `server.SHUTDOWN_MAX_S`.
    """
    heartbeat = Heartbeat()
    with ExitStack() as stack:
        sockets = [stack.enter_context(sock) for sock in await listen(host, port)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heartbeat.run)
            task_status.started(http_url(host, sockets[0].getsockname()[1]))
            app = None
            while True:
                try:
                    # It takes a tenth of a second to import, which whoever starts the service need not wait for. Those
                    # who connect meanwhile wait in the backlog, and nowhere longer than that.
                    server = await trio.to_thread.run_sync(import_module, _SERVER)
                    app = app or server.make_app(status, heartbeat, instance=instance, token=token, details=details)
                    await server.serve_until_cancelled(app, sockets, app.state.onlookers.closing.set)
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
