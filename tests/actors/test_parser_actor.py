"""The parser's promises: received once, settled with the hand-over, poison taken out of a million."""

from functools import partial
from types import SimpleNamespace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ingest_actors.actors.batcher import batcher
from ingest_actors.actors.parser import parser
from ingest_actors.ledger import Ledger
from ingest_actors.messages import EventBatch, FrameBatch, Route
from ingest_actors.status import ClockOffset, Tallies
from ingest_actors.supervision import Line, Mailbox, RestartWindow, keep_alive

TRADE = Route("trade", ("raw", "trades"))
DEPTH = Route("depth_update", ("raw", "depth"))
BOOK = Route("book_ticker", ("raw",), timed=False)
LETTER = Route("trade", ("dead",), dead_letter=True)


def frames(*payloads, received_at_ms=5000):
    return FrameBatch(list(payloads), received_at_ms=received_at_ms, connection="ws-1")


def parse(batch):
    """`t` a trade, `d` a depth update, `b` a top of book, `a` an array of three trades, `n` a notice, `!` a crash."""
    if b"!" in batch.frames:
        raise RuntimeError("poison")
    events, notices = [], []
    for frame in batch.frames:
        if frame == b"n":
            notices.append("notice")
        else:
            route = {b"d": DEPTH, b"b": BOOK}.get(frame, TRADE)
            events += [(frame, b"BTCUSDT", 4000, route)] * (3 if frame == b"a" else 1)
    return SimpleNamespace(
        events=events,
        notices=notices,
        dropped={},
        odd=[],
        future_timestamps=batch.frames.count(b"d"),
    )


class NoOrder:
    """Nothing has to wait for anything."""

    def commit(self, odd):
        assert odd == []

    def next_ready(self, count_max):
        return []

    def expire(self):
        pass

    def let_go(self):
        pass

    def next_expiry(self):
        return None

    async def wait_changed(self):
        await trio.sleep_forever()

    async def wait_room(self):
        pass


class Rig:
    def __init__(self, *, events_max=1000):
        self.inbox = Mailbox("frames", events_max=10**7, bytes_max=10**10)
        self.outbox = Mailbox("events", events_max=events_max, bytes_max=10**7)
        self.ledger = Ledger()
        self.ledger.add_holder(lambda: (event[3] for batch in self.outbox.held() for event in batch.events))
        self.tallies = Tallies()
        self.notices = []
        self.run = partial(
            parser,
            self.inbox,
            self.outbox,
            batch_size=100,
            parse=parse,
            order=NoOrder(),
            clock_ms=lambda: 6000,
            notify=self.notices.append,
            ledger=self.ledger,
            tallies=self.tallies,
        )

    def put(self, *batches):
        for batch in batches:
            self.inbox.put_nowait(batch)


async def test_every_frame_becomes_its_events_in_order_and_is_settled():
    rig = Rig()
    rig.put(frames(b"t", b"a"), frames(b"d", b"t"))
    rig.inbox.close()
    await rig.run()
    assert [[event[0] for event in batch.events] for batch in rig.outbox.held()] == [
        [b"t", b"a", b"a", b"a"],
        [b"d", b"t"],
    ]
    assert [batch.received_at_ms for batch in rig.outbox.held()] == [5000, 5000]
    assert rig.inbox.events == 0
    assert dict(rig.ledger.received) == {"trade": 5, "depth_update": 1}
    assert not rig.ledger.unbalanced()


@pytest.mark.parametrize(
    ("count", "batch_size", "lengths"),
    [
        (100, 100, [100]),
        (190, 100, [95, 95]),
        (250, 100, [84, 83, 83]),
        (100, 1, [50, 50]),
        (4100, 9999, [1367, 1367, 1366]),
    ],
)
async def test_a_long_read_is_parsed_in_even_parts_that_are_batches_already(count, batch_size, lengths):
    rig = Rig(events_max=10_000)
    rig.put(frames(*[b"t"] * count))
    rig.inbox.close()
    await rig.run(batch_size=batch_size)
    assert [len(batch) for batch in rig.outbox.held()] == lengths
    assert rig.inbox.events == 0


async def test_notices_are_passed_on_and_leave_no_empty_batch():
    rig = Rig()
    rig.put(frames(b"n"), frames(b"n", b"t"))
    rig.inbox.close()
    await rig.run()
    assert rig.notices == ["notice", "notice"]
    assert [len(batch) for batch in rig.outbox.held()] == [1]
    assert rig.inbox.events == 0


async def test_what_is_seen_on_the_way_is_tallied():
    rig = Rig()
    rig.put(frames(b"t", b"d"), frames(b"t", received_at_ms=6000))
    rig.inbox.close()
    await rig.run()
    assert rig.tallies.last_event_ms == {"trade": 6000, "depth_update": 5000}
    assert rig.tallies.future_timestamps == 1
    assert rig.tallies.latency["exchange"].total == 1 + 2


async def test_the_way_from_the_exchange_is_measured_by_its_clock():
    rig = Rig()
    rig.tallies.set_clock(ClockOffset(-0.5, 0.01))
    rig.put(frames(b"t"))
    rig.inbox.close()
    await rig.run()
    assert rig.tallies.latency["exchange"].total == 0.5


async def test_what_does_not_say_when_it_was_made_tells_nothing_of_the_way():
    rig = Rig()
    rig.put(frames(b"t", b"b"), frames(b"b", b"t"))
    rig.inbox.close()
    await rig.run()
    assert sum(rig.tallies.latency["exchange"].counts) == 1


async def test_nothing_counts_as_received_before_it_is_accepted_downstream(nursery):
    rig = Rig(events_max=2)
    rig.put(frames(b"t", b"t"), frames(b"t", b"t"))
    nursery.start_soon(rig.run)
    await wait_all_tasks_blocked()
    assert rig.ledger.total().received == 2
    assert (rig.inbox.events, rig.inbox.waiting) == (2, 0)
    nursery.cancel_scope.cancel()


async def test_a_parser_that_dies_loses_and_doubles_nothing(autojump_clock):
    rig = Rig(events_max=3)
    rig.put(*(frames(b"%d" % number, b"%d" % (number + 1)) for number in range(1, 50, 2)))
    rig.inbox.close()
    out, done = [], False

    async def consume():
        while len(out) < 50:
            batch = await rig.outbox.take()
            out.extend(int(event[0]) for event in batch.events)
            await trio.sleep(0.01)
            rig.outbox.settle(len(batch))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        while not done:
            with trio.move_on_after(0.013) as life:
                await rig.run()
            done = not life.cancelled_caught
            rig.inbox.rewind(crashed=False)
    assert out == list(range(1, 51))
    assert rig.ledger.total().received == 50


MILLION = 1_000_000


@pytest.mark.parametrize("poison", [0, 567_891, MILLION - 1])
async def test_one_poison_message_among_a_million_is_dead_lettered_and_every_other_delivered(autojump_clock, poison):
    """The whole line, but for the sockets and the sink: a source, the parser, the batcher, and a taker."""
    batch_frames = 5000
    rig = Rig(events_max=100_000)
    batches = Mailbox("batches", events_max=100_000, bytes_max=10**9)
    rig.ledger.add_holder(lambda: (event[3] for batch in batches.held() for event in batch.events))
    delivered, dead, crashes = [], [], []

    async def source():
        for first in range(0, MILLION, batch_frames):
            payloads = [b"%d" % number for number in range(first, first + batch_frames)]
            if first <= poison < first + batch_frames:
                payloads[poison - first] = b"!"
            await rig.inbox.put(frames(*payloads))

    async def taker():
        async for batch in batches:
            for event in batch.events:
                (dead if event[3].dead_letter else delivered).append(event[0])
            rig.ledger.settle(batch.routes())
            batches.settle(len(batch))

    async def bury(item, crash):
        letter = EventBatch([(item.frames[0], None, 0, LETTER)], received_at_ms=0)
        await rig.outbox.wait_for_room(letter)
        rig.outbox.put_nowait(letter)
        rig.ledger.receive(letter.routes())
        rig.inbox.settle(1)

    def on_restart(crash, delay_s):
        crashes.append(crash)

    alive = partial(keep_alive, window=RestartWindow(10, 60.0), on_restart=on_restart)
    line = Line(drain_timeout_s=1e6)
    line.source("source", source, into=[rig.inbox])
    line.stage(
        "parser",
        partial(alive, rig.run, name="parser", inbox=rig.inbox, on_poison=bury),
        out_of=rig.inbox,
        into=[rig.outbox],
    )
    batching = partial(batcher, rig.outbox, batches, batch_size=1000, batch_timeout_s=5, eager=True)
    line.stage("batcher", batching, out_of=rig.outbox, into=[batches])
    line.stage("taker", taker, out_of=batches)
    report = await line.run()

    assert report.clean
    assert dead == [b"!"]
    assert delivered == [b"%d" % number for number in range(MILLION) if number != poison]
    assert len(crashes) == 6  # three lives to suspect its batch, three more to convict it
    total = rig.ledger.total()
    assert (total.received, total.delivered, total.dead_lettered, total.in_flight) == (MILLION, MILLION - 1, 1, 0)
