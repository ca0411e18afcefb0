"""A small proxy for CONNECT and for plain HTTP, which can be told to misbehave. For real sockets."""

from __future__ import annotations

import base64
import ssl
import threading
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

import trio


class ConnectProxy:
    """Tunnels to wherever it is asked.

    Args:
        credentials: ``user:password`` that it wants; None = it lets everybody in.
        answer: bytes sent to every request instead of serving it.
        context: speaks TLS to its clients.

    Attributes:
        asked: targets of CONNECT, and URLs of other requests, in order.
        url: where it listens.
    """

    def __init__(self, *, credentials=None, answer=None, context=None):
        self.credentials = credentials
        self.answer = answer
        self.context = context
        self.asked = []
        self.url = ""
        self.port = 0

    @asynccontextmanager
    async def serving(self, port=0):
        """Listens while the context lasts."""
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(partial(trio.serve_tcp, self._serve, port, host="127.0.0.1"))
            self.port = listener.socket.getsockname()[1]
            self.url = f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"
            try:
                yield self
            finally:
                nursery.cancel_scope.cancel()

    async def _serve(self, stream):
        if self.context is not None:
            stream = trio.SSLStream(stream, self.context, server_side=True, https_compatible=True)
        try:
            async with stream:
                await self._talk(stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            pass

    async def _talk(self, stream):
        head, body = await _head(stream)
        if not head:
            return
        method, target, _ = head[0].split()
        self.asked.append(target)
        if self.answer is not None:
            await stream.send_all(self.answer)
            return
        wanted = self.credentials and "basic " + base64.b64encode(self.credentials.encode()).decode()
        given = [line.partition(":")[2].strip() for line in head if line.lower().startswith("proxy-authorization:")]
        if wanted and [text.lower() for text in given] != [wanted.lower()]:
            await stream.send_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            host = host.strip("[]")
        else:
            parts = urlsplit(target)
            host, port = parts.hostname, parts.port or 80
        try:
            other = await trio.open_tcp_stream(host, int(port))
        except OSError:
            await stream.send_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        async with other:
            if method == "CONNECT":
                await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = urlsplit(target)._replace(scheme="", netloc="").geturl() or "/"
                lines = [f"{method} {path} HTTP/1.1", *(line for line in head[1:] if not line.startswith("Proxy-"))]
                await other.send_all("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pass_on, stream, other, nursery.cancel_scope)
                nursery.start_soon(_pass_on, other, stream, nursery.cancel_scope)


async def _head(stream):
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = await stream.receive_some(65536)
        if not chunk:
            return [], b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    return head.decode().split("\r\n"), body


async def _pass_on(source, sink, scope):
    try:
        while data := await source.receive_some(65536):
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()


class ProxyThread:
    """A `ConnectProxy` in a thread of its own, for tests of processes. It may be killed and started again in its place.

    Attributes:
        proxy: what it runs.
    """

    def __init__(self, **options):
        self.proxy = ConnectProxy(**options)
        self._thread = None

    def start(self):
        """Returns when it listens."""
        ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._run, ready), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def kill(self):
        """All its connections are cut."""
        if self._thread is not None:
            self._token.run_sync_soon(self._stop.set)
            self._thread.join(10)
            self._thread = None

    async def _run(self, ready):
        self._token, self._stop = trio.lowlevel.current_trio_token(), trio.Event()
        async with self.proxy.serving(self.proxy.port):
            ready.set()
            await self._stop.wait()
