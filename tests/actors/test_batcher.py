"""The batcher's promises: size, timeout, eagerness, and that a crash of it changes nothing."""

from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ingest_actors.actors.batcher import batcher
from ingest_actors.messages import EventBatch, Route
from ingest_actors.supervision import Mailbox

ROUTE = Route("trade", ("raw", "trades"))


def parcel(*numbers):
    return EventBatch([(b"%d" % n, b"BTCUSDT", n, ROUTE) for n in numbers], received_at_ms=1000 + numbers[0])


def numbers(batch):
    return [event[2] for event in batch.events]


@pytest.fixture
def inbox():
    return Mailbox("events", events_max=10_000, bytes_max=10_000_000)


@pytest.fixture
def outbox():
    return Mailbox("batches", events_max=10_000, bytes_max=10_000_000)


def start(nursery, inbox, outbox, *, size=3, timeout_s=5.0, eager):
    nursery.start_soon(partial(batcher, inbox, outbox, batch_size=size, batch_timeout_s=timeout_s, eager=eager))


async def test_a_batch_is_closed_when_it_is_full(inbox, outbox, autojump_clock, nursery):
    start(nursery, inbox, outbox, eager=False)
    await inbox.put(parcel(1, 2))
    await inbox.put(parcel(3, 4, 5, 6, 7))
    assert numbers(await outbox.take()) == [1, 2, 3]
    assert numbers(await outbox.take()) == [4, 5, 6]
    assert trio.current_time() == 0
    assert inbox.events == 1
    nursery.cancel_scope.cancel()


async def test_a_parcel_that_fits_goes_on_as_it_is(inbox, outbox, nursery):
    start(nursery, inbox, outbox, eager=True)
    whole = parcel(1, 2, 3)
    await inbox.put(whole)
    assert await outbox.take() is whole
    nursery.cancel_scope.cancel()


async def test_a_batch_is_closed_when_its_oldest_event_has_waited_long_enough(inbox, outbox, autojump_clock, nursery):
    start(nursery, inbox, outbox, eager=False)
    await inbox.put(parcel(1))
    await trio.sleep(2)
    await inbox.put(parcel(2))
    batch = await outbox.take()
    assert trio.current_time() == 5
    assert numbers(batch) == [1, 2]
    assert batch.received_at_ms == 1001
    nursery.cancel_scope.cancel()


async def test_the_patience_begins_anew_with_each_batch(inbox, outbox, autojump_clock, nursery):
    start(nursery, inbox, outbox, eager=False)
    await inbox.put(parcel(1))
    await trio.sleep(3)
    await inbox.put(parcel(2, 3, 4))
    assert numbers(await outbox.take()) == [1, 2, 3]
    assert numbers(await outbox.take()) == [4]
    assert trio.current_time() == 8
    nursery.cancel_scope.cancel()


async def test_an_idle_producer_gets_what_there_is_at_once(inbox, outbox, autojump_clock, nursery):
    start(nursery, inbox, outbox, eager=True)
    await inbox.put(parcel(1))
    assert numbers(await outbox.take()) == [1]
    assert trio.current_time() == 0
    nursery.cancel_scope.cancel()


async def test_what_comes_while_the_producer_is_busy_travels_together(inbox, outbox, autojump_clock, nursery):
    start(nursery, inbox, outbox, size=10, eager=True)
    for number in range(1, 6):
        await inbox.put(parcel(number))
        await wait_all_tasks_blocked()
    assert numbers(await outbox.take()) == [1]
    assert numbers(await outbox.take()) == [2, 3, 4, 5]
    nursery.cancel_scope.cancel()


async def test_even_a_busy_producer_gets_a_batch_after_the_timeout(inbox, outbox, autojump_clock, nursery):
    start(nursery, inbox, outbox, size=10, eager=True)
    await inbox.put(parcel(1))
    await wait_all_tasks_blocked()
    await inbox.put(parcel(2))
    await trio.sleep(5.001)
    assert [numbers(batch) for batch in outbox.held()] == [[1], [2]]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("eager", [True, False])
async def test_the_end_of_the_inbox_hands_on_what_is_left(inbox, outbox, autojump_clock, eager):
    await inbox.put(parcel(1, 2, 3, 4))
    inbox.close()
    await batcher(inbox, outbox, batch_size=3, batch_timeout_s=5, eager=eager)
    assert [numbers(batch) for batch in outbox.held()] == [[1, 2, 3], [4]]
    assert inbox.events == 0
    assert trio.current_time() == 0


@pytest.mark.parametrize("eager", [True, False])
async def test_a_batcher_that_dies_loses_and_doubles_nothing(inbox, outbox, autojump_clock, eager):
    """Cancelled at each of its waits in turn, and run again: what comes out is what went in."""
    small = Mailbox("small", events_max=3, bytes_max=10_000_000)
    for number in range(1, 50, 2):
        inbox.put_nowait(parcel(number, number + 1))
    inbox.close()
    out = []
    done = False

    async def consume():
        while len(out) < 50:
            batch = await small.take()
            out.extend(numbers(batch))
            await trio.sleep(0.01)
            small.settle(len(batch))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        while not done:
            with trio.move_on_after(0.013) as life:
                await batcher(inbox, small, batch_size=3, batch_timeout_s=5, eager=eager)
            done = not life.cancelled_caught
            inbox.rewind(crashed=False)
    assert out == list(range(1, 51))


async def test_a_batch_is_as_old_as_its_own_oldest_event(inbox, outbox, autojump_clock, nursery):
    for first, last in ((1, 4), (5, 6), (7, 11)):
        await inbox.put(parcel(*range(first, last + 1)))
    start(nursery, inbox, outbox, eager=False)
    await wait_all_tasks_blocked()
    assert [(numbers(batch), batch.received_at_ms) for batch in outbox.held()] == [
        ([1, 2, 3], 1001),
        ([4, 5, 6], 1001),
        ([7, 8, 9], 1007),
    ]
    await trio.sleep(5.1)
    assert [(numbers(batch), batch.received_at_ms) for batch in list(outbox.held())[3:]] == [([10, 11], 1007)]
    nursery.cancel_scope.cancel()


async def test_while_the_producer_is_busy_what_has_come_already_fills_whole_batches(
    inbox, outbox, autojump_clock, nursery
):
    await outbox.put(parcel(99))
    for number in range(1, 8):
        await inbox.put(parcel(number))
    start(nursery, inbox, outbox, eager=True)
    await wait_all_tasks_blocked()
    assert [numbers(batch) for batch in outbox.held()] == [[99], [1, 2, 3], [4, 5, 6]]
    assert trio.current_time() == 0
    nursery.cancel_scope.cancel()


async def test_a_parcel_that_fits_reaches_an_idle_producer_in_the_step_that_puts_it(inbox, outbox, nursery):
    start(nursery, inbox, outbox, eager=True)
    await wait_all_tasks_blocked()
    whole = parcel(1, 2, 3)
    inbox.put_nowait(whole)
    assert list(outbox.held()) == [whole]
    assert (inbox.events, inbox.settled) == (0, 3)
    nursery.cancel_scope.cancel()


async def test_half_a_batch_goes_on_as_it_is_even_while_the_producer_is_busy(inbox, outbox, autojump_clock, nursery):
    """Parcels of a flood would otherwise be cut up and put together, one batch a turn, while the rest piles up."""
    start(nursery, inbox, outbox, size=4, eager=True)
    await outbox.put(parcel(99))
    await wait_all_tasks_blocked()
    whole = [parcel(1, 2), parcel(3, 4, 5), parcel(6, 7, 8, 9)]
    for each in whole:
        inbox.put_nowait(each)
    assert list(outbox.held())[1:] == whole
    assert (inbox.events, inbox.settled) == (0, 9)
    inbox.put_nowait(parcel(10))
    assert inbox.events == 1, "less than half waits for company"
    nursery.cancel_scope.cancel()


async def test_a_backlog_is_worked_off_by_parcels_as_soon_as_there_is_room(inbox, autojump_clock, nursery):
    outbox = Mailbox("batches", events_max=4, bytes_max=10_000_000)
    start(nursery, inbox, outbox, size=4, eager=True)
    await outbox.put(parcel(97, 98, 99))
    await wait_all_tasks_blocked()
    for first in (1, 4, 7):
        inbox.put_nowait(parcel(first, first + 1, first + 2))
    came = []
    while len(came) < 12:
        batch = await outbox.take()
        came += numbers(batch)
        assert len(batch) == 3
        outbox.settle(3)
    assert came == [97, 98, 99, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert trio.current_time() == 0
    nursery.cancel_scope.cancel()


async def test_nothing_overtakes_what_the_batcher_has(inbox, outbox, autojump_clock, nursery):
    start(nursery, inbox, outbox, eager=True)
    await wait_all_tasks_blocked()
    inbox.put_nowait(parcel(1, 2, 3, 4))  # larger than a batch
    inbox.put_nowait(parcel(5))
    await wait_all_tasks_blocked()
    inbox.put_nowait(parcel(6))
    await trio.sleep(20)
    assert [number for batch in outbox.held() for number in numbers(batch)] == [1, 2, 3, 4, 5, 6]
    nursery.cancel_scope.cancel()


async def test_a_full_way_out_leaves_a_parcel_to_the_batcher(inbox, autojump_clock, nursery):
    outbox = Mailbox("batches", events_max=4, bytes_max=10_000_000)
    start(nursery, inbox, outbox, eager=True)
    await wait_all_tasks_blocked()
    inbox.put_nowait(parcel(1, 2, 3))
    assert numbers(await outbox.take()) == [1, 2, 3]
    inbox.put_nowait(parcel(4, 5))
    await wait_all_tasks_blocked()
    assert (inbox.events, outbox.events) == (2, 3), "what is taken and not settled still takes room"
    outbox.settle(3)
    assert numbers(await outbox.take()) == [4, 5]
    nursery.cancel_scope.cancel()


async def test_a_parcel_larger_than_a_batch_is_cut_even_for_an_idle_producer(inbox, outbox, autojump_clock, nursery):
    start(nursery, inbox, outbox, eager=True)
    await wait_all_tasks_blocked()
    inbox.put_nowait(parcel(1, 2, 3, 4))
    await wait_all_tasks_blocked()
    assert [numbers(batch) for batch in outbox.held()] == [[1, 2, 3]]
    assert numbers(await outbox.take()) == [1, 2, 3]
    assert numbers(await outbox.take()) == [4]
    assert trio.current_time() == 0
    nursery.cancel_scope.cancel()


async def test_by_size_or_timeout_alone_means_that_nothing_is_handed_through(inbox, outbox, autojump_clock, nursery):
    start(nursery, inbox, outbox, eager=False)
    await wait_all_tasks_blocked()
    inbox.put_nowait(parcel(1))
    await wait_all_tasks_blocked()
    assert (inbox.events, outbox.events) == (1, 0)
    nursery.cancel_scope.cancel()


async def test_without_a_batcher_a_parcel_waits_for_the_next_one(inbox, outbox, nursery):
    start(nursery, inbox, outbox, eager=True)
    await wait_all_tasks_blocked()
    nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await wait_all_tasks_blocked()
    inbox.put_nowait(parcel(1))
    assert (inbox.events, outbox.events) == (1, 0)
