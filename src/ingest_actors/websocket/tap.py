"""The frame tap: trio-websocket's transport, out of which the messages are taken in bulk.

trio-websocket reads from it and gets the handshake, control frames and whatever is odd, so it keeps the handshake,
pongs and close codes. Messages take the short way: cut many at a time, and put into the read-ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from ingest_actors.websocket.framing import FrameCutter, Segment
from ingest_actors.websocket.pacing import READ_ENOUGH_BYTES, Flow, ReceivePacer
from ingest_actors.websocket.read_ahead import ReadAhead
from ingest_actors.websocket.watched import READ_BYTES, WatchedStream

READ_BYTES_MIN: Final = 4096
"""A read asks for no more than there is room for, but for at least so much."""


class FrameTap(WatchedStream):
    """A transport for `trio_websocket.wrap_client_stream` that keeps the messages for itself.

    Reading stops when the read-ahead is full, and only then; nothing that has been read ever waits. So a ping that
    was read is answered, and a close too, however long nobody takes messages.

    Args:
        transport: see `WatchedStream`.
        read_ahead: tells when to stop reading.
        deliver: is called, synchronously, with each run of messages of one kind.
        message_bytes_max: see `FrameCutter`.
        pacer: how long reading waits for more; shared by all connections.
    """

    def __init__(
        self,
        transport: trio.abc.Stream,
        *,
        read_ahead: ReadAhead,
        deliver: Callable[[Segment], None],
        message_bytes_max: int,
        pacer: ReceivePacer,
    ) -> None:
        super().__init__(transport)
        self._read_ahead = read_ahead
        self._deliver = deliver
        self._cutter = FrameCutter(message_bytes_max)
        self._pacer = pacer
        self._flow = Flow()
        self._enough = False
        self._passed = b""
        self._end: Exception | None = None
        self._ended = False

    def hush(self) -> None:
        """A close frame of ours goes out: from now on messages, pings and pongs are dropped."""
        self._cutter.hushed = True
        self._read_ahead.lift()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes that are for trio-websocket; messages go to the read-ahead meanwhile.

        Cancelled: nothing is lost, messages that were complete have been delivered.
        """
        if self._passed or self._ended:
            await trio.lowlevel.checkpoint()
        while not self._passed:
            if self._ended:
                if self._end is not None:
                    raise self._end
                return b""
            await self._receive_more()
        if max_bytes is None:
            data, self._passed = self._passed, b""
        else:
            data, self._passed = self._passed[:max_bytes], self._passed[max_bytes:]
        return data

    async def _receive_more(self) -> None:
        room = READ_BYTES
        if self.upgraded and not self._cutter.passing:
            if self._read_ahead.full:
                await self._read_ahead.wait_room()
            room = max(READ_BYTES_MIN, self._read_ahead.room_bytes)
        room = min(READ_BYTES, room)
        data = None
        try:
            if not (self._enough or self._cutter.hushed or self._cutter.passing) and (pause_s := self._pacer.pause_s()):
                data = await self._pause(pause_s, room)
            if data is None:
                data = await self._read(room)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._end = error
            data = b""
        if not data:
            self._ended = True
            self._passed = self._cutter.finish()
        elif self._discarding:
            return
        elif self.upgraded:
            self._cut(data)
        elif self.status:
            self._passed = data
        else:
            self._cut_first(data)

    async def _pause(self, pause_s: float, room_bytes: int) -> bytes | None:
        """Let more come, and read it; None when that is to be waited for."""
        gather_bytes = max(1, min(int(self._flow.bytes_per_s * pause_s), READ_ENOUGH_BYTES, room_bytes))
        await self._pacer.pause(partial(self._gather, gather_bytes, pause_s))
        return self._read_nowait(room_bytes)

    def _cut_first(self, data: bytes) -> None:
        """The answer to the handshake, or a part of it; frames may come in the same read."""
        rest = self._observe_head(data)
        self._passed = data
        if rest and self.upgraded:
            self._passed = data[: len(data) - len(rest)]
            self._cut(rest)

    def _cut(self, data: bytes) -> None:
        segments, passed = self._cutter.feed(data)
        messages_read = 0
        if passed:
            self._passed += passed
        for segment in segments:
            messages_read += len(segment.messages)
            if not self._cutter.hushed:
                self._deliver(segment)
        now_s = trio.current_time()
        self._enough = len(data) >= READ_ENOUGH_BYTES
        self._flow.note(now_s, messages_read, len(data))
        self._pacer.flow.note(now_s, messages_read, len(data))
