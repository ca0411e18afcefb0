"""The planner: what is wanted against what is there."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import trio

from ingest_actors.actors.connection_state import Connection
from ingest_actors.actors.fleet import Assign, Fleet, Wanted
from ingest_actors.announce import Announcer
from ingest_actors.binance.standing import REFUSED_DELAY_S, REFUSING, asked_wait_s
from ingest_actors.errors import ExchangeUnreachable, IngestError
from ingest_actors.nursery import open_nursery
from ingest_actors.supervision import Backoff


class Notice(Protocol):
    """Something that the exchange said beside events."""

    @property
    def kind(self) -> str:
        """``server_shutdown`` is acted on; others are logged."""
        ...

    @property
    def connection(self) -> str:
        """Name of the connection that it came by."""
        ...

    @property
    def detail(self) -> str:
        """For people."""
        ...


async def planner(
    fleet: Fleet,
    *,
    resolve: Callable[[], Awaitable[Wanted]],
    assign: Assign,
    launch: Callable[[Connection], None],
    notices: trio.MemoryReceiveChannel[Notice],
    backoff: Backoff,
    failures_max: int,
    announce: Announcer,
    ask_again_s: Callable[[Wanted], float] = lambda _: math.inf,
) -> None:
    """Move what is there toward what is wanted; ends only by cancellation.

    Args:
        fleet: what is there.
        resolve: asks what is wanted.
        assign: plans which connection carries which streams.
        launch: starts a supervised connection.
        notices: what the exchange says beside events.
        backoff: the delays between attempts to ask the exchange.
        failures_max: failures in a row to ask before giving up; 0 = never.
        announce: told of what the exchange does not list, of failures to ask it, and of notices.
        ask_again_s: after how many seconds it is to be asked again what is wanted.

    Raises:
        ExchangeUnreachable: gave up asking.
        SettingsError: nothing of what is wanted exists.
    """
    if fleet.wanted is None:
        wanted = await _resolved(resolve, backoff, failures_max, announce)
        if fleet.wanted is None:  # else somebody knew better meanwhile
            fleet.wanted = wanted
            fleet.tell_unlisted(announce)
    async with open_nursery() as nursery:
        nursery.start_soon(_heed, notices, fleet, announce)
        nursery.start_soon(partial(_keep_asking, fleet, resolve, ask_again_s, announce))
        while True:
            fleet.reconcile(assign, launch)
            await fleet.wait_changed()


async def _heed(notices: trio.MemoryReceiveChannel[Notice], fleet: Fleet, announce: Announcer) -> None:
    async for notice in notices:
        _act(notice, fleet, announce)


async def _keep_asking(
    fleet: Fleet,
    resolve: Callable[[], Awaitable[Wanted]],
    ask_again_s: Callable[[Wanted], float],
    announce: Announcer,
) -> None:
    """Ask again what is wanted, for symbols are listed and delisted while we run; no answer changes nothing."""
    while True:
        before = fleet.wanted
        assert before is not None
        delay_s = ask_again_s(before)
        with trio.move_on_after(delay_s):
            await fleet.wait_asked()
        if fleet.wanted is not before or math.isinf(delay_s):
            continue  # what is set is another now, and with it the delay
        try:
            answer = await resolve()
        except IngestError as failure:
            announce("listings_not_asked", level="warning", cause=str(failure))
            continue
        if answer.symbols_listed is not None and fleet.wanted is before:  # else the settings have changed meanwhile
            fleet.change(answer.with_halted(before), announce, "listings_changed")


async def _resolved(
    resolve: Callable[[], Awaitable[Wanted]], backoff: Backoff, failures_max: int, announce: Announcer
) -> Wanted:
    while True:
        try:
            return await resolve()
        except ExchangeUnreachable as failure:
            delay_s = max(backoff.next_s(), asked_wait_s(failure))
            if failure.status in REFUSING:  # every one of the addresses does
                delay_s = max(delay_s, REFUSED_DELAY_S)
            gave_up = 0 < failures_max <= backoff.failures
            announce(
                "exchange_not_asked",
                level="error",
                url=failure.url,
                cause=failure.cause,
                hint=failure.hint,
                failures=backoff.failures,
                retry_in_s=None if gave_up else round(delay_s, 3),
            )
            if gave_up:
                raise
        await trio.sleep(delay_s)


def _act(notice: Notice, fleet: Fleet, announce: Announcer) -> None:
    connection = fleet.named(notice.connection)
    if notice.kind == "server_shutdown" and connection is not None:
        connection.ending_expected = True
        announce("server_shutdown", connection=notice.connection, detail=notice.detail)
        fleet.stir()
    else:
        announce(
            "exchange_notice", level="warning", kind=notice.kind, connection=notice.connection, detail=notice.detail
        )
