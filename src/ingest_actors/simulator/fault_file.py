"""Fault scripts in files: TOML, one table a fault. `docs/how-to/fault-scripts.md` has the whole vocabulary.

seed = 7                  # of everything that happens at random

[[fault]]
do = "cut_mid_frame"      # an action, and its options
after_frames = 1000       # at most one trigger
connections = [1, 3]      # what it is limited to
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path

from ingest_actors.errors import SettingsError
from ingest_actors.simulator.fault_values import given
from ingest_actors.simulator.faults import ACTIONS, Fault, FaultScript, options_of

_FAULT_KEYS = [entry.name for entry in dataclasses.fields(Fault) if entry.name != "action"]


def read_faults(path: str | Path) -> FaultScript:
    """The script in a file.

    Raises:
        SettingsError: it cannot be read, or asks for something that there is not; every problem is named.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError([f"faults {path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([f"faults {path}: is not TOML: {error}"]) from error
    return parse_faults(text, f"faults {path}")


def parse_faults(text: str, name: str = "faults") -> FaultScript:
    """The script in a text.

    Args:
        text: TOML.
        name: what problems begin with.

    Raises:
        SettingsError: it asks for something that there is not; every problem is named.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{name}: is not TOML: {error}"]) from error
    accepted = "accepted: seed, fault"
    problems = [f"{name}: unknown table {key!r}; {accepted}" for key in content if key not in ("fault", "seed")]
    seed = content.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        problems.append(f"{name}: seed = {seed!r}; accepted: a whole number")
    tables = content.get("fault", [])
    faults = []
    for number, table in enumerate(tables if isinstance(tables, list) else [tables], 1):
        try:
            faults.append(_fault(table))
        except ValueError as error:
            problems += [f"{name}, fault {number}: {problem}" for problem in str(error).split("; also ")]
    if problems:
        raise SettingsError(problems)
    return FaultScript(faults, seed=seed)


def dump_faults(script: FaultScript) -> str:
    """A script as text that `parse_faults` reads again."""
    tables = [f"seed = {script.seed}\n"]
    for fault in script.faults:
        table = {"do": fault.action.DO, **given(fault.action), **given(fault)}
        del table["action"]
        tables.append("".join(["\n[[fault]]\n", *(f"{key} = {_toml(value)}\n" for key, value in table.items())]))
    return "".join(tables)


def _fault(table: object) -> Fault:
    if not isinstance(table, dict):
        raise ValueError(f"{table!r}; accepted: a table that begins with [[fault]]")  # noqa: TRY004 - one kind
    name = table.get("do")
    if name not in ACTIONS:
        raise ValueError(f"do = {name!r}; accepted: {', '.join(ACTIONS)}")
    options = [entry.name for entry in options_of(ACTIONS[name])]
    needed = [entry.name for entry in options_of(ACTIONS[name]) if entry.default is dataclasses.MISSING]
    accepted = ", ".join(("do", *options, *_FAULT_KEYS))
    problems = [f"unknown: {key}; accepted: {accepted}" for key in table if key not in ("do", *options, *_FAULT_KEYS)]
    problems += [f"{key}: is missing; {name} needs it" for key in needed if key not in table]
    if problems:
        raise ValueError("; also ".join(problems))
    own = {key: value for key, value in table.items() if key in options}
    rest = {key: value for key, value in table.items() if key in _FAULT_KEYS}
    return Fault(ACTIONS[name](**own), **rest)


def _toml(value: object) -> str:
    if isinstance(value, frozenset):
        return str(sorted(value))
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool | str):  # a basic string of TOML has the same escapes, and wants one more
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
