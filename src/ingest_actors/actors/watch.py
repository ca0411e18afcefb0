"""The watch: looks at what the streams bring, and has those that are silent subscribed again or moved.

It decides nothing: `ingest_actors.binance.stream_watch` does, and outlives this actor's lives, as the connections do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import trio

from ingest_actors.actors.connection_state import Connection
from ingest_actors.actors.fleet import Fleet
from ingest_actors.announce import Announcer
from ingest_actors.binance.findings import Action, Carried, Findings, Question, Verdict
from ingest_actors.binance.stream_watch import LOOK_INTERVAL_S, StreamWatch
from ingest_actors.binance.watched_stream import Activity
from ingest_actors.nursery import open_nursery
from ingest_actors.supervision import Mailbox

STREAMS_A_SECOND = 4000.0
"""Looks are further apart when there are more streams than this: each costs 1 us a look, 4 when it is quiet."""

LINES_MAX = 10
"""Streams that are named in the log after one look; of more than these the number is told."""

TRIAL_MAX_S = 120.0
"""How long a connection that was opened for a silent stream may take to open; then the stream goes back."""

TWIN_SILENT_S = 60.0
"""How long a connection may bring nothing while another one brings the same streams."""

TWIN_HEARD_S = 10.0
"""So lately that one must have brought something."""

NAMES_MAX = 5
"""Streams that one log line names."""

Ask = Callable[[Question], Awaitable[Mapping[str, Activity] | None]]
"""Asks the exchange what its symbols did; answers None when it does not."""

OpenStatistics = Callable[[], AbstractAsyncContextManager[Ask]]
"""Opens a way to ask."""


class Hearing(Protocol):
    """What was parsed lately."""

    mark: float
    """What `heard` answers for streams that bring something from now on."""

    def heard(self, stream: str) -> float:
        """The mark that was set when a stream last brought something."""
        ...


class Backlog:
    """Whether what is put into a mailbox comes out of it within a look.

    Args:
        mailbox: whose taker is watched.
    """

    def __init__(self, mailbox: Mailbox[Any]) -> None:
        self._mailbox = mailbox
        self._due = 0

    def lasts(self) -> bool:
        """Whether something that was in the mailbox at the last look still is."""
        lasts = self._mailbox.settled < self._due
        self._due = self._mailbox.settled + self._mailbox.events
        return lasts


async def watch(
    fleet: Fleet,
    *,
    streams: StreamWatch,
    hearing: Hearing,
    backlog: Backlog,
    statistics: OpenStatistics | None,
    announce: Announcer,
) -> None:
    """Look at the streams again and again; ends only by cancellation.

    Args:
        fleet: the connections.
        streams: what is known of the streams.
        hearing: what the parser has heard.
        backlog: of what was read and is not parsed yet.
        statistics: opens a way to ask the exchange for its statistics; None = there is none.
        announce: told of silent streams, and of those that flow again.
    """
    watcher = _Watcher(fleet, streams, hearing, backlog, announce)
    async with (statistics or _nobody)() as ask, open_nursery() as nursery:
        while True:
            interval_s = max(LOOK_INTERVAL_S, len(streams) / STREAMS_A_SECOND)
            await watcher.look(interval_s)
            question = streams.question(trio.current_time())
            if question is not None:
                nursery.start_soon(_ask, streams, ask, question)
            await trio.sleep(interval_s)


@asynccontextmanager
async def _nobody() -> AsyncIterator[Ask]:
    async def ask(_: Question) -> None:
        await trio.lowlevel.checkpoint()

    yield ask


async def _ask(streams: StreamWatch, ask: Ask, question: Question) -> None:
    activity = await ask(question)
    streams.answer(trio.current_time(), activity)


class _Watcher:
    """One life of the watch."""

    def __init__(
        self, fleet: Fleet, streams: StreamWatch, hearing: Hearing, backlog: Backlog, announce: Announcer
    ) -> None:
        self._fleet = fleet
        self._streams = streams
        self._hearing = hearing
        self._backlog = backlog
        self._announce = announce
        self._trials: dict[str, float] = {}
        self._lines_left = 0
        self._untold = 0

    async def look(self, interval_s: float) -> None:
        """One look at all connections, a checkpoint between any two, so that none of them waits for long."""
        streams, fleet = self._streams, self._fleet
        if fleet.wanted is not None:
            streams.listed, streams.halted = fleet.wanted.symbols_listed, fleet.wanted.symbols_halted
        self._lines_left, self._untold = LINES_MAX, 0
        now = trio.current_time()
        streams.begin_look(now, held=self._backlog.lasts(), interval_s=interval_s)
        self._hearing.mark = now
        looked_at: set[str] = set()
        for connection in list(fleet.connections.values()):
            carried = _carried(connection)
            if fleet.lanes > 1:  # each stream is looked at once, for what is heard of it is heard by either way
                carried = carried._replace(acknowledged=carried.acknowledged - looked_at)
                looked_at |= carried.acknowledged
            self._act(connection, streams.look(carried, self._hearing.heard))
            await trio.lowlevel.checkpoint()
        self._end_trials(now)
        self._reopen_silent_twins(now)
        streams.end_look()
        planned = list(fleet.connections.values())
        if len(streams) > sum(len(connection.streams) for connection in planned) // fleet.lanes:
            streams.keep({stream for connection in planned for stream in connection.streams})
        streams.keep_connections({connection.name for connection in planned})
        if self._untold:
            self._announce("streams_silent", level="warning", more=self._untold, silent=streams.silent)

    def _act(self, connection: Connection, findings: Findings) -> None:
        """One synchronous step: what is decided is done, or will be by whoever owns it."""
        for flowing in findings.flowing:
            if self._may_tell():
                self._announce(
                    "stream_flowing",
                    stream=flowing.stream,
                    connection=flowing.connection,
                    silent_s=round(flowing.silent_s, 1),
                )
        again = list(findings.missing)
        for verdict in findings.silent:
            action = verdict.action
            if action in ("moved", "moved_back"):
                moved = self._fleet.move(verdict.stream, connection.name, launch=action == "moved")
                action = action if moved else "subscribed_again"
            if action == "subscribed_again":
                again.append(verdict.stream)
            if self._may_tell():
                self._tell(verdict, action)
        if findings.reopen:
            connection.reopen("its streams are silent")
        elif again:
            connection.renew(again)
        if findings.missing:
            self._announce(
                "subscription_missing",
                level="warning",
                connection=connection.name,
                streams=findings.missing[:NAMES_MAX],
                count=len(findings.missing),
                action="subscribed_again",
            )

    def _end_trials(self, now: float) -> None:
        """Streams that were moved to a connection that does not open go back to where there is room."""
        on_trial = [c for c in self._fleet.connections.values() if c.extra and not c.was_open]
        self._trials = {connection.name: self._trials.get(connection.name, now) for connection in on_trial}
        for connection in on_trial:
            if now - self._trials[connection.name] >= TRIAL_MAX_S:
                for stream in connection.streams:
                    self._fleet.move(stream, connection.name, launch=False)

    def _reopen_silent_twins(self, now: float) -> None:
        """A connection that brings nothing, while another brings the same streams, is opened again."""
        for connection in self._fleet.connections.values() if self._fleet.lanes > 1 else ():
            since_s = connection.heard_at_s or connection.subscribed_at_s
            if connection.state != "open" or not connection.reading or since_s is None:
                continue
            if now - since_s >= TWIN_SILENT_S and self._fleet.heard_of_twins(connection, now - TWIN_HEARD_S):
                connection.reopen("it is silent, and another connection with the same streams is not")

    def _may_tell(self) -> bool:
        self._lines_left -= 1
        self._untold += self._lines_left < 0
        return self._lines_left >= 0

    def _tell(self, verdict: Verdict, action: Action) -> None:
        self._announce(
            "stream_silent",
            level="warning",
            stream=verdict.stream,
            connection=verdict.connection,
            silent_s=round(verdict.silent_s, 1),
            limit_s=verdict.limit_s,
            basis=verdict.basis,
            action=action,
            attempt=verdict.attempt,
        )


def _carried(connection: Connection) -> Carried:
    return Carried(
        connection.name,
        connection.life,
        connection.acknowledged_streams,
        connection.missing_streams,
        connection.reading,
    )
