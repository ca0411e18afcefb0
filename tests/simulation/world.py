"""A small world for one service on virtual time: an exchange over in-memory streams, a sink in memory, and a chaos
that crashes actors, cuts connections and stalls the sink as a seed says.
"""

from collections import Counter
from contextlib import asynccontextmanager

import trio
from trio.testing import memory_stream_pair

from exchanges import Line, Unasked
from ingest_actors.actors.fleet import Wanted
from ingest_actors.network import Network
from ingest_actors.service import Service
from ingest_actors.settings import Settings
from ingest_actors.supervision import Mailbox
from ingest_actors.websocket.feed import open_feed
from sinks import MemorySink

POISON = b'"poison":1'


class Crash(Exception):
    """What chaos raises."""


class Chaos:
    """Crashes whoever passes by, with a probability, until its budget is spent."""

    def __init__(self, rng, *, probability, crashes_max):
        self.rng = rng
        self.probability = probability
        self.left = crashes_max
        self.on = True
        self.crashes = Counter()

    def pass_by(self, where):
        if self.on and self.left and self.rng.random() < self.probability:
            self.left -= 1
            self.crashes[where] += 1
            raise Crash(where)


class ChaoticMailbox(Mailbox):
    """A mailbox at which actors crash, before and after each wait."""

    chaos = None

    async def wait_for_room(self, parcel):
        self.chaos.pass_by(f"{self.name}.wait_for_room")
        await super().wait_for_room(parcel)
        self.chaos.pass_by(f"{self.name}.room")

    async def take(self):
        self.chaos.pass_by(f"{self.name}.take")
        parcel = await super().take()
        self.chaos.pass_by(f"{self.name}.taken")
        return parcel


class ChaoticSink(MemorySink):
    """A sink at which the producer crashes."""

    def __init__(self, chaos, **options):
        super().__init__(**options)
        self.chaos = chaos

    async def accept(self, batch):
        self.chaos.pass_by("sink.accept")
        await super().accept(batch)

    async def acknowledged(self):
        self.chaos.pass_by("sink.acknowledged")
        return await super().acknowledged()

    async def _change(self):
        await super()._change()
        self.chaos.pass_by("sink.wait")


class Exchange:
    """Serves numbered trades to whoever connects, and notes which of them the service has read.

    What it sends while nobody is connected is nobody's loss here: the promise under test is that what was read from
    a socket is delivered once, in order.
    """

    def __init__(self, rng, nursery, *, messages, poison_every=0, cut_probability=0.0):
        self.rng = rng
        self.nursery = nursery
        self.messages = messages
        self.poison_every = poison_every
        self.cut_probability = cut_probability
        self.sent = 0
        self.read = []
        self.cuts = 0
        self.all_sent = trio.Event()

    def message(self, number):
        poison = POISON + b"," if self.poison_every and number % self.poison_every == 0 else b""
        return (
            b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"1.00000000",'
            b'"q":"2.00000000",%b"T":%d,"m":true,"M":true}}'
        ) % (1_700_000_000_000 + number, number, poison, 1_700_000_000_000 + number)

    async def connect(self, host, port, tls):
        client, server = memory_stream_pair()
        self.nursery.start_soon(self._serve, server)
        return client

    @asynccontextmanager
    async def open_feed(self, url, *, name, intercept, read_ahead_bytes_max):
        def note(frames):
            kept = intercept(frames)
            self.read.extend(kept)
            return kept

        async with open_feed(
            url,
            name=name,
            connect=self.connect,
            intercept=note,
            read_ahead_bytes_max=read_ahead_bytes_max,
            clock_ms=lambda: 1_700_000_000_000,
        ) as feed:
            yield feed

    async def _serve(self, stream):
        try:
            await Line(stream).shake_hands()
            while True:
                if self.sent >= self.messages:
                    self.all_sent.set()
                    await trio.sleep_forever()
                burst = b""
                for _ in range(self.rng.randint(1, 12)):
                    if self.sent < self.messages:
                        self.sent += 1
                        payload = self.message(self.sent)
                        burst += b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload
                if self.rng.random() < self.cut_probability:
                    self.cuts += 1
                    await stream.send_all(burst[: self.rng.randrange(len(burst))])
                    await stream.aclose()
                    return
                await stream.send_all(burst)
                await trio.sleep(self.rng.random() * 0.02)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


async def resolve(announce):
    return Wanted(("btcusdt@trade",))


def service_in(exchange, sink, rng, **settings):
    """A service whose only ways out are this exchange and this sink."""
    given = {"reconnect_interval": 0.5, "max_retries": 0, "shutdown_timeout_seconds": 3600.0} | settings
    return Service(
        Settings(binance_symbols="BTCUSDT", binance_stream_types="trade", **given),
        sink=sink,
        network=Network(("ws://exchange",), exchange.open_feed, Unasked, resolve),
        clock_ms=lambda: 1_700_000_000_000,
        rng=rng,
    )
