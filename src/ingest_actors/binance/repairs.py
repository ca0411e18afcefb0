"""What of the continuity can be repaired from REST, and by which question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ingest_actors.binance.backfill import Backfill
from ingest_actors.binance.continuity import Continuity
from ingest_actors.binance.gaps import Gap, Reason
from ingest_actors.binance.rest import RestClient
from ingest_actors.binance.sequence import Hole
from ingest_actors.binance.series import Series
from ingest_actors.binance.stream_table import Repair, StreamTable
from ingest_actors.messages import Event


class Repairs:
    """The part of the continuity that whoever repairs works with.

    Args:
        continuity: what is missing, and where it goes.
    """

    def __init__(self, continuity: Continuity) -> None:
        self._continuity = continuity

    def open(self) -> Mapping[str, Gap]:
        """Gaps that can be repaired, by name, oldest first."""
        return {name: gap for name, gap in self._continuity.gaps.items() if gap.repairable and not gap.over}

    def missing(self, gap: Gap) -> Hole | None:
        """The first ids of a gap that are missing still."""
        return self._continuity.missing(gap)

    def fill(self, gap: Gap, number: int, event: Event) -> bool:
        """Bring an event; whether it was missing."""
        return self._continuity.fill(gap, number, number, event)

    def lose(self, gap: Gap) -> None:
        """Nothing more of a gap can be had."""
        self._continuity.lose(gap)

    def skipped(self, gap: Gap, first: int, last: int) -> None:
        """The exchange does not have these ids either."""
        self._continuity.skip(gap, Hole(first, last), Reason.EXCHANGE_SKIPPED)

    def ready(self) -> int:
        """Events that wait to be handed on."""
        return self._continuity.waiting

    def doubts(self) -> Mapping[str, Series]:
        """Series whose ids may have begun again, by the stream's name."""
        return self._continuity.doubts.open

    def answer(self, doubt: Series, newest: int | None) -> bool:
        """The exchange says which id of a series is its newest; whether that decides it."""
        return self._continuity.answer(doubt, newest)

    async def wait_changed(self) -> None:
        """Until there may be another gap or doubt, or fewer events wait."""
        await self._continuity.wait_changed()


class Fetcher:
    """Asks for what is missing.

    Args:
        rest: the exchange.
        table: the stream table.
        clock_ms: wall clock, ms since the epoch.
    """

    def __init__(self, rest: RestClient, table: StreamTable, clock_ms: Callable[[], int]) -> None:
        self._rest = rest
        self._table = table
        self._clock_ms = clock_ms

    async def __call__(self, gap: Gap, first: int) -> list[tuple[int, Event]]:
        """Ids and events of the gap's series from an id on, in order; none when the database has none yet.

        Raises:
            ExchangeUnreachable, RequestRefused: see `RestClient`.
        """
        kind = self._table.kind(gap.event_type)
        assert kind is not None
        backfill = Backfill(self._table, gap.symbol, kind.repair)
        if kind.repair is Repair.AGG_TRADES:
            aggregates = await self._rest.aggregate_trades(gap.symbol, first)
            now_ms = self._clock_ms()
            return [(row.a, backfill.aggregate(row, now_ms)) for row in aggregates]
        trades = await self._rest.historical_trades(gap.symbol, first)
        now_ms = self._clock_ms()
        return [(row.id, backfill.trade(row, now_ms)) for row in trades]

    async def newest(self, doubt: Series) -> int | None:
        """The newest id of a series that the exchange's database has; it may lag behind the stream. None: it has none.

        Raises:
            ExchangeUnreachable, RequestRefused: see `RestClient`.
        """
        kind = self._table.kind(doubt.route.event_type)
        assert kind is not None
        if kind.repair is Repair.AGG_TRADES:
            return max((row.a for row in await self._rest.aggregate_trades(doubt.symbol, limit=1)), default=None)
        return max((row.id for row in await self._rest.historical_trades(doubt.symbol, limit=1)), default=None)

    async def ends(self, series: Sequence[Series]) -> dict[Series, int | None]:
        """The newest id of each of some series, as `newest`; of trades in one question for all of them.

        Raises:
            ExchangeUnreachable, RequestRefused: see `RestClient`.
        """
        found: dict[Series, int | None] = {}
        trades = [one for one in series if self._repair(one) is Repair.HISTORICAL_TRADES]
        if trades:
            activity = await self._rest.ticker_24h([one.symbol for one in trades])
            for one in trades:
                known = activity.get(one.symbol)
                found[one] = known.last_id if known is not None and known.last_id >= 0 else None
        for one in series:
            if self._repair(one) is Repair.AGG_TRADES:
                found[one] = await self.newest(one)
        return found

    def _repair(self, series: Series) -> Repair:
        kind = self._table.kind(series.route.event_type)
        assert kind is not None
        return kind.repair
