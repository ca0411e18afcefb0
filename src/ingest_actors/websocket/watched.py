"""A transport that takes note of what passes: the answer to the handshake, silence, the end, a close frame sent."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

import trio

from ingest_actors.websocket.tcp import Prompt

READ_BYTES: Final = 64 * 1024
"""Most that one read brings. Ten times as much lies in memory until it is handed over (frames, their join, values, the
client's copies), which fits into the caches of one core; with larger reads a message costs more, not less."""
CLOSE_FRAME: Final = 0x88
_CLOSE_REASON_BYTES_MAX: Final = 123
_SWITCHING_PROTOCOLS: Final = 101


class WatchedStream(trio.abc.Stream):
    """Passes everything through and takes note of what its owner needs to know.

    Args:
        transport: the connection, after its own handshake (TLS) where it has one.

    Attributes:
        waiting_since: `trio.current_time()` when the read that is under way began; None when none is.
        end_reason: why the transport gave out, for people; empty while it lives.
        status: the HTTP status of the answer to the handshake, 0 before it has come.
        head: the answer's head, as far as it has come.
        on_failed_handshake: called once when there will be no WebSocket: refused, or the end came first.
        close_sent: a close frame has gone out, or is about to.
        gave_out: set when the transport is of no more use.
    """

    def __init__(self, transport: trio.abc.Stream) -> None:
        self.waiting_since: float | None = None
        self.end_reason = ""
        self.status = 0
        self.head = b""
        self.on_failed_handshake: Callable[[], object] | None = None
        self.close_sent = False
        self.gave_out = trio.Event()
        self._discarding = False
        self._transport = transport
        self._prompt = transport if isinstance(transport, Prompt) else None
        self._send_lock = trio.StrictFIFOLock()

    @property
    def upgraded(self) -> bool:
        """Whether the server has agreed to speak WebSocket."""
        return self.status == _SWITCHING_PROTOCOLS

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What the transport brings; see `trio.abc.ReceiveStream`."""
        data = await self._read(max_bytes or READ_BYTES)
        while self._discarding and data:
            data = await self._read(READ_BYTES)
        if not self.status:
            self._observe_head(data)
        return data

    def discard(self) -> None:
        """Read on, so that the other side is not cut off, but pass nothing on any more."""
        self._discarding = True

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send through the transport; one frame in each call, as trio-websocket does. After a close frame, nothing."""
        if self.close_sent:
            return
        if self.upgraded and data[0] == CLOSE_FRAME:
            self.close_sent = True
        async with self._send_lock:
            try:
                await self._transport.send_all(data)
            except trio.BrokenResourceError as broken:
                self._note_break(broken)
                raise

    async def send_close(self, code: int, reason: str) -> None:
        """Send a close frame of our own unless one has gone out. For violations, which trio-websocket keeps to itself.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: see `trio.abc.SendStream`.
        """
        if self.close_sent:
            async with self._send_lock:  # it may be on its way just now
                return
        text = reason.encode()[:_CLOSE_REASON_BYTES_MAX].decode(errors="ignore").encode()
        payload = code.to_bytes(2, "big") + text
        mask = secrets.token_bytes(4)
        masked = bytes([byte ^ mask[place % 4] for place, byte in enumerate(payload)])
        await self.send_all(bytes([CLOSE_FRAME, 0x80 | len(payload)]) + mask + masked)

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the transport."""
        self._note_end("closed by this side")
        await self._transport.aclose()

    async def _read(self, max_bytes: int) -> bytes:
        self.waiting_since = trio.current_time()
        try:
            data = await self._transport.receive_some(max_bytes)
        except trio.BrokenResourceError as broken:
            self._note_break(broken)
            raise
        finally:
            self.waiting_since = None
        if not data:
            self._note_end("the other side ended the connection without a close frame")
        return data if type(data) is bytes else bytes(data)

    async def _gather(self, size_bytes: int, wait_s: float) -> None:
        """Wait until so much has come, or for so long."""
        if self._prompt is None:
            await trio.sleep(wait_s)
        else:
            await self._prompt.gather(size_bytes, wait_s)

    def _read_nowait(self, max_bytes: int) -> bytes | None:
        """What has come already; None when there is nothing, or nobody can tell without waiting."""
        if self._prompt is None:
            return None
        try:
            data = self._prompt.receive_nowait(max_bytes)
        except trio.BrokenResourceError as broken:
            self._note_break(broken)
            raise
        if data == b"":
            self._note_end("the other side ended the connection without a close frame")
        return data

    def _observe_head(self, data: bytes) -> bytes:
        """Read the status line once the head is complete; returns what came after the head."""
        self.head += data
        end = self.head.find(b"\r\n\r\n")
        if end < 0:
            return b""
        rest = self.head[end + 4 :]
        status = self.head[9:12]
        self.head = self.head[: end + 4]
        self.status = int(status) if status.isdigit() else -1
        if not self.upgraded:
            self._fail_handshake()
        return rest

    def _note_break(self, broken: trio.BrokenResourceError) -> None:
        self._note_end(f"the connection broke: {broken.__cause__ or broken}")

    def _note_end(self, reason: str) -> None:
        self.end_reason = self.end_reason or reason
        self.gave_out.set()
        self._fail_handshake()

    def _fail_handshake(self) -> None:
        if self.on_failed_handshake is not None:
            self.on_failed_handshake()
            self.on_failed_handshake = None
