"""A service in memory and in virtual time, with endpoints that let it in to a simulated exchange, or do not."""

import random
from contextlib import asynccontextmanager

import httpx
import trio
from trio.testing import memory_stream_pair

from ingest_actors.network import real_network
from ingest_actors.service import Service
from ingest_actors.settings import Settings
from ingest_actors.simulator import SimulatorConfig, open_exchange
from sinks import MemorySink

START_MS = 1_790_000_000_000


class Field:
    """Endpoints in memory. Each lets the service in to the simulated exchange, or answers as `answers` says.

    Attributes:
        answers: by host, an exception to connect to it, or the bytes that answer its handshake.
        attempts: (seconds, host) of each attempt.
        streams: the exchange's ends of connections that were let in.
    """

    def __init__(self, exchange, nursery, answers):
        self.exchange = exchange
        self.nursery = nursery
        self.answers = answers
        self.attempts = []
        self.streams = []
        self.told = []
        self.news = trio.Event()

    async def connect(self, host, port, tls):
        await trio.lowlevel.checkpoint()
        self.attempts.append((trio.current_time(), host))
        answer = self.answers.get(host)
        if isinstance(answer, Exception):
            raise answer
        ours, theirs = memory_stream_pair()
        if answer is None:
            self.streams.append(theirs)
            self.nursery.start_soon(self.exchange.serve_stream, theirs)
        else:
            self.nursery.start_soon(self.refuse, theirs, answer)
        return ours

    async def refuse(self, stream, answer):
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive_some(65536)
            await stream.send_all(answer)

    def service(self, *hosts, rest=None, sink=None, **given):
        chosen = {"binance_symbols": "BTCUSDT", "binance_stream_types": "trade", "max_retries": 0}
        settings = Settings(**(chosen | {"binance_ws_url": [f"ws://{host}" for host in hosts]} | given))
        network = real_network(
            settings,
            clock_ms=self.exchange.now_ms,
            connect=self.connect,
            rest_transport=rest or httpx.ASGITransport(app=self.exchange.rest_app),
        )
        service = Service(
            settings, sink=sink or MemorySink(), network=network, clock_ms=self.exchange.now_ms, rng=random.Random(1)
        )
        service.announcer.add(self)
        return service

    def tell(self, event):
        self.told.append(event)
        self.news.set()
        return True

    def end(self):
        pass

    def hosts(self):
        return [host for _, host in self.attempts]

    def fields(self, name):
        return [event.fields for event in self.told if event.name == name]

    async def wait_for(self, name, count=1):
        while len(self.fields(name)) < count:
            self.news = trio.Event()
            await self.news.wait()

    async def cut(self):
        await self.streams.pop().aclose()


@asynccontextmanager
async def field(config=None, **answers):
    """Answers by host; `config` is of the simulated exchange."""
    quiet = {"ws_port": None, "rest_port": None, "start_ms": START_MS, "tick_s": 5, "activity": 0.01}
    config = SimulatorConfig(**(quiet | {"symbols": ("BTCUSDT",)} | (config or {})))
    async with open_exchange(config) as exchange, trio.open_nursery() as nursery:
        yield Field(exchange, nursery, answers)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def running(service):
    """The service runs while the context lasts, and drains at its end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.run)
        yield
        service.stop()
        await service.wait_stopped()
    assert service.report.ledger.difference == 0
