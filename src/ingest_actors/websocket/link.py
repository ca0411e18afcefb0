"""What stands behind a feed: the transport, trio-websocket on it, and the verdict on how it ended."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Final

import trio
import trio_websocket
from wsproto.utilities import ProtocolError

from ingest_actors.errors import FeedClosed
from ingest_actors.messages import FrameBatch
from ingest_actors.websocket.connect import Connector
from ingest_actors.websocket.framing import Segment
from ingest_actors.websocket.opening import FeedOptions, Opening
from ingest_actors.websocket.read_ahead import ReadAhead
from ingest_actors.websocket.tap import FrameTap
from ingest_actors.websocket.watched import WatchedStream

ABNORMAL: Final = 1006
GOING_AWAY: Final = 1001
TOO_BIG: Final = 1009
NEVER_SENT: Final = (1005, ABNORMAL, 1015)
"""Codes that stand for the lack of one (RFC 6455, section 7.4.1)."""
GOODBYE_TIMEOUT_S: Final = 0.25
"""Longest that sending a close frame takes where no answer to it is waited for."""
LINGER_S: Final = 1.0
"""After a close the server is given so long to end the connection, as it should (RFC 6455, section 7.1.1); ending it
while bytes are unread would throw away the close frame on its way to the server."""


class Link:
    """One connection from its opening to its end.

    Attributes:
        options: see `FeedOptions`.
        read_ahead: what was read and not yet received.
        offer: asked first whether it takes a batch, while nothing is in the read-ahead; None = nobody is asked.
    """

    def __init__(self, options: FeedOptions) -> None:
        self.options = options
        self.read_ahead = ReadAhead(options.read_ahead_bytes_max)
        self.offer: Callable[[FrameBatch], bool] | None = None
        self._stream: WatchedStream | None = None
        self._websocket: trio_websocket.WebSocketConnection | None = None
        self._scope: trio.CancelScope | None = None
        self._verdict: FeedClosed | None = None
        self._closing: trio.CancelScope | None = None
        self._finished = trio.Event()

    # For the owner

    async def send(self, message: str) -> None:
        """See `WebSocketFeed.send`."""
        assert self._websocket is not None
        try:
            await self._websocket.send_message(message)
        except trio_websocket.ConnectionClosed as closed:
            raise self._closed_as(closed.reason) from None

    async def aclose(self, code: int, reason: str) -> None:
        """See `WebSocketFeed.aclose`."""
        if self._websocket is not None and self._closing is None and not self._finished.is_set():
            self._verdict = self._verdict or FeedClosed(code, reason or "closed by this side")
            await self._say_goodbye(self._websocket, code, reason)
        await self._finished.wait()

    async def leave(self) -> None:
        """The owner is done. Bounded in time, and next to nothing when the owner was cancelled."""
        if self._websocket is None or self._stream is None or self._scope is None:
            return  # it was never open
        try:
            if trio.current_effective_deadline() > -math.inf:
                await self.aclose(1000, "")
            elif self._verdict is None:
                with trio.move_on_after(GOODBYE_TIMEOUT_S, shield=True):
                    await self._send_close(self._stream, FeedClosed(GOING_AWAY))
        finally:
            self._scope.cancel()

    # Behind the scenes

    async def run(self, connect: Connector, *, task_status: trio.TaskStatus[None]) -> None:
        """Open the connection, report, and serve it until it has ended.

        Raises:
            ExchangeUnreachable: it could not be opened.
        """
        opening = Opening(self.options, trio.current_time() + self.options.open_timeout_s)
        transport = await opening.connect(connect)
        error: Exception | None = None
        try:
            self._stream = self._watch(transport)
            try:
                async with trio.open_nursery() as nursery:
                    self._scope = nursery.cancel_scope
                    self._websocket = await opening.shake_hands(nursery, self._stream)
                    if self._websocket is not None:
                        nursery.start_soon(self._watch_silence, self._stream)
                        task_status.started()
                        await trio.lowlevel.checkpoint_if_cancelled()  # `started` does nothing when it is too late
                        nursery.cancel_scope.shield = True  # from here on `leave` ends this, after a close frame
                        await self._pump(self._stream)
                    nursery.cancel_scope.cancel()
            except* Exception as group:  # noqa: BLE001 whatever trio-websocket's reader died of is judged below
                error = group.exceptions[0]
            if self._websocket is None:
                raise opening.failure(self._stream, error)
        finally:
            if self._closing is not None and self._stream is not None and self._verdict is not None:
                with trio.move_on_after(GOODBYE_TIMEOUT_S, shield=True):
                    await self._send_close(self._stream, self._verdict)  # the reader may have died before it went
            self._end(error)
            try:
                with trio.move_on_after(GOODBYE_TIMEOUT_S, shield=True):  # TLS has a word to say at the end
                    await (self._stream or transport).aclose()
            finally:
                self._finished.set()

    def _watch(self, transport: trio.abc.Stream) -> WatchedStream:
        if not self.options.fast:
            return WatchedStream(transport)
        return FrameTap(
            transport,
            read_ahead=self.read_ahead,
            deliver=self._deliver,
            message_bytes_max=self.options.max_message_bytes,
            pacer=self.options.pacer,
        )

    async def _pump(self, stream: WatchedStream) -> None:
        """Wait for the end. With the tap, trio-websocket has messages for us only when they were odd."""
        websocket = self._websocket
        assert websocket is not None
        while True:
            if not self.options.fast:
                await self.read_ahead.wait_room()
            try:
                message = await websocket.get_message()
            except trio_websocket.ConnectionClosed as closed:
                await self._closed(stream, closed.reason)
                return
            if self._closing is not None:
                continue
            payload = message.encode() if isinstance(message, str) else message
            if len(payload) > self.options.max_message_bytes:  # trio-websocket counts characters
                await self._conclude(stream, FeedClosed(TOO_BIG, f"refused: a message of {len(payload)} bytes"))
                return
            self._deliver(Segment(isinstance(message, bytes), [payload]))

    def _deliver(self, segment: Segment) -> None:
        binary, messages = segment
        if self.options.intercept is not None and not binary:
            messages = self.options.intercept(messages)
        if messages:
            clock_ns = self.options.clock_ns
            at_ns = self.options.clock_ms() * 1_000_000 if clock_ns is None else clock_ns()
            batch = FrameBatch(
                messages,
                received_at_ms=at_ns // 1_000_000,
                received_at_ns=at_ns,
                connection=self.options.name,
                binary=binary,
            )
            if self.offer is None or self.read_ahead.size_bytes or not self.offer(batch):
                self.read_ahead.put(batch)

    async def _watch_silence(self, stream: WatchedStream) -> None:
        timeout_s = self.options.read_timeout_s
        while True:
            now = trio.current_time()
            since = now if stream.waiting_since is None else stream.waiting_since
            if now >= since + timeout_s:  # as it is slept for: a difference may be rounded down, for ever
                self._verdict = self._verdict or FeedClosed(ABNORMAL, f"nothing was received for {timeout_s:g} s")
                assert self._scope is not None
                self._scope.cancel()
                return
            await trio.sleep_until(since + timeout_s)

    # The end

    async def _say_goodbye(self, websocket: trio_websocket.WebSocketConnection, code: int, reason: str) -> None:
        assert self._scope is not None
        if isinstance(self._stream, FrameTap):
            self._stream.hush()
        self.read_ahead.lift()
        try:
            with trio.move_on_after(self.options.close_timeout_s) as self._closing:
                await websocket.aclose(code, reason or None)
        finally:
            self._scope.cancel()

    async def _closed(self, stream: WatchedStream, reason: trio_websocket.CloseReason | None) -> None:
        """trio-websocket says that it is over."""
        if self._closing is not None:
            await trio.sleep_forever()  # our own doing: whoever closes waits for the answer, and then ends this
        if reason is None:
            await trio.sleep(GOODBYE_TIMEOUT_S)  # the reader died: what it died of is on its way, and ends this
        await self._conclude(stream, self._closed_as(reason))

    async def _conclude(self, stream: WatchedStream, verdict: FeedClosed) -> None:
        self._verdict = verdict
        stream.discard()
        with trio.move_on_after(GOODBYE_TIMEOUT_S):  # before the owner hears of it and leaves
            await self._send_close(stream, verdict)
        self.read_ahead.end(verdict)
        if verdict.code != ABNORMAL:
            with trio.move_on_after(LINGER_S):
                await stream.gave_out.wait()

    async def _send_close(self, stream: WatchedStream, verdict: FeedClosed) -> None:
        if verdict.code in NEVER_SENT:
            return
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it is gone already
            await stream.send_close(verdict.code, verdict.reason)

    def _closed_as(self, reason: trio_websocket.CloseReason | None) -> FeedClosed:
        if self._verdict is not None:
            return self._verdict
        assert self._stream is not None
        if reason is None or reason.code == ABNORMAL:
            return FeedClosed(ABNORMAL, self._stream.end_reason)
        text = reason.reason or ""
        # What trio-websocket refuses on its own account it does not answer; what it was sent, it does.
        return FeedClosed(int(reason.code), text if self._stream.close_sent else f"refused: {text}")

    def _end(self, error: Exception | None) -> None:
        if error is not None and not isinstance(error, ProtocolError) and self._verdict is None:
            self.read_ahead.end(error)  # of `intercept`, or a defect: for the owner to see as it is
        why = f"gave up on the connection: {error}" if error is not None else "cancelled"
        self._verdict = self._verdict or FeedClosed(ABNORMAL, why)
        self.read_ahead.end(self._verdict)
        if self._closing is not None:
            self._closing.cancel()
