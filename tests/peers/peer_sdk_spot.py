"""`binance-sdk-spot` as its users run it. See `peer_lines` for how it is called."""

import asyncio
import logging
import time

from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketStreams
from binance_sdk_spot.spot import Spot
from binance_sdk_spot.websocket_streams.models import (
    AllMarketRollingWindowTickerWindowSizeEnum,
    DiffBookDepthUpdateSpeedEnum,
    KlineIntervalEnum,
    KlineOffsetIntervalEnum,
    PartialBookDepthLevelsEnum,
    PartialBookDepthUpdateSpeedEnum,
    RollingWindowTickerWindowSizeEnum,
)
from peer_book import LocalBook
from peer_lines import arguments, say

SYMBOL = "btcusdt"
BOOKS_COMPARED = 5
FIRST_WAIT_S = 25.0
"""The exchange's rarest stream, block trades, may take its time."""
MAY_BE_EMPTY = {"M", "r"}
"""Fields without a value in some events, by the documents: the reference price, and what is to be ignored."""


def calls():
    """Every market data method of the client, with every value of its enumerations: name, method, arguments."""
    yield "agg_trade", {"symbol": SYMBOL}
    yield "trade", {"symbol": SYMBOL}
    yield "block_trade", {"symbol": SYMBOL}
    yield "book_ticker", {"symbol": SYMBOL}
    yield "mini_ticker", {"symbol": SYMBOL}
    yield "ticker", {"symbol": SYMBOL}
    yield "avg_price", {"symbol": SYMBOL}
    yield "reference_price", {"symbol": SYMBOL}
    yield "all_mini_ticker", {}
    yield "diff_book_depth", {"symbol": SYMBOL}
    for speed in DiffBookDepthUpdateSpeedEnum:
        yield "diff_book_depth", {"symbol": SYMBOL, "update_speed": speed.value}
    for size in AllMarketRollingWindowTickerWindowSizeEnum:
        yield "all_market_rolling_window_ticker", {"window_size": size.value}
    for size in RollingWindowTickerWindowSizeEnum:
        yield "rolling_window_ticker", {"symbol": SYMBOL, "window_size": size.value}
    for levels in PartialBookDepthLevelsEnum:
        yield "partial_book_depth", {"symbol": SYMBOL, "levels": levels.value}
        for speed in PartialBookDepthUpdateSpeedEnum:
            yield "partial_book_depth", {"symbol": SYMBOL, "levels": levels.value, "update_speed": speed.value}
    for interval in KlineIntervalEnum:
        yield "kline", {"symbol": SYMBOL, "interval": interval.value}
    for interval in KlineOffsetIntervalEnum:
        yield "kline_offset", {"symbol": SYMBOL, "interval": interval.value}


def empty_fields(model, within=""):
    """Fields that the client's model knows and that the event did not fill."""
    if isinstance(model, list):
        return sorted({name for element in model for name in empty_fields(element, within)})
    names = []
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if name == "additional_properties" or (field.alias or name) in MAY_BE_EMPTY:
            continue
        if value is None:
            names.append(within + (field.alias or name))
        elif hasattr(value, "model_fields_set"):
            names += empty_fields(value, f"{within}{name}.")
    return names


class Overheard(logging.Handler):
    """The client logs what it receives and has no callback for; and its errors."""

    def __init__(self):
        super().__init__()
        self.nobodys = []

    def emit(self, record):
        text = record.getMessage()
        if text.startswith("Received message: ") and "@trade" in text:
            self.nobodys.append(text)
        if record.levelno >= logging.ERROR:
            say("error", text=text)


def make_client(given):
    """A client as the documentation makes one, at the exchange's addresses."""
    return Spot(
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=given.ws_url),
        config_rest_api=ConfigurationRestAPI(base_path=given.rest_url, api_key="", api_secret=""),
    )


async def streams(client, given):
    """Half of the streams on each of two connections: the client waits 0.5 s before each."""
    seen, wanted = {}, {}
    halves = list(calls())[::2], list(calls())[1::2]
    connections = await asyncio.gather(*(make_client(given).websocket_streams.create_connection() for _ in halves))
    say("connected", count=len(connections))

    def receive(name, stream):
        def callback(model):
            if name not in seen:
                seen[name] = stream
                first = model[0] if isinstance(model, list) else model
                say("received", call=name, stream=stream, model=type(first).__name__, empty=empty_fields(model))

        return callback

    async def subscribe(connection, half):
        for method, given_arguments in half:
            handle = await getattr(connection, method)(**given_arguments)
            name = " ".join((method, *(v for k, v in given_arguments.items() if k != "symbol")))
            handle.on("message", receive(name, handle._stream))
            wanted[name] = handle._stream
        return (await connection.list_subscribe())["result"]

    listed = await asyncio.gather(*map(subscribe, connections, halves))
    say("subscribed", wanted=sorted(wanted.values()), listed=sorted([*listed[0], *listed[1]]))
    until = time.monotonic() + FIRST_WAIT_S
    while set(seen) != set(wanted) and time.monotonic() < until:
        await asyncio.sleep(0.1)
    for connection in connections:
        await connection.close_connection()


async def unsubscribe(client, given):
    connection = await client.websocket_streams.create_connection()
    trades, tops = [], []
    handle = await connection.trade(symbol=SYMBOL)
    handle.on("message", trades.append)
    other = await connection.book_ticker(symbol=SYMBOL)
    other.on("message", tops.append)
    while not trades or not tops:
        await asyncio.sleep(0.05)
    before = await connection.list_subscribe()
    await handle.unsubscribe()
    after = await connection.list_subscribe()
    await asyncio.sleep(0.2)  # what was queued before the acknowledgement may still come
    overheard.nobodys.clear()
    trades.clear()
    tops.clear()
    await asyncio.sleep(2)
    late = len(trades) + len(overheard.nobodys)
    say("unsubscribed", before=before["result"], after=after["result"], late=late, others=len(tops))
    again = await connection.trade(symbol=SYMBOL)
    again.on("message", trades.append)
    while not trades:
        await asyncio.sleep(0.05)
    say("subscribed again", trades=len(trades))
    await connection.close_connection()


async def book(client, given):
    connection = await client.websocket_streams.create_connection()
    local = LocalBook()
    handle = await connection.diff_book_depth(symbol=SYMBOL, update_speed="100ms")
    handle.on("message", lambda e: local.event(e.U, e.u, e.b, e.a))

    async def ask():
        answer = await asyncio.to_thread(client.rest_api.depth, symbol=SYMBOL.upper(), limit=5000)
        model = answer.data()
        return model.last_update_id, model.bids, model.asks

    while not local.snapshot(*await ask()):
        await asyncio.sleep(0.2)
    compared = 0
    while compared < BOOKS_COMPARED:
        await asyncio.sleep(0.3)
        update_id, bids, asks = await ask()
        while local.update_id < update_id:
            await asyncio.sleep(0.02)
        differences = local.differences(update_id, bids, asks)
        if differences is not None:
            compared += 1
            say("compared", update_id=update_id, bids=len(bids), asks=len(asks), differences=differences)
    await connection.close_connection()


async def cut(client, given):
    connection = await client.websocket_streams.create_connection()
    ids = []
    closed = asyncio.Event()
    connection.on_connection("close", closed.set)
    pooled = connection.connections[0]
    handle = await connection.trade(symbol=SYMBOL)
    handle.on("message", lambda trade: ids.append(trade.t))
    await closed.wait()
    say("cut", received=len(ids))
    ids.clear()
    # 13.2.0 reports the loss and leaves it to its user to call `reconnect`
    await connection.reconnect(pooled, connection.configuration)
    while len(ids) < 10:
        await asyncio.sleep(0.05)
    say("recovered", received=len(ids), consecutive=ids == list(range(ids[0], ids[0] + len(ids))))
    await connection.close_connection()


SCENARIOS = {function.__name__: function for function in (streams, unsubscribe, book, cut)}

if __name__ == "__main__":
    overheard = Overheard()
    logging.basicConfig(level=logging.INFO)
    logging.getLogger().addHandler(overheard)
    given = arguments(SCENARIOS)
    asyncio.run(SCENARIOS[given.scenario](make_client(given), given))
    say("done")
