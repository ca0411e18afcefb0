"""The timekeeper: the best of a few questions tells how the clocks differ, and nobody takes what is not known for 0."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from ingest_actors.actors.timekeeper import (
    LOOK_S,
    REFRESH_S,
    RESOLUTION_S,
    RETRY_S,
    SAMPLES,
    STEP_ASK_S,
    Sample,
    estimate,
    timekeeper,
)
from ingest_actors.errors import ExchangeUnreachable
from ingest_actors.status import ClockOffset, Tallies

START_S = 1_700_000_000.0


class World:
    """An exchange whose clock is ahead of ours, and the ways there and back."""

    def __init__(self, ahead_s=2.0, ways=((0.010, 0.010),)):
        self.ahead_s = ahead_s
        self.ours_ahead_s = 0.0
        self.ways = ways
        self.asked = []
        self.spare = []
        self.down = False
        self.tallies = Tallies()
        self.told = []

    def ours_s(self):
        return START_S + trio.current_time() + self.ours_ahead_s

    def clock_ms(self):
        return int(self.ours_s() * 1000)

    async def wait_spare(self, weight):
        self.spare.append(weight)
        await trio.sleep(5)  # the budget is busy

    async def server_time(self, *, sent):
        there_s, back_s = self.ways[len(self.asked) % len(self.ways)]
        await trio.sleep(3)  # and so is this request's turn: it has not left yet
        sent()
        self.asked.append(trio.current_time())
        await trio.sleep(there_s)
        if self.down:
            raise ExchangeUnreachable("https://x", "down")
        theirs_ms = int((START_S + trio.current_time() + self.ahead_s) * 1000)
        await trio.sleep(back_s)
        return theirs_ms

    async def run(self, seconds):
        with trio.move_on_after(seconds):
            await timekeeper(self, tallies=self.tallies, clock_ms=self.clock_ms, announce=self.announce)

    def announce(self, name, **fields):
        self.told.append(name)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3)), min_size=1, max_size=8),
    st.floats(-1000, 1000),
)
def test_the_truth_lies_within_the_uncertainty_whatever_the_ways_take(ways, ahead_s):
    samples = []
    for number, (there_s, back_s) in enumerate(ways):
        sent_s = START_S + 10 * number
        server_ms = int((sent_s + there_s + ahead_s) * 1000)
        samples.append(Sample(server_ms, int((sent_s + there_s + back_s) * 1000), there_s + back_s))
    clock = estimate(samples)
    assert abs(clock.seconds - ahead_s) <= clock.uncertainty_s + 1e-6
    assert clock.uncertainty_s == min(map(sum, ways)) / 2 + RESOLUTION_S


async def test_what_the_budget_makes_wait_is_no_part_of_the_round_trip(autojump_clock):
    world = World(ways=((0.5, 0.5), (0.010, 0.030), (0.2, 0.2)))
    await world.run(60)
    assert world.tallies.clock.seconds == pytest.approx(2.0 - 0.010, abs=0.0021)
    assert world.tallies.clock.uncertainty_s == pytest.approx(0.021)
    assert world.tallies.clock_offset_ms == round(world.tallies.clock.seconds * 1000)
    assert (len(world.asked), world.spare) == (SAMPLES, [1] * SAMPLES)
    assert world.told == ["clock_known"]


async def test_it_asks_again_seldom(autojump_clock):
    world = World()
    await world.run(4 * REFRESH_S)
    assert len(world.asked) == 4 * SAMPLES
    assert world.told == ["clock_known"]


async def test_a_clock_that_was_set_is_asked_about_at_once(autojump_clock, nursery):
    world = World()
    nursery.start_soon(world.run, 1000)
    await trio.sleep(100)
    world.ours_ahead_s = 7.0
    await trio.sleep(STEP_ASK_S + LOOK_S + 60)
    assert world.tallies.clock.seconds == pytest.approx(-5.0, abs=0.0021)
    assert len(world.asked) == 2 * SAMPLES
    nursery.cancel_scope.cancel()


async def test_while_nobody_answers_the_offset_is_unknown_and_that_is_told_once(autojump_clock, nursery):
    world = World()
    world.down = True
    nursery.start_soon(world.run, 5000)
    await trio.sleep(5 * RETRY_S)
    assert (world.tallies.clock, world.tallies.clock_offset_ms) == (None, 0)
    assert world.told == ["clock_unknown"]
    world.down = False
    await trio.sleep(2 * RETRY_S)
    assert world.tallies.clock is not None
    assert world.told == ["clock_unknown", "clock_known"]
    nursery.cancel_scope.cancel()


async def test_what_is_known_is_forgotten_only_when_it_is_old(autojump_clock, nursery):
    world = World()
    nursery.start_soon(world.run, 10_000)
    await trio.sleep(100)
    world.down = True
    await trio.sleep(1.5 * REFRESH_S)
    assert world.tallies.clock is not None
    await trio.sleep(REFRESH_S + RETRY_S)
    assert world.tallies.clock is None
    assert world.told == ["clock_known", "clock_unknown"]
    nursery.cancel_scope.cancel()


def test_a_clock_that_is_not_known_adds_nothing():
    tallies = Tallies()
    tallies.set_clock(ClockOffset(-0.25, 0.01))
    assert tallies.clock_offset_ms == -250
    tallies.set_clock(None)
    assert tallies.clock_offset_ms == 0
