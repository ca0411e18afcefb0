"""Replaced and doubled connections through all that an exchange can do to them: no crash, no hang, each loss visible.

``INGEST_ROTATION_SCHEDULES`` says how many combinations are drawn; a failing seed is told and replays by itself.
"""

import json
import os
from itertools import pairwise

import pytest
from fault_world import SYMBOLS, judge, judge_trades, run, states

from ingest_actors.simulator.faults import FaultScript

SCHEDULES = int(os.environ.get("INGEST_ROTATION_SCHEDULES", "16"))
pytestmark = pytest.mark.long
PER_TEST = 4


def judge_samples(world):
    """Rising, and none twice; a market that has begun again aside."""
    if any(fired.fault.action.DO in ("reset_ids", "reorder", "duplicate", "add_fields") for fired in world.fired):
        return
    last = {}
    for value, key, _, route in world.sink.written:
        if route.dead_letter or route.event_type not in ("book_ticker", "mini_ticker"):
            continue
        number = json.loads(value)["u" if route.event_type == "book_ticker" else "E"]
        last.setdefault((route.event_type, key), []).append(number)
    for name, numbers in last.items():
        assert all(before < after for before, after in pairwise(numbers)), name


@pytest.mark.parametrize("doubled", [1, 2])
@pytest.mark.parametrize("first", range(0, SCHEDULES, PER_TEST), ids=lambda first: f"seeds_{first}_on")
def test_no_combination_of_faults_harms_what_is_replaced_or_doubled(first, doubled, monkeypatch):
    for seed in range(first, min(first + PER_TEST, SCHEDULES)):
        script = FaultScript.random(seed, duration_s=90.0, symbols=SYMBOLS)
        try:
            with monkeypatch.context() as patch:
                world = run(
                    script,
                    seed=seed,
                    lasting_s=200.0,
                    monkeypatch=patch,
                    config={"activity": 0.05},
                    ws_rotate_after_seconds=60,
                    connections_per_stream=doubled,
                )
            judge(world)
            judge_trades(world)
            judge_samples(world)
            assert all(told in (["open"], ["open", "closed"], ["open", "lost"]) for told in states(world).values())
        except BaseException as failure:
            failure.add_note(f"seed {seed}, script {script!r}")
            raise
