"""All that is asked of REST keeps within one budget, whoever asks; a ban means silence."""

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from ingest_actors.binance.weight import HOLD_OFF_MAX_S, WINDOW_S, WeightBudget


async def times(budget, *weights):
    """When each of these is let through, in seconds from now."""
    start = trio.current_time()
    at = []
    for weight in weights:
        await budget.spend(weight)
        at.append(trio.current_time() - start)
    return at


async def test_the_budget_of_a_minute_may_be_spent_at_once_and_no_more(autojump_clock):
    assert await times(WeightBudget(100), 50, 50, 1) == [0, 0, WINDOW_S]


async def test_what_was_spent_comes_back_a_minute_later(autojump_clock):
    budget = WeightBudget(100)
    await budget.spend(60)
    await trio.sleep(20)
    assert await times(budget, 40, 60, 40) == [0, 40, 60]
    assert budget.used == 100
    await trio.sleep(WINDOW_S)
    assert budget.used == 0


async def test_a_request_heavier_than_the_budget_goes_alone(autojump_clock):
    budget = WeightBudget(100)
    assert await times(budget, 10, 250, 1) == [0, WINDOW_S, 2 * WINDOW_S]


async def test_whoever_asked_first_is_first(autojump_clock):
    budget = WeightBudget(100)
    await budget.spend(100)
    order = []

    async def ask(name, weight):
        await budget.spend(weight)
        order.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "heavy", 90)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, "light", 1)
    assert order == ["heavy", "light"]


async def test_after_a_refusal_nothing_is_asked_for_as_long_as_the_exchange_wants(autojump_clock):
    budget = WeightBudget(100)
    budget.hold_off(7)
    budget.hold_off(3)
    assert await times(budget, 1) == [7]
    budget.hold_off(1e12)
    assert await times(budget, 1) == [HOLD_OFF_MAX_S]


async def test_others_on_the_same_address_are_left_what_they_use(autojump_clock):
    budget = WeightBudget(3000)
    budget.observe(5399)
    assert await times(budget, 1) == [0]
    budget.observe(5400)
    assert await times(budget, 1) == [WINDOW_S]


async def test_a_request_that_is_given_up_costs_nothing(autojump_clock):
    budget = WeightBudget(100)
    await budget.spend(100)
    with trio.move_on_after(1):
        await budget.spend(50)
    assert budget.used == 100
    assert await times(budget, 100) == [WINDOW_S - 1]


@given(st.lists(st.tuples(st.integers(1, 300), st.floats(0, 90)), max_size=60))
def test_no_minute_ever_has_more_than_the_budget(requests):
    async def ask():
        budget = WeightBudget(300)
        spent = []
        for weight, pause_s in requests:
            await trio.sleep(pause_s)
            await budget.spend(weight)
            spent.append((trio.current_time(), weight))
        return spent

    spent = trio.run(ask, clock=MockClock(autojump_threshold=0))
    for start, _ in spent:
        assert sum(weight for at, weight in spent if start <= at < start + WINDOW_S) <= 300
