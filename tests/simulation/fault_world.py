"""One whole service against the simulated exchange on virtual time, with a fault script, and the judgement after it.

The exchange is the one that is shipped, with its market, its REST interface and its script; the service is the one that
is shipped, with its real session, feed and parser. Only the wires and Kafka are in memory.
"""

import json
import random
from collections import Counter
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
        markets: the simulated market at the end, by symbol.
    """

    def __init__(self):
        self.read = []
        self.read_at = []
        self.sink = None
        self.service = None
        self.happened = []
        self.published = {}
        self.fired = []
        self.markets = {}

    def tell(self, event):
        self.happened.append(event)
        return True

    def end(self):
        pass

    def all(self, name):
        return [event for event in self.happened if event.name == name]


def run(faults, *, seed, lasting_s=120.0, monkeypatch, **options):
    """One run; the same for the same seed, trio's own order of tasks included.

    `options`: settings; `config`, of the exchange; `clock`, which makes the service's clock (ms) of the exchange.
    """
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
        clock_ms = options.pop("clock", lambda exchange: exchange.now_ms)(exchange)
        chosen = Settings(**(_settings() | options))
        world.sink = MemorySink(delay_s=rng.choice([0, 0.01, 0.3]))
        network = _noting(world, exchange, real_network(
            chosen, clock_ms=clock_ms, connect=exchange.connect,
            rest_transport=httpx.ASGITransport(exchange.rest_app),
        ))  # fmt: skip
        world.service = Service(chosen, sink=world.sink, network=network, clock_ms=clock_ms, rng=rng)
        world.service.announcer.add(world)
        with trio.fail_after(50 * lasting_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.service.run)
                await trio.sleep(lasting_s)
                world.service.stop()
        for symbol, market in exchange.source.markets.items():
            world.published[symbol] = [trade.trade_id for trade in market.trades.newest(10**6, until_us=2**63)]
        world.markets = exchange.source.markets
        world.fired = list(exchange.fired)
        world.status = world.service.status()
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

    def hand_to(self, offer):
        self._feed.hand_to(offer and (lambda batch: offer(batch) and bool(self._noted(batch))))

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
    written = [event for event in world.sink.written if event[3].counted]
    letters = [event for event in written if event[3].dead_letter]
    assert (total.delivered, total.dead_lettered) == (len(written) - len(letters), len(letters))
    frames = [frame for frame in world.read if b'"e":"serverShutdown"' not in frame]
    assert total.received == len(frames)
    _judge_bytes(frames, written, duplicates=total.duplicates)


def _judge_bytes(frames, written, *, duplicates):
    """What was read is written, byte for byte, or was there before; what was not read came from REST."""
    read = Counter(value_of(frame) or frame for frame in frames)
    kept = Counter()
    for value, _, _, route in written:
        if route.dead_letter:
            kept[value_of(value) or value] += 1
        elif b'"source":"binance_websocket"' in value:
            kept[value.rpartition(b',"ingestion_timestamp":')[0].partition(b',"symbol":"')[0]] += 1
    for value in [value for value in read if value not in kept]:
        assert duplicates, value
    dropped = read - kept
    assert kept - read == Counter()
    assert dropped.total() == duplicates


def epochs(world, event_type, field):
    """By symbol, the ids of a type of event as they stand in the record, late ones apart, in parts that ascend.

    A new part begins where the journal says that the exchange began again.
    """
    found = {}
    for value, key, _, route in world.sink.everything:
        if route.event_type == event_type and not route.dead_letter:
            number = int(value.partition(b'"%b":' % field)[2].partition(b",")[0])
            parts = found.setdefault(key.decode(), [([], [])])
            parts[-1][value.endswith(b'"late":true}')].append(number)
        elif route.event_type == "gap":
            gap = json.loads(value)
            if (gap["event_type"], gap["reason"], gap["state"]) == (event_type, "exchange_reset", "lost"):
                found.setdefault(key.decode(), [([], [])]).append(([], []))
    return found


def judge_trades(world):
    """Every trade once, in order; what is missing is journalled, and what is late says so."""
    for event_type, field in (("trade", b"t"), ("aggregate_trade", b"a")):
        told = told_missing(world, event_type)
        for symbol, parts in epochs(world, event_type, field).items():
            for in_order, late in parts:
                assert in_order == sorted(set(in_order)), (symbol, event_type)
                assert len(late) == len(set(late))
                assert set(late).isdisjoint(in_order)
                there = {*in_order, *late}
                missing = set(range(min(there), max(there) + 1)) - there if there else set()
                assert missing <= told[symbol], (symbol, event_type, sorted(missing - told[symbol])[:5])


def told_missing(world, event_type):
    """By symbol, ids that the journal has as lost, or as missing still."""
    told = {symbol: set() for symbol in world.published}
    last = {}
    for value, key, _, route in world.sink.everything:
        if route.event_type == "gap" and key.decode() in told:
            gap = json.loads(value)
            if gap["event_type"] == event_type and gap["reason"] != "exchange_reset":
                last[gap["gap"]] = gap
    for gap in last.values():
        if gap["state"] != "closed":
            told[gap["symbol"]].update(range(gap["first_id"], gap["last_id"] + 1))
    return told


def states(world):
    """How often the journal has each state, by gap; every gap is opened once, first, and ended once at most."""
    seen = {}
    for value, _, _, route in world.sink.everything:
        if route.event_type == "gap":
            gap = json.loads(value)
            seen.setdefault((gap["gap"], gap["detected_at"]), []).append(gap["state"])
    return seen
