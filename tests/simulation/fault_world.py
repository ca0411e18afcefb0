"""One whole service against the simulated exchange on virtual time, with a fault script, and the judgement after it.

The exchange is the one that is shipped, with its market, its REST interface and its script; the service is the one that
is shipped, with its real session, feed and parser. Only the wires and Kafka are in memory.
"""

import random
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import trio
from trio.testing import MockClock

from ingest_actors.network import real_network
from ingest_actors.service import Service
from ingest_actors.settings import Settings
from ingest_actors.simulator import SimulatorConfig, open_exchange
from sinks import MemorySink

START_MS = 1_790_000_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "ADAUSDT")
STREAM_TYPES = "aggTrade,depth@100ms,trade,kline_1m,bookTicker,miniTicker"


class World:
    """What a run leaves behind.

    Attributes:
        read: every data message that the service read, in order.
        read_at: when, by the exchange's clock in ms.
        sink: what it delivered.
        happened: what it told of itself, in order.
        published: by symbol, the ids of the trades that the market published, in order.
        fired: the faults that happened.
    """

    def __init__(self):
        self.read = []
        self.read_at = []
        self.sink = None
        self.service = None
        self.happened = []
        self.published = {}
        self.fired = []

    def tell(self, event):
        self.happened.append(event)
        return True

    def end(self):
        pass

    def all(self, name):
        return [event for event in self.happened if event.name == name]


def run(faults, *, seed, lasting_s=120.0, monkeypatch, **options):
    """One run; the same for the same seed, trio's own order of tasks included."""
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)  # as hypothesis has it set
    monkeypatch.setattr("trio._core._run._r", random.Random(seed))
    return trio.run(_live, faults, seed, lasting_s, options, clock=MockClock(autojump_threshold=0))


async def _live(faults, seed, lasting_s, options):
    rng = random.Random(f"{seed}/world")
    world = World()
    config = {
        "ws_port": None, "rest_port": None, "start_ms": START_MS, "tick_s": 0.1, "symbols": SYMBOLS,
        "seed": seed, "activity": 0.1, "faults": faults,
    }  # fmt: skip
    async with open_exchange(SimulatorConfig(**(config | options.pop("config", {})))) as exchange:
        chosen = Settings(**(_settings() | options))
        world.sink = MemorySink(delay_s=rng.choice([0, 0.01, 0.3]))
        network = _noting(world, exchange, real_network(
            chosen, clock_ms=exchange.now_ms, connect=exchange.connect,
            rest_transport=httpx.ASGITransport(exchange.rest_app),
        ))  # fmt: skip
        world.service = Service(chosen, sink=world.sink, network=network, clock_ms=exchange.now_ms, rng=rng)
        world.service.announcer.add(world)
        with trio.fail_after(50 * lasting_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.service.run)
                await trio.sleep(lasting_s)
                world.service.stop()
        for symbol, market in exchange.source.markets.items():
            world.published[symbol] = [trade.trade_id for trade in market.trades.newest(10**6, until_us=2**63)]
        world.fired = list(exchange.fired)
    return world


def _settings():
    return {
        "binance_symbols": ",".join(SYMBOLS), "binance_stream_types": STREAM_TYPES,
        "reconnect_interval": 0.5, "max_retries": 0, "shutdown_timeout_seconds": 3600.0,
    }  # fmt: skip


def _noting(world, exchange, network):
    """The same network, which notes every message that is handed to the pipeline."""

    @asynccontextmanager
    async def open_feed(url, **options):
        async with network.open_feed(url, **options) as feed:
            yield NotingFeed(world, exchange, feed)

    return replace(network, open_feed=open_feed)


class NotingFeed:
    """A feed, and what came of it."""

    def __init__(self, world, exchange, feed):
        self._world = world
        self._exchange = exchange
        self._feed = feed

    def __getattr__(self, name):
        return getattr(self._feed, name)

    async def receive(self):
        return self._noted(await self._feed.receive())

    def unread(self):
        return [self._noted(batch) for batch in self._feed.unread()]

    def _noted(self, batch):
        self._world.read.extend(batch.frames)
        self._world.read_at.extend([self._exchange.now_ms()] * len(batch))
        return batch


def value_of(frame):
    """What a message's event is in the record, up to the closing brace; None when it is no event in an envelope."""
    start = frame.find(b'"data":{')
    return frame[start + 7 : -2] if frame.startswith(b'{"stream":"') and start > 0 else None


def judge(world):
    """What must hold whatever the exchange did."""
    report = world.service.report
    assert (report.reason, report.error, report.unfinished, report.left) == ("stopped", None, (), {})
    assert world.all("actor_restarted") == []
    ledger = world.service._topology.overview.ledger
    total = ledger.total()
    assert not ledger.unbalanced()
    assert (total.in_flight, total.difference) == (0, 0)
    assert total.received == len(world.sink.written) == total.delivered + total.dead_lettered
    assert total.dead_lettered == sum(event[3].dead_letter for event in world.sink.written)
    frames = [frame for frame in world.read if b'"e":"serverShutdown"' not in frame]
    assert len(frames) == len(world.sink.written)
    for frame, event in zip(frames, world.sink.written, strict=True):
        if event[3].dead_letter:
            assert event[0] == frame
        else:
            assert event[0].startswith(value_of(frame))


def lost_trades(world):
    """Trades that were published between two that were read and were not read themselves, with what lies around them.

    Yields: symbol, id, when the last one before it was read, when the first one after it was.
    """
    read = {symbol: {} for symbol in world.published}
    for frame, at_ms in zip(world.read, world.read_at, strict=True):
        value = value_of(frame)
        if value is not None and value.startswith(b'{"e":"trade",'):
            symbol = value.split(b'"s":"', 1)[1].split(b'"', 1)[0].decode()
            number = value.partition(b'"t":')[2].partition(b",")[0]
            if number.isdigit():
                read[symbol].setdefault(int(number), at_ms)
    for symbol, published in world.published.items():
        before_ms, waiting = None, []
        for number in published:
            at_ms = read[symbol].get(number)
            if at_ms is None:
                waiting.append(number)
                continue
            if before_ms is not None:
                for lost in waiting:
                    yield symbol, lost, before_ms, at_ms
            before_ms, waiting = at_ms, []


TELLING = frozenset(("connection_closed", "websocket_connection_failed", "stream_silent", "dead_lettered"))
"""What the log says of an outage, a silence, a message that was no event."""

WITHHOLDING = frozenset(("drop", "mute", "lose_subscriptions", "no_reply", "reply_error", "truncate", "add_fields"))
"""Faults that keep events from a connection that goes on, which so far the ids in the record alone can tell."""

SLACK_MS = 2000
"""An event is published up to 220 ms after it happened, and a slow line adds what the script lets it."""


def unexplained(world):
    """Lost trades around which nothing was told and nothing was withheld."""
    told = [event.at_ms for event in world.happened if event.name in TELLING]
    withheld = [
        (START_MS + 1000 * f.time_s, 1000 * (f.fault.for_s or 150.0))
        for f in world.fired
        if f.fault.action.DO in WITHHOLDING
    ]
    return [
        (symbol, number, before_ms, after_ms)
        for symbol, number, before_ms, after_ms in lost_trades(world)
        if not any(before_ms - SLACK_MS <= at_ms <= after_ms + SLACK_MS for at_ms in told)
        and not any(
            at_ms <= after_ms + SLACK_MS and before_ms <= at_ms + for_ms + SLACK_MS for at_ms, for_ms in withheld
        )
    ]
