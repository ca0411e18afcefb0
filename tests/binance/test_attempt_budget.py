import pytest
import trio

from ingest_actors.binance.attempts import AttemptBudget


async def test_attempts_are_spread_and_never_more_than_the_budget_in_any_period(autojump_clock):
    budget = AttemptBudget(attempts_max=5, period_s=100, interval_s=1)
    times = []

    async def attempt():
        await budget.spend()
        times.append(trio.current_time())

    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(attempt)
    assert [time - started for time in times] == pytest.approx([0, 1, 2, 3, 4, 100, 101, 102, 103, 104, 200, 201])


async def test_the_first_attempt_does_not_wait(autojump_clock):
    budget = AttemptBudget()
    started = trio.current_time()
    await budget.spend()
    assert trio.current_time() == started


async def test_who_is_cancelled_while_waiting_has_not_spent_an_attempt(autojump_clock):
    budget = AttemptBudget(attempts_max=1, period_s=10)
    await budget.spend()
    with trio.move_on_after(9):
        await budget.spend()
    started = trio.current_time()
    await budget.spend()
    assert trio.current_time() - started == pytest.approx(1)


async def test_the_defaults_keep_within_what_the_exchange_allows(autojump_clock):
    budget = AttemptBudget()
    times = []
    for _ in range(700):
        await budget.spend()
        times.append(trio.current_time())
    assert all(later - earlier >= 300 for earlier, later in zip(times, times[300:], strict=False))
