"""Fault scripts as files: everything that can be said, what is refused and how, and the way back."""

from __future__ import annotations

import dataclasses
import re

import pytest

from ingest_actors.errors import SettingsError
from ingest_actors.simulator import SimulatorConfig
from ingest_actors.simulator.fault_file import dump_faults, parse_faults, read_faults
from ingest_actors.simulator.faults import (
    ACTIONS,
    AddFields,
    CloseWith,
    Cut,
    CutMidFrame,
    Drop,
    Fault,
    FaultScript,
    HalfOpen,
    Mute,
    ResetIds,
    RestError,
    Slow,
    options_of,
)

SCRIPT = """
seed = 9
[[fault]]
do = "cut_mid_frame"
after_frames = 7
connections = [1, 3]
[[fault]]
do = "cut"
at_s = 3
times = 2
[[fault]]
do = "half_open"
after_s = 1.5
for_s = 2
[[fault]]
do = "mute"
connections = [2]
streams = "btcusdt@*"
[[fault]]
do = "close"
code = 1008
reason = "slow"
probability = 0.5
in_all = 3
until_s = 60
[[fault]]
do = "drop"
count = 4
after_events = 10
streams = "*@trade"
[[fault]]
do = "rest_error"
status = 429
retry_after_s = 3
endpoints = "agg*"
every_s = 10
[[fault]]
do = "add_fields"
fields = { b = 1, a = [2, "x"] }
[[fault]]
do = "close"
"""


def test_whatever_can_be_said_is_read(tmp_path):
    file = tmp_path / "faults.toml"
    file.write_text(SCRIPT)
    assert read_faults(file) == FaultScript(
        [
            Fault(CutMidFrame(), 7, frozenset({1, 3})),
            Fault(Cut(), at_s=3, times=2),
            Fault(HalfOpen(), after_s=1.5, for_s=2),
            Fault(Mute(), connections=frozenset({2}), streams="btcusdt@*"),
            Fault(CloseWith(1008, "slow"), probability=0.5, in_all=3, until_s=60),
            Fault(Drop(4), after_events=10, streams="*@trade"),
            Fault(RestError(429, retry_after_s=3), every_s=10, endpoints="agg*"),
            Fault(AddFields({"b": 1, "a": [2, "x"]})),
            Fault(CloseWith()),
        ],
        seed=9,
    )


def test_a_script_that_was_written_is_read_as_it_was():
    script = FaultScript(
        [
            Fault(CloseWith(1012, 'said "so" \\ \x7f 币 😀'), at_s=1e-7),
            Fault(AddFields({"币": {"deep": True}, "b c": [1, 2.5]}), connections=frozenset({3, 1})),
            Fault(ResetIds(), at_s=0),
            Fault(HalfOpen()),
        ],
        seed=-5,
    )
    assert parse_faults(dump_faults(script)) == script


@pytest.mark.parametrize("seed", range(200))
def test_every_random_script_survives_a_file_and_its_own_repr(seed):
    script = FaultScript.random(seed, symbols=("BTCUSDT", "ETHUSDT"))
    assert parse_faults(dump_faults(script)) == script
    names = {name: kind for kind in ACTIONS.values() for name in [kind.__name__]}
    assert eval(repr(script), {**names, "Fault": Fault, "FaultScript": FaultScript}) == script
    assert script == FaultScript.random(seed, symbols=("BTCUSDT", "ETHUSDT"))


def test_random_scripts_are_of_every_kind_and_over_in_time():
    faults = [fault for seed in range(400) for fault in FaultScript.random(seed, duration_s=30, faults_max=6).faults]
    assert {fault.action.DO for fault in faults} == set(ACTIONS)
    assert {fault.trigger for fault in faults} == {"at_s", "after_s", "after_frames", "after_events", "every_s", "probability"}  # fmt: skip # noqa: E501
    for fault in faults:
        assert fault.until_s == 30
        assert 1 <= fault.in_all <= 3
        assert (fault.at_s or 0) + (fault.for_s or 0) <= 30.001


def test_random_scripts_can_be_of_some_kinds_only():
    scripts = [FaultScript.random(seed, actions=("cut", "drop")) for seed in range(20)]
    assert {fault.action.DO for script in scripts for fault in script.faults} == {"cut", "drop"}
    with pytest.raises(ValueError, match="actions: 'nosuch'; accepted: cut, "):
        FaultScript.random(1, actions=("nosuch",))


def test_every_action_says_what_it_accepts():
    for name, kind in ACTIONS.items():
        assert name == kind.DO
        assert kind.__doc__
        for entry in options_of(kind):
            assert entry.metadata["accepts"].text


ALL = ", ".join(ACTIONS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[fault", ["is not TOML"]),
        ("[fault]\ndo = 3", [f"fault 1: do = 3; accepted: {ALL}"]),
        ('[[fault]]\ndo = "explode"', [f"fault 1: do = 'explode'; accepted: {ALL}"]),
        ('[[fault]]\ndo = "cut"\n[[fault]]\ndo = "cut"\nafter = 3', ["fault 2: unknown: after; accepted: do, reset, after_frames"]),  # noqa: E501
        ('[[fault]]\ndo = "cut"\ncode = 1001', ["fault 1: unknown: code"]),
        ('[[fault]]\ndo = "cut"\nreset = 1', ["reset = 1; accepted: true or false"]),
        ('[[fault]]\ndo = "cut"\nafter_frames = "3"', ["after_frames = '3'; accepted: a whole number from 0"]),
        ('[[fault]]\ndo = "cut"\nafter_frames = -1', ["after_frames = -1; accepted: a whole number from 0"]),
        ('[[fault]]\ndo = "cut"\nat_s = true', ["at_s = True; accepted: seconds, from 0"]),
        ('[[fault]]\ndo = "cut"\nat_s = inf', ["at_s = inf; accepted: seconds, from 0"]),
        ('[[fault]]\ndo = "cut"\nevery_s = 0', ["every_s = 0; accepted: seconds, more than 0"]),
        ('[[fault]]\ndo = "cut"\nprobability = 2', ["probability = 2; accepted: a number above 0, up to 1"]),
        ('[[fault]]\ndo = "cut"\ntimes = 0', ["times = 0; accepted: a whole number from 1"]),
        ('[[fault]]\ndo = "cut"\nconnections = 3', ["connections = 3; accepted: a list of whole numbers from 1"]),
        ('[[fault]]\ndo = "cut"\nconnections = [0]', ["connections = frozenset({0}); accepted: a list of whole numbers from 1"]),  # noqa: E501
        ('[[fault]]\ndo = "cut"\nconnections = [[1]]', ["connections = [[1]]; accepted: a list of whole numbers from 1"]),  # noqa: E501
        ('[[fault]]\ndo = "cut"\nstreams = ""', ["streams = ''; accepted: a name, in which * and ? stand for anything"]),  # noqa: E501
        ('[[fault]]\ndo = "close"\ncode = 999', ["code = 999; accepted: a whole number from 1000 to 4999"]),
        (f'[[fault]]\ndo = "close"\nreason = "{"x" * 124}"', ["accepted: text of at most 123 bytes"]),
        ('[[fault]]\ndo = "garbage"\nform = "rubbish"', ["form = 'rubbish'; accepted: bytes, text, invalid_utf8, binary"]),  # noqa: E501
        ('[[fault]]\ndo = "rest_error"\nstatus = 200', ["status = 200; accepted: an HTTP status, 400 to 599"]),
        ('[[fault]]\ndo = "add_fields"', ["fault 1: fields: is missing; add_fields needs it"]),
        ('[[fault]]\ndo = "add_fields"\nfields = {}', ["fields = {}; accepted: a table of names"]),
        ('[[fault]]\ndo = "set_status"\nsymbol = "A"\nstatus = "open"', ["status = 'open'; accepted: TRADING, END_OF_DAY, "]),  # noqa: E501
        ('[[fault]]\ndo = "cut"\nat_s = 1\nafter_s = 1', ["at_s and after_s: two triggers; accepted: one of at_s, after_s, "]),  # noqa: E501
        ('[[fault]]\ndo = "cut"\nafter_s = 0\ntimes = 2', ["times = 2 every 0; accepted: with a trigger above 0"]),
        ('[[fault]]\ndo = "cut"\nfor_s = 1', ["for_s: means nothing to cut; accepted: connections, streams, times, in_all, until_s"]),  # noqa: E501
        ('[[fault]]\ndo = "rest_lag"\nlag_s = 1\nstreams = "a"', ["streams: means nothing to rest_lag; accepted: endpoints, for_s, "]),  # noqa: E501
        ('[[fault]]\ndo = "rest_hang"\nafter_frames = 3', ["after_frames: no trigger for rest_hang; accepted: at_s, every_s, probability"]),  # noqa: E501
        ('[[fault]]\ndo = "reset_ids"\nprobability = 0.1', ["probability: no trigger for reset_ids; accepted: at_s, every_s"]),  # noqa: E501
        ('[[fault]]\ndo = "no_reply"\nprobability = 0.1\nfor_s = 3', ["for_s and probability: no_reply strikes one request"]),  # noqa: E501
        ("[other]", ["unknown table 'other'; accepted: seed, fault"]),
        ("seed = 1.5", ["seed = 1.5; accepted: a whole number"]),
        ("fault = [3]", ["fault 1: 3; accepted: a table that begins with [[fault]]"]),
        ("fault = 5", ["fault 1: 5; accepted: a table"]),
        (
            'seed = "x"\n[[fault]]\ndo = "explode"\n[[fault]]\ndo = "cut"\nafter_frames = -1\ntimes = 0\n[other]\n',
            ["unknown table 'other'", "seed = 'x'", "fault 1: do = 'explode'", "fault 2: after_frames = -1", "fault 2: times = 0"],  # noqa: E501
        ),
    ],
)  # fmt: skip
def test_every_mistake_is_named_with_what_is_accepted(tmp_path, text, said):
    file = tmp_path / "faults.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_faults(file)
    assert len(caught.value.problems) == len(said)
    for problem, part in zip(caught.value.problems, said, strict=True):
        assert problem.startswith(f"faults {file}")
        assert part in problem


def test_a_fault_made_in_python_is_refused_likewise():
    with pytest.raises(ValueError, match="times = 0; accepted: a whole number from 1; also until_s = -1; accepted"):
        Fault(Cut(), times=0, until_s=-1)
    with pytest.raises(ValueError, match="latency_s = -1; accepted: seconds, from 0"):
        Fault(Slow(latency_s=-1))


@pytest.mark.parametrize("numbers", [[1, 3], (3, 1), {1, 3}, iter([1, 3]), frozenset({1, 3})])
def test_connections_are_any_numbers_and_stay_as_they_are(numbers):
    fault = Fault(Cut(), connections=numbers)
    assert fault.connections == frozenset({1, 3})
    assert isinstance(hash(fault), int)
    assert [fault.befalls(number) for number in (1, 2, 3)] == [True, False, True]


@pytest.mark.parametrize("numbers", [1, "1", [0], [1.0], [[1]], {"1": 2}, None])
def test_connections_that_are_no_numbers_are_refused(numbers):
    with pytest.raises(ValueError, match=r"connections = .*; accepted: a list of whole numbers from 1"):
        Fault(Cut(), connections=numbers)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Mute, "Mute is a class: write Mute()"),
        (Fault, "Fault is a class: write Fault(...)"),
        ("cut", "action = 'cut': the word of a script; in Python write Cut()"),
        ("oops", "action = 'oops'; accepted: an action, such as Cut()"),
        (None, "action = None; accepted: an action, such as Cut()"),
    ],
)
def test_what_is_no_action_is_refused_with_what_to_write(given, said):
    for make in (Fault, lambda thing: FaultScript([thing]), lambda thing: SimulatorConfig(faults=[thing])):
        with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
            make(given)


def test_actions_alone_make_a_script_and_a_list_is_one():
    assert SimulatorConfig(faults=[Cut()]).faults == FaultScript([Cut()]) == FaultScript([Fault(Cut())])


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("symbols", "BTCUSDT", "several, such as ('BTCUSDT',)"),
        ("quiet", "BTCUSDT", "several, such as ('BTCUSDT',)"),
        ("recording", "r.gz", "several, such as ('r.gz',)"),
        ("faults", "r.toml", "a FaultScript, a list of faults, or read_faults(path) for a file"),
        ("faults", None, "a FaultScript, a list of faults, or read_faults(path) for a file"),
    ],
)
def test_one_thing_where_several_are_meant_is_refused(name, value, accepted):
    with pytest.raises(ValueError, match=f"^{re.escape(f'{name} = {value!r}; accepted: {accepted}')}$"):
        SimulatorConfig(**{name: value})


def test_a_file_of_faults_is_named_by_a_text_as_well(tmp_path):
    path = tmp_path / "faults.toml"
    path.write_text(dump_faults(FaultScript([Cut()])))
    assert read_faults(str(path)) == read_faults(path) == FaultScript([Cut()])


def test_a_fault_shows_only_what_was_said():
    assert repr(Fault(Cut(), at_s=3)) == "Fault(Cut(reset=False), at_s=3)"
    assert dataclasses.replace(Fault(Cut()), at_s=3) == Fault(Cut(), at_s=3)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        read_faults(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe4")
    with pytest.raises(SettingsError, match="is not TOML"):
        read_faults(tmp_path / "latin.toml")
