"""An exchange for one client on a real socket, of WebSocket or of REST, with a certificate or without."""

from __future__ import annotations

import contextlib
import ssl

import trio
import trustme
from raw_server import agreement

from wire_frames import text

AUTHORITY = trustme.CA()
"""Whom the fixture `trusted` makes everybody trust."""
SERVER_TIME_MS = 1_790_000_000_123


def certified(name="exchange.test", *, authority=AUTHORITY, **claims):
    """The context of a server with a certificate for this name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **claims).configure_cert(context)
    return context


async def serve_exchange(stream):
    """Says hello to a WebSocket, and its time to whoever asks over HTTP."""
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = await stream.receive_some(65536)
        if not chunk:
            return
        head += chunk
    if b"Upgrade" in head:
        await stream.send_all(agreement(head) + text("hello"))
        await stream.receive_some(100)
    else:
        body = b'{"serverTime":%d}' % SERVER_TIME_MS
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def serve_exchange_over_tls(context, stream):
    """The same behind TLS; a client that does not like the certificate may hang up."""
    secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
        await serve_exchange(secure)
