"""The WebSocket side: handshakes, and the connections that come of them, on sockets or on any stream."""

from __future__ import annotations

import random
from collections.abc import Iterable

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request
from wsproto.utilities import RemoteProtocolError

from ingest_actors.simulator.config import Limits
from ingest_actors.simulator.connection import Connection
from ingest_actors.simulator.control import ControlState
from ingest_actors.simulator.fault_actions import Action
from ingest_actors.simulator.fault_refusals import DropHandshake, RefuseHandshake, SilentHandshake
from ingest_actors.simulator.fault_run import FaultRun
from ingest_actors.simulator.handshake import HandshakeLimiter, Target, parse_target
from ingest_actors.simulator.http_errors import default_body, media_type
from ingest_actors.simulator.session import Session
from ingest_actors.simulator.sockets import peer_address
from ingest_actors.simulator.source import Source
from ingest_actors.simulator.wire import text_frame

_HANDSHAKE_PATIENCE_S = 10.0
_READ_BYTES = 65_536


class WebSocketServer:
    """Accepts clients and serves them from a source.

    Args:
        source: where streams come from.
        limits: what is enforced.
        faults: what goes wrong.
        seed: of what differs from connection to connection.
        frame_per_send: hand each frame to the transport by itself.

    Attributes:
        connections: the open ones, by number; numbers count whoever comes, from 1.
    """

    def __init__(
        self, source: Source, limits: Limits, faults: FaultRun, *, seed: int = 0, frame_per_send: bool = False
    ) -> None:
        self.connections: dict[int, Connection] = {}
        self._source = source
        self._limits = limits
        self._faults = faults
        self._seed = seed
        self._frame_per_send = frame_per_send
        self._arrived = 0
        self._limiter = HandshakeLimiter(limits.handshakes_max, limits.handshake_window_s)

    async def serve_stream(self, stream: trio.abc.Stream, address: str | None = None) -> None:
        """Serve one client to its end, then close the stream. Nothing that the client does raises.

        Args:
            stream: the transport; for ``wss://`` the TLS stream.
            address: whose attempts are counted together; None: that of the peer, when there is one.
        """
        self._arrived += 1
        number = self._arrived
        fault = self._faults.handshake(number)
        if isinstance(fault, DropHandshake):
            await trio.aclose_forcefully(stream)
            return
        connection = await self._shake_hands(stream, number, fault, address or peer_address(stream))
        if connection is None:
            with trio.move_on_after(1):
                await stream.aclose()
            return
        self.connections[number] = connection
        try:
            await connection.run()
        finally:
            del self.connections[number]
            self._faults.close_connection(number)

    def announce_shutdown(self, numbers: Iterable[int] | None = None, *, lead_s: float | None = None) -> None:
        """Send `serverShutdown` to the connections of these numbers, or to all.

        Args:
            numbers: which.
            lead_s: close them with 1001 after so many seconds; None: leave them open.
        """
        for number in list(self.connections) if numbers is None else numbers:
            self.connections[number].announce_shutdown(lead_s)

    async def _shake_hands(
        self, stream: trio.abc.Stream, number: int, fault: Action | None, address: str
    ) -> Connection | None:
        ws = WSConnection(ConnectionType.SERVER)
        try:
            with trio.move_on_after(_HANDSHAKE_PATIENCE_S):
                request = await _read_request(stream, ws)
                if request is None:
                    return None
                target = parse_target(request.target)
                refusal = self._refusal(target, fault, address)
                if refusal is not None or target is None:
                    await stream.send_all(_refuse(ws, refusal or RefuseHandshake(404)))
                    return None
                if not isinstance(fault, SilentHandshake):
                    await stream.send_all(ws.send(AcceptConnection()))
                    return self._open(stream, ws, target, number)
            if isinstance(fault, SilentHandshake):
                while await stream.receive_some(_READ_BYTES):
                    pass  # as long as the client has patience
        except (trio.BrokenResourceError, trio.ClosedResourceError, RemoteProtocolError):
            return None
        return None

    def _refusal(self, target: Target | None, fault: Action | None, address: str) -> RefuseHandshake | None:
        """How a handshake is refused: for there being too many, by a fault, or for what it asks for."""
        now_s = trio.current_time()
        status = self._limiter.attempt(address, now_s)
        if status is not None:
            return RefuseHandshake(status, retry_after_s=self._limiter.retry_after_s(address, now_s))
        if isinstance(fault, RefuseHandshake):
            return fault
        if target is not None and target.microseconds is None and self._limits.refuse_bad_time_unit:
            return RefuseHandshake(400)
        return None

    def _open(self, stream: trio.abc.Stream, ws: WSConnection, target: Target, number: int) -> Connection:
        limits = self._limits
        control = ControlState(
            combined=target.combined,
            streams=target.streams,
            streams_max=limits.streams_max,
            text_bytes_max=limits.control_bytes_max,
            flat_errors=limits.flat_errors,
            close_on_bad_request=limits.close_on_bad_request,
        )
        session = Session(
            number,
            control,
            microseconds=bool(target.microseconds),
            phase_us=random.Random(f"{self._seed}/phase/{number}").randrange(100_000),  # noqa: S311 - not for secrets
            outbox_bytes_max=limits.outbox_bytes_max,
            lossless=self._source.lossless,
        )
        connection = Connection(
            stream,
            ws,
            session,
            source=self._source,
            limits=limits,
            faults=self._faults.open_connection(number, session.wake),
            frame_per_send=self._frame_per_send,
        )
        too_many = control.over_limit()
        if too_many is not None:
            control.streams.clear()
            session.push_control(text_frame(too_many.text))
            connection.close(1008, "Too many subscriptions")
        return connection


async def _read_request(stream: trio.abc.Stream, ws: WSConnection) -> Request | None:
    while True:
        data = await stream.receive_some(_READ_BYTES)
        if not data:
            return None
        try:
            ws.receive_data(bytes(data))
        except RemoteProtocolError as error:
            if error.event_hint is not None:
                await stream.send_all(_refuse(ws, RefuseHandshake(400)))
            return None
        for event in ws.events():
            if isinstance(event, Request):
                return event


def _refuse(ws: WSConnection, refusal: RefuseHandshake) -> bytes:
    text = default_body(refusal.status) if refusal.body is None else refusal.body
    body = text.encode()
    headers = [
        (b"content-type", media_type(text).encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", str(refusal.retry_after_s).encode()))
    head = ws.send(RejectConnection(status_code=refusal.status, headers=headers, has_body=True))
    return head + ws.send(RejectData(data=body, body_finished=True))
