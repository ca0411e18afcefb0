"""The connection: a WebSocket to the exchange, opened again whenever it ends, its messages put into the mailbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from ingest_actors.actors.connection_life import Life, OpenFeed
from ingest_actors.actors.connection_state import Connection
from ingest_actors.announce import Announcer
from ingest_actors.binance.standing import asked_wait_s
from ingest_actors.errors import ExchangeUnreachable, FeedClosed
from ingest_actors.messages import FrameBatch
from ingest_actors.protocols import Subscriber
from ingest_actors.status import Tallies
from ingest_actors.supervision import Backoff, Mailbox

TAKEN_OVER_S = 2.0
"""How long a connection that has ended waits to be told that its successor has its place."""


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
    on_end: Callable[[], None] = lambda: None,
    spared: Callable[[], bool] = lambda: False,
    announce: Announcer,
    tallies: Tallies,
    clock_ms: Callable[[], int],
    heed: Callable[[ExchangeUnreachable], float] = asked_wait_s,
    way: Callable[[str], str] = lambda _: "",
) -> None:
    """Keep one connection open; ends only by cancellation or by giving up.

    An end that the exchange has announced is followed by a new attempt at once, and so is one that the watch has asked
    for. A connection that ended because it was not read for want of room downstream is followed by another, after the
    first delay, when there is room again: until then that would be cut as well. None of these counts as a failure.
    One whose successor is open already when it ends is left to whoever exchanges the two. The attempts of a connection
    that is to replace another are neither failures nor reconnections.

    Args:
        outbox: gets every message, in the order of arrival.
        state: this connection; read by others, written here.
        endpoint: the URL for the next attempt; several are used in turn.
        attempt: waits until the exchange's budget of attempts allows one more.
        open_feed: opens the WebSocket.
        subscriber: makes the control protocol of a new connection, from its streams.
        backoff: the delays between attempts.
        failures_max: failures in a row before giving up; 0 = never. A connection that is extra never gives up.
        on_open: called when all streams are acknowledged.
        on_end: called when an open connection has ended.
        spared: whether another one brings all that it should: then it does not give up, but begins to count anew.
        announce: told of openings, closings and failures.
        tallies: told of reconnections.
        clock_ms: wall clock, ms since the epoch.
        heed: told why an attempt failed; the least delay that follows from it, seconds.
        way: the proxy that leads to a URL, as it may be shown; empty when none does.

    Raises:
        ExchangeUnreachable: gave up.
    """
    try:
        while True:
            await state.put_carried(outbox)
            state.url = endpoint()
            state.state = "connecting"
            await attempt()
            life = Life(state, outbox, on_open, announce, clock_ms, proxy=way(state.url))
            failure = await life.run(open_feed, subscriber(state.streams))
            await trio.lowlevel.checkpoint_if_cancelled()  # whoever is stopped in that instant has not failed
            if state.leaving:
                return
            state.state = "waiting"
            expected, state.ending_expected = state.ending_expected, False
            on_end()
            if life.healthy:
                backoff.reset()
            if state.successor is not None and state.successor.state == "open":
                await trio.sleep(TAKEN_OVER_S)
                continue
            if state.reopen_reason and isinstance(failure, FeedClosed):
                tallies.reconnects["silent"] += 1  # our own doing, as seldom as the watch says
                continue
            if expected and isinstance(failure, FeedClosed):
                continue
            if life.blocked:
                reason = "blocked"  # our own doing: no reason to give up on the exchange, or to stay away for long
                backoff.reset()
            else:
                reason = "unreachable" if isinstance(failure, ExchangeUnreachable) else "closed"
                _count_failure(state, failure, failures_max, spared)
            if state.predecessor is None:
                tallies.reconnects[reason] += 1
            delay_s = backoff.next_s()
            if isinstance(failure, ExchangeUnreachable):
                delay_s = max(delay_s, heed(failure))
            announce(
                "reconnecting",
                connection=state.name,
                because=reason,
                failures=state.failures,
                delay_s=round(delay_s, 3),
            )
            await trio.sleep(delay_s)
    finally:
        state.state = "closed"


def _count_failure(
    state: Connection, failure: ExchangeUnreachable | FeedClosed, failures_max: int, spared: Callable[[], bool]
) -> None:
    state.failures += 1
    if failures_max and state.failures >= failures_max and not state.extra:
        if not spared():
            raise _gave_up(state, failure)
        state.failures = 0


def _gave_up(state: Connection, failure: ExchangeUnreachable | FeedClosed) -> ExchangeUnreachable:
    cause = failure.cause if isinstance(failure, ExchangeUnreachable) else str(failure)
    hint = failure.hint if isinstance(failure, ExchangeUnreachable) else ""
    return ExchangeUnreachable(
        state.url,
        f"{cause} ({state.failures} failures in a row, MAX_RETRIES)",
        hint=hint,
        status=failure.status if isinstance(failure, ExchangeUnreachable) else None,
    )
