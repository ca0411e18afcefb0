"""What REST tells of trades, written as the stream would have: in its schema and key order, field for field.

``E``, the time of publication, is not known to REST and is left out; ``e`` and ``s`` are known from the question.
"""

from __future__ import annotations

import msgspec

from ingest_actors.binance.event_time import event_timestamp
from ingest_actors.binance.splice import suffix_of
from ingest_actors.binance.stream_table import SOURCE_REST, Repair, StreamTable
from ingest_actors.messages import Event, Route


class AggregateRow(msgspec.Struct, gc=False):
    """A row of ``/api/v3/aggTrades``, as sent."""

    a: int
    p: str
    q: str
    f: int
    l: int  # noqa: E741 - the exchange's name
    T: int
    m: bool
    M: bool = True


class TradeRow(msgspec.Struct, gc=False):
    """A row of ``/api/v3/historicalTrades``, as sent."""

    id: int
    price: str
    qty: str
    time: int
    isBuyerMaker: bool  # noqa: N815 - the exchange's name
    isBestMatch: bool = True  # noqa: N815


class Backfill:
    """Makes events of rows.

    Args:
        table: the stream table; its routes are the events'.
        symbol: upper case.
        repair: how the gap is repaired: which rows there are.
    """

    def __init__(self, table: StreamTable, symbol: str, repair: Repair) -> None:
        event_type = {Repair.AGG_TRADES: "aggregate_trade", Repair.HISTORICAL_TRADES: "trade"}[repair]
        kind = table.kind(event_type)
        assert kind is not None
        self.route: Route = table.route(kind)
        self._key = symbol.encode()
        self._symbol = msgspec.json.encode(symbol)
        self._suffix = suffix_of(kind, symbol=symbol, stream="", source=SOURCE_REST)

    def aggregate(self, row: AggregateRow, received_at_ms: int, *, late: bool = False) -> Event:
        """The event of an aggregate trade.

        Args:
            row: as REST has it.
            received_at_ms: when the answer was read, ms since the epoch.
            late: whether it comes after events that should follow it.
        """
        head = b'{"e":"aggTrade","s":%b,"a":%d,"p":%b,"q":%b,"f":%d,"l":%d' % (
            self._symbol, row.a, _text(row.p), _text(row.q), row.f, row.l,
        )  # fmt: skip
        return self._event(head, row.T, received_at_ms, late=late, buyer_is_maker=row.m, ignored=row.M)

    def trade(self, row: TradeRow, received_at_ms: int, *, late: bool = False) -> Event:
        """The event of a trade; otherwise as `aggregate`."""
        head = b'{"e":"trade","s":%b,"t":%d,"p":%b,"q":%b' % (self._symbol, row.id, _text(row.price), _text(row.qty))
        return self._event(
            head, row.time, received_at_ms, late=late, buyer_is_maker=row.isBuyerMaker, ignored=row.isBestMatch
        )

    def _event(
        self, head: bytes, time_ms: int, received_at_ms: int, *, late: bool, buyer_is_maker: bool, ignored: bool
    ) -> Event:
        tail = self._suffix.tail(received_at_ms)
        if late:
            tail = tail[:-1] + b',"late":true}'
        value = b'%b,"T":%d,"m":%b,"M":%b%b' % (head, time_ms, _flag(buyer_is_maker), _flag(ignored), tail)
        timestamp_ms, _ = event_timestamp(0, time_ms, received_at_ms)
        return value, self._key, timestamp_ms, self.route


def _text(value: str) -> bytes:
    return msgspec.json.encode(value)


def _flag(value: bool) -> bytes:  # noqa: FBT001 - it is what it is
    return b"true" if value else b"false"
