"""From a parcel that crashes its taker down to the one item that does it."""

from __future__ import annotations

import pytest
import trio
from countable import Numbers, contents, mailbox
from trio.testing import wait_all_tasks_blocked


async def crash_once(box):
    """One life that takes the next parcel and crashes."""
    parcel = await box.take()
    return parcel.items, box.rewind()


async def isolate(box):
    for _ in range(box.strikes_max):
        await crash_once(box)


async def test_the_parcel_taken_last_is_split_after_strikes_max_crashes():
    box = mailbox(strikes_max=3)
    box.put_nowait(Numbers(1, 2, 3, 4, 5))
    box.put_nowait(Numbers(6))
    assert [await crash_once(box) for _ in range(3)] == [((1, 2, 3, 4, 5), False)] * 3
    assert box.isolating
    assert contents(box) == [(1,), (2,), (3,), (4,), (5,), (6,)]
    for number in range(1, 6):
        assert (await box.take()).items == (number,)
        box.settle(1)
    assert not box.isolating
    assert (await box.take()).items == (6,)


async def test_items_in_isolation_are_handed_out_one_at_a_time():
    box = mailbox()
    box.put_nowait(Numbers(1, 2, 3))
    await isolate(box)
    for number in (1, 2, 3):
        assert box.take_nowait().items == (number,)
        with pytest.raises(trio.WouldBlock):
            box.take_nowait()
        box.settle(1)


async def test_a_parcel_is_split_in_its_place_behind_others_that_came_back_with_it():
    box = mailbox(strikes_max=1)
    box.put_nowait(Numbers(1, 2))
    box.put_nowait(Numbers(3, 4))
    box.put_nowait(Numbers(5))
    await box.take()
    await box.take()
    box.rewind()
    assert contents(box) == [(1, 2), (3,), (4,), (5,)]
    seen = []
    for _ in range(4):
        parcel = await box.take()
        seen.append(parcel.items)
        box.settle(len(parcel))
    assert seen == [(1, 2), (3,), (4,), (5,)]


async def test_a_life_that_ended_without_fault_is_no_part_of_the_search():
    box = mailbox(strikes_max=1)
    box.put_nowait(Numbers(1, 2))
    await isolate(box)
    await box.take()
    assert box.rewind(crashed=False) is False
    await box.take()
    assert box.rewind(crashed=True) is True


async def test_what_is_left_of_a_parcel_keeps_its_strikes():
    box = mailbox(strikes_max=2)
    box.put_nowait(Numbers(1, 2, 3))
    await crash_once(box)
    await box.take()
    box.settle(1)
    box.rewind()
    assert contents(box) == [(2,), (3,)]


async def test_no_strike_falls_on_a_life_that_ended_without_fault_or_without_a_lease():
    box = mailbox(strikes_max=1)
    box.rewind()
    box.put_nowait(Numbers(1, 2))
    box.rewind()
    await box.take()
    box.rewind(crashed=False)
    await box.take()
    box.pin()
    box.rewind()
    box.unpin()
    box.rewind(crashed=False)
    assert contents(box) == [(1, 2)]
    assert not box.isolating


async def test_a_parcel_that_is_suspected_is_handed_out_alone(nursery):
    box = mailbox()
    for number in range(4):
        box.put_nowait(Numbers(number))
    await box.take()
    await box.take()
    box.rewind()  # the strike falls on 1, which may be innocent
    assert (await box.take()).items == (0,)
    with pytest.raises(trio.WouldBlock):
        box.take_nowait()
    got = []

    async def taker():
        got.append((await box.take()).items)

    nursery.start_soon(taker)
    await wait_all_tasks_blocked()
    assert got == []
    box.settle(1)
    await wait_all_tasks_blocked()
    assert got == [(1,)]
    with pytest.raises(trio.WouldBlock):
        box.take_nowait()
    box.settle(1)
    assert box.take_nowait().items == (2,)
    assert box.take_nowait().items == (3,)


async def test_the_strike_moves_on_to_the_one_that_is_to_blame():
    """A taker that crashes over the oldest of what it holds: the blame ends where it belongs."""
    box = mailbox(strikes_max=2)
    for number in range(3):
        box.put_nowait(Numbers(number))
    crashes = 0
    while box.poisoned() is None:
        while True:
            try:
                box.take_nowait()
            except trio.WouldBlock:
                break
        box.rewind()
        crashes += 1
    assert box.poisoned().items == (0,)
    assert crashes == 2 + 2 + 2


async def test_a_pinned_lease_is_no_company_for_a_suspect(nursery):
    box = mailbox()
    for number in range(3):
        box.put_nowait(Numbers(number))
    await box.take()
    box.pin()
    await crash_once(box)
    assert (await box.take()).items == (1,)
    got = []

    async def taker():
        got.append((await box.take()).items)

    nursery.start_soon(taker)
    await wait_all_tasks_blocked()
    assert got == []
    box.pin()
    await wait_all_tasks_blocked()
    assert got == [(2,)]


async def test_only_the_offending_item_becomes_poison():
    box = mailbox(events_max=100, strikes_max=3)
    box.put_nowait(Numbers(*range(10)))
    box.put_nowait(Numbers(*range(10, 20)))
    handled, crashes, poison = [], 0, []
    while box.events:
        if (item := box.poisoned()) is not None:
            poison.append(item.items)
            box.settle(1)
            continue
        parcel = await box.take()
        if 7 in parcel.items or 13 in parcel.items:
            crashes += 1
            box.rewind()
        else:
            handled.extend(parcel.items)
            box.settle(len(parcel))
    assert poison == [(7,), (13,)]
    assert handled == [number for number in range(20) if number not in {7, 13}]
    assert crashes == 2 * (3 + 3)


async def test_a_poison_item_is_never_handed_out_again_and_nothing_overtakes_it(nursery):
    box = mailbox(strikes_max=1)
    box.put_nowait(Numbers(1))
    box.put_nowait(Numbers(2))
    await isolate(box)
    assert box.poisoned() is None
    assert await crash_once(box) == ((1,), True)
    assert box.poisoned().items == (1,)
    with pytest.raises(trio.WouldBlock):
        box.take_nowait()
    got = []

    async def taker():
        got.append((await box.take()).items)

    nursery.start_soon(taker)
    await wait_all_tasks_blocked()
    assert got == []
    assert contents(box) == [(1,), (2,)]
    box.settle(1)
    assert box.poisoned() is None
    await wait_all_tasks_blocked()
    assert got == [(2,)]


async def test_a_poison_item_behind_pinned_leases_is_settled_after_them():
    box = mailbox(strikes_max=1)
    box.put_nowait(Numbers(1, 2))
    await box.take()
    box.pin()
    box.put_nowait(Numbers(3))
    await isolate(box)
    await crash_once(box)
    box.settle(1)
    assert box.poisoned().items == (3,)
    assert contents(box) == [(2,), (3,)]
    with pytest.raises(ValueError, match="of 2 that may be"):
        box.settle(3)
    box.settle(2)
    assert box.poisoned() is None
    assert contents(box) == []


async def test_something_harmless_can_take_the_place_of_a_poison_item():
    box = mailbox(strikes_max=1)
    box.put_nowait(Numbers(1, 2))
    box.put_nowait(Numbers(3))
    with pytest.raises(ValueError, match="can be replaced"):
        box.readmit(Numbers(100))
    await isolate(box)
    await crash_once(box)
    with pytest.raises(ValueError, match="can be replaced"):
        box.readmit(Numbers(100, 101))
    box.readmit(Numbers(100))
    assert contents(box) == [(100,), (2,), (3,)]
    assert box.isolating
    seen = []
    for _ in range(3):
        seen.append((await box.take()).items)
        box.settle(1)
    assert seen == [(100,), (2,), (3,)]
    assert not box.isolating


async def test_a_poison_item_settled_last_lets_those_who_wait_for_idleness_go(nursery):
    box = mailbox(strikes_max=1)
    box.put_nowait(Numbers(1))
    await isolate(box)
    await crash_once(box)
    box.close()
    ended = []

    async def watcher():
        await box.wait_idle()
        ended.append("idle")

    async def taker():
        with pytest.raises(trio.EndOfChannel):
            await box.take()
        ended.append("end")

    nursery.start_soon(watcher)
    nursery.start_soon(taker)
    await wait_all_tasks_blocked()
    assert ended == []
    box.settle(1)
    await wait_all_tasks_blocked()
    assert sorted(ended) == ["end", "idle"]


async def test_parts_of_a_parcel_may_be_counted_differently_from_the_whole():
    """Splitting may cost: the mailbox counts what it holds, not what it once admitted."""

    class Wrapped(Numbers):
        __slots__ = ()

        @property
        def size_bytes(self):
            return 7 + super().size_bytes

        def split(self, count):
            return Wrapped(*self.items[:count]), Wrapped(*self.items[count:])

    box = mailbox(strikes_max=1)
    box.put_nowait(Wrapped(1, 2, 3))
    assert box.bytes == 37
    await isolate(box)
    assert contents(box) == [(1,), (2,), (3,)]
    assert box.bytes == 3 * 17
    for _ in range(3):
        await box.take()
        box.settle(1)
    assert box.bytes == 0
