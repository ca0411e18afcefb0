"""Messages as the exchange writes them, of invented values, and what they are to become."""

from __future__ import annotations

from ingest_actors.binance.parser import EventParser
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.messages import Event, FrameBatch

NOW = 1_790_000_000_123

TRADE = (
    b'{"e":"trade","E":1790000000105,"s":"ETHUSDT","t":2999110042,"p":"4410.25000000","q":"0.40000000",'
    b'"T":1790000000104,"m":true,"M":true}'
)
OLD_TRADE = (
    b'{"e":"trade","E":1690000000105,"s":"ETHUSDT","t":1999110042,"p":"1410.25000000","q":"0.40000000",'
    b'"b":12345678901,"a":12345678902,"T":1690000000104,"m":true,"M":true}'
)
AGG_TRADE = (
    b'{"e":"aggTrade","E":1790000000105,"s":"ETHUSDT","a":2100345671,"p":"4410.25000000","q":"1.83200000",'
    b'"f":2999110042,"l":2999110045,"T":1790000000104,"m":true,"M":true}'
)
BLOCK_TRADE = (
    b'{"e":"blockTrade","E":1790000000105,"s":"BNBUSDT","t":91,"p":"612.5","q":"4000","T":1790000000100,"m":false}'
)
DEPTH = (
    b'{"e":"depthUpdate","E":1790000000115,"s":"ETHUSDT","U":60123456781,"u":60123456789,'
    b'"b":[["4410.24000000","3.20000000"],["4409.90000000","0.00000000"]],"a":[["4410.25000000","0.71000000"]]}'
)
ONE_SIDED_DEPTH = b'{"e":"depthUpdate","E":1790000000115,"s":"ETHUSDT","U":7,"u":9,"b":[],"a":[["1.0","2.0"]]}'
PARTIAL_DEPTH = b'{"lastUpdateId":60123456789,"bids":[["4410.24000000","3.20000000"]],"asks":[]}'
BOOK_TICKER = b'{"u":60123456789,"s":"ETHUSDT","b":"4410.24000000","B":"3.20","a":"4410.25000000","A":"0.71"}'
KLINE = (
    b'{"e":"kline","E":1790000002011,"s":"ETHUSDT","k":{"t":1789999980000,"T":1790000039999,"s":"ETHUSDT","i":"1m",'
    b'"f":2999108800,"L":2999110045,"o":"4409.00","c":"4410.25","h":"4411.00","l":"4408.10","v":"512.3","n":1246,'
    b'"x":false,"q":"2259331.1","V":"250.1","Q":"1102999.4","B":"0"}}'
)
MINI_TICKER = (
    b'{"e":"24hrMiniTicker","E":1790000000120,"s":"ETHUSDT","c":"4410.25","o":"4300.00","h":"4500.00","l":"4200.00",'
    b'"v":"1000.0","q":"4400000.0"}'
)
TICKER = (
    b'{"e":"24hrTicker","E":1790000000121,"s":"ETHUSDT","p":"1.0","P":"0.5","w":"4400.0","x":"4309.0","c":"4410.0",'
    b'"Q":"0.1","b":"4409.0","B":"1.0","a":"4411.0","A":"2.0","o":"4300.0","h":"4500.0","l":"4200.0","v":"1000.0",'
    b'"q":"4400000.0","O":1789913600000,"C":1790000000000,"F":100,"L":200,"n":101}'
)
ROLLING_TICKER = (
    b'{"e":"1hTicker","E":1790000000122,"s":"ETHUSDT","p":"1.0","P":"0.5","o":"4300.0","h":"4500.0","l":"4200.0",'
    b'"c":"4410.0","w":"4400.0","v":"1000.0","q":"4400000.0","O":1789996400000,"C":1790000000000,"F":1,"L":2,"n":2}'
)
AVERAGE_PRICE = b'{"e":"avgPrice","E":1790000000110,"s":"ETHUSDT","i":"5m","w":"4409.88000000","T":1789999999954}'
REFERENCE_PRICE = b'{"e":"referencePrice","s":"ABCUSD","r":"10.00","t":1790000000017}'
FUTURES_DEPTH = (
    b'{"e":"depthUpdate","E":1680652700594,"T":1680652700586,"s":"BTCUSDT","U":11,"u":15,"pu":9,'
    b'"b":[["1.00","14.368"]],"a":[["2.20","6.961"]]}'
)
MARK_PRICE = b'{"e":"markPriceUpdate","E":1680652701000,"s":"BTCUSDT","p":"1.2","P":"1.1","i":"1.3","r":"0.1","T":5}'
FORCE_ORDER = b'{"e":"forceOrder","E":1680652701000,"o":{"s":"BTCUSDT","S":"SELL","q":"0.014"}}'

BY_STREAM = {
    "ethusdt@trade": TRADE,
    "ethusdt@aggTrade": AGG_TRADE,
    "bnbusdt@blockTrade": BLOCK_TRADE,
    "ethusdt@depth@100ms": DEPTH,
    "ethusdt@depth": ONE_SIDED_DEPTH,
    "ethusdt@depth20@100ms": PARTIAL_DEPTH,
    "ethusdt@bookTicker": BOOK_TICKER,
    "ethusdt@kline_1m": KLINE,
    "ethusdt@kline_1m@+08:00": KLINE,
    "ethusdt@miniTicker": MINI_TICKER,
    "ethusdt@ticker": TICKER,
    "ethusdt@ticker_1h": ROLLING_TICKER,
    "ethusdt@avgPrice": AVERAGE_PRICE,
    "abcusd@referencePrice": REFERENCE_PRICE,
    "btcusdt@depth@0ms": FUTURES_DEPTH,
    "btcusdt@markPrice@1s": MARK_PRICE,
    "btcusdt@forceOrder": FORCE_ORDER,
}


def combined(stream: str, event: bytes) -> bytes:
    """A message of a combined connection."""
    return b'{"stream":"%b","data":%b}' % (stream.encode(), event)


def batch(*frames: bytes, received_at_ms: int = NOW, binary: bool = False) -> FrameBatch:
    return FrameBatch(list(frames), received_at_ms=received_at_ms, connection="ws-1", binary=binary)


def parser(*, fast: bool = True) -> EventParser:
    return EventParser(StreamTable(), fast=fast)


def both_ways(*frames: bytes, received_at_ms: int = NOW) -> list[Event]:
    """The events that frames become: the slow way, the fast way, and the fast way with every stream known before."""
    table = StreamTable()
    slow, fast = EventParser(table, fast=False), EventParser(table)
    expected = slow.parse(batch(*frames, received_at_ms=received_at_ms))
    for _ in range(2):
        parsed = fast.parse(batch(*frames, received_at_ms=received_at_ms))
        assert comparable(parsed) == comparable(expected)
    return expected.events


def comparable(parsed):
    """Parsed, with routes by value: each dead letter has one of its own."""
    return parsed._replace(
        events=[
            (value, key, time, route.event_type, route.topics, route.headers, route.dead_letter)
            for value, key, time, route in parsed.events
        ]
    )


def tail(event_type: str, *, before: bytes = b"", received_at_ms: int = NOW) -> bytes:
    """What takes the place of the closing brace."""
    return b'%b,"ingestion_timestamp":%d,"source":"binance_websocket","event_type":"%b"}' % (
        before,
        received_at_ms,
        event_type.encode(),
    )


def headers(event: Event) -> dict[str, str]:
    return {name: value.decode() for name, value in event[3].headers}
