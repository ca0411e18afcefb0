"""When the sink looks for delivery reports; on virtual time, with a producer that never sends."""

import pytest
import trio

from ingest_actors.kafka.health import Health
from ingest_actors.kafka.librdkafka import LibrdkafkaSink
from ingest_actors.kafka.limits import Limits
from ingest_actors.messages import EventBatch, Route

ROUTE = Route("trade", ("raw", "trades"))
ANSWER_S = 0.0015
"""How long the brokers take."""


class Handle:
    """A producer whose records are written after `ANSWER_S`, which is known at the poll after that."""

    fatal = None

    def __init__(self):
        self.polls = []
        self.receipts = []

    def produce(self, *record):
        _topic, _value, _key, _partition, receipt, *_ = record
        self.receipts.append((trio.current_time() + ANSWER_S, receipt))

    def poll(self):
        now_s = trio.current_time()
        self.polls.append(now_s)
        self.receipts = [receipt for receipt in self.receipts if receipt[0] > now_s]

    async def aclose(self):
        pass


class Sink(LibrdkafkaSink):
    """One with such a producer."""

    def _make_handle(self, careful):
        return Handle()


async def read_limits():
    return Limits({})


@pytest.fixture
async def sink(autojump_clock):
    return Sink(lambda limits: {}, Limits({}), read_limits=read_limits, health=Health(trio.current_time))


def batch():
    return EventBatch([(b"1", b"BTCUSDT", 1, ROUTE)], received_at_ms=1)


async def flow(sink, every_s, seconds, *, collect=False):
    """Batches at a steady pace; when each was acknowledged after it was offered, and how many were waited for.

    With `collect` whoever hands over takes what is acknowledged by then.
    """
    took_s, waited_for = [], 0
    offered_s = {}

    def note(done):
        took_s.append(trio.current_time() - offered_s.pop(id(done.batch)))

    async def settle():
        nonlocal waited_for
        while True:
            note(await sink.acknowledged())
            waited_for += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(settle)
        for _ in range(round(seconds / every_s)):
            offered = batch()
            offered_s[id(offered)] = trio.current_time()
            await sink.accept(offered)
            while collect and (done := sink.acknowledged_nowait()) is not None:
                note(done)
            await trio.sleep(every_s)
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    return took_s, waited_for


async def test_under_a_steady_flow_nobody_wakes_only_to_poll(sink, autojump_clock):
    took_s, _ = await flow(sink, every_s=0.002, seconds=2)
    assert len(took_s) == 1000
    assert len(sink._handle.polls) < 2.2 * 1000, "one a batch where it is handed over, one where it is settled"
    assert max(took_s[100:]) < 3 * 0.002 + ANSWER_S


async def test_when_the_flow_ends_the_last_acknowledgement_does_not_wait_for_more(sink, autojump_clock):
    took_s, _ = await flow(sink, every_s=0.004, seconds=1)
    assert took_s[-1] < 0.015


async def test_a_thin_flow_is_acknowledged_as_soon_as_the_brokers_answer(sink, autojump_clock):
    took_s, _ = await flow(sink, every_s=0.02, seconds=2)
    assert max(took_s) <= ANSWER_S + 0.0015


async def test_what_is_acknowledged_while_batches_are_handed_over_wakes_nobody_else(sink, autojump_clock):
    took_s, others = await flow(sink, every_s=0.002, seconds=2, collect=True)
    assert len(took_s) == 1000
    assert others < 200, "what a look every 10 ms finds, where every batch would be 1000"
    assert len(sink._handle.polls) < 1.6 * 1000, "one a batch, and one or two every 10 ms"
    assert max(took_s) < 0.02


async def test_when_whoever_hands_over_stops_the_last_batches_are_acknowledged_soon(sink, autojump_clock):
    took_s, _ = await flow(sink, every_s=0.002, seconds=1, collect=True)
    assert len(took_s) == 500
    assert took_s[-1] < 0.015


async def test_nothing_is_acknowledged_at_once_that_is_not_written(sink, autojump_clock):
    await sink.accept(batch())
    assert sink.acknowledged_nowait() is None
    await trio.sleep(2 * ANSWER_S)
    assert sink.acknowledged_nowait() is None, "nobody has asked the client since"
    first = batch()
    await sink.accept(first)
    assert sink.acknowledged_nowait() is not None
    assert sink.acknowledged_nowait() is None
