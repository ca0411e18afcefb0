"""One life of a connection: a WebSocket from the attempt to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

import trio

from ingest_actors.actors.connection_state import Connection
from ingest_actors.announce import Announcer
from ingest_actors.errors import ExchangeUnreachable, FeedClosed
from ingest_actors.messages import FrameBatch
from ingest_actors.nursery import open_nursery
from ingest_actors.protocols import DirectFeed, Feed, Subscriber
from ingest_actors.supervision import Mailbox

HEALTHY_AFTER_S = 60.0
"""Data for this long makes an attempt a success: a handshake alone proves nothing."""

BLOCKED_NOTICE_S = 1.0
"""Reading that stood still for less than this did not make the exchange end the connection."""

BLOCKED_MEMORY_S = 60.0
"""Nor did a standstill that ended so long ago: the exchange gives a client a minute to answer its pings."""

NORMAL_CLOSURE = 1000
"""The close code of a connection that this side ends (RFC 6455 section 7.4.1)."""

OpenFeed = Callable[..., AbstractAsyncContextManager[Feed]]
"""Opens a feed: ``open_feed(url, name=..., intercept=...)``; `intercept` sees the messages first."""


class Life:
    """One WebSocket, from the attempt to its end.

    Args:
        state: of the connection whose life it is.
        outbox: gets every message.
        on_open: called when all streams are acknowledged.
        announce: told of the opening and the end.
        clock_ms: wall clock, ms since the epoch.
        proxy: through which it goes, as it may be shown; empty when through none.

    Attributes:
        healthy: whether it has brought data for `HEALTHY_AFTER_S`.
        blocked: whether it ended because it was not read, for want of room in the outbox.
    """

    def __init__(
        self,
        state: Connection,
        outbox: Mailbox[FrameBatch],
        on_open: Callable[[], None],
        announce: Announcer,
        clock_ms: Callable[[], int],
        *,
        proxy: str = "",
    ) -> None:
        self._proxy = {"proxy": proxy} if proxy else {}
        self._state = state
        self._outbox = outbox
        self._on_open = on_open
        self._announce = announce
        self._clock_ms = clock_ms
        self._first_data_s: float | None = None
        self._standstill = Standstill()
        self.healthy = False
        self.blocked = False

    async def run(self, open_feed: OpenFeed, subscriber: Subscriber) -> ExchangeUnreachable | FeedClosed:
        """Live; returns why it ended. Cancelled: what was read is carried by the state."""
        state = self._state
        try:
            async with open_feed(state.url, name=state.name, intercept=subscriber.intercept) as feed:
                state.begin(subscriber)
                state.opened_at_ms = self._clock_ms()
                state.opened_at_s = trio.current_time()
                self._announce(
                    "connection_opened",
                    connection=state.name,
                    url=state.url,
                    streams=len(state.streams),
                    **self._proxy,
                )
                try:
                    async with open_nursery() as nursery:
                        nursery.start_soon(self._subscribe, feed, subscriber)
                        nursery.start_soon(self._end_when_told)
                        await self._pump(feed)
                finally:
                    state.carry.extend(feed.unread())
        except ExchangeUnreachable as failure:
            self._announce(
                "websocket_connection_failed",
                level="error",
                connection=state.name,
                url=failure.url,
                cause=failure.cause,
                hint=failure.hint,
                failures=state.failures + 1,
            )
            return failure
        except FeedClosed as closed:
            self._closed(closed)
            return closed
        finally:
            state.end()
        raise AssertionError("a feed ends by an exception")

    async def _subscribe(self, feed: Feed, subscriber: Subscriber) -> None:
        state = self._state
        async for acknowledged in subscriber.subscribe(feed):
            state.acknowledged = acknowledged
            if state.state == "subscribing" and subscriber.acknowledged >= set(state.streams):
                state.was_open = True
                state.subscribed_at_s = trio.current_time()
                state.state = "open"  # until it ends: what is subscribed again or added later does not unsettle it
                self._on_open()

    async def _end_when_told(self) -> None:
        await self._state.told_to_reopen.wait()
        raise FeedClosed(NORMAL_CLOSURE, self._state.reopen_reason)

    async def _pump(self, feed: Feed) -> None:
        state, outbox = self._state, self._outbox
        carry = state.carry
        direct = feed if isinstance(feed, DirectFeed) else None
        try:
            if direct is not None:
                direct.hand_to(self._offered)
            while True:
                carry.append(await feed.receive())
                self._heard()
                try:
                    outbox.put_nowait(carry[0])
                    carry.popleft()
                except trio.WouldBlock:
                    with self._standstill.lasting():
                        await state.put_carried(outbox)
        finally:
            if direct is not None:
                direct.hand_to(None)

    def _offered(self, batch: FrameBatch) -> bool:
        """Put what was just read, without a turn of this actor; False when it has to wait, or something before it."""
        if self._state.carry:
            return False
        try:
            self._outbox.put_nowait(batch)
        except (trio.WouldBlock, trio.ClosedResourceError):
            return False  # it comes by `receive`, and the actor finds the same
        self._heard()
        return True

    def _heard(self) -> None:
        self._state.heard_at_s = now_s = trio.current_time()
        if self._first_data_s is None:
            self._first_data_s = now_s
        if not self.healthy and now_s - self._first_data_s >= HEALTHY_AFTER_S:
            self.healthy = True
            self._state.failures = 0

    def _closed(self, closed: FeedClosed) -> None:
        fields = {"connection": self._state.name, "code": closed.code, "reason": closed.reason}
        blocked_s = self._standstill.seconds()
        self.blocked = blocked_s >= BLOCKED_NOTICE_S
        if self.blocked:
            fields["blocked_s"] = round(blocked_s, 3)
            fields["hint"] = "the exchange cuts readers that stop: Kafka did not take records as fast as they came"
        expected = self._state.ending_expected or self._state.leaving
        self._announce(
            "connection_closed",
            level="info" if expected else "warning",
            expected=expected,
            **fields,
        )


class Standstill:
    """How long a connection was not read lately, for want of room in the mailbox."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._since_s: float | None = None
        self._until_s = 0.0

    @contextmanager
    def lasting(self) -> Iterator[None]:
        """Around each standstill."""
        self._seconds = self.seconds()
        self._since_s = trio.current_time()
        try:
            yield
        finally:
            self._seconds = self.seconds()
            self._since_s = None
            self._until_s = trio.current_time()

    def seconds(self) -> float:
        """In all; what came before a pause of `BLOCKED_MEMORY_S` is forgotten."""
        now_s = trio.current_time()
        if self._since_s is not None:
            return self._seconds + now_s - self._since_s
        return self._seconds if now_s - self._until_s < BLOCKED_MEMORY_S else 0.0
