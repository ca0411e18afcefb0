"""Opening a connection: transport, handshake, and what to say when there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import trio
import trio_websocket

from ingest_actors.errors import ExchangeUnreachable
from ingest_actors.websocket.address import WebSocketAddress
from ingest_actors.websocket.connect import Connector
from ingest_actors.websocket.pacing import ReceivePacer
from ingest_actors.websocket.unreachable import failed_handshake, failed_to_connect, refused_by_status
from ingest_actors.websocket.watched import READ_BYTES, WatchedStream

CAUSE_CHARACTERS_MAX: Final = 300
"""Of the text that says what is wrong with an answer: it may quote it."""

Intercept: TypeAlias = Callable[[list[bytes]], list[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedOptions:
    """What `open_feed` was asked for; described there."""

    url: str
    name: str
    max_message_bytes: int
    read_ahead_bytes_max: int
    fast: bool
    open_timeout_s: float
    read_timeout_s: float
    close_timeout_s: float
    pacer: ReceivePacer
    intercept: Intercept | None
    clock_ms: Callable[[], int]
    clock_ns: Callable[[], int] | None


class Opening:
    """One attempt to open a connection.

    Args:
        options: what to open.
        deadline: when to give up, by `trio.current_time()`.

    Raises:
        ExchangeUnreachable: the URL is none.
    """

    def __init__(self, options: FeedOptions, deadline: float) -> None:
        self._options = options
        self._deadline = deadline
        try:
            self._address = WebSocketAddress.parse(options.url)
        except ValueError as error:
            hint = "it should look like wss://stream.binance.com:9443/ws"
            raise ExchangeUnreachable(options.url, str(error), hint=hint) from None

    async def connect(self, connect: Connector) -> trio.abc.Stream:
        """The transport.

        Raises:
            ExchangeUnreachable: there is none.
        """
        try:
            with trio.fail_at(self._deadline):
                return await connect(self._address.host, self._address.port, self._address.tls)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            raise failed_to_connect(self._options.url, error) from error

    async def shake_hands(
        self, nursery: trio.Nursery, stream: WatchedStream
    ) -> trio_websocket.WebSocketConnection | None:
        """The WebSocket, or None when the other side did not agree. No extension is offered, so none may be used.

        `wrap_client_stream` waits for ever when the answer is anything but an agreement, hence the scope.
        """
        websocket = None
        with trio.CancelScope(deadline=self._deadline) as scope:
            stream.on_failed_handshake = scope.cancel
            websocket = await trio_websocket.wrap_client_stream(
                nursery,
                stream,  # type: ignore[arg-type]  # any trio.abc.Stream will do: it asks for the ends of two kinds only
                self._address.host_header,
                self._address.resource,
                message_queue_size=0,  # closing discards what is in the queue
                max_message_size=self._options.max_message_bytes,
                receive_buffer_size=READ_BYTES,
            )
        stream.on_failed_handshake = None
        return websocket

    def failure(self, stream: WatchedStream, error: Exception | None) -> ExchangeUnreachable:
        """Why there is no WebSocket.

        Args:
            stream: tells what came.
            error: what trio-websocket's reader died of, if it did.
        """
        url = self._options.url
        if stream.status and not stream.upgraded:
            return refused_by_status(url, stream.status, stream.head)
        if error is not None:
            cause = f"its answer to the WebSocket handshake is not valid: {error}"
            return failed_handshake(url, cause[:CAUSE_CHARACTERS_MAX], head=stream.head, answered=True)
        if trio.current_time() >= self._deadline:
            timeout_s = self._options.open_timeout_s
            cause = f"no answer to the WebSocket handshake within {timeout_s:g} s"
            return failed_handshake(url, cause, head=stream.head)
        return failed_handshake(url, stream.end_reason, head=stream.head)
