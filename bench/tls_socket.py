"""The exchange's end of a TLS connection, for the blaster: one frame a TLS record, as the exchange itself sends them.

An `ssl.SSLSocket` must not be read by one thread while another writes it, so the records go through memory here,
under a lock, and the socket itself is read and written without.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

RECV_BYTES = 65_536


def make_certificates(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """A context for servers on this machine, and the file of the authority that a client must trust."""
    import trustme  # noqa: PLC0415 - only who wants TLS needs it

    authority, ca_file = trustme.CA(), directory / f"ca-{os.getpid()}.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context, ca_file


def frames_of(data: bytes | memoryview) -> Iterator[memoryview]:
    """Unmasked frames that stand one behind the other (RFC 6455, 5.2), each by itself."""
    view, at = memoryview(data), 0
    while at < len(data):
        size = data[at + 1]
        head = 2
        if size == 126:
            size, head = data[at + 2] << 8 | data[at + 3], 4
        elif size == 127:
            size, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
        yield view[at : at + head + size]
        at += head + size


class TlsSocket:
    """As much of a socket as the blaster uses; the handshake is done when it is made.

    Args:
        sock: a connection that was accepted.
        context: the server's.

    Raises:
        ssl.SSLError: the client does not want us.
        EOFError: it went.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            else:
                self._flush()
                return

    def setsockopt(self, *arguments: int) -> None:
        self._sock.setsockopt(*arguments)

    def sendall(self, data: bytes | memoryview) -> None:
        """An answer by HTTP in one record, frames in one record each."""
        with self._lock:
            for piece in (data,) if data[:5] == b"HTTP/" else frames_of(data):
                self._tls.write(piece)
            sent = self._outgoing.read()
        self._sock.sendall(sent)

    def recv(self, size: int) -> bytes:
        while True:
            with self._lock:
                try:
                    return self._tls.read(size)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLZeroReturnError:
                    return b""
            self._fill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._sock.close()

    def _fill(self) -> None:
        data = self._sock.recv(RECV_BYTES)
        if not data:
            raise EOFError
        with self._lock:
            self._incoming.write(data)

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._sock.sendall(self._outgoing.read())
