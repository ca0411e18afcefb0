"""A systemd unit as a test reads it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent.parent
UNIT = REPOSITORY / "deploy" / "systemd" / "ingest-actors.service"


class Assignment(NamedTuple):
    """A line of it."""

    section: str
    name: str
    value: str


def assignments(unit=UNIT):
    """Every line, in order; a name may come more than once."""
    section, found = "", []
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.append(Assignment(section, name, value))
    return found


def values(name, unit=UNIT):
    """What is assigned to a name, in order."""
    return [line.value for line in assignments(unit) if line.name == name]


def environment(unit=UNIT):
    """What the unit itself puts into the environment."""
    return dict(value.split("=", 1) for value in values("Environment", unit))
