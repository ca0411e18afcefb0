"""One exception out of a nursery: the one that tells most, as it was raised."""

from functools import partial

import pytest
import trio

from ingest_actors.errors import ActorFailed, FeedClosed
from ingest_actors.nursery import most_telling, open_nursery


async def fail(error):
    raise error


async def together(*tasks):
    async with open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)
        await trio.sleep_forever()


async def test_a_failure_comes_out_bare():
    with pytest.raises(ValueError, match="x"):
        await together(partial(fail, ValueError("x")))


async def test_a_failure_of_the_block_comes_out_bare():
    with pytest.raises(ValueError, match="x"):
        async with open_nursery():
            raise ValueError("x")


async def test_an_error_of_ours_goes_before_others_which_become_its_notes():
    ours, other = FeedClosed(1006), ValueError("other")
    with pytest.raises(FeedClosed) as raised:
        await together(partial(fail, other), partial(fail, ours))
    assert raised.value is ours
    assert ours.__notes__ == ["and also: ValueError('other')"]


async def test_the_cause_of_a_failure_stays_with_it():
    crash = ZeroDivisionError("the bug")

    async def escalate():
        try:
            raise crash
        except ZeroDivisionError as cause:
            raise ActorFailed("parser", cause) from cause

    with pytest.raises(ActorFailed) as raised:
        await together(partial(together, escalate))
    assert raised.value.__cause__ is crash
    assert raised.value.__context__ is crash


async def test_an_interrupt_goes_before_everything():
    with pytest.raises(KeyboardInterrupt):
        await together(partial(fail, FeedClosed(1006)), partial(fail, KeyboardInterrupt()))


async def test_the_cancellation_of_the_host_passes(autojump_clock):
    with trio.move_on_after(1) as host:
        await together(trio.sleep_forever)
    assert host.cancelled_caught


async def test_a_failure_while_the_host_cancels_comes_out(autojump_clock):
    async def fail_at_the_end():
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("at the end")

    with trio.CancelScope(deadline=1), pytest.raises(ValueError, match="at the end"):
        await together(fail_at_the_end, trio.sleep_forever)


def test_the_same_failure_twice_is_no_note_to_itself():
    ours = FeedClosed(1000)
    assert most_telling(ExceptionGroup("", [ours, ExceptionGroup("", [ours])])) is ours
    assert not hasattr(ours, "__notes__")
