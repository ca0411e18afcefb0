"""The source side of a service: the actors that talk to the exchange and fill the first mailbox.

planner ─launches▶ connections ─frames▶ ...; rotation, watch, backfiller and bookkeeper beside them
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from functools import partial

import trio

from ingest_actors.actors.absence import absence
from ingest_actors.actors.backfiller import RETRY_FIRST_S, RETRY_MAX_S, backfiller
from ingest_actors.actors.bookkeeper import bookkeeper
from ingest_actors.actors.catch_up import catch_up
from ingest_actors.actors.connection import connection
from ingest_actors.actors.connection_state import Connection
from ingest_actors.actors.fleet import Wanted
from ingest_actors.actors.planner import Notice, planner
from ingest_actors.actors.rotation import replacements_max, rotation
from ingest_actors.actors.timekeeper import timekeeper
from ingest_actors.actors.watch import Backlog, watch
from ingest_actors.announce import Announcer
from ingest_actors.binance.attempts import AttemptBudget
from ingest_actors.binance.books import Books
from ingest_actors.binance.depth_snapshots import SnapshotFetcher
from ingest_actors.binance.ends import Ends
from ingest_actors.binance.parser import EventParser
from ingest_actors.binance.planning import assign
from ingest_actors.binance.repairs import Fetcher, Repairs
from ingest_actors.binance.rest import RestClient
from ingest_actors.binance.sharing import Sharing
from ingest_actors.binance.standing import Standing
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.binance.symbols import is_pattern
from ingest_actors.bounds import Bounds
from ingest_actors.messages import FrameBatch
from ingest_actors.network import Network
from ingest_actors.nursery import open_nursery
from ingest_actors.overview import Overview
from ingest_actors.settings import Settings
from ingest_actors.supervision import Backoff, Mailbox
from ingest_actors.supervisor import Supervisor

RECONNECT_MAX_S = 300.0
"""Longest delay between two attempts of a connection."""

NOTICES_MAX = 64
"""Notices from the exchange that may wait for the planner; there are a handful a day."""

SPARE_CONNECTIONS = 1
"""Connections that may come by and by, for streams that are moved: what may be read ahead is left for so many."""


LISTINGS_INTERVAL_S = 300.0
"""How often the exchange is asked which symbols there are, where that matters: for patterns, and for symbols that it
did not list. A new listing is announced days before; 20 weight of 6,000 a minute."""

OVERLAP_WAIT_S = 5.0
"""How long what a replacement brings waits for what the connection before it has not brought yet: a slow line is no
gap. When that connection is gone, nothing waits for it any longer."""

DOUBLE_WAIT_S = 0.1
"""The same for streams that are on two connections all the time, of which one may have ended: longer than two ways of
the exchange differ, and shorter than anybody minds."""

PASSED_LOOK_S = 0.25
"""Between two looks whether what an ended connection has brought is parsed."""


class Sources:
    """The actors that talk to the exchange.

    Args:
        settings: intervals and limits.
        frames: gets every message.
        unparsed: the mailboxes that messages pass until they are parsed, in order; `frames` is the first of them.
        network: the ways to the exchange.
        hearing: knows which streams bring something.
        repairs: the gaps, and where what fills them goes.
        ends: where each series ended.
        books: the books, and where their snapshots go.
        sharing: told which streams come by several connections.
        table: the stream table.
        bounds: what may be read ahead.
        overview: the books.
        supervisor: keeps the actors alive.
        announce: told of what happens.
        clock_ms: wall clock, ms since the epoch.
        rng: for jitter.
    """

    def __init__(
        self,
        settings: Settings,
        frames: Mailbox[FrameBatch],
        *,
        unparsed: Sequence[Mailbox[FrameBatch]],
        network: Network,
        hearing: EventParser,
        repairs: Repairs,
        ends: Ends,
        books: Books,
        sharing: Sharing,
        table: StreamTable,
        bounds: Bounds,
        overview: Overview,
        supervisor: Supervisor,
        announce: Announcer,
        clock_ms: Callable[[], int],
        rng: random.Random,
    ) -> None:
        self.network = network
        self._settings = settings
        self._frames = frames
        self._hearing = hearing
        self._repairs = repairs
        self._ends = ends
        self._books = books
        self._sharing = sharing
        self._unparsed = unparsed
        self._table = table
        self._bounds = bounds
        self._overview = overview
        self._keep_alive = supervisor.keep_alive
        self._announce = announce
        self._clock_ms = clock_ms
        self._rng = rng
        self._notices = trio.open_memory_channel[Notice](NOTICES_MAX)
        overview.fleet.on_change = self._share

    async def run(self) -> None:
        """The planner, the connections, their replacement, the watch over their streams, and what is asked of REST."""
        attempts = AttemptBudget()
        standing = Standing(self.network.endpoints, hold=attempts.hold)
        async with open_nursery() as nursery:

            def launch(state: Connection) -> None:
                nursery.start_soon(self._connect, state, attempts, standing)

            nursery.start_soon(self._rotate, launch)
            nursery.start_soon(self._watch)
            nursery.start_soon(self._count_absences)
            nursery.start_soon(self._ask_rest)
            await self._keep_alive(
                "planner",
                partial(
                    planner,
                    self._overview.fleet,
                    resolve=self.resolve,
                    ask_again_s=self._ask_again_s,
                    assign=assign,
                    launch=launch,
                    notices=self._notices[1],
                    backoff=self._reconnect_backoff(),
                    failures_max=self._settings.max_retries,
                    announce=self._announce,
                ),
            )

    async def resolve(self) -> Wanted:
        """Ask what is wanted, as the settings are now."""
        return await self.network.resolve(self._announce)

    def adopt(self, settings: Settings, network: Network) -> None:
        """Other symbols and stream types are set."""
        self._settings, self.network = settings, network

    async def put_carried(self) -> None:
        """Put what the connections had read when they ended, for whatever reason."""

        async def put() -> None:
            for state in self._overview.fleet.everyone():
                await state.put_carried(self._frames)

        await self._keep_alive("connection", put)

    def notify(self, notice: Notice) -> None:
        """Pass a notice to the planner; one too many is only logged, for the planner can do without any of them."""
        try:
            self._notices[0].send_nowait(notice)
        except trio.WouldBlock:
            self._announce("exchange_notice", level="warning", kind=notice.kind, connection=notice.connection)

    async def _connect(self, state: Connection, attempts: AttemptBudget, standing: Standing) -> None:
        settings, network, fleet = self._settings, self.network, self._overview.fleet

        def on_open() -> None:
            standing.welcomed(state.url)
            self._ends.opened(state.streams)
            fleet.stir()
            self._overview.check_ready()

        actor = partial(
            connection,
            self._frames,
            state=state,
            endpoint=partial(next, standing.turns(state.position, partial(fleet.endpoints_of_twins, state))),
            heed=standing.heed,
            way=network.way,
            attempt=attempts.spend,
            open_feed=partial(
                network.open_feed,
                read_ahead_bytes_max=self._bounds.read_ahead_of_each(connections_max(len(fleet.connections))),
            ),
            subscriber=network.subscriber,
            backoff=self._reconnect_backoff(),
            failures_max=settings.max_retries,
            on_open=on_open,
            on_end=fleet.stir,
            spared=partial(fleet.carried_by_twins, state),
            announce=self._announce,
            tallies=self._overview.tallies,
            clock_ms=self._clock_ms,
        )
        with state.retirement:
            await self._keep_alive(f"connection {state.name}", actor)
        await self._keep_alive("connection", partial(state.put_carried, self._frames))
        await self._passed()
        fleet.gone(state)

    async def _passed(self) -> None:
        """Until everything that was put is parsed."""
        for mailbox in self._unparsed:
            due = mailbox.settled + mailbox.events
            while mailbox.settled < due:  # noqa: ASYNC110 - a mailbox is emptied without a word, which would cost time
                await trio.sleep(PASSED_LOOK_S)

    def _share(self) -> None:
        fleet = self._overview.fleet
        doubled = fleet.lanes > 1
        self._sharing.share(fleet.shared(), DOUBLE_WAIT_S if doubled else OVERLAP_WAIT_S, for_good=doubled)

    def _ask_again_s(self, wanted: Wanted) -> float:
        return LISTINGS_INTERVAL_S if asked_again(self._settings, unlisted=bool(wanted.unlisted)) else math.inf

    async def _rotate(self, launch: Callable[[Connection], None]) -> None:
        """The replacement of connections."""
        await self._keep_alive(
            "rotation",
            partial(
                rotation,
                self._overview.fleet,
                after_s=self._settings.ws_rotate_after_seconds,
                shared=self._sharing,
                launch=launch,
                rng=self._rng,
                announce=self._announce,
            ),
        )

    async def _ask_rest(self) -> None:
        """The repair of gaps, the snapshots of books, and what time it is there."""
        if self.network.open_rest is None:
            return
        async with self.network.open_rest() as rest, open_nursery() as nursery:
            fetch = Fetcher(rest, self._table, self._clock_ms)
            nursery.start_soon(self._backfill, fetch)
            nursery.start_soon(self._catch_up, fetch)
            nursery.start_soon(self._keep_books, rest)
            nursery.start_soon(self._keep_time, rest)

    async def _backfill(self, fetch: Fetcher) -> None:
        """The repair of gaps."""
        await self._keep_alive(
            "backfiller",
            partial(
                backfiller,
                self._repairs,
                fetch=fetch,
                ledger=self._overview.ledger,
                backoff=self._rest_backoff,
                announce=self._announce,
            ),
        )

    async def _catch_up(self, fetch: Fetcher) -> None:
        """The search for what was missed and that nothing has followed."""
        await self._keep_alive(
            "catch-up",
            partial(catch_up, self._ends, ask=fetch.ends, backoff=self._rest_backoff(), announce=self._announce),
        )

    async def _keep_books(self, rest: RestClient) -> None:
        """The snapshots of books."""
        await self._keep_alive(
            "bookkeeper",
            partial(
                bookkeeper,
                self._books,
                fetch=SnapshotFetcher(rest, self._table, self._settings.depth_snapshot_limit, self._clock_ms),
                ledger=self._overview.ledger,
                backoff=partial(Backoff, rng=self._rng),
                announce=self._announce,
            ),
        )

    async def _keep_time(self, rest: RestClient) -> None:
        """How the exchange's clock differs from ours."""
        await self._keep_alive(
            "timekeeper",
            partial(
                timekeeper,
                rest,
                tallies=self._overview.tallies,
                clock_ms=self._clock_ms,
                announce=self._announce,
            ),
        )

    async def _count_absences(self) -> None:
        """What disconnections cost of samples."""
        await self._keep_alive(
            "watch",
            partial(
                absence,
                self._overview.fleet,
                absences=self._overview.absences,
                heard=self._hearing.heard,
                announce=self._announce,
            ),
        )

    async def _watch(self) -> None:
        """The watch over the streams."""
        await self._keep_alive(
            "watch",
            partial(
                watch,
                self._overview.fleet,
                streams=self._overview.streams,
                hearing=self._hearing,
                backlog=Backlog(self._frames),
                statistics=self.network.statistics,
                announce=self._announce,
            ),
        )

    def _rest_backoff(self) -> Backoff:
        return Backoff(RETRY_FIRST_S, RETRY_MAX_S, rng=self._rng)

    def _reconnect_backoff(self) -> Backoff:
        return Backoff(self._settings.reconnect_interval, RECONNECT_MAX_S, rng=self._rng)


def connections_max(planned: int) -> int:
    """How many connections there may be at the same time, of a fleet of so many."""
    return planned + SPARE_CONNECTIONS + replacements_max(planned)


def asked_again(settings: Settings, *, unlisted: bool) -> bool:
    """Whether the exchange is asked from time to time which symbols it lists."""
    return unlisted or any(map(is_pattern, settings.binance_symbols))
