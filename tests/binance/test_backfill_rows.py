"""What REST tells of a trade becomes the event that the stream would have brought, but for its time of publication."""

import msgspec

from ingest_actors.binance.backfill import AggregateRow, Backfill, TradeRow
from ingest_actors.binance.stream_table import Repair, StreamTable

RECEIVED_MS = 1_790_000_000_999
TAIL = b',"ingestion_timestamp":1790000000999,"source":"binance_rest_backfill","event_type":'
AGGREGATE = (
    b'{"a":2100345671,"p":"4410.25000000","q":"1.83200000","f":2999110042,"l":2999110045,"T":1790000000104,'
    b'"m":true,"M":true}'
)
TRADE = (
    b'{"id":2999110042,"price":"4410.25000000","qty":"0.40000000","quoteQty":"1764.10000000","time":1790000000104,'
    b'"isBuyerMaker":false,"isBestMatch":true}'
)
TABLE = StreamTable()


def test_an_aggregate_trade_has_the_streams_fields_in_the_streams_order():
    row = msgspec.json.decode(AGGREGATE, type=AggregateRow)
    event = Backfill(TABLE, "ETHUSDT", Repair.AGG_TRADES).aggregate(row, RECEIVED_MS)
    assert event == (
        b'{"e":"aggTrade","s":"ETHUSDT","a":2100345671,"p":"4410.25000000","q":"1.83200000","f":2999110042,'
        b'"l":2999110045,"T":1790000000104,"m":true,"M":true' + TAIL + b'"aggregate_trade"}',
        b"ETHUSDT",
        1_790_000_000_104,
        TABLE.routes["aggregate_trade"],
    )


def test_a_trade_has_the_streams_fields_in_the_streams_order():
    row = msgspec.json.decode(TRADE, type=TradeRow)
    event = Backfill(TABLE, "ETHUSDT", Repair.HISTORICAL_TRADES).trade(row, RECEIVED_MS)
    assert event == (
        b'{"e":"trade","s":"ETHUSDT","t":2999110042,"p":"4410.25000000","q":"0.40000000","T":1790000000104,'
        b'"m":false,"M":true' + TAIL + b'"trade"}',
        b"ETHUSDT",
        1_790_000_000_104,
        TABLE.routes["trade"],
    )


def test_what_comes_late_says_so():
    row = msgspec.json.decode(TRADE, type=TradeRow)
    value = Backfill(TABLE, "ETHUSDT", Repair.HISTORICAL_TRADES).trade(row, RECEIVED_MS, late=True)[0]
    assert value.endswith(b'"event_type":"trade","late":true}')
    assert msgspec.json.decode(value)["late"] is True


def test_symbols_of_any_script_are_written_as_the_stream_writes_them():
    row = msgspec.json.decode(TRADE, type=TradeRow)
    value, key, *_ = Backfill(TABLE, "币安人生USDT", Repair.HISTORICAL_TRADES).trade(row, RECEIVED_MS)
    assert key == "币安人生USDT".encode()
    assert '"s":"币安人生USDT"'.encode() in value
