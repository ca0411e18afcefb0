"""Fault scripts as files."""

from __future__ import annotations

import json

import pytest

from ingest_actors.errors import SettingsError
from ingest_actors.simulator.fault_file import read_faults
from ingest_actors.simulator.faults import CloseWith, Cut, CutMidFrame, Fault, HalfOpen, Mute


def test_every_action_can_be_written_down(tmp_path):
    file = tmp_path / "faults.json"
    file.write_text(
        json.dumps(
            [
                {"action": "cut_mid_frame", "after_frames": 7, "connections": [1, 3]},
                {"action": "cut"},
                {"action": "half_open", "after_frames": 1},
                {"action": "mute", "connections": [2]},
                {"action": "close_with", "code": 1008, "reason": "slow"},
                {"action": "close_with"},
            ]
        )
    )
    assert read_faults(file).faults == (
        Fault(CutMidFrame(), 7, frozenset({1, 3})),
        Fault(Cut()),
        Fault(HalfOpen(), 1),
        Fault(Mute(), 0, frozenset({2})),
        Fault(CloseWith(1008, "slow")),
        Fault(CloseWith()),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "truncated"),
        ('{"action": "cut"}', "Expected `array`"),
        ('[{"action": "explode"}]', "Invalid value 'explode'"),
        ('[{"action": "cut", "after": 3}]', "unknown field `after`"),
        ('[{"action": "cut", "after_frames": "3"}]', "Expected `int`, got `str` - at `$[0].after_frames`"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(tmp_path, text, said):
    file = tmp_path / "faults.json"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_faults(file)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{file}: ")
    assert said in problem
    assert problem.endswith("accepted: a JSON list of faults")


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="No such file"):
        read_faults(tmp_path / "none.json")
