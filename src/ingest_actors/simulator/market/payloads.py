"""Events as they go over the wire: the exchange's key order, compact, eight decimals.

Every function takes the unit first: times are kept in microseconds and divided by it (1000 or 1).
"""

from __future__ import annotations

from collections.abc import Iterable

from ingest_actors.simulator.market.book import Level
from ingest_actors.simulator.market.candles import Candle
from ingest_actors.simulator.market.decimals import plain_text, text
from ingest_actors.simulator.market.rolling import WindowStatistics
from ingest_actors.simulator.market.trades import Aggregate, Trade

_BOOLEANS = ("false", "true")


def trade(unit: int, event_us: int, symbol: str, item: Trade) -> bytes:
    """`trade`."""
    trade_id, price, quantity, time_us, maker = item
    return (
        f'{{"e":"trade","E":{event_us // unit},"s":"{symbol}","t":{trade_id},"p":"{text(price)}","q":"{text(quantity)}"'
        f',"T":{time_us // unit},"m":{_BOOLEANS[maker]},"M":true}}'
    ).encode()


def trade_with_order_ids(unit: int, event_us: int, symbol: str, item: Trade) -> bytes:
    """`trade` as it was until June 2024: with the order ids of buyer and seller."""
    trade_id, price, quantity, time_us, maker = item
    taker_order, maker_order = 4 * trade_id + 2, 4 * trade_id - 7  # a taker's order is the younger one
    buyer, seller = (maker_order, taker_order) if maker else (taker_order, maker_order)
    return (
        f'{{"e":"trade","E":{event_us // unit},"s":"{symbol}","t":{trade_id},"p":"{text(price)}","q":"{text(quantity)}"'
        f',"b":{buyer},"a":{seller},"T":{time_us // unit},"m":{_BOOLEANS[maker]},"M":true}}'
    ).encode()


def block_trade(unit: int, event_us: int, symbol: str, item: Trade) -> bytes:
    """`blockTrade`: ids of its own sequence, plain decimals, no `M`."""
    trade_id, price, quantity, time_us, maker = item
    return (
        f'{{"e":"blockTrade","E":{event_us // unit},"s":"{symbol}","t":{trade_id},"p":"{plain_text(price)}"'
        f',"q":"{plain_text(quantity)}","T":{time_us // unit},"m":{_BOOLEANS[maker]}}}'
    ).encode()


def aggregate_trade(unit: int, event_us: int, symbol: str, item: Aggregate) -> bytes:
    """`aggTrade`."""
    aggregate_id, price, quantity, first_id, last_id, time_us, maker, _ = item
    return (
        f'{{"e":"aggTrade","E":{event_us // unit},"s":"{symbol}","a":{aggregate_id},"p":"{text(price)}"'
        f',"q":"{text(quantity)}","f":{first_id},"l":{last_id},"T":{time_us // unit},"m":{_BOOLEANS[maker]},"M":true}}'
    ).encode()


def book_ticker(_unit: int, symbol: str, update_id: int, bid: Level, ask: Level) -> bytes:
    """`bookTicker`: no event type, no time."""
    return (
        f'{{"u":{update_id},"s":"{symbol}","b":"{text(bid[0])}","B":"{text(bid[1])}"'
        f',"a":"{text(ask[0])}","A":"{text(ask[1])}"}}'
    ).encode()


def levels(side: Iterable[Level]) -> str:
    """Price levels as a JSON array of pairs."""
    return "[" + ",".join([f'["{text(price)}","{text(quantity)}"]' for price, quantity in side]) + "]"


def depth_update(
    unit: int, event_us: int, symbol: str, ids: tuple[int, int], changes: tuple[list[Level], list[Level]]
) -> bytes:
    """`depthUpdate`: first and last update id, changed bids and asks."""
    return (
        f'{{"e":"depthUpdate","E":{event_us // unit},"s":"{symbol}","U":{ids[0]},"u":{ids[1]}'
        f',"b":{levels(changes[0])},"a":{levels(changes[1])}}}'
    ).encode()


def partial_depth(_unit: int, update_id: int, bids: list[Level], asks: list[Level]) -> bytes:
    """A partial book, and the answer of REST's depth too."""
    return f'{{"lastUpdateId":{update_id},"bids":{levels(bids)},"asks":{levels(asks)}}}'.encode()


def kline(unit: int, event_us: int, symbol: str, interval: str, candle: Candle, *, closed: bool) -> bytes:
    """`kline`."""
    c = candle
    return (
        f'{{"e":"kline","E":{event_us // unit},"s":"{symbol}","k":{{"t":{c.open_us // unit}'
        f',"T":{(c.close_us + 1) // unit - 1},"s":"{symbol}","i":"{interval}","f":{c.first_id},"L":{c.last_id}'
        f',"o":"{text(c.open)}","c":"{text(c.close)}","h":"{text(c.high)}","l":"{text(c.low)}","v":"{text(c.base)}"'
        f',"n":{c.trades},"x":{_BOOLEANS[closed]},"q":"{text(c.quote)}","V":"{text(c.taker_base)}"'
        f',"Q":"{text(c.taker_quote)}","B":"0"}}}}'
    ).encode()


def mini_ticker(unit: int, event_us: int, symbol: str, w: WindowStatistics) -> bytes:
    """`24hrMiniTicker`."""
    return (
        f'{{"e":"24hrMiniTicker","E":{event_us // unit},"s":"{symbol}","c":"{text(w.close)}","o":"{text(w.open)}"'
        f',"h":"{text(w.high)}","l":"{text(w.low)}","v":"{text(w.base)}","q":"{text(w.quote)}"}}'
    ).encode()


def ticker(unit: int, event_us: int, symbol: str, w: WindowStatistics, top: tuple[Level, Level]) -> bytes:
    """`24hrTicker`, with the best bid and ask."""
    bid, ask = top
    return (
        f'{{"e":"24hrTicker","E":{event_us // unit},"s":"{symbol}","p":"{text(w.change)}","P":"{w.percent}"'
        f',"w":"{text(w.average)}","x":"{text(w.before)}","c":"{text(w.close)}","Q":"{text(w.last_quantity)}"'
        f',"b":"{text(bid[0])}","B":"{text(bid[1])}","a":"{text(ask[0])}","A":"{text(ask[1])}","o":"{text(w.open)}"'
        f',"h":"{text(w.high)}","l":"{text(w.low)}","v":"{text(w.base)}","q":"{text(w.quote)}"'
        f',"O":{w.open_us // unit},"C":{event_us // unit},"F":{w.first_id},"L":{w.last_id},"n":{w.trades}}}'
    ).encode()


def rolling_ticker(unit: int, event_us: int, symbol: str, window: str, w: WindowStatistics) -> bytes:
    """`1hTicker`, `4hTicker`, `1dTicker`."""
    return (
        f'{{"e":"{window}Ticker","E":{event_us // unit},"s":"{symbol}","p":"{text(w.change)}","P":"{w.percent}"'
        f',"o":"{text(w.open)}","h":"{text(w.high)}","l":"{text(w.low)}","c":"{text(w.close)}"'
        f',"w":"{text(w.average)}","v":"{text(w.base)}","q":"{text(w.quote)}","O":{w.open_us // unit}'
        f',"C":{event_us // unit},"F":{w.first_id},"L":{w.last_id},"n":{w.trades}}}'
    ).encode()


def average_price(unit: int, event_us: int, symbol: str, price: int, last_us: int) -> bytes:
    """`avgPrice`, over five minutes."""
    return (
        f'{{"e":"avgPrice","E":{event_us // unit},"s":"{symbol}","i":"5m","w":"{text(price)}","T":{last_us // unit}}}'
    ).encode()


def reference_price(unit: int, event_us: int, symbol: str, price: int | None) -> bytes:
    """`referencePrice`: it has no event time of its own; the price may be null."""
    told = "null" if price is None else f'"{text(price)}"'
    return f'{{"e":"referencePrice","s":"{symbol}","r":{told},"t":{event_us // unit}}}'.encode()
