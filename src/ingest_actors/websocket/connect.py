"""The way to the exchange: TCP, and TLS over it."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from ingest_actors.websocket.tcp import TcpStream
from ingest_actors.websocket.tls import TlsStream

Connector: TypeAlias = Callable[[str, int, bool], Awaitable[trio.abc.Stream]]
"""(host, port, whether to speak TLS) -> the open stream. Anything may stand behind it: a proxy, a test's own stream."""


async def connect_tcp_tls(
    host: str,
    port: int,
    tls: bool,  # noqa: FBT001 by position, as `Connector` has it
    *,
    context: ssl.SSLContext | None = None,
    timeout_s: float = 10.0,
) -> trio.abc.Stream:
    """Open a TCP connection and, when asked for, TLS with the certificate verified.

    The trusted authorities are the system's, or those of ``SSL_CERT_FILE``. Small messages are sent at once
    (TCP_NODELAY, which trio sets). Cancelled: nothing stays open.

    Args:
        host: name or address; TLS verifies the certificate against it and sends it as SNI.
        port: TCP port.
        tls: whether to speak TLS.
        context: what to verify instead of the default.
        timeout_s: for all of it, seconds.

    Raises:
        OSError: no connection; `ssl.SSLError` (one of these) when TLS failed, `socket.gaierror` for an unknown name.
        trio.BrokenResourceError: hung up on in the middle of the TLS handshake.
        trio.TooSlowError: the time ran out.
    """
    with trio.fail_after(timeout_s):
        try:
            transport = TcpStream.adopt(await trio.open_tcp_stream(host, port))
        except UnicodeError as error:  # what no name can be never gets as far as being looked up
            raise OSError(f"{host[:100]!r} is no name of a host: {error}") from error
        if not tls:
            return transport
        try:
            return await start_tls(transport, host, context=context)
        except BaseException:
            await trio.aclose_forcefully(transport)
            raise


async def start_tls(transport: trio.abc.Stream, host: str, *, context: ssl.SSLContext | None = None) -> TlsStream:
    """Speak TLS over a stream that stands, e.g. through a proxy. Has no timeout of its own.

    Raises:
        ssl.SSLError, trio.BrokenResourceError: see `TlsStream.do_handshake`; the stream below stays open.
    """
    stream = TlsStream(transport, context or ssl.create_default_context(), server_hostname=host)
    await stream.do_handshake()
    return stream
