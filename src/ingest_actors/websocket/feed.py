"""One WebSocket connection to the exchange, as a source of batches of messages.

Two tasks stand behind a feed: trio-websocket's reader, which keeps the protocol, and the pump, which waits for the
connection's end. The body of `open_feed` is cancelled by neither: it learns of the end by `FeedClosed`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from ingest_actors.messages import FrameBatch
from ingest_actors.websocket.connect import Connector, connect_tcp_tls
from ingest_actors.websocket.link import Link
from ingest_actors.websocket.opening import FeedOptions, Intercept
from ingest_actors.websocket.pacing import ReceivePacer


def wall_clock_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class WebSocketFeed:
    """An open connection; fits `ingest_actors.protocols.Feed`. Made by `open_feed`.

    Attributes:
        name: what the batches name as their connection.
        url: what it is connected to.
    """

    def __init__(self, link: Link) -> None:
        self.name = link.options.name
        self.url = link.options.url
        self._link = link

    async def receive(self) -> FrameBatch:
        """The next messages, in the order of arrival. Cancelled: nothing is lost.

        Raises:
            FeedClosed: the connection has ended, and all that was read of it is handed out.
            Exception: what `intercept` raised, which ends the connection.
        """
        return await self._link.read_ahead.take()

    def hand_to(self, offer: Callable[[FrameBatch], bool] | None) -> None:
        """See `ingest_actors.protocols.DirectFeed`."""
        self._link.offer = offer

    async def send(self, message: str) -> None:
        """Send one text message. Cancelled in the middle, the connection is of no more use.

        Raises:
            FeedClosed: the connection has ended or is being closed.
        """
        await self._link.send(message)

    def unread(self) -> list[FrameBatch]:
        """Take what was read and not yet received, without waiting; for an owner who goes and leaves nothing behind."""
        return self._link.read_ahead.drain()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close with a close frame and wait, for a bounded time, for the answer. Idempotent.

        What was read before stays to be received; what comes after is dropped. Cancelled: closed without waiting.
        """
        await self._link.aclose(code, reason)


@asynccontextmanager
async def open_feed(
    url: str,
    *,
    name: str,
    connect: Connector = connect_tcp_tls,
    max_message_bytes: int = 4 * 1024 * 1024,
    read_ahead_bytes_max: int = 1024 * 1024,
    fast: bool = True,
    open_timeout_s: float = 10.0,
    read_timeout_s: float = 60.0,
    close_timeout_s: float = 3.0,
    pacer: ReceivePacer | None = None,
    intercept: Intercept | None = None,
    clock_ms: Callable[[], int] = wall_clock_ms,
    clock_ns: Callable[[], int] | None = None,
) -> AsyncIterator[WebSocketFeed]:
    """Connect to a WebSocket server and receive its messages in batches, for as long as the context lasts.

    Leaving the context closes the connection with a close frame. An exception of the body comes out as it is. A body
    that is cancelled leaves at once: a close frame goes out if it can, and no answer is waited for.

    Args:
        url: ``ws://`` or ``wss://``, with path and query.
        name: given to the batches as their connection.
        connect: the way to the network.
        max_message_bytes: a larger message ends the connection with 1009.
        read_ahead_bytes_max: reading stops while so much is read and not yet received, counted as in
            `FrameBatch.size_bytes`. What one read brings (at most 64 KiB) may go beyond it by its overhead, and one
            message that is not complete is held beside it.
        fast: cut messages in bulk; otherwise trio-websocket does all, one message at a time.
        open_timeout_s: for everything until the connection stands, seconds.
        read_timeout_s: the connection ends when nothing at all came for so long while it was being read, seconds.
        close_timeout_s: how long to wait for the answer to a close frame, seconds.
        pacer: how long reading waits for more under a steady flow; to be shared by all connections. None: never.
        intercept: sees each list of text messages as it is cut, and returns those to be handed on. It is called
            synchronously and must not block.
        clock_ms: wall clock for `FrameBatch.received_at_ms`.
        clock_ns: a finer one instead, ns since the epoch, for those who keep `FrameBatch.received_at_ns`.

    Raises:
        ExchangeUnreachable: it could not be opened.
    """
    link = Link(
        FeedOptions(
            url=url,
            name=name,
            max_message_bytes=max_message_bytes,
            read_ahead_bytes_max=read_ahead_bytes_max,
            fast=fast,
            open_timeout_s=open_timeout_s,
            read_timeout_s=read_timeout_s,
            close_timeout_s=close_timeout_s,
            pacer=pacer or ReceivePacer(0),
            intercept=intercept,
            clock_ms=clock_ms,
            clock_ns=clock_ns,
        )
    )
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(partial(link.run, connect))
                yield WebSocketFeed(link)
            except BaseException as error:  # noqa: BLE001 raised again below, outside the nursery, which would wrap it
                failure = error
            await link.leave()
            nursery.cancel_scope.cancel()
    except BaseException as error:  # noqa: BLE001 judged, and raised again below
        failure = _most_telling(failure, error)
    if failure is not None:
        raise failure


def _most_telling(of_body: BaseException | None, of_nursery: BaseException) -> BaseException:
    """What to raise when tasks behind the feed failed too: what is no mere cancellation, the body's own first."""
    while isinstance(of_nursery, BaseExceptionGroup) and len(of_nursery.exceptions) == 1:
        of_nursery = of_nursery.exceptions[0]
    if of_body is None or (_only_cancelled(of_body) and not _only_cancelled(of_nursery)):
        return of_nursery
    return of_body


def _only_cancelled(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)
