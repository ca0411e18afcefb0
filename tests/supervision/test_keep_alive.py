"""Restarts, escalation, and what passes through."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from countable import Numbers, contents, mailbox
from trio.testing import wait_all_tasks_blocked

from ingest_actors.errors import ActorFailed, ExchangeUnreachable
from ingest_actors.supervision import Backoff, RestartWindow, keep_alive


class Boom(Exception):
    pass


class Told:
    """An `on_restart` that keeps what it was told."""

    def __init__(self):
        self.failures = []
        self.delays = []

    def __call__(self, failure, delay_s):
        self.failures.append(failure)
        self.delays.append(delay_s)


def script(*lives):
    """An actor whose lives end as listed: an exception is raised, anything else is a normal end."""
    ends = iter(lives)

    async def actor():
        await trio.lowlevel.checkpoint()
        end = next(ends)
        if isinstance(end, BaseException):
            raise end

    return actor


def consumer(box, handled, *, crashes_on=()):
    """An actor that handles item after item in whole parcels, and crashes before it settles certain ones."""

    async def actor():
        async for parcel in box:
            for number in parcel.items:
                if number in crashes_on:
                    raise Boom(number)
            handled.extend(parcel.items)
            box.settle(len(parcel))

    return actor


async def test_an_actor_that_returns_is_not_started_again():
    told = Told()
    await keep_alive(script("end"), name="a", on_restart=told)
    assert told.failures == []


async def test_an_actor_that_crashes_is_started_again(autojump_clock):
    told = Told()
    crashes = [Boom(1), Boom(2)]
    await keep_alive(script(*crashes, "end"), name="a", on_restart=told)
    assert told.failures == crashes


async def test_the_first_restart_is_immediate_and_the_next_wait_longer_and_longer(autojump_clock):
    told = Told()
    began_at = trio.current_time()
    await keep_alive(
        script(*[Boom()] * 5, "end"),
        name="a",
        backoff=Backoff(1, 4, jitter=0),
        window=RestartWindow(9),
        on_restart=told,
    )
    assert told.delays == [0, 1, 2, 4, 4]
    assert trio.current_time() - began_at == 11


async def test_a_healthy_life_resets_the_backoff(autojump_clock):
    told = Told()
    lives = iter([0, 0, 0, 61, 0])

    async def actor():
        for lived_s in lives:
            await trio.sleep(lived_s)
            raise Boom

    await keep_alive(actor, name="a", backoff=Backoff(1, 64, jitter=0), on_restart=told)
    assert told.delays == [0, 1, 2, 0, 1]


async def test_settling_something_is_health_too(autojump_clock):
    box = mailbox(strikes_max=99)
    for number in range(3):
        box.put_nowait(Numbers(number))
    told = Told()
    lives = iter([False, False, True, False, True, True])

    async def actor():
        for settles in lives:
            await box.take()
            if settles:
                box.settle(1)
            raise Boom

    await keep_alive(
        actor, name="a", inbox=box, backoff=Backoff(1, 64, jitter=0), window=RestartWindow(9), on_restart=told
    )
    assert told.delays == [0, 1, 0, 1, 0, 0]


async def test_one_crash_too_many_escalates_from_the_last(autojump_clock):
    crashes = [Boom(number) for number in range(5)]
    with pytest.raises(ActorFailed, match=r"parser failed after 2 restarts: Boom\(2\)") as raised:
        await keep_alive(script(*crashes), name="parser", window=RestartWindow(2, 60))
    assert raised.value.actor == "parser"
    assert raised.value.restarts == 2
    assert raised.value.cause is crashes[2]
    assert raised.value.__cause__ is crashes[2]


async def test_crashes_that_are_rare_never_escalate(autojump_clock):
    lives = iter(range(50))

    async def actor():
        for _ in lives:
            await trio.sleep(31)
            raise Boom

    told = Told()
    await keep_alive(actor, name="a", window=RestartWindow(2, 60), backoff=Backoff(0, 0), on_restart=told)
    assert len(told.failures) == 50


async def test_actors_may_share_a_window(autojump_clock):
    window = RestartWindow(3, 60)
    await keep_alive(script(Boom(), Boom(), "end"), name="a", window=window)
    with pytest.raises(ActorFailed, match="b failed after 1 restarts"):
        await keep_alive(script(Boom(), Boom(), "end"), name="b", window=window)


async def test_a_fatal_failure_escalates_at_once_with_its_exit_code():
    told = Told()
    unreachable = ExchangeUnreachable("wss://x", "refused")
    with pytest.raises(ActorFailed) as raised:
        await keep_alive(script(unreachable), name="a", fatal=(ExchangeUnreachable,), on_restart=told)
    assert raised.value.cause is unreachable
    assert raised.value.exit_code == 75
    assert raised.value.restarts == 0
    assert told.failures == []


async def test_a_fatal_failure_is_found_in_a_group():
    unreachable = ExchangeUnreachable("wss://x", "refused")
    group = ExceptionGroup("both", [Boom(), ExceptionGroup("inner", [unreachable, Boom()])])
    with pytest.raises(ActorFailed) as raised:
        await keep_alive(script(group), name="a", fatal=(ExchangeUnreachable,))
    assert raised.value.cause is unreachable


async def test_a_group_of_one_failure_is_that_failure(autojump_clock):
    told = Told()
    crash = Boom()
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [crash])])
    await keep_alive(script(group, "end"), name="a", on_restart=told)
    assert told.failures == [crash]


async def test_a_group_of_failures_is_one_crash(autojump_clock):
    told = Told()
    group = ExceptionGroup("both", [Boom(), ValueError()])
    await keep_alive(script(group, "end"), name="a", window=RestartWindow(1), on_restart=told)
    assert told.failures == [group]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_interrupts_pass_untouched_and_leases_return(kind):
    box = mailbox(strikes_max=1)
    box.put_nowait(Numbers(1, 2))
    interrupt = kind()

    async def actor():
        await box.take()
        raise interrupt

    with pytest.raises(kind) as raised:
        await keep_alive(actor, name="a", inbox=box)
    assert raised.value is interrupt
    assert box.waiting == 2
    assert contents(box) == [(1, 2)]


async def test_a_group_with_an_interrupt_passes_whole():
    told = Told()
    group = BaseExceptionGroup("both", [KeyboardInterrupt(), Boom()])
    with pytest.raises(BaseExceptionGroup) as raised:
        await keep_alive(script(group), name="a", on_restart=told)
    assert raised.value is group
    assert told.failures == []


async def test_cancellation_passes_and_leases_return(nursery):
    box = mailbox()
    box.put_nowait(Numbers(1))
    scope = trio.CancelScope()
    lives = []

    async def actor():
        lives.append(True)
        await box.take()
        await trio.sleep_forever()

    async def supervised():
        with scope:
            await keep_alive(actor, name="a", inbox=box)

    nursery.start_soon(supervised)
    await wait_all_tasks_blocked()
    assert box.waiting == 0
    scope.cancel()
    await wait_all_tasks_blocked()
    assert scope.cancelled_caught
    assert box.waiting == 1
    assert lives == [True]


async def test_cancellation_during_the_backoff_passes(autojump_clock):
    with trio.move_on_after(5) as scope:
        await keep_alive(script(Boom(), Boom()), name="a", backoff=Backoff(100, 100, jitter=0))
    assert scope.cancelled_caught


async def test_a_crash_while_being_cancelled_is_told_and_cancellation_goes_on():
    told = Told()
    lives = []

    async def stumble():
        try:
            await trio.sleep_forever()
        finally:
            raise Boom

    async def actor():
        lives.append(True)
        async with trio.open_nursery() as inner:
            inner.start_soon(stumble)
            inner.start_soon(trio.sleep_forever)

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as outer:
            outer.start_soon(partial(keep_alive, actor, name="a", on_restart=told))
            await wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert [type(failure) for failure in told.failures] == [Boom]
    assert lives == [True]


async def test_what_was_not_settled_is_handled_again_and_nothing_twice(autojump_clock):
    box = mailbox(events_max=100)
    for number in range(0, 20, 2):
        box.put_nowait(Numbers(number, number + 1))
    box.close()
    handled = []
    crashes = iter([3, 8, 15])
    next_crash = next(crashes)

    async def actor():
        nonlocal next_crash
        async for parcel in box:
            for number in parcel.items:
                if number == next_crash:
                    next_crash = next(crashes, None)
                    raise Boom
                handled.append(number)
                box.settle(1)

    await keep_alive(actor, name="a", inbox=box)
    assert handled == list(range(20))


async def test_only_the_offending_items_are_poison(autojump_clock):
    box = mailbox(events_max=100)
    box.put_nowait(Numbers(*range(10)))
    box.put_nowait(Numbers(*range(10, 20)))
    box.close()
    handled, dead = [], []

    async def on_poison(item, crash):
        await trio.sleep(1)
        dead.append((item.items, crash.args))
        box.settle(1)

    await keep_alive(
        consumer(box, handled, crashes_on={4, 6}), name="a", inbox=box, window=RestartWindow(4), on_poison=on_poison
    )
    assert dead == [((4,), (4,)), ((6,), (6,))]
    assert handled == [number for number in range(20) if number not in {4, 6}]


async def test_the_search_for_the_culprit_spends_the_budget_once(autojump_clock):
    """Three crashes of the whole parcel and one for the search, though the search crashes six times."""
    box = mailbox(events_max=100, strikes_max=3)
    box.put_nowait(Numbers(*range(10)))
    box.close()
    told = Told()
    window = RestartWindow(4, 1e9)
    handled = []

    async def on_poison(item, crash):
        box.settle(1)

    await keep_alive(
        consumer(box, handled, crashes_on={2, 8}),
        name="a",
        inbox=box,
        window=window,
        on_restart=told,
        on_poison=on_poison,
    )
    assert len(told.failures) == 3 + 3 + 3
    assert window.recent == 4
    assert handled == [0, 1, 3, 4, 5, 6, 7, 9]


async def test_an_actor_that_fails_on_everything_escalates_instead_of_convicting_everything(autojump_clock):
    box = mailbox(events_max=100, strikes_max=3)
    box.put_nowait(Numbers(*range(50)))
    dead = []

    async def on_poison(item, crash):
        dead.extend(item.items)
        box.settle(1)

    with pytest.raises(ActorFailed):
        await keep_alive(
            consumer(box, [], crashes_on=range(50)),
            name="a",
            inbox=box,
            window=RestartWindow(5, 60),
            backoff=Backoff(0, 0),
            on_poison=on_poison,
        )
    assert dead == [0, 1, 2]
    assert [number for items in contents(box) for number in items] == list(range(3, 50))


async def test_a_flaky_crash_convicts_nobody(autojump_clock):
    """As many crashes over the same parcel and the same item as can be without a verdict."""
    box = mailbox(strikes_max=3)
    box.put_nowait(Numbers(1, 2, 3))
    box.put_nowait(Numbers(4))
    box.close()
    handled = []
    crashes_left = 3 + 2

    async def actor():
        nonlocal crashes_left
        async for parcel in box:
            if crashes_left:
                crashes_left -= 1
                raise Boom
            handled.extend(parcel.items)
            box.settle(len(parcel))

    async def on_poison(item, crash):
        raise AssertionError(item)

    await keep_alive(actor, name="a", inbox=box, on_poison=on_poison)
    assert handled == [1, 2, 3, 4]


async def test_a_crash_while_dealing_with_poison_loses_nothing(autojump_clock):
    box = mailbox(strikes_max=1)
    box.put_nowait(Numbers(1, 2, 3))
    box.close()
    handled, dead = [], []
    attempts = 0
    told = Told()

    async def on_poison(item, crash):
        nonlocal attempts
        attempts += 1
        await trio.lowlevel.checkpoint()
        if attempts < 3:
            raise ValueError(attempts)
        dead.append((item.items, type(crash)))
        box.settle(1)

    await keep_alive(consumer(box, handled, crashes_on={2}), name="a", inbox=box, on_restart=told, on_poison=on_poison)
    assert dead == [((2,), Boom)]
    assert handled == [1, 3]
    assert [type(failure) for failure in told.failures] == [Boom, Boom, ValueError, ValueError]


async def test_poison_that_cannot_be_dealt_with_escalates_and_stays(autojump_clock):
    box = mailbox(strikes_max=1)
    box.put_nowait(Numbers(1, 2))

    async def on_poison(item, crash):
        raise ValueError

    with pytest.raises(ActorFailed) as raised:
        await keep_alive(consumer(box, [], crashes_on={1}), name="a", inbox=box, on_poison=on_poison)
    assert isinstance(raised.value.cause, ValueError)
    assert contents(box) == [(1,), (2,)]


async def test_an_on_poison_that_does_nothing_is_an_error_not_a_loop(autojump_clock):
    box = mailbox(strikes_max=1)
    box.put_nowait(Numbers(1))

    async def on_poison(item, crash):
        pass

    with pytest.raises(ActorFailed, match="on_poison of a left the item where it was"):
        await keep_alive(consumer(box, [], crashes_on={1}), name="a", inbox=box, on_poison=on_poison)


async def test_without_anybody_to_deal_with_poison_the_budget_alone_decides(autojump_clock):
    box = mailbox(strikes_max=2)
    box.put_nowait(Numbers(1, 2))
    told = Told()
    with pytest.raises(ActorFailed) as raised:
        await keep_alive(
            consumer(box, [], crashes_on={1}), name="a", inbox=box, window=RestartWindow(20, 1e9), on_restart=told
        )
    assert isinstance(raised.value.cause, Boom)
    assert raised.value.restarts == len(told.failures) == 20
    assert contents(box) == [(1,), (2,)]


async def test_without_anybody_to_deal_with_poison_a_failure_that_passes_is_outlived(autojump_clock):
    """A sink that is away for longer than any number of strikes."""
    box = mailbox()
    box.put_nowait(Numbers(1, 2))
    box.close()
    handled = []

    async def actor():
        async for parcel in box:
            if trio.current_time() < 30:
                raise Boom
            handled.extend(parcel.items)
            box.settle(len(parcel))

    await keep_alive(actor, name="a", inbox=box, window=RestartWindow(20))
    assert handled == [1, 2]


async def test_cancellation_while_dealing_with_poison_leaves_it_to_the_next_supervision(autojump_clock):
    box = mailbox(strikes_max=1)
    box.put_nowait(Numbers(1))
    box.close()
    dead = []

    async def slowly(item, crash):
        await trio.sleep(100)

    async def at_once(item, crash):
        dead.append(item.items)
        box.settle(1)

    supervised = partial(keep_alive, consumer(box, [], crashes_on={1}), name="a", inbox=box)
    with trio.move_on_after(50):
        await supervised(on_poison=slowly)
    assert box.poisoned().items == (1,)
    await supervised(on_poison=at_once)
    assert dead == [(1,)]


async def test_an_item_readmitted_in_another_shape_goes_on_in_its_place(autojump_clock):
    box = mailbox(strikes_max=2)
    box.put_nowait(Numbers(1, 2, 3))
    box.close()
    handled = []

    async def on_poison(item, crash):
        box.readmit(Numbers(-item.items[0]))

    await keep_alive(consumer(box, handled, crashes_on={2}), name="a", inbox=box, on_poison=on_poison)
    assert handled == [1, -2, 3]
