"""Fault scripts as files: JSON, a list of faults.

    [{"action": "cut_mid_frame", "after_frames": 1000, "connections": [1]},
     {"action": "close_with", "code": 1001, "reason": "maintenance", "after_frames": 5000}]

`action` is one of the classes of `ingest_actors.simulator.faults`, written small, with its own attributes beside it;
`after_frames` and `connections` are those of `Fault` and may be left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import msgspec

from ingest_actors.errors import SettingsError
from ingest_actors.simulator import faults
from ingest_actors.simulator.faults import Fault, FaultScript


class _Entry(msgspec.Struct, frozen=True, tag_field="action", forbid_unknown_fields=True):
    after_frames: int = 0
    connections: frozenset[int] = frozenset()

    def fault(self) -> Fault:
        return Fault(self.action(), self.after_frames, self.connections)

    def action(self) -> faults.Action:
        raise NotImplementedError


class _CutMidFrame(_Entry, frozen=True, tag="cut_mid_frame"):
    def action(self) -> faults.Action:
        return faults.CutMidFrame()


class _Cut(_Entry, frozen=True, tag="cut"):
    def action(self) -> faults.Action:
        return faults.Cut()


class _HalfOpen(_Entry, frozen=True, tag="half_open"):
    def action(self) -> faults.Action:
        return faults.HalfOpen()


class _Mute(_Entry, frozen=True, tag="mute"):
    def action(self) -> faults.Action:
        return faults.Mute()


class _CloseWith(_Entry, frozen=True, tag="close_with"):
    code: int = 1001
    reason: str = ""

    def action(self) -> faults.Action:
        return faults.CloseWith(self.code, self.reason)


_AnyEntry: TypeAlias = _CutMidFrame | _Cut | _HalfOpen | _Mute | _CloseWith


def read_faults(path: Path) -> FaultScript:
    """The fault script in a file.

    Raises:
        SettingsError: it cannot be read, or says what is not understood.
    """
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=list[_AnyEntry])
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror}; accepted: a JSON list of faults"]) from error
    except msgspec.MsgspecError as error:
        raise SettingsError([f"{path}: {error}; accepted: a JSON list of faults"]) from error
    return FaultScript([entry.fault() for entry in entries])
