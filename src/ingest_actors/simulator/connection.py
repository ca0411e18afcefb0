"""One client's connection after its handshake: reading, sending, pings, limits, closing."""

from __future__ import annotations

import math

import trio
from wsproto import WSConnection
from wsproto.events import CloseConnection, Message, Ping, Pong, TextMessage

from ingest_actors.simulator.config import Limits
from ingest_actors.simulator.faults import Action, CloseWith, ConnectionFaults, Cut, CutMidFrame, HalfOpen
from ingest_actors.simulator.handshake import MessageLimiter
from ingest_actors.simulator.session import Session
from ingest_actors.simulator.source import Source
from ingest_actors.simulator.wire import OPCODE_PING, OPCODE_PONG, close_frame, control_frame, text_frame

_READ_BYTES = 65_536
_CLOSE_PATIENCE_S = 5.0
"""How long a client may take to answer a close frame."""


def _answerable(code: int) -> int:
    """The code to answer a close with: some are only ever seen by the side that did not receive one."""
    return code if code not in (1005, 1006) else 1000


class Connection:
    """Runs one connection to its end; every way of ending is an expected one, so `run` raises nothing of its own.

    Args:
        stream: the transport, handshake done.
        ws: the protocol state that the handshake left behind; it goes on reading what the client sends.
        session: what is to be sent.
        source: where streams come from.
        limits: what is enforced.
        faults: what goes wrong.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        ws: WSConnection,
        session: Session,
        *,
        source: Source,
        limits: Limits,
        faults: ConnectionFaults,
    ) -> None:
        self.session = session
        self._stream = stream
        self._ws = ws
        self._source = source
        self._limits = limits
        self._faults = faults
        self._scope = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._incoming = MessageLimiter(limits.messages_per_s)
        self._message = bytearray()
        self._unanswered: dict[bytes, float] = {}
        self._closing = False
        self._frozen = False
        session.whole_frames = faults.whole_frames

    async def run(self) -> None:
        """Serve the client until either side ends the connection. Closes the stream."""
        for name in self.session.control.streams:
            self._source.attach(self.session, name)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send)
                    nursery.start_soon(self._keep)
                    nursery.start_soon(self._watch)
                    await self._read()
        finally:
            self._leave()
            if self._scope.cancelled_caught and not self._closing:
                await trio.aclose_forcefully(self._stream)
            else:
                with trio.move_on_after(_CLOSE_PATIENCE_S):
                    await self._stream.aclose()

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame and end the connection when the client has answered it, or after 5 s."""
        if self._closing or self._frozen:
            return
        self._closing = True
        self._leave()
        self.session.push_control(close_frame(code, reason))
        self._scope.deadline = trio.current_time() + _CLOSE_PATIENCE_S

    def cut(self) -> None:
        """End the connection at once, without a close frame."""
        self._closing = False
        self._scope.cancel()

    def freeze(self) -> None:
        """Neither read nor send any more; the connection stays open until the server ends."""
        self._frozen = True
        self._leave()
        self._reading.cancel()

    def push_event(self, stream: str, payload: bytes) -> None:
        """Send an event that nobody has to subscribe to."""
        if self.session.combined:
            payload = b'{"stream":"' + stream.encode() + b'","data":' + payload + b"}"
        self.session.push_control(text_frame(payload))

    def _leave(self) -> None:
        for name in self.session.control.streams:
            self._source.detach(self.session, name)
        self.session.close()

    async def _send(self) -> None:
        try:
            while True:
                control, frames = await self.session.take()
                if self._frozen:
                    await trio.sleep_forever()
                for step in self._faults.steps(control, frames):
                    if isinstance(step, CloseWith):
                        self.close(step.code, step.reason)
                        break
                    if not isinstance(step, bytes):
                        await self._act(step)
                    elif step:
                        await self._stream.send_all(step)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._scope.cancel()

    async def _act(self, action: Action) -> None:
        if isinstance(action, CutMidFrame | Cut):
            self.cut()
            await trio.sleep_forever()
        elif isinstance(action, HalfOpen):
            self.freeze()
            await trio.sleep_forever()

    async def _read(self) -> None:
        with self._reading:
            try:
                while True:
                    for event in self._ws.events():
                        if isinstance(event, CloseConnection):
                            await self._answer_close(event)
                            return
                        self._handle(event)
                    data = await self._stream.receive_some(_READ_BYTES)
                    if not data:
                        self._scope.cancel()
                        return
                    self._ws.receive_data(bytes(data))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._scope.cancel()
        if self._frozen:
            await trio.sleep_forever()

    async def _answer_close(self, event: CloseConnection) -> None:
        self._leave()
        if not self._closing:
            self._closing = True
            self.session.push_control(close_frame(_answerable(event.code)))
        self._scope.deadline = trio.current_time() + _CLOSE_PATIENCE_S
        await self.session.wait_sent()
        self._scope.cancel()

    def _handle(self, event: object) -> None:
        if isinstance(event, Message):
            room = self._limits.control_bytes_max + 1 - len(self._message)
            data = event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
            self._message += data[:room]
            if not event.message_finished:
                return
        if self._closing:
            self._message.clear()
            return
        if not self._incoming.message(trio.current_time()):
            self.close(1008, "Too many requests")
        elif isinstance(event, Ping):
            self.session.push_control(control_frame(OPCODE_PONG, bytes(event.payload)))
        elif isinstance(event, Pong):
            self._pong(bytes(event.payload))
        elif isinstance(event, Message):
            message, self._message = bytes(self._message), bytearray()
            self._control(message)

    def _control(self, message: bytes) -> None:
        reply = self.session.control.handle(message)
        self.session.push_control(text_frame(reply.text))
        for name in reply.unsubscribed:
            self._source.detach(self.session, name)
        for name in reply.subscribed:
            self._source.attach(self.session, name)
        if reply.close:
            self.close(*reply.close)

    def _pong(self, payload: bytes) -> None:
        if payload in self._unanswered:
            answered_s = self._unanswered[payload]
            self._unanswered = {ping: at for ping, at in self._unanswered.items() if at > answered_s}

    async def _keep(self) -> None:
        """Pings, the pong deadline, the age limit."""
        started_s = trio.current_time()
        ping_s = started_s + self._limits.ping_interval_s
        while True:
            pong_s = min(self._unanswered.values(), default=math.inf) + self._limits.pong_timeout_s
            end_s = started_s + self._limits.lifetime_s
            await trio.sleep_until(min(ping_s, pong_s, end_s))
            now_s = trio.current_time()
            if now_s >= end_s:
                self.close(1001)
                return
            if min(self._unanswered.values(), default=math.inf) + self._limits.pong_timeout_s <= now_s:
                self.close(1008, "Pong timeout")
                return
            if now_s >= ping_s:
                payload = str(self._source.now_ms()).encode()
                self._unanswered[payload] = now_s
                self.session.push_control(control_frame(OPCODE_PING, payload))
                ping_s += self._limits.ping_interval_s

    async def _watch(self) -> None:
        """Ends the connection when its source says so, or when its reader is too slow."""
        await self.session.ended.wait()
        if self.session.verdict is None:
            self.cut()
        else:
            await self.session.wait_sent()
            self.close(self.session.verdict)
