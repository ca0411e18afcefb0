"""One client's connection after its handshake: what it asks for, its limits, its pings, the ways to end."""

from __future__ import annotations

from collections.abc import Callable

import trio
from wsproto import WSConnection
from wsproto.events import CloseConnection, Ping, Pong

from ingest_actors.simulator.config import Limits
from ingest_actors.simulator.control_faults import answer_control
from ingest_actors.simulator.fault_actions import (
    CloseWith,
    Cut,
    HalfOpen,
    IgnoreClose,
    LoseSubscriptions,
    NoPings,
    ServerShutdown,
    SlowPongs,
)
from ingest_actors.simulator.fault_plan import ConnectionFaults, ToDo
from ingest_actors.simulator.fault_triggers import matches
from ingest_actors.simulator.faults import Fault
from ingest_actors.simulator.handshake import MessageLimiter
from ingest_actors.simulator.heartbeat import Heartbeat
from ingest_actors.simulator.incoming import Arrival, Incoming, Whole
from ingest_actors.simulator.outgoing import Outgoing
from ingest_actors.simulator.session import Session
from ingest_actors.simulator.sockets import reset_on_close
from ingest_actors.simulator.source import Source
from ingest_actors.simulator.valve import Valve
from ingest_actors.simulator.wire import OPCODE_PING, OPCODE_PONG, close_frame, control_frame, text_frame

_CLOSE_PATIENCE_S = 5.0
"""How long a client may take to answer a close frame."""

_NEVER_SENT = (1005, 1006)
"""Codes that only ever stand for there being none."""


class Connection:
    """Runs one connection to its end; every way of ending is an expected one, so `run` raises nothing of its own.

    Args:
        stream: the transport, handshake done.
        ws: the protocol state that the handshake left behind; it goes on reading what the client sends.
        session: what is to be sent.
        source: where streams come from.
        limits: what is enforced.
        faults: what goes wrong.
        frame_per_send: hand each frame to the transport by itself: with TLS, one record a frame.
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
        frame_per_send: bool = False,
    ) -> None:
        self.session = session
        self._stream = stream
        self._source = source
        self._limits = limits
        self._faults = faults
        self._valve = Valve()
        self._incoming = Incoming(stream, ws, self._valve, text_bytes_max=limits.control_bytes_max)
        self._outgoing = Outgoing(stream, session, faults, self._valve, self._act, frame_per_send=frame_per_send)
        self._scope = trio.CancelScope()
        self._later: trio.Nursery | None = None
        self._limiter = MessageLimiter(limits.messages_per_s)
        self._heartbeat = Heartbeat(limits, trio.current_time())
        self._closing = False
        self._lingering = False

    async def run(self) -> None:
        """Serve the client until either side ends the connection. Closes the stream."""
        for name in self.session.control.streams:
            self._source.attach(self.session, name)
        try:
            with self._scope:
                async with trio.open_nursery() as self._later:
                    self._later.start_soon(self._send)
                    self._later.start_soon(self._keep)
                    self._later.start_soon(self._watch)
                    await self._read()
        finally:
            self._leave()
            if self._scope.cancelled_caught and not self._closing:
                await trio.aclose_forcefully(self._stream)
            else:
                with trio.move_on_after(_CLOSE_PATIENCE_S):
                    await self._stream.aclose()

    def close(self, code: int, reason: str = "", *, linger: bool = False) -> None:
        """Send a close frame and end the connection when the client has answered it, or after 5 s.

        Args:
            code: of the close frame.
            reason: likewise.
            linger: do not end the connection: it stays open and silent until the client goes.
        """
        if self._closing or self._valve.shut:
            return
        self._closing = True
        self._lingering = linger
        self._leave()
        self.session.push_control(close_frame(code, reason))
        if not linger:
            self._scope.deadline = trio.current_time() + _CLOSE_PATIENCE_S

    def cut(self, *, reset: bool = False) -> None:
        """End the connection at once, without a close frame; with `reset` by a TCP reset, where there is TCP."""
        if reset:
            reset_on_close(self._stream)
        self._closing = False
        self._scope.cancel()

    def freeze(self, for_s: float | None = None) -> None:
        """Neither read nor send any more, for a while; None: until the server ends."""
        self._valve.close()
        self._incoming.interrupt()
        if for_s is None:
            self._leave()
        else:
            self._after(for_s, self._valve.open)

    def announce_shutdown(self, lead_s: float | None = None) -> None:
        """Send `serverShutdown`; with a lead, close with 1001 after so many seconds."""
        self.push_event("!serverShutdown", b'{"e":"serverShutdown","E":%d}' % self._source.now_ms())
        if lead_s is not None:
            self._after(lead_s, self.close, 1001)

    def lose(self, streams: str) -> None:
        """Unsubscribe the streams that match a glob, and tell nobody."""
        for name in [name for name in self.session.control.streams if matches(name, streams)]:
            del self.session.control.streams[name]
            self._source.detach(self.session, name)

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
            await self._outgoing.run()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            self._scope.cancel()

    async def _act(self, action: ToDo, fault: Fault) -> None:
        """What a fault does to the connection."""
        if isinstance(action, Cut):
            self.cut(reset=action.reset)
            await trio.sleep_forever()
        elif isinstance(action, HalfOpen):
            self.freeze(fault.for_s)
            await self._valve.passed()
        elif isinstance(action, CloseWith):
            self.close(action.code, action.reason, linger=action.linger)
        elif isinstance(action, LoseSubscriptions):
            self.lose(fault.streams)
        elif isinstance(action, ServerShutdown):
            self.announce_shutdown(action.lead_s)

    async def _read(self) -> None:
        try:
            while (arrival := await self._incoming.next()) is not None:
                if not isinstance(arrival, CloseConnection):
                    self._handle(arrival)
                elif not self._lingering and not self._faults.lasting(IgnoreClose, trio.current_time()):
                    await self._answer_close(arrival)
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone: the same as its end of the stream
        self._scope.cancel()

    async def _answer_close(self, event: CloseConnection) -> None:
        self._leave()
        if not self._closing:
            self._closing = True
            self.session.push_control(close_frame(1000 if event.code in _NEVER_SENT else event.code))
        self._scope.deadline = trio.current_time() + _CLOSE_PATIENCE_S
        await self._outgoing.wait_sent()
        self._scope.cancel()

    def _handle(self, arrival: Arrival) -> None:
        if self._closing:
            return
        if not self._limiter.message(trio.current_time()):
            self.close(1008, "Too many requests")
        elif isinstance(arrival, Ping):
            self._answer_ping(control_frame(OPCODE_PONG, bytes(arrival.payload)))
        elif isinstance(arrival, Pong):
            self._heartbeat.pong(bytes(arrival.payload))
        elif isinstance(arrival, Whole):
            self._control(arrival.data)

    def _answer_ping(self, pong: bytes) -> None:
        slow = self._faults.lasting(SlowPongs, trio.current_time()) or SlowPongs(0.0)
        if slow.delay_s is not None:
            self._push_after(slow.delay_s, pong)

    def _control(self, message: bytes) -> None:
        answer = answer_control(self.session.control, message, self._faults.request_fault(trio.current_time()))
        if answer.text:
            self._push_after(answer.delay_s, text_frame(answer.text))
        for name in answer.unsubscribed:
            self._source.detach(self.session, name)
        for name in answer.subscribed:
            self._source.attach(self.session, name)
        if answer.close:
            self.close(*answer.close)

    async def _keep(self) -> None:
        """Pings, the pong deadline, the age limit."""
        while True:
            await trio.sleep_until(self._heartbeat.next_s)
            await self._valve.passed()
            if self._closing:
                return
            now_s = trio.current_time()
            due = self._heartbeat.due(now_s)
            if due == "too old" and self._limits.abrupt_end:
                self.cut()
            elif due == "too old":
                self.close(1001)
                return
            elif due == "pong timeout":
                self.close(1008, "Pong timeout")
                return
            elif due == "ping" and self._faults.lasting(NoPings, now_s):
                self._heartbeat.skip_ping()
            elif due == "ping":
                payload = str(self._source.now_ms()).encode()
                self._heartbeat.pinged(payload, now_s)
                self.session.push_control(control_frame(OPCODE_PING, payload))

    async def _watch(self) -> None:
        """Ends the connection when its source says so, or when its reader is too slow."""
        await self.session.ended.wait()
        if self.session.verdict is None:
            self.cut()
        else:
            await self._outgoing.wait_sent()
            self.close(self.session.verdict)

    def _push_after(self, delay_s: float, frame: bytes) -> None:
        if delay_s:
            self._after(delay_s, self.session.push_control, frame)
        else:
            self.session.push_control(frame)

    def _after(self, delay_s: float, do: Callable[..., None], *args: object) -> None:
        """Do something later, if the connection still runs then."""

        async def wait() -> None:
            await trio.sleep(delay_s)
            do(*args)

        if self._later is not None:
            self._later.start_soon(wait)
