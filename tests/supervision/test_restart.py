"""The restart window and the backoff."""

from __future__ import annotations

import random

import pytest

from ingest_actors.supervision import Backoff, RestartWindow


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_window_allows_max_restarts_and_not_one_more():
    window = RestartWindow(3, 10, clock=Clock())
    assert [window.spend() for _ in range(4)] == [True, True, True, False]


def test_the_window_slides():
    clock = Clock()
    window = RestartWindow(2, 10, clock=clock)
    allowed = []
    for clock.now in [0, 6, 10, 10.1, 16.05, 16.2, 100]:
        allowed.append(window.spend())
    # At 10 the crash of 0 still counts; at 10.1 it does not, but those of 6 and 10 do.
    assert allowed == [True, True, False, False, False, False, True]


def test_a_window_of_no_restarts_refuses_the_first():
    assert RestartWindow(0, 10, clock=Clock()).spend() is False


def test_the_window_tells_how_many_crashes_are_recent():
    clock = Clock()
    window = RestartWindow(5, 10, clock=clock)
    window.spend()
    clock.now = 9
    window.spend()
    assert window.recent == 2
    clock.now = 11
    assert window.recent == 1
    clock.now = 30
    assert window.recent == 0


async def test_the_window_reads_the_clock_of_trio_unless_told_otherwise(autojump_clock):
    window = RestartWindow(1, 10)
    assert window.spend()
    autojump_clock.jump(11)
    assert window.spend()
    assert not window.spend()


@pytest.mark.parametrize(("max_restarts", "period_s"), [(-1, 1), (1, 0), (1, -1)])
def test_a_window_without_sense_is_refused(max_restarts, period_s):
    with pytest.raises(ValueError, match="max_restarts"):
        RestartWindow(max_restarts, period_s)


def test_delays_double_up_to_the_longest():
    backoff = Backoff(5, 300, jitter=0)
    assert [backoff.next_s() for _ in range(8)] == [5, 10, 20, 40, 80, 160, 300, 300]
    assert backoff.failures == 8


def test_success_makes_the_next_failure_the_first():
    backoff = Backoff(5, 300, jitter=0)
    backoff.next_s()
    backoff.next_s()
    backoff.reset()
    assert (backoff.failures, backoff.next_s()) == (0, 5)


def test_jitter_takes_off_at_most_its_part_and_adds_nothing():
    backoff = Backoff(8, 8, jitter=0.25, rng=random.Random(1))
    delays = [backoff.next_s() for _ in range(1000)]
    assert 6 <= min(delays) < 6.05
    assert 7.95 < max(delays) <= 8


def test_the_same_seed_gives_the_same_delays():
    first, second = (Backoff(1, 100, rng=random.Random(7)) for _ in range(2))
    assert [first.next_s() for _ in range(5)] == [second.next_s() for _ in range(5)]


def test_two_that_failed_together_do_not_return_together():
    assert Backoff().next_s() != Backoff().next_s()


def test_a_backoff_never_overflows():
    backoff = Backoff(1, 60, jitter=0)
    for _ in range(5000):
        delay_s = backoff.next_s()
    assert delay_s == 60


@pytest.mark.parametrize("bad", [{"initial_s": 9}, {"initial_s": -1}, {"factor": 0.5}, {"jitter": 1.5}, {"jitter": -1}])
def test_a_backoff_without_sense_is_refused(bad):
    with pytest.raises(ValueError, match="a backoff needs"):
        Backoff(**({"initial_s": 1, "max_s": 5} | bad))
