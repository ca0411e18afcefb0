"""A service through all its lives, against the simulated exchange and a Kafka in memory, as a schedule says.

The exchange is the one that is shipped, with its market, its REST interface and its script; the service is the one that
is shipped, with its real session, feed, parser and continuity. Only the wires and Kafka are in memory.
"""

import random
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import httpx
import trio
import virtual
from depth_reader import BookReader
from memory_kafka import MemoryKafka
from schedule import CALM_S_MAX
from truth import Published
from world import Chaos, ChaoticMailbox

from ingest_actors.binance.rest_errors import RequestRefused
from ingest_actors.binance.stream_table import TopicNames
from ingest_actors.errors import ExchangeUnreachable
from ingest_actors.network import real_network
from ingest_actors.service import Service
from ingest_actors.settings import Settings
from ingest_actors.simulator import SimulatorConfig, open_exchange
from ingest_actors.simulator.fault_refusals import SetStatus
from ingest_actors.simulator.faults import Fault

DEPTH = TopicNames().depth
START_MS = 1_790_000_000_000
_IN_MEMORY = "/dev/shm"
"""Where a spool lies, if there is such a place: a sync costs nothing there."""
DEATH_PATIENCE_S = 5.0
"""A death that waits for steps of the actors comes anyhow after so long: there may be none."""


class Lived:
    """One life, when it is over.

    Attributes:
        read: every message that was handed to the pipeline, in order.
        died: whether suddenly.
        ledger: the books at the end.
        report: how the service ended; None: it died.
        happened: what it told of itself.
        began_ms, ended_ms: by the exchange's clock.
        too_old: whether what was missed before it was too old to be fetched.
        breaks: how often the sink was set up anew.
    """

    def __init__(self, began_ms):
        self.read = []
        self.died = False
        self.ledger = None
        self.report = None
        self.happened = []
        self.began_ms = began_ms
        self.ended_ms = None
        self.too_old = False
        self.breaks = 0

    def tell(self, event):
        self.happened.append(event)
        return True

    def end(self):
        pass


class World:
    """What a schedule leaves behind."""

    def __init__(self, schedule):
        self.schedule = schedule
        self.lives = []
        self.kafka = None
        self.published = None
        self.fired = []
        self.crashes = Counter()
        self.calm_s = 0.0
        self.seconds = 0
        self.clock_off_ms = 0
        self.reloads = 0
        self.spool_dir = None
        self._spool = {}
        self.books = {symbol: BookReader() for symbol in schedule.market["symbols"]}

    def spool_settings(self):
        return {} if self.spool_dir is None else {"spool_dir": str(self.spool_dir)}

    def keep_spool(self):
        """What lies on the disk at the instant of a death: nothing that is written later has been."""
        if self.spool_dir is not None:
            self._spool = {path.name: path.read_bytes() for path in self.spool_dir.iterdir()}

    def restore_spool(self):
        if self.spool_dir is not None:
            for path in self.spool_dir.iterdir():
                path.unlink()
            for name, content in self._spool.items():
                (self.spool_dir / name).write_bytes(content)


class Fate(Chaos):
    """Crashes actors, and ends the life in the midst of things when it is told to."""

    def __init__(self, rng, *, probability, crashes_max):
        super().__init__(rng, probability=probability, crashes_max=crashes_max)
        self.strokes = None
        self.strike = None

    def pass_by(self, where):
        if self.strokes is not None:
            self.strokes -= 1
            if self.strokes <= 0:
                self.strokes = None
                self.strike()
                return
        super().pass_by(where)


def live(schedule):
    """One schedule, from beginning to end; the same each time."""
    with TemporaryDirectory(dir=_IN_MEMORY if Path(_IN_MEMORY).is_dir() else None) as directory:
        return virtual.run(schedule.seed, _live, schedule, Path(directory) if schedule.spool else None)


async def _live(schedule, spool_dir):
    world = World(schedule)
    world.spool_dir = spool_dir
    rng = random.Random(f"{schedule.seed}/world")
    config = {
        "ws_port": None, "rest_port": None, "start_ms": START_MS, "seed": schedule.seed, "history": 10**7,
        "faults": schedule.faults,
    }  # fmt: skip
    async with open_exchange(SimulatorConfig(**(config | schedule.market))) as exchange:
        world.published = Published(exchange)
        world.kafka = MemoryKafka(
            rng, exactly_once=schedule.mode == "exactly_once", interval_s=schedule.commit_interval_s
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_step_clock, world)
            for number, life in enumerate(schedule.lives):
                await _one_life(world, exchange, rng, life, last=number == len(schedule.lives) - 1)
                await trio.sleep(life.away_s)
            nursery.cancel_scope.cancel()
        world.fired = list(exchange.fired)
        world.seconds = round(trio.current_time())
        return world


async def _step_clock(world):
    for at_s, off_ms in sorted(world.schedule.clock_steps):
        await trio.sleep_until(at_s)
        world.clock_off_ms = off_ms


async def _one_life(world, exchange, rng, life, *, last):
    schedule = world.schedule
    lived = Lived(exchange.now_ms())
    world.lives.append(lived)
    fate = Fate(rng, probability=schedule.crash, crashes_max=schedule.crashes_max - world.crashes.total())
    sink = world.kafka.open(fate, refuse=_refuse if schedule.refuses else lambda event: None, **schedule.sink)
    chosen = _SETTINGS | schedule.settings | world.spool_settings() | {"kafka_delivery": schedule.mode}
    settings = Settings(**chosen)
    away_s = sink.away_s or 0.0
    if len(world.lives) > 1 and world.spool_dir is not None:  # what lies there tells how long ago, too
        away_s = max(away_s, (exchange.now_ms() - world.lives[-2].ended_ms) / 1000)
    lived.too_old = away_s > settings.resume_max_age_seconds
    with _fragile(fate), patch("ingest_actors.service.open_sink", partial(_open_sink, sink)):
        service = Service(
            settings, network=_network(world, exchange, lived, fate, settings),
            clock_ms=lambda: exchange.now_ms() + world.clock_off_ms, rng=rng,
        )  # fmt: skip
        service.announcer.add(lived)
        _crash_parser(service, fate)
        ledger = lived.ledger = service._topology.overview.ledger
        with trio.CancelScope() as whole_life:

            def strike():
                lived.died = True
                sink.die()
                world.keep_spool()
                whole_life.cancel()

            fate.strike = strike
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_run, service, nursery)
                nursery.start_soon(_disturb, world, sink, ledger)
                nursery.start_soon(_reload_at_times, world, service)
                await trio.sleep(life.lasting_s)
                if life.ends == "death" and not last:
                    assert not ledger.unbalanced()
                    fate.strokes = life.strokes
                    if life.strokes:
                        await trio.sleep(DEATH_PATIENCE_S)
                    strike()
                    await trio.sleep_forever()
                if last:
                    await _catch_up(world, exchange, service, sink, fate)
                sink.resume()
                service.stop()
                await service.wait_stopped()
                nursery.cancel_scope.cancel()
    if lived.died:
        world.restore_spool()
    lived.report = service.report
    lived.ended_ms = exchange.now_ms()
    lived.breaks = sink.breaks
    world.crashes += fate.crashes
    assert not ledger.unbalanced() or lived.died


async def _open_sink(sink, settings, *, progress, letter, **_):
    """In place of the way to the brokers."""
    for key, value in sink.kafka.state.items():
        progress.load(key, value)
    sink.progress, sink.letter = progress, letter
    await trio.lowlevel.checkpoint()
    return sink


async def _run(service, nursery):
    await service.run()
    nursery.cancel_scope.cancel()


_SETTINGS = {
    "reconnect_interval": 0.5,
    "max_retries": 0,
    "shutdown_timeout_seconds": 3600.0,
    "kafka_retries": 1000,
    "ws_message_max_bytes": 1 << 16,
}


async def _reload_at_times(world, service):
    """Symbols come and go while the service runs, as the exchange lets them."""
    for at_s, wanted in sorted(world.schedule.reloads):
        if at_s >= trio.current_time():
            await trio.sleep_until(at_s)
            await _reload(world, service, last_wanted=wanted)


async def _reload(world, service, *, last_wanted):
    """Whether the symbols are as they shall be."""
    symbols = world.schedule.market["symbols"]
    wanted = symbols if last_wanted else symbols[:-1]
    if set(service.settings.binance_symbols) == set(wanted):
        return True
    try:
        with trio.move_on_after(60.0):
            await service.reload(service.settings.replace(binance_symbols=",".join(wanted)))
    except (ExchangeUnreachable, RequestRefused):
        return False
    world.reloads += 1
    return set(service.settings.binance_symbols) == set(wanted)


async def _disturb(world, sink, ledger):
    """What befalls the sink, and the law of the ledger at instants that nobody has chosen."""
    for at_s, what, for_s in sorted(world.schedule.sink_faults):
        if at_s < trio.current_time():
            continue
        await trio.sleep_until(at_s)
        assert not ledger.unbalanced()
        if what == "break":
            sink.break_now()
        else:
            sink.pause()
            await trio.sleep(for_s)
            sink.resume()
        assert not ledger.unbalanced()


def _refuse(event):
    """Some events of each kind, by what is in them, so that it is the same ones each time."""
    return "refused" if b'77,"p"' in event[0] else None


# -- until all is well


async def _catch_up(world, exchange, service, sink, fate):
    """Faults are over: the record reaches what was published by then, and nothing that can be had is missing."""
    began_s = max(trio.current_time(), world.schedule.faults_s)
    await trio.sleep_until(began_s)
    fate.on = False
    sink.resume()
    sink.delay_s, sink.room = 0.0, 10**9
    while not await _reload(world, service, last_wanted=True):  # noqa: ASYNC110 - it asks, and waits to ask again
        await trio.sleep(1.0)
    symbols = world.schedule.market["symbols"]
    for symbol in symbols:
        exchange.inflict(Fault(SetStatus(symbol, "TRADING")))
    goals = {}
    for symbol in symbols:
        trade, aggregate, update, _ = world.published.newest(symbol)
        goals |= {(b"trade", symbol): trade, (b"aggregate_trade", symbol): aggregate, (b"depth_update", symbol): update}
    seen = len(world.kafka.entries)
    _read_books(world, 0, seen)
    with trio.move_on_after(CALM_S_MAX):
        while True:
            await trio.sleep(0.5)
            await _reload(world, service, last_wanted=True)  # one that was under way may end after the one before
            for entry in world.kafka.entries[seen:]:
                _check_off(goals, entry.event, world)
            _read_books(world, seen, seen := len(world.kafka.entries))
            out_of_step = [symbol for symbol, book in world.books.items() if not _same_book(world, symbol, book)]
            if not goals and not service.status().gaps_open and not out_of_step:
                world.calm_s = trio.current_time() - began_s
                return
    raise AssertionError(
        f"not caught up {CALM_S_MAX} s after the last fault: {goals}, {service.status().gaps_open} gaps open,"
        f" no books of {out_of_step}"
    )


def _same_book(world, symbol, book):
    """Whether there is a book that is not older than the exchange remembers; then it is the same as there."""
    sides = None if book.last is None else world.published.book(symbol, book.last)
    assert sides in (None, book.sides), ("another book", symbol, book.last)
    return sides is not None


def _read_books(world, first, end):
    """What a reader of the depth topic makes of these entries."""
    for entry in world.kafka.entries[first:end]:
        _, key, _, route = entry.event
        if DEPTH in entry.topics or route.event_type == "gap":
            world.books[key.decode()].read(entry.event)


_FIELDS = {"trade": b'"t":', "aggregate_trade": b'"a":', "depth_update": b'"u":'}


def _check_off(goals, event, world):
    value, key, _, route = event
    if route.event_type in _FIELDS and not route.dead_letter:
        place = route.event_type.encode(), key.decode()
        number = int(value.partition(_FIELDS[route.event_type])[2].partition(b",")[0])
        newest = dict(zip(_FIELDS, world.published.newest(place[1]), strict=False))[route.event_type]
        if goals.get(place, 1 << 63) <= number <= newest:
            del goals[place]


# -- ways in


@contextmanager
def _fragile(fate):
    with (
        patch("ingest_actors.supervisor.RESTARTS_MAX", 10_000),
        patch("ingest_actors.bounds.Mailbox", type("FatedMailbox", (ChaoticMailbox,), {"chaos": fate})),
    ):
        yield


def _crash_parser(service, fate):
    parse = service._topology._parser.parse

    def fragile_parse(batch):
        fate.pass_by("parse")
        return parse(batch)

    service._topology._parser.parse = fragile_parse


def _network(world, exchange, lived, fate, settings):
    """The real one, over memory; it notes what is read, and connections and repairs crash at it."""
    network = real_network(
        settings, clock_ms=lambda: exchange.now_ms() + world.clock_off_ms, connect=exchange.connect,
        rest_transport=_FarAway(exchange.rest_app, f"{world.schedule.seed}/rest/{len(world.lives)}"),
    )  # fmt: skip

    @asynccontextmanager
    async def open_feed(url, **options):
        async with network.open_feed(url, **options) as feed:
            yield _Feed(feed, lived, fate, direct=len(world.lives) % 2 == 0)  # what is handed on is not received

    @asynccontextmanager
    async def open_rest():
        async with network.open_rest() as rest:
            yield _Rest(rest, fate)

    return replace(network, open_feed=open_feed, open_rest=open_rest)


class _Feed:
    """A feed, and what came of it."""

    def __init__(self, feed, lived, fate, *, direct):
        self._feed = feed
        self._direct = direct
        self._lived = lived
        self._fate = fate

    def __getattr__(self, name):
        return getattr(self._feed, name)

    async def receive(self):
        self._fate.pass_by("feed.receive")
        return self._noted(await self._feed.receive())

    def unread(self):
        return [self._noted(batch) for batch in self._feed.unread()]

    def hand_to(self, offer):
        if self._direct:
            self._feed.hand_to(offer and (lambda batch: offer(batch) and bool(self._noted(batch))))

    def _noted(self, batch):
        self._lived.read.extend(batch.frames)
        return batch


class _FarAway(httpx.AsyncBaseTransport):
    """The way to the REST interface: each answer takes its time."""

    def __init__(self, app, seed):
        self._app = httpx.ASGITransport(app)
        self._rng = random.Random(seed)

    async def handle_async_request(self, request):
        await trio.sleep(0.001 + 0.1 * self._rng.random())
        return await self._app.handle_async_request(request)


class _Rest:
    """The exchange's REST interface, as whoever repairs gaps sees it."""

    def __init__(self, rest, fate):
        self._rest = rest
        self._fate = fate

    def __getattr__(self, name):
        return getattr(self._rest, name)

    async def aggregate_trades(self, *args, **options):
        return await self._asked(self._rest.aggregate_trades, args, options)

    async def historical_trades(self, *args, **options):
        return await self._asked(self._rest.historical_trades, args, options)

    async def depth(self, *args, **options):
        return await self._asked(self._rest.depth, args, options)

    async def _asked(self, ask, args, options):
        for _ in range(5):  # it is asked seldom
            self._fate.pass_by("rest.ask")
        answer = await ask(*args, **options)
        for _ in range(5):
            self._fate.pass_by("rest.answer")
        return answer
