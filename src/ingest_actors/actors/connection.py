"""The connection: one WebSocket to the exchange, opened again whenever it ends, its messages put into the mailbox."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import trio

from ingest_actors.announce import Announcer
from ingest_actors.errors import ExchangeUnreachable, FeedClosed
from ingest_actors.messages import FrameBatch
from ingest_actors.nursery import open_nursery
from ingest_actors.protocols import Feed, Subscriber
from ingest_actors.status import ConnectionStatus, Tallies
from ingest_actors.supervision import Backoff, Mailbox

HEALTHY_AFTER_S = 60.0
"""Data for this long makes an attempt a success: a handshake alone proves nothing."""

BLOCKED_NOTICE_S = 1.0
"""Reading that stood still for less than this is not worth a word when the connection ends."""

OpenFeed = Callable[..., AbstractAsyncContextManager[Feed]]
"""Opens a feed: ``open_feed(url, name=..., intercept=...)``; `intercept` sees the messages first."""


@dataclass(slots=True)
class Connection:
    """What is known of one planned connection. It belongs to the supervisor and outlives the actor's lives.

    Attributes:
        name: short and unique within the service.
        streams: what it carries.
        state: see `ingest_actors.status.ConnectionStatus`.
        url: the endpoint of the current or next attempt.
        acknowledged: streams whose subscription the exchange has acknowledged.
        opened_at_ms: when it last opened; None while it is not open.
        failures: ends in a row without `HEALTHY_AFTER_S` of data between them.
        ending_expected: the exchange has said that it will end this connection.
        carry: batches that were read and have not found room downstream; the next life begins with them.
    """

    name: str
    streams: tuple[str, ...]
    state: str = "connecting"
    url: str = ""
    acknowledged: int = 0
    opened_at_ms: int | None = None
    failures: int = 0
    ending_expected: bool = False
    carry: deque[FrameBatch] = field(default_factory=deque)

    def status(self) -> ConnectionStatus:
        """A picture of it."""
        return ConnectionStatus(
            name=self.name,
            url=self.url,
            state=self.state,
            streams=len(self.streams),
            acknowledged=self.acknowledged,
            opened_at_ms=self.opened_at_ms,
            failures=self.failures,
        )


async def connection(
    outbox: Mailbox[FrameBatch],
    *,
    state: Connection,
    endpoint: Callable[[], str],
    attempt: Callable[[], Awaitable[None]],
    open_feed: OpenFeed,
    subscriber: Callable[[tuple[str, ...]], Subscriber],
    backoff: Backoff,
    failures_max: int,
    on_open: Callable[[], None],
    announce: Announcer,
    tallies: Tallies,
    clock_ms: Callable[[], int],
) -> None:
    """Keep one connection open; ends only by cancellation or by giving up.

    Args:
        outbox: gets every message, in the order of arrival.
        state: this connection; read by others, written here.
        endpoint: the URL for the next attempt; several are used in turn.
        attempt: waits until the exchange's budget of attempts allows one more.
        open_feed: opens the WebSocket.
        subscriber: makes the control protocol of a new connection, from its streams.
        backoff: the delays between attempts.
        failures_max: failures in a row before giving up; 0 = never.
        on_open: called when all streams are acknowledged.
        announce: told of openings, closings and failures.
        tallies: told of reconnections.
        clock_ms: wall clock, ms since the epoch.

    Raises:
        ExchangeUnreachable: gave up.
    """
    while True:
        state.url = endpoint()
        state.state = "connecting"
        await attempt()
        life = _Life(state, outbox, on_open, announce, clock_ms)
        failure = await life.run(open_feed, subscriber(state.streams))
        if life.healthy:
            state.failures = 0
            backoff.reset()
        state.state = "waiting"
        if state.ending_expected:
            state.ending_expected = False
            continue
        if life.blocked_s >= BLOCKED_NOTICE_S:
            tallies.reconnects["blocked"] += 1  # our own doing: no reason to give up on the exchange
        else:
            tallies.reconnects["unreachable" if isinstance(failure, ExchangeUnreachable) else "closed"] += 1
            state.failures += 1
        if failures_max and state.failures >= failures_max:
            state.state = "closed"
            raise _gave_up(state, failure)
        delay_s = backoff.next_s()
        announce("reconnecting", connection=state.name, failures=state.failures, delay_s=round(delay_s, 3))
        await trio.sleep(delay_s)


def _gave_up(state: Connection, failure: ExchangeUnreachable | FeedClosed) -> ExchangeUnreachable:
    cause = failure.cause if isinstance(failure, ExchangeUnreachable) else str(failure)
    hint = failure.hint if isinstance(failure, ExchangeUnreachable) else ""
    return ExchangeUnreachable(
        state.url,
        f"{cause} ({state.failures} failures in a row, MAX_RETRIES)",
        hint=hint,
        status=failure.status if isinstance(failure, ExchangeUnreachable) else None,
    )


class _Life:
    """One WebSocket, from the attempt to its end."""

    def __init__(
        self,
        state: Connection,
        outbox: Mailbox[FrameBatch],
        on_open: Callable[[], None],
        announce: Announcer,
        clock_ms: Callable[[], int],
    ) -> None:
        self._state = state
        self._outbox = outbox
        self._on_open = on_open
        self._announce = announce
        self._clock_ms = clock_ms
        self._first_data_s: float | None = None
        self._last_data_s = 0.0
        self._blocked_s = 0.0
        self._blocked_from_s: float | None = None

    @property
    def healthy(self) -> bool:
        return self._first_data_s is not None and self._last_data_s - self._first_data_s >= HEALTHY_AFTER_S

    @property
    def blocked_s(self) -> float:
        """How long the mailbox had no room for what was read, seconds."""
        now_s = trio.current_time()
        return self._blocked_s + (0.0 if self._blocked_from_s is None else now_s - self._blocked_from_s)

    async def run(self, open_feed: OpenFeed, subscriber: Subscriber) -> ExchangeUnreachable | FeedClosed:
        """Returns why it ended."""
        state = self._state
        try:
            async with open_feed(state.url, name=state.name, intercept=subscriber.intercept) as feed:
                state.state = "subscribing"
                state.opened_at_ms = self._clock_ms()
                self._announce("connection_opened", connection=state.name, url=state.url, streams=len(state.streams))
                try:
                    async with open_nursery() as nursery:
                        nursery.start_soon(self._subscribe, feed, subscriber)
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
            state.opened_at_ms = None
            state.acknowledged = 0
        raise AssertionError("a feed ends by an exception")

    async def _subscribe(self, feed: Feed, subscriber: Subscriber) -> None:
        state = self._state
        async for acknowledged in subscriber.subscribe(feed):
            state.acknowledged = acknowledged
            if acknowledged == len(state.streams):
                state.state = "open"
                self._on_open()

    async def _pump(self, feed: Feed) -> None:
        carry = self._state.carry
        while True:
            while carry:
                batch = carry[0]
                self._blocked_from_s = trio.current_time()
                await self._outbox.wait_for_room(batch)
                self._outbox.put_nowait(batch)
                carry.popleft()
                self._blocked_s += trio.current_time() - self._blocked_from_s
                self._blocked_from_s = None
            carry.append(await feed.receive())
            self._last_data_s = trio.current_time()
            if self._first_data_s is None:
                self._first_data_s = self._last_data_s

    def _closed(self, closed: FeedClosed) -> None:
        fields = {"connection": self._state.name, "code": closed.code, "reason": closed.reason}
        if self.blocked_s >= BLOCKED_NOTICE_S:
            fields["blocked_s"] = round(self.blocked_s, 3)
            fields["hint"] = "the exchange cuts readers that stop: Kafka did not take records as fast as they came"
        self._announce(
            "connection_closed",
            level="info" if self._state.ending_expected else "warning",
            expected=self._state.ending_expected,
            **fields,
        )
