"""What a mailbox admits, and in which order."""

from __future__ import annotations

import pytest
import trio
from countable import ITEM_BYTES, Numbers, contents, mailbox
from trio.testing import wait_all_tasks_blocked


async def test_a_full_mailbox_holds_exactly_its_events_max(nursery):
    box = mailbox(events_max=10)

    async def sender():
        for number in range(100):
            await box.put(Numbers(number))

    nursery.start_soon(sender)
    await wait_all_tasks_blocked()
    assert contents(box) == [(number,) for number in range(10)]
    assert (box.events, box.bytes, box.waiting) == (10, 100, 10)
    nursery.cancel_scope.cancel()


async def test_a_full_mailbox_holds_exactly_its_bytes_max(nursery):
    box = mailbox(events_max=1000, bytes_max=7 * ITEM_BYTES + 9)

    async def sender():
        for number in range(100):
            await box.put(Numbers(number))

    nursery.start_soon(sender)
    await wait_all_tasks_blocked()
    assert (box.events, box.bytes) == (7, 70)
    nursery.cancel_scope.cancel()


async def test_room_is_occupied_until_it_is_settled_not_until_it_is_taken(nursery):
    box = mailbox(events_max=4)
    for number in range(4):
        box.put_nowait(Numbers(number))
    nursery.start_soon(box.put, Numbers(4))
    assert (await box.take()).items == (0,)
    await wait_all_tasks_blocked()
    assert contents(box) == [(0,), (1,), (2,), (3,)]
    assert box.waiting == 3
    box.settle(1)
    await wait_all_tasks_blocked()
    assert contents(box) == [(1,), (2,), (3,), (4,)]


async def test_settling_inside_a_parcel_frees_exactly_that_much_room():
    box = mailbox(events_max=10)
    box.put_nowait(Numbers(1, 2, 3))
    box.put_nowait(Numbers(4, 5, 6))
    await box.take()
    await box.take()
    box.settle(4)
    assert contents(box) == [(5, 6)]
    assert (box.events, box.bytes, box.waiting, box.settled) == (2, 20, 0, 4)
    box.settle(2)
    assert contents(box) == []
    assert (box.events, box.bytes, box.settled) == (0, 0, 6)


async def test_settling_more_than_is_on_lease_is_an_error_and_changes_nothing():
    box = mailbox()
    box.put_nowait(Numbers(1, 2))
    box.put_nowait(Numbers(3))
    await box.take()
    with pytest.raises(ValueError, match="3 items settled in mailbox box, of 2 that may be"):
        box.settle(3)
    with pytest.raises(ValueError, match="-1 items"):
        box.settle(-1)
    box.settle(0)
    assert contents(box) == [(1, 2), (3,)]


async def test_a_parcel_larger_than_the_mailbox_is_admitted_when_it_is_empty(nursery):
    box = mailbox(events_max=2, bytes_max=15)
    box.put_nowait(Numbers(1))
    nursery.start_soon(box.put, Numbers(2, 3, 4, 5))
    await wait_all_tasks_blocked()
    assert box.events == 1
    await box.take()
    await wait_all_tasks_blocked()
    assert box.events == 1, "what is on lease still occupies its room"
    box.settle(1)
    await wait_all_tasks_blocked()
    assert contents(box) == [(2, 3, 4, 5)]
    with pytest.raises(trio.WouldBlock):
        box.put_nowait(Numbers(6))


async def test_an_empty_parcel_is_refused():
    with pytest.raises(ValueError, match="an empty parcel"):
        mailbox().put_nowait(Numbers())


@pytest.mark.parametrize("bound", ["events_max", "bytes_max", "strikes_max"])
async def test_bounds_must_be_positive(bound):
    with pytest.raises(ValueError, match="must be positive"):
        mailbox(**{bound: 0})


async def test_senders_are_served_in_the_order_in_which_they_came(nursery):
    box = mailbox(events_max=3)
    box.put_nowait(Numbers(0, 0, 0))
    # A small one that would fit does not pass a large one that came first.
    sizes = [2, 1, 3, 1, 1, 2]
    for sender, size in enumerate(sizes):
        nursery.start_soon(box.put, Numbers(*[sender] * size))
        await wait_all_tasks_blocked()
    seen = []
    for _ in range(len(sizes) + 1):
        parcel = await box.take()
        seen.append(parcel.items[0])
        for _ in parcel.items:
            box.settle(1)
            await wait_all_tasks_blocked()
    assert seen == [0, 0, 1, 2, 3, 4, 5]


async def test_the_order_is_that_of_asking_though_all_ask_in_one_tick(nursery):
    """trio runs the tasks of one tick in random order; the line does not depend on it."""
    box = mailbox(events_max=1)
    order = []

    async def sender(number):
        order.append(number)
        await box.put(Numbers(number))

    for number in range(20):
        nursery.start_soon(sender, number)
    taken = []
    for _ in range(20):
        taken.append((await box.take()).items[0])
        box.settle(1)
    assert taken == order


async def test_room_may_not_be_snatched_from_those_who_wait(nursery):
    box = mailbox(events_max=2)
    box.put_nowait(Numbers(1, 1))
    await box.take()
    nursery.start_soon(box.put, Numbers(2, 2))
    await wait_all_tasks_blocked()
    box.settle(1)
    with pytest.raises(trio.WouldBlock):
        box.put_nowait(Numbers(3))
    box.settle(1)
    with pytest.raises(trio.WouldBlock):
        box.put_nowait(Numbers(3))
    await wait_all_tasks_blocked()
    assert contents(box) == [(2, 2)]


async def test_after_waiting_for_room_a_put_succeeds_whatever_others_do(nursery):
    box = mailbox(events_max=3)
    admitted = []

    async def sender(number):
        for _ in range(50):
            parcel = Numbers(*[number] * (1 + number % 3))
            await box.wait_for_room(parcel)
            box.put_nowait(parcel)  # WouldBlock here would fail the test
            admitted.append(number)

    for number in range(8):
        nursery.start_soon(sender, number)
    for _ in range(8 * 50):
        box.settle(len(await box.take()))
    assert len(admitted) == 8 * 50
    assert contents(box) == []


async def test_a_turn_that_is_not_used_passes_on(nursery):
    box = mailbox(events_max=2)
    box.put_nowait(Numbers(0, 0))

    async def undecided():
        await box.wait_for_room(Numbers(1, 1))

    nursery.start_soon(undecided)
    await wait_all_tasks_blocked()
    nursery.start_soon(box.put, Numbers(2, 2))
    await wait_all_tasks_blocked()
    await box.take()
    box.settle(2)
    await wait_all_tasks_blocked()
    assert contents(box) == [(2, 2)]


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_cancelled_sender_neither_holds_up_nor_overtakes_anybody(nursery, which):
    box = mailbox(events_max=3)
    box.put_nowait(Numbers(9, 9, 9))
    scopes = []

    async def sender(number, size):
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await box.put(Numbers(*[number] * size))

    for number, size in enumerate([3, 1, 2]):
        nursery.start_soon(sender, number, size)
        await wait_all_tasks_blocked()
    scopes[which].cancel()
    await wait_all_tasks_blocked()
    assert contents(box) == [(9, 9, 9)]
    await box.take()
    box.settle(3)
    await wait_all_tasks_blocked()
    taken = []
    while box.events:
        parcel = await box.take()
        taken.append(parcel.items[0])
        box.settle(len(parcel))
        await wait_all_tasks_blocked()
    assert taken == [number for number in range(3) if number != which]


async def test_a_sender_cancelled_in_the_tick_in_which_its_turn_comes_passes_it_on(nursery):
    box = mailbox(events_max=1)
    box.put_nowait(Numbers(0))
    scope = trio.CancelScope()

    async def hesitant():
        with scope:
            await box.put(Numbers(1))

    nursery.start_soon(hesitant)
    await wait_all_tasks_blocked()
    nursery.start_soon(box.put, Numbers(2))
    await wait_all_tasks_blocked()
    await box.take()
    scope.cancel()
    box.settle(1)
    await wait_all_tasks_blocked()
    assert contents(box) == [(2,)]


async def test_a_put_cancelled_before_it_begins_puts_nothing():
    box = mailbox()
    with trio.CancelScope() as scope:
        scope.cancel()
        await box.put(Numbers(1))
    assert scope.cancelled_caught
    assert contents(box) == []
    box.put_nowait(Numbers(2))


async def test_a_closed_mailbox_refuses_and_tells_those_who_wait(nursery):
    box = mailbox(events_max=1)
    box.put_nowait(Numbers(1))
    refused = []

    async def sender(number):
        try:
            await box.put(Numbers(number))
        except trio.ClosedResourceError:
            refused.append(number)

    nursery.start_soon(sender, 2)
    nursery.start_soon(sender, 3)
    await wait_all_tasks_blocked()
    nursery.start_soon(sender, 4)  # asks in the very tick of closing
    box.close()
    await wait_all_tasks_blocked()
    assert sorted(refused) == [2, 3, 4]
    assert box.closed
    with pytest.raises(trio.ClosedResourceError):
        box.put_nowait(Numbers(5))
    with pytest.raises(trio.ClosedResourceError):
        await box.wait_for_room(Numbers(5))
    assert contents(box) == [(1,)]


async def test_its_picture_for_people_says_how_full_it_is():
    box = mailbox(events_max=10, bytes_max=1000)
    box.put_nowait(Numbers(1, 2))
    assert repr(box) == "<Mailbox box: 2/10 items, 20/1000 bytes>"
