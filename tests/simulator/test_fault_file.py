"""Fault scripts as files."""

from __future__ import annotations

import pytest

from ingest_actors.errors import SettingsError
from ingest_actors.simulator.fault_file import read_faults
from ingest_actors.simulator.faults import CloseWith, Cut, CutMidFrame, Fault, HalfOpen, Mute

EVERY_ACTION = """
[[fault]]
do = "cut_mid_frame"
after_frames = 7
connections = [1, 3]
[[fault]]
do = "cut"
[[fault]]
do = "half_open"
after_frames = 1
[[fault]]
do = "mute"
connections = [2]
[[fault]]
do = "close"
code = 1008
reason = "slow"
[[fault]]
do = "close"
"""


def test_every_action_can_be_written_down(tmp_path):
    file = tmp_path / "faults.toml"
    file.write_text(EVERY_ACTION)
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
        ("[[fault", "is not TOML"),
        ("[fault]\ndo = 3", "fault 1: do = 3; accepted: cut_mid_frame, cut, half_open, mute, close"),
        ('[[fault]]\ndo = "explode"', "fault 1: do = 'explode'; accepted:"),
        ('[[fault]]\ndo = "cut"\n[[fault]]\ndo = "cut"\nafter = 3', "fault 2: unknown: after"),
        ('[[fault]]\ndo = "cut"\ncode = 1001', "fault 1: unknown: code"),
        ('[[fault]]\ndo = "cut"\nafter_frames = "3"', "after_frames = '3'; accepted: a whole number from 0"),
        ('[[fault]]\ndo = "cut"\nconnections = 3', "connections = 3; accepted: a list of whole numbers from 1"),
        ("[other]", "unknown table 'other'; accepted: fault"),
        ("fault = [3]", "fault 1: "),
    ],
)
def test_what_is_not_understood_is_refused_by_name(tmp_path, text, said):
    file = tmp_path / "faults.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_faults(file)
    (problem,) = caught.value.problems
    assert problem.startswith(f"faults {file}")
    assert said in problem


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="No such file"):
        read_faults(tmp_path / "none.toml")
