"""TLS for a client, drained in bulk.

`trio.SSLStream.receive_some` returns one TLS record a call, and the exchange sends about one frame a record. Here one
large read of the transport is decrypted record after record without going back to the scheduler.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Final

import trio

from ingest_actors.websocket.tcp import Prompt

READ_BYTES: Final = 256 * 1024
RECORD_BYTES: Final = 16 * 1024
"""The most that one TLS record holds (RFC 8446, section 5.1)."""
CLOSE_NOTIFY_TIMEOUT_S: Final = 1.0


class TlsStream(trio.abc.Stream):
    """The client's side of a TLS connection over any stream.

    Args:
        transport: the stream below; belongs to this object from now on.
        context: says what is verified, e.g. `ssl.create_default_context()`. An option that some builds of Python set in
            it is taken away: it would let a connection that was cut look like one that was closed.
        server_hostname: the name that the certificate must bear; sent as SNI.
    """

    def __init__(self, transport: trio.abc.Stream, context: ssl.SSLContext, *, server_hostname: str) -> None:
        self.transport_stream = transport
        self._prompt = transport if isinstance(transport, Prompt) else None
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._send_lock = trio.StrictFIFOLock()
        self._established = False
        self._failure: ssl.SSLError | None = None

    async def do_handshake(self) -> None:
        """Agree on keys and verify the certificate. Has no timeout of its own.

        Raises:
            ssl.SSLError: the other side does not speak TLS, or cannot prove who it is.
            trio.BrokenResourceError: it hung up in the middle.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLError:
                with contextlib.suppress(trio.BrokenResourceError):
                    await self._flush()  # the alert tells the other side why
                raise
            else:
                await self._flush()
                self._established = True
                return

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """All that one read of the transport holds, up to `max_bytes` (default 256 KiB); b"" after a close_notify.

        Raises:
            trio.BrokenResourceError: the connection ended without a close_notify, or what came is not TLS.
            trio.ClosedResourceError: this stream was closed.
        """
        limit = max_bytes or READ_BYTES
        await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        while True:
            data = self._decrypted(limit)
            if self._outgoing.pending and not self._send_lock.locked():
                await self._flush()  # an answer of TLS itself, e.g. to a key update
            if data is not None:
                if not waited:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                return data
            waited = True
            await self._fill()

    def receive_nowait(self, max_bytes: int) -> bytes | None:
        """See `ingest_actors.websocket.tcp.Prompt`. What TLS itself has to answer goes with the next waiting read."""
        data = self._decrypted(max_bytes)
        if data is None and self._prompt is not None and not self._outgoing.pending:
            came = self._prompt.receive_nowait(READ_BYTES)
            if came is not None:
                self._take(came)
                data = self._decrypted(max_bytes)
        return data

    async def gather(self, size_bytes: int, wait_s: float) -> None:
        """See `ingest_actors.websocket.tcp.Prompt`; bytes are counted as they come, encrypted."""
        if self._prompt is None:
            await trio.sleep(wait_s)
        else:
            await self._prompt.gather(size_bytes, wait_s)

    def _decrypted(self, limit: int) -> bytes | None:
        try:
            return self._drain(limit)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error

    def _drain(self, limit: int) -> bytes:
        """Decrypt what has come. The loop is bounded by `limit`, and by what one read has brought.

        Raises:
            ssl.SSLWantReadError: there is no whole record.
        """
        if self._failure is not None:
            raise self._failure
        read = self._tls.read
        incoming = self._incoming
        data = read(min(limit, RECORD_BYTES))
        if not data or not incoming.pending:
            return data
        parts = [data]
        append = parts.append
        limit -= len(data)
        try:
            while limit > 0 and data and incoming.pending:
                data = read(min(limit, RECORD_BYTES))
                append(data)
                limit -= len(data)
        except ssl.SSLWantReadError:
            pass  # the last record is not whole yet
        except ssl.SSLError as error:
            self._failure = error  # for the next call: what came before it is good
        return b"".join(parts)

    async def _fill(self) -> None:
        self._take(await self.transport_stream.receive_some(READ_BYTES))

    def _take(self, data: bytes | bytearray) -> None:
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
            if not self._established:
                raise trio.BrokenResourceError("the other side hung up during the TLS handshake")

    async def _flush(self) -> None:
        """Send what TLS has ready. Whoever holds the lock sends all, so nobody needs to wait for it."""
        async with self._send_lock:
            while self._outgoing.pending:
                await self.transport_stream.send_all(self._outgoing.read())

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`. Cancelled in the middle, the stream is broken."""
        async with self._send_lock:
            try:
                self._tls.write(data)
            except ssl.SSLError as error:
                raise trio.BrokenResourceError from error
            while self._outgoing.pending:
                await self.transport_stream.send_all(self._outgoing.read())

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self.transport_stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Send a close_notify if that takes no longer than a second, and close the transport. Waits for no answer."""
        try:
            if self._established and not self._send_lock.locked():
                with contextlib.suppress(ssl.SSLError):
                    self._tls.unwrap()
                with (
                    trio.move_on_after(CLOSE_NOTIFY_TIMEOUT_S),
                    contextlib.suppress(
                        trio.BrokenResourceError, trio.ClosedResourceError
                    ),  # by another task meanwhile
                ):
                    await self._flush()
        finally:
            await self.transport_stream.aclose()
