"""A sink from a plain async function."""

import pytest
import trio
import trio.testing
from kafka_support import deliver, in_batches, numbered, offer, route_for

from ingest_actors.kafka.function_sink import FunctionSink
from ingest_actors.kafka.records import Record, records
from ingest_actors.messages import EventBatch
from ingest_actors.protocols import Refusal, Sink

ROUTE = route_for("t-")


def batches(count, size=10):
    return in_batches(numbered(ROUTE, range(count * size)), size)


async def test_batches_are_written_one_at_a_time_in_order(autojump_clock):
    written, under_way = [], []

    async def write(batch):
        assert not under_way
        under_way.append(batch)
        await trio.sleep(1)
        written.append(under_way.pop())

    sink = FunctionSink(write)
    assert isinstance(sink, Sink)
    given = batches(5)
    done = await deliver(sink, given)
    assert written == given
    assert [each.batch for each in done] == given
    assert all(not each.refused and each.ack_s >= 0 for each in done)
    assert sink.status().records == {"t-raw_events": 50, "t-trades": 50}
    assert sink.status().queue_records == sink.status().queue_bytes == 0


async def test_it_takes_in_no_more_than_it_may(autojump_clock):
    async def write(batch):
        await trio.sleep_forever()

    sink = FunctionSink(write, waiting_max=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(offer, sink, batches(10))
        nursery.start_soon(sink.acknowledged)
        await trio.testing.wait_all_tasks_blocked()
        assert sink.status().queue_records == 40
        assert sink.status().queue_bytes == sum(batch.size_bytes for batch in batches(4))
        nursery.cancel_scope.cancel()


async def test_what_fails_is_written_again_and_shows_meanwhile():
    calls = []

    async def write(batch):
        await trio.lowlevel.checkpoint()
        calls.append(batch)
        if len(calls) == 1:
            raise OSError("disk full")

    sink = FunctionSink(write)
    (batch,) = batches(1)
    await sink.accept(batch)
    with pytest.raises(OSError, match="disk full"):
        await sink.acknowledged()
    assert (sink.status().reachable, sink.status().detail, sink.status().errors) == (False, "OSError: disk full", 1)
    assert (await sink.acknowledged()).batch is batch
    assert calls == [batch, batch]
    assert (sink.status().reachable, sink.status().detail) == (True, "")


async def test_an_interrupted_write_is_made_again(autojump_clock):
    calls = []

    async def write(batch):
        calls.append(batch)
        await trio.sleep(2)

    sink = FunctionSink(write)
    (batch,) = batches(1)
    await sink.accept(batch)
    with trio.move_on_after(1):
        await sink.acknowledged()
    assert (await sink.acknowledged()).batch is batch
    assert calls == [batch, batch]


async def test_refusals_are_handed_on():
    async def write(batch):
        await trio.lowlevel.checkpoint()
        return [Refusal(3, "too_odd", "three")]

    sink = FunctionSink(write)
    (done,) = await deliver(sink, batches(1))
    assert done.refused == (Refusal(3, "too_odd", "three"),)
    assert sink.status().records == {"t-raw_events": 9, "t-trades": 9}


async def test_reset_forgets_what_waits(autojump_clock):
    async def write(batch):
        await trio.sleep(1)

    sink = FunctionSink(write)
    await offer(sink, batches(3))
    await sink.reset()
    assert sink.status().queue_records == 0
    given = batches(2)
    assert [each.batch for each in await deliver(sink, given)] == given


async def test_close_is_called():
    closed = []

    async def close():
        await trio.lowlevel.checkpoint()
        closed.append(True)

    async def write(batch): ...

    await FunctionSink(write, close=close).aclose()
    await FunctionSink(write).aclose()
    assert closed == [True]


def test_at_least_one_batch_must_be_able_to_wait():
    async def write(batch): ...

    with pytest.raises(ValueError, match="waiting_max"):
        FunctionSink(write, waiting_max=0)


def test_records_are_what_lands_in_each_topic():
    dead = route_for("t-", "dead_letters", headers=(("reason", b"x"),))
    batch = EventBatch([(b"{}", b"BTCUSDT", 7, ROUTE), (b"?", None, 8, dead)], received_at_ms=0)
    assert list(records(batch)) == [
        Record("t-raw_events", b"BTCUSDT", b"{}", 7),
        Record("t-trades", b"BTCUSDT", b"{}", 7),
        Record("t-dead_letters", None, b"?", 8, (("reason", b"x"),)),
    ]
