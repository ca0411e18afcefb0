"""The pipeline through all that an exchange can do to it: no crash, no hang, a balanced ledger, each loss visible.

``INGEST_FAULT_SCHEDULES`` says how many combinations are drawn; a failing seed is told and replays by itself.
"""

import os

import pytest
from fault_world import SYMBOLS, judge, judge_trades, run, states

from ingest_actors.simulator.faults import ACTIONS, FaultScript

SCHEDULES = int(os.environ.get("INGEST_FAULT_SCHEDULES", "40"))
pytestmark = pytest.mark.long
PER_TEST = 10
FAULTS_S = 90.0
LASTING_S = 150.0


def survive(seed, monkeypatch, actions=()):
    script = FaultScript.random(seed, duration_s=FAULTS_S, symbols=SYMBOLS, actions=actions)
    try:
        with monkeypatch.context() as patch:
            world = run(script, seed=seed, lasting_s=LASTING_S, monkeypatch=patch, config={"activity": 0.05})
        judge(world)
        judge_trades(world)
        assert all(told in (["open"], ["open", "closed"], ["open", "lost"]) for told in states(world).values())
    except BaseException as failure:
        failure.add_note(f"seed {seed}, script {script!r}")
        raise
    return world


@pytest.mark.parametrize("first", range(0, SCHEDULES, PER_TEST), ids=lambda first: f"seeds_{first}_on")
def test_no_combination_of_faults_crashes_hangs_or_unbalances_the_pipeline_and_each_loss_shows(first, monkeypatch):
    for seed in range(first, min(first + PER_TEST, SCHEDULES)):
        survive(seed, monkeypatch)


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_no_single_fault_does(action, monkeypatch):
    for seed in range(1000, 1020):  # a script may be drawn in which nothing comes to pass
        if any(action == fired.fault.action.DO for fired in survive(seed, monkeypatch, [action]).fired):
            return
    pytest.fail(f"{action} never struck")
