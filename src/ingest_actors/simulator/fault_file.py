"""Fault scripts in files: TOML, one table a fault.

[[fault]]
do = "cut_mid_frame"      # or cut, half_open, mute, close
after_frames = 1000       # of the connection's data frames; 0 when left out
connections = [1, 3]      # by the order of their handshakes; every one when left out

[[fault]]
do = "close"
code = 1001
reason = "going away"
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from ingest_actors.errors import SettingsError
from ingest_actors.simulator.faults import Action, CloseWith, Cut, CutMidFrame, Fault, FaultScript, HalfOpen, Mute

_ACTIONS: dict[str, type[Action]] = {
    "cut_mid_frame": CutMidFrame,
    "cut": Cut,
    "half_open": HalfOpen,
    "mute": Mute,
    "close": CloseWith,
}


def read_faults(path: Path) -> FaultScript:
    """The script in a file.

    Raises:
        SettingsError: it cannot be read, or asks for something that there is not; every problem is named.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"faults {path}: cannot be read: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError([f"faults {path}: is not TOML: {error}"]) from error
    problems = [f"faults {path}: unknown table {name!r}; accepted: fault" for name in content if name != "fault"]
    tables = content.get("fault", [])
    faults = []
    for number, table in enumerate(tables if isinstance(tables, list) else [tables], 1):
        try:
            faults.append(_fault(dict(table)))
        except (ValueError, TypeError) as error:
            problems.append(f"faults {path}, fault {number}: {error}")
    if problems:
        raise SettingsError(problems)
    return FaultScript(faults)


def _fault(table: dict[str, Any]) -> Fault:
    name = table.pop("do", None)
    if name not in _ACTIONS:
        raise ValueError(f"do = {name!r}; accepted: {', '.join(_ACTIONS)}")
    after_frames = table.pop("after_frames", 0)
    connections = table.pop("connections", [])
    if not isinstance(after_frames, int) or after_frames < 0:
        raise ValueError(f"after_frames = {after_frames!r}; accepted: a whole number from 0")
    if not isinstance(connections, list) or not all(isinstance(number, int) for number in connections):
        raise ValueError(f"connections = {connections!r}; accepted: a list of whole numbers from 1")
    options = {key: table.pop(key) for key in ("code", "reason") if key in table and name == "close"}
    if table:
        raise ValueError(f"unknown: {', '.join(table)}")
    return Fault(_ACTIONS[name](**options), after_frames=after_frames, connections=frozenset(connections))
