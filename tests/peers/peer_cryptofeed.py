"""`cryptofeed` as its users run it, on wss:// with a certificate authority of one's own. See `peer_lines`."""

import asyncio
import logging
import os
import ssl
from decimal import Decimal

from peer_lines import arguments, say

given = arguments(("streams", "unsubscribe", "book", "cut"))
os.environ["SSL_CERT_FILE"] = os.environ["REQUESTS_CA_BUNDLE"] = given.ca_file  # before anything reads them

import requests  # noqa: E402
from cryptofeed import FeedHandler  # noqa: E402
from cryptofeed.connection import RestEndpoint, WebsocketEndpoint  # noqa: E402
from cryptofeed.defines import CANDLES, L2_BOOK, TICKER, TRADES  # noqa: E402
from cryptofeed.exchanges import Binance  # noqa: E402

SYMBOL = "BTC-USDT"
BOOKS_COMPARED = 5
REMEMBERED = 300
"""Books of so many last events are kept, to be compared with snapshots that come later."""


class Complaints(logging.Handler):
    """What the client logs as an error, and that it has lost its connection."""

    def __init__(self):
        super().__init__()
        self.reconnecting = asyncio.Event()

    def emit(self, record):
        if "reconnecting" in record.getMessage():
            self.reconnecting.set()
        if record.levelno >= logging.ERROR:
            say("error", text=record.getMessage()[:2000])


def use_the_exchange():
    """The client's own knobs: addresses, and a context that trusts the authority."""
    trusting = ssl.create_default_context(cafile=given.ca_file)
    routes = Binance.rest_endpoints[0].routes
    Binance.websocket_endpoints = [WebsocketEndpoint(given.ws_url, options={"ssl": trusting})]
    Binance.rest_endpoints = [RestEndpoint(given.rest_url, routes=routes)]


complaints = Complaints()


async def streams(handler):
    seen = set()

    def receive(name):
        async def callback(update, _received):
            if name not in seen:
                seen.add(name)
                say("received", call=name, type=type(update).__name__, update=update.to_dict(numeric_type=str))

        return callback

    def add(name, channel, **options):
        handler.add_feed(Binance(symbols=[SYMBOL], channels=[channel], callbacks={channel: receive(name)}, **options))
        wanted.add(name)

    wanted = set()
    add(TRADES, TRADES)
    add(TICKER, TICKER)
    for speed in sorted(Binance.valid_depth_intervals):
        add(f"{L2_BOOK} {speed}", L2_BOOK, depth_interval=speed)
    for interval in sorted(Binance.valid_candle_intervals):
        add(f"{CANDLES} {interval}", CANDLES, candle_interval=interval, candle_closed_only=False)
    handler.run(start_loop=False, install_signal_handlers=False)
    say("connected", wanted=sorted(wanted))
    while seen < wanted:
        await asyncio.sleep(0.05)


async def unsubscribe(handler):
    trades, tops = [], []

    async def trade(update, _received):
        trades.append(update)

    async def top(update, _received):
        tops.append(update)

    first = Binance(symbols=[SYMBOL], channels=[TRADES], callbacks={TRADES: trade})
    handler.add_feed(first)
    handler.add_feed(Binance(symbols=[SYMBOL], channels=[TICKER], callbacks={TICKER: top}))
    handler.run(start_loop=False, install_signal_handlers=False)
    while not trades or not tops:
        await asyncio.sleep(0.05)
    first.stop()  # it knows no other way to have less
    await first.shutdown()
    await asyncio.sleep(0.5)
    trades.clear()
    tops.clear()
    await asyncio.sleep(2)
    say("unsubscribed", late=len(trades), others=len(tops))
    handler.add_feed(Binance(symbols=[SYMBOL], channels=[TRADES], callbacks={TRADES: trade}))
    while not trades:
        await asyncio.sleep(0.05)
    say("subscribed again", trades=len(trades))


async def book(handler):
    past = {}
    snapshots = 0

    async def update(book, _received):
        nonlocal snapshots
        if book.delta is None:  # begun, or begun again after a gap: REST's own answer proves nothing
            snapshots += 1
            past.clear()
            return
        past[book.sequence_number] = [
            [(price, side[price]) for price in side.keys()]  # noqa: SIM118 - it is no dict
            for side in (book.book.bids, book.book.asks)
        ]
        if len(past) > REMEMBERED:
            del past[next(iter(past))]

    handler.add_feed(Binance(symbols=[SYMBOL], channels=[L2_BOOK], callbacks={L2_BOOK: update}))
    handler.run(start_loop=False, install_signal_handlers=False)
    while len(past) < 5:
        await asyncio.sleep(0.05)
    begun = snapshots
    compared = set()
    while len(compared) < BOOKS_COMPARED:
        await asyncio.sleep(0.2)
        url = f"{given.rest_url}/api/v3/depth?symbol=BTCUSDT&limit=5000"
        snapshot = (await asyncio.to_thread(requests.get, url, timeout=10)).json()
        update_id = snapshot["lastUpdateId"]
        while max(past, default=0) < update_id:
            await asyncio.sleep(0.02)
        if update_id in compared or update_id not in past:
            continue
        compared.add(update_id)
        theirs = [[(Decimal(price), Decimal(quantity)) for price, quantity in snapshot[s]] for s in ("bids", "asks")]
        differences = [
            name for name, mine, its in zip(("bids", "asks"), past[update_id], theirs, strict=True) if mine != its
        ]
        bids, asks = theirs
        say("compared", update_id=update_id, differences=differences, bids=len(bids), asks=len(asks))
    say("begun again", times=snapshots - begun)


async def cut(handler):
    ids = []

    async def trade(update, _received):
        ids.append(int(update.id))

    handler.add_feed(Binance(symbols=[SYMBOL], channels=[TRADES], callbacks={TRADES: trade}))
    handler.run(start_loop=False, install_signal_handlers=False)
    await complaints.reconnecting.wait()
    before = len(ids)
    say("cut", received=before)
    while len(ids) < before + 10:
        await asyncio.sleep(0.05)
    after = ids[before:]
    consecutive = after == list(range(after[0], after[0] + len(after)))
    say("recovered", received=len(after), consecutive=consecutive, later=ids[before - 1] < after[0])


async def main():
    logging.getLogger("feedhandler").addHandler(complaints)
    use_the_exchange()
    handler = FeedHandler(config={"log": {"filename": "/dev/stderr", "level": "INFO"}, "uvloop": False})
    await {"streams": streams, "unsubscribe": unsubscribe, "book": book, "cut": cut}[given.scenario](handler)
    say("done")
    os._exit(0)  # its tasks would take their time


asyncio.run(main())
