"""Book snapshots: REST's own answer, byte for byte, as a record."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ingest_actors.binance.event_time import event_timestamp
from ingest_actors.binance.rest import RestClient, depth_weight
from ingest_actors.binance.rest_errors import answered_badly
from ingest_actors.binance.series import ID_MAX
from ingest_actors.binance.splice import suffix_of
from ingest_actors.binance.stream_table import SOURCE_REST, StreamTable
from ingest_actors.messages import Event

EVENT_TYPE = "depth_snapshot"


class _Book(msgspec.Struct, gc=False):
    """What is read of an answer; the levels are checked to be there, and not looked into."""

    lastUpdateId: int  # noqa: N815 - the exchange's name
    bids: list[msgspec.Raw]
    asks: list[msgspec.Raw]


_decode = msgspec.json.Decoder(_Book).decode


class SnapshotFetcher:
    """Asks for books.

    Args:
        rest: the exchange.
        table: the stream table.
        limit: levels a side.
        clock_ms: wall clock, ms since the epoch.
    """

    def __init__(self, rest: RestClient, table: StreamTable, limit: int, clock_ms: Callable[[], int]) -> None:
        kind = table.kind(EVENT_TYPE)
        assert kind is not None
        self._kind = kind
        self._route = table.route(kind)
        self._rest = rest
        self._limit = limit
        self._clock_ms = clock_ms

    async def turn(self) -> None:
        """Wait until one may be asked for, and something of the budget is left for what is more urgent."""
        await self._rest.wait_spare(depth_weight(self._limit))

    async def __call__(self, symbol: str, *, sent: Callable[[], object]) -> tuple[int, Event]:
        """Ask for a book.

        Args:
            symbol: upper case.
            sent: called in the step in which the question is sent; each time, if several addresses are asked.

        Returns:
            The id of the last update that is in it, and its record.

        Raises:
            ExchangeUnreachable, RequestRefused: see `RestClient`.
        """
        url, body = await self._rest.depth(symbol, self._limit, sent=sent)
        try:
            number = _decode(body).lastUpdateId
        except (msgspec.MsgspecError, RecursionError) as error:
            raise answered_badly(url, f"the answer is no book: {error}") from error
        if not 0 <= number <= ID_MAX:
            raise answered_badly(url, f"the answer is no book: its id is {number}")
        return number, self.record(symbol, body, self._clock_ms())

    def record(self, symbol: str, body: bytes, received_at_ms: int) -> Event:
        """The event of an answer.

        Args:
            symbol: upper case.
            body: a JSON object with members, without blanks around it.
            received_at_ms: when it was read, ms since the epoch.
        """
        suffix = suffix_of(self._kind, symbol=symbol, stream="", source=SOURCE_REST)
        timestamp_ms, _ = event_timestamp(0, 0, received_at_ms)
        return body[:-1] + suffix.tail(received_at_ms), symbol.encode(), timestamp_ms, self._route
