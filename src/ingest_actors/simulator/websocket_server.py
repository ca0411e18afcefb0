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
from ingest_actors.simulator.faults import FaultScript
from ingest_actors.simulator.handshake import HandshakeLimiter, Target, parse_target
from ingest_actors.simulator.session import Session
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

    Attributes:
        connections: the open ones, by number; numbers count handshakes from 1.
    """

    def __init__(self, source: Source, limits: Limits, faults: FaultScript, *, seed: int = 0) -> None:
        self.connections: dict[int, Connection] = {}
        self._source = source
        self._limits = limits
        self._faults = faults
        self._seed = seed
        self._handshakes = 0
        self._limiter = HandshakeLimiter(limits.handshakes_max, limits.handshake_window_s)

    async def serve_stream(self, stream: trio.abc.Stream, address: str | None = None) -> None:
        """Serve one client to its end, then close the stream. Nothing that the client does raises.

        Args:
            stream: the transport; for ``wss://`` the TLS stream.
            address: whose attempts are counted together; None: that of the peer, when there is one.
        """
        ws = WSConnection(ConnectionType.SERVER)
        connection = None
        try:
            with trio.move_on_after(_HANDSHAKE_PATIENCE_S):
                request = await _read_request(stream, ws)
                if request is not None:
                    connection = await self._answer(stream, ws, request, address or peer_address(stream))
        except (trio.BrokenResourceError, trio.ClosedResourceError, RemoteProtocolError):
            connection = None
        if connection is None:
            with trio.move_on_after(1):
                await stream.aclose()
            return
        number = connection.session.number
        self.connections[number] = connection
        try:
            await connection.run()
        finally:
            del self.connections[number]

    def announce_shutdown(self, numbers: Iterable[int] | None = None) -> None:
        """Send `serverShutdown` to the connections of these numbers, or to all."""
        payload = b'{"e":"serverShutdown","E":%d}' % self._source.now_ms()
        for number in list(self.connections) if numbers is None else numbers:
            self.connections[number].push_event("!serverShutdown", payload)

    async def _answer(
        self, stream: trio.abc.Stream, ws: WSConnection, request: Request, address: str
    ) -> Connection | None:
        self._handshakes += 1
        number = self._handshakes
        target = parse_target(request.target)
        status = self._limiter.attempt(address, trio.current_time()) or self._faults.refuse_handshake(number)
        if status is None and target is None:
            status = 404
        if status is None and target and target.microseconds is None and self._limits.refuse_bad_time_unit:
            status = 400
        if status is not None or target is None:
            await stream.send_all(_refusal(ws, status or 404))
            return None
        await stream.send_all(ws.send(AcceptConnection()))
        return self._open(stream, ws, target, number)

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
        faults = self._faults.open_connection(number)
        connection = Connection(stream, ws, session, source=self._source, limits=limits, faults=faults)
        too_many = control.over_limit()
        if too_many is not None:
            control.streams.clear()
            session.push_control(text_frame(too_many.text))
            connection.close(1008, "Too many subscriptions")
        return connection


def peer_address(stream: trio.abc.Stream) -> str:
    """The address of whoever is at the other end; empty when the stream has none."""
    if isinstance(stream, trio.SSLStream):
        return peer_address(stream.transport_stream)
    if isinstance(stream, trio.SocketStream):
        try:
            return str(stream.socket.getpeername()[0])
        except OSError:
            return ""
    return ""


async def _read_request(stream: trio.abc.Stream, ws: WSConnection) -> Request | None:
    while True:
        data = await stream.receive_some(_READ_BYTES)
        if not data:
            return None
        try:
            ws.receive_data(bytes(data))
        except RemoteProtocolError as error:
            if error.event_hint is not None:
                await stream.send_all(_refusal(ws, 400))
            return None
        for event in ws.events():
            if isinstance(event, Request):
                return event


def _refusal(ws: WSConnection, status: int) -> bytes:
    body = f"<html><body><h2>{status}</h2></body></html>".encode()
    headers = [(b"content-type", b"text/html"), (b"content-length", str(len(body)).encode())]
    head = ws.send(RejectConnection(status_code=status, headers=headers, has_body=True))
    return head + ws.send(RejectData(data=body, body_finished=True))
