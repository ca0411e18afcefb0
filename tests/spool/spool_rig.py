"""A producer, a spool and a sink in memory, on virtual time; and what a restart finds."""

from collections import Counter

import trio

from ingest_actors.actors.producer import Handover, producer
from ingest_actors.ledger import Ledger
from ingest_actors.messages import EventBatch, Route
from ingest_actors.spool.codec import BatchCodec
from ingest_actors.spool.disk import Disk
from ingest_actors.spool.file import SpoolFile
from ingest_actors.spool.sink import SpoolBounds, SpoolingSink
from ingest_actors.status import Tallies
from ingest_actors.supervision import Mailbox
from sinks import MemorySink

TOPICS = {"raw": "raw-topic", "trades": "trades-topic", "depth": "depth-topic", "dead_letters": "dead", "gaps": "gaps"}
TRADE = Route("trade", ("raw-topic", "trades-topic"))
GAP = Route("gap", ("gaps",), counted=False)
MIB = 1024 * 1024
OPENED = []  # the files of all rigs of one test, for `conftest.py` to close: most lives end as a killed process does


def batch(*numbers, route=TRADE, filling=0):
    return EventBatch([(b'{"t":%d}' % n + b" " * filling, b"BTCUSDT", n, route) for n in numbers], received_at_ms=7)


def refused_event(event, reason, detail, *, timestamp_ms=None):
    headers = (("reason", reason.encode()), ("detail", detail.encode()))
    route = Route(event[3].event_type, ("dead",), headers=headers, dead_letter=True)
    return (event[0], event[1], event[2] if timestamp_ms is None else timestamp_ms, route)


async def on_the_spot(job):
    """In place of a thread, so that virtual time stands still meanwhile."""
    await trio.lowlevel.checkpoint()
    return job()


class Rig:
    """One life of a process, as far as it matters here."""

    def __init__(
        self, path, sink=None, *, bytes_max=1024 * MIB, window=MIB, chunk=64 * 1024, room=10_000, last=0, breaks_max=3,
        in_thread=on_the_spot, progress=None,
    ):  # fmt: skip
        self.inner = sink or MemorySink()
        self.told = []
        self.file = SpoolFile(path, bytes_max=bytes_max)
        OPENED.append(self.file)
        self.sink = SpoolingSink(
            self.inner,
            Disk(self.file, BatchCodec(TOPICS, [TRADE, GAP]), in_thread),
            bounds=SpoolBounds(window, chunk),
            refused_event=refused_event,
            announce=self.announce,
            clock_ms=lambda: 777,
            last=last,
            progress=progress,
        )
        self.inbox = Mailbox("batches", events_max=room, bytes_max=window, strikes_max=10**9)
        self.ledger = Ledger()
        self.ledger.add_holder(lambda: (e[3] for b in self.inbox.held() for e in b.events))
        self.handover = Handover(
            self.inbox,
            self.sink,
            ledger=self.ledger,
            tallies=Tallies(),
            refused_event=refused_event,
            breaks_max=breaks_max,
            announce=self.announce,
            clock_ms=lambda: 777,
        )

    def announce(self, name, *, level="info", **fields):
        self.told.append((name, level, fields))

    def names(self):
        return [name for name, _, _ in self.told]

    async def put_all(self, *batches):
        """Put each as soon as there is room, in the background as it were."""
        for one in batches:
            await self.inbox.wait_for_room(one)
            self.put(one)

    def put(self, *batches):
        for one in batches:
            self.inbox.put_nowait(one)
            self.ledger.receive(Counter({route: n for route, n in one.routes().items() if route.counted}))

    async def run(self):
        await producer(self.handover)

    def numbers(self):
        return [event[2] for event in self.inner.written]

    def figures(self):
        """Received, recovered, delivered, dead-lettered, spooled, in flight; they balance."""
        assert not self.ledger.unbalanced()
        total = self.ledger.total()
        return total.received, total.recovered, total.delivered, total.dead_lettered, total.spooled, total.in_flight
