"""Hundreds of seeded runs of a chain under sabotage, on virtual time: nothing is lost, doubled, reordered, or hangs."""

from __future__ import annotations

import pytest
import trio
from chain import Chain
from trio._core import _run as scheduler
from trio.testing import MockClock

SEEDS = 400
SEEDS_A_TEST = 50


def run(seed: int) -> Chain:
    """One run; the same seed gives the same one again, down to the order in which trio runs its tasks."""
    chain = Chain(seed)
    scheduler._r.seed(seed)
    report = trio.run(chain.run, clock=MockClock(autojump_threshold=0))
    handled = [number if number >= 0 else -1 - number for number in chain.delivered]
    letters = {number for number in handled if -1 - number in chain.delivered}
    assert handled == list(range(len(handled)))
    assert letters == (chain.poison_first | chain.poison_last) & set(handled)
    held = [abs(number) for box in reversed(chain.boxes) for parcel in box.held() for number in parcel.items]
    assert len(handled) + len(held) == chain.accepted
    assert sum(report.left.values()) == len(held)
    if chain.line.drain_timeout_s > 1 or not chain.line.draining:
        assert report.clean
        assert chain.accepted == chain.total or chain.line.draining
    return chain


@pytest.fixture(autouse=True)
def deterministic(monkeypatch):
    monkeypatch.setattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True)


@pytest.mark.parametrize("first_seed", range(0, SEEDS, SEEDS_A_TEST))
def test_nothing_is_lost_doubled_or_reordered_whatever_crashes_when(first_seed):
    crashes = 0
    for seed in range(first_seed, first_seed + SEEDS_A_TEST):
        try:
            crashes += run(seed).crashes
        except BaseException as failure:
            failure.add_note(f"replay with run({seed})")
            raise
    assert crashes > SEEDS_A_TEST, "the sabotage must have happened"
