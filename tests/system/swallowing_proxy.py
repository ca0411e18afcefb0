"""A TCP proxy that can let everything vanish: connections stay open, and nothing arrives any more."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit


class SwallowingProxy:
    """Listens from `__enter__` to `__exit__` and passes on what comes, both ways.

    Args:
        target: URL of whom it stands before.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._scheme, self._target = parts.scheme, (parts.hostname or "", parts.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._swallowed: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        """Where to come instead."""
        return "{}://{}:{}".format(self._scheme, *self._listener.getsockname())

    def swallow(self) -> int:
        """Whatever is sent over the connections that are open now is lost, in both directions; how many there are."""
        self._swallowed |= set(self._sockets)
        return len(self._swallowed) // 2

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(5)
        for each in self._sockets:
            each.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                for one, other in ((client, server), (server, client)):
                    self._start(self._pass_on, one, other)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if source not in self._swallowed:
                    sink.sendall(data)
        if source not in self._swallowed:  # an end vanishes with the rest
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
