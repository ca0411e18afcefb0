"""Taking, settling, and what comes back when a taker crashes."""

from __future__ import annotations

import pytest
import trio
from countable import Numbers, contents, mailbox
from trio.testing import wait_all_tasks_blocked


def taken(box):
    """Take all that can be had now."""
    items = []
    while True:
        try:
            items.append(box.take_nowait().items)
        except (trio.WouldBlock, trio.EndOfChannel):
            return items


async def test_parcels_are_taken_in_the_order_in_which_they_were_put():
    box = mailbox()
    for number in range(5):
        box.put_nowait(Numbers(number))
    assert [(await box.take()).items for _ in range(5)] == [(number,) for number in range(5)]
    with pytest.raises(trio.WouldBlock):
        box.take_nowait()


async def test_a_taker_waits_for_a_parcel(nursery):
    box = mailbox()
    got = []

    async def taker():
        got.append((await box.take()).items)

    nursery.start_soon(taker)
    await wait_all_tasks_blocked()
    box.put_nowait(Numbers(1))
    assert contents(box) == [(1,)], "on its way to the taker it is held, and counted"
    assert box.waiting == 1
    await wait_all_tasks_blocked()
    assert got == [(1,)]
    assert box.waiting == 0


async def test_only_one_task_may_take(nursery):
    box = mailbox()
    nursery.start_soon(box.take)
    await wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError):
        await box.take()
    with pytest.raises(trio.BusyResourceError):
        box.take_nowait()
    nursery.cancel_scope.cancel()


async def test_a_cancelled_taker_has_taken_nothing(nursery):
    box = mailbox()
    scope = trio.CancelScope()

    async def taker():
        with scope:
            await box.take()

    nursery.start_soon(taker)
    await wait_all_tasks_blocked()
    scope.cancel()
    box.put_nowait(Numbers(1))
    await wait_all_tasks_blocked()
    assert scope.cancelled_caught
    assert box.waiting == 1
    assert (await box.take()).items == (1,)


async def test_a_parcel_that_meets_a_cancellation_on_the_way_is_on_lease_or_waiting_never_gone(nursery):
    box = mailbox()
    got = []
    scope = trio.CancelScope()

    async def taker():
        with scope:
            got.append((await box.take()).items)

    nursery.start_soon(taker)
    await wait_all_tasks_blocked()
    box.put_nowait(Numbers(1))
    scope.cancel()
    await wait_all_tasks_blocked()
    assert got == [(1,)], "it was on its way already"
    assert box.waiting == 0


async def test_a_take_cancelled_before_it_begins_takes_nothing():
    box = mailbox()
    box.put_nowait(Numbers(1))
    with trio.CancelScope() as scope:
        scope.cancel()
        await box.take()
    assert box.waiting == 1


async def test_what_was_on_lease_comes_back_in_order_before_what_was_not():
    box = mailbox()
    for number in range(5):
        box.put_nowait(Numbers(number, number))
    for _ in range(3):
        await box.take()
    box.settle(1)
    assert box.rewind(crashed=False) is False
    assert box.waiting == 9
    assert taken(box) == [(0,), (1, 1), (2, 2), (3, 3), (4, 4)]


async def test_rewinding_again_and_again_changes_no_order():
    box = mailbox(strikes_max=100)
    for number in range(4):
        box.put_nowait(Numbers(number))
    for taking in [1, 3, 0, 2, 4]:
        for _ in range(taking):
            await box.take()
        box.rewind(crashed=False)
        assert contents(box) == [(0,), (1,), (2,), (3,)]
    assert taken(box) == [(0,), (1,), (2,), (3,)]


async def test_a_rewind_wakes_a_taker_that_waits(nursery):
    box = mailbox()
    box.put_nowait(Numbers(1))
    await box.take()
    got = []

    async def taker():
        got.append((await box.take()).items)

    nursery.start_soon(taker)
    await wait_all_tasks_blocked()
    box.rewind(crashed=False)
    await wait_all_tasks_blocked()
    assert got == [(1,)]


async def test_a_rewind_in_the_tick_of_a_put_keeps_the_order(nursery):
    box = mailbox()
    box.put_nowait(Numbers(1))
    await box.take()
    got = []

    async def taker():
        got.append((await box.take()).items)
        got.append((await box.take()).items)

    nursery.start_soon(taker)
    await wait_all_tasks_blocked()
    box.put_nowait(Numbers(2))
    box.rewind(crashed=False)
    await wait_all_tasks_blocked()
    assert got == [(1,), (2,)]


async def test_pinned_leases_stay_and_the_others_return():
    box = mailbox()
    for number in range(4):
        box.put_nowait(Numbers(number))
    await box.take()
    await box.take()
    box.pin()
    await box.take()
    box.rewind()
    assert box.waiting == 2
    box.settle(2)
    assert contents(box) == [(2,), (3,)]
    assert taken(box)[0] == (2,)


async def test_settling_pinned_leases_does_not_pin_later_ones():
    box = mailbox()
    for number in range(4):
        box.put_nowait(Numbers(number, number))
    await box.take()
    await box.take()
    box.pin()
    box.settle(3)
    await box.take()
    box.rewind(crashed=False)
    assert contents(box) == [(1,), (2, 2), (3, 3)]
    assert box.waiting == 4
    box.settle(1)
    assert taken(box) == [(2, 2), (3, 3)]


async def test_a_lease_pinned_alone_may_be_settled_in_part_and_stays_pinned():
    box = mailbox()
    box.put_nowait(Numbers(1, 2, 3))
    await box.take()
    box.pin()
    box.settle(1)
    box.rewind()
    assert box.waiting == 0
    box.settle(2)
    assert contents(box) == []


async def test_unpinned_leases_return_with_the_others():
    box = mailbox()
    for number in range(3):
        box.put_nowait(Numbers(number))
    await box.take()
    box.pin()
    await box.take()
    box.unpin()
    box.rewind(crashed=False)
    assert taken(box) == [(0,), (1,), (2,)]


async def test_a_closed_mailbox_ends_after_all_is_taken(nursery):
    box = mailbox()
    box.put_nowait(Numbers(1))
    box.put_nowait(Numbers(2))
    box.close()
    box.close()
    assert [parcel.items async for parcel in box] == [(1,), (2,)]
    with pytest.raises(trio.EndOfChannel):
        box.take_nowait()


async def test_closing_tells_a_taker_that_waits(nursery):
    box = mailbox()
    ended = []

    async def taker():
        with pytest.raises(trio.EndOfChannel):
            await box.take()
        ended.append(True)

    nursery.start_soon(taker)
    await wait_all_tasks_blocked()
    box.close()
    await wait_all_tasks_blocked()
    assert ended == [True]


async def test_a_taker_that_crashes_after_the_end_is_given_again_what_it_had():
    box = mailbox()
    box.put_nowait(Numbers(1))
    box.put_nowait(Numbers(2))
    box.close()
    assert taken(box) == [(1,), (2,)]
    with pytest.raises(trio.EndOfChannel):
        await box.take()
    box.rewind(crashed=False)
    assert taken(box) == [(1,), (2,)]
    box.settle(2)
    with pytest.raises(trio.EndOfChannel):
        await box.take()


async def test_idle_is_when_nothing_waits_to_be_taken(nursery):
    box = mailbox()
    idle = []

    async def watcher():
        await box.wait_idle()
        idle.append(box.waiting)

    await box.wait_idle()
    box.put_nowait(Numbers(1))
    box.put_nowait(Numbers(2))
    nursery.start_soon(watcher)
    nursery.start_soon(watcher)
    await wait_all_tasks_blocked()
    await box.take()
    await wait_all_tasks_blocked()
    assert idle == []
    await box.take()
    await wait_all_tasks_blocked()
    assert idle == [0, 0]
    box.rewind(crashed=False)
    nursery.start_soon(watcher)
    await wait_all_tasks_blocked()
    assert idle == [0, 0], "what came back waits again"
    nursery.cancel_scope.cancel()


async def test_idle_holds_at_the_moment_of_return(nursery):
    box = mailbox()
    box.put_nowait(Numbers(1))
    idle = []

    async def watcher():
        await box.wait_idle()
        idle.append(box.waiting)

    nursery.start_soon(watcher)
    await wait_all_tasks_blocked()
    await box.take()
    box.put_nowait(Numbers(2))  # before the watcher runs
    await wait_all_tasks_blocked()
    assert idle == []
    await box.take()
    await wait_all_tasks_blocked()
    assert idle == [0]


async def test_waiting_for_idleness_can_be_cancelled(nursery):
    box = mailbox()
    box.put_nowait(Numbers(1))
    with trio.CancelScope() as early:
        early.cancel()
        await box.wait_idle()
    late = trio.CancelScope()

    async def watcher():
        with late:
            await box.wait_idle()

    nursery.start_soon(watcher)
    await wait_all_tasks_blocked()
    late.cancel()
    await wait_all_tasks_blocked()
    assert early.cancelled_caught
    assert late.cancelled_caught
    await box.take()
    await box.wait_idle()


async def test_settling_does_not_wake_a_taker_for_nothing(nursery):
    """A producer settles all the time while it waits for more."""
    box = mailbox(events_max=100)
    for number in range(50):
        box.put_nowait(Numbers(number))
    for _ in range(50):
        await box.take()
    steps = []

    class Steps(trio.abc.Instrument):
        def before_task_step(self, task):
            steps.append(task.name)

    nursery.start_soon(box.take, name="taker")
    await wait_all_tasks_blocked()
    trio.lowlevel.add_instrument(counter := Steps())
    for _ in range(50):
        box.settle(1)
        await trio.lowlevel.checkpoint()
    trio.lowlevel.remove_instrument(counter)
    assert "taker" not in steps
    nursery.cancel_scope.cancel()


def test_of_a_parcel_settled_in_parts_without_a_look_between_only_the_rest_comes_back():
    box = mailbox()
    box.put_nowait(Numbers(1, 2, 3, 4, 5, 6))
    box.take_nowait()
    for settled in (2, 1, 2):
        box.settle(settled)
    assert (box.events, box.bytes) == (1, 10)
    box.rewind()
    assert contents(box) == [(6,)]
    assert taken(box) == [(6,)]


def test_what_is_handed_on_is_settled_and_held_nowhere():
    box = mailbox()
    handed_on = []
    box.pass_on(lambda parcel: not handed_on.append(parcel.items))
    box.put_nowait(Numbers(1, 2))
    assert handed_on == [(1, 2)]
    assert (box.events, box.waiting, box.settled) == (0, 0, 2)
    with pytest.raises(trio.WouldBlock):
        box.take_nowait()


def test_nothing_is_handed_on_past_what_is_here():
    box = mailbox()
    box.put_nowait(Numbers(1))
    assert box.take_nowait().items == (1,)
    box.pass_on(lambda _: pytest.fail("something is still on lease"))
    box.put_nowait(Numbers(2))
    assert box.take_nowait().items == (2,)


async def test_nothing_is_handed_on_past_somebody_who_waits_for_room(nursery):
    box = mailbox(events_max=2)
    box.put_nowait(Numbers(1, 2))
    box.take_nowait()
    nursery.start_soon(box.put, Numbers(3))
    await wait_all_tasks_blocked()
    box.settle(2)  # there is room, and it is another's turn
    box.pass_on(lambda _: pytest.fail("somebody came first"))
    with pytest.raises(trio.WouldBlock):
        box.put_nowait(Numbers(4))
    box.pass_on(None)
    assert (await box.take()).items == (3,)


def test_a_closed_mailbox_hands_nothing_on():
    box = mailbox()
    box.pass_on(lambda _: pytest.fail("it is closed"))
    box.close()
    with pytest.raises(trio.ClosedResourceError):
        box.put_nowait(Numbers(1))


def test_what_is_not_taken_on_the_way_is_handed_out_as_ever():
    box = mailbox()
    box.pass_on(lambda _: False)
    box.put_nowait(Numbers(1))
    assert box.take_nowait().items == (1,)
    assert box.settled == 0
