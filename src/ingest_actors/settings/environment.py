"""Settings as the environment and the file of `--env-file` give them: names, not yet values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv.parser import parse_stream

from ingest_actors.settings.options import PREFIXES, option_name

ENV_FILE = ".env"
"""Read when it is there; any other file that is named must be."""

_OURS = ("BINANCE_", "KAFKA_")
_INJECTED = re.compile(r".+_SERVICE_HOST|.+_SERVICE_PORT(_.+)?|.+_PORT_\d+(_.+)?")
_INJECTED_PORT = re.compile(r"[a-z]+://.*", re.IGNORECASE)


@dataclass
class Gathered:
    """What was found, and what is wrong with the finding."""

    values: dict[str, object] = field(default_factory=dict)
    """By field name."""
    problems: list[str] = field(default_factory=list)


def gather(fields: Collection[str], *, env_file: str | Path | None, environ: Mapping[str, str]) -> Gathered:
    """Collect settings: the environment before the file. An empty value is the same as none."""
    gathered = Gathered()
    given = {} if env_file is None else _read_file(Path(env_file), gathered)
    lowercase_given = {name for name in given if name.upper() != name and name.lower() in fields}
    given |= {name: value for name, value in environ.items() if value}
    names = {name.upper() for name in fields}.difference(name.upper() for name in PREFIXES.values())
    for name, value in given.items():
        if is_injected(name, value):
            continue
        if "\0" in name + value:
            if name.upper().startswith(_OURS) or name in names:
                shown = name.replace("\0", "\\0")
                gathered.problems.append(f"{shown}: there is a NUL in its name or its value, which no setting has")
            continue
        prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix) and name != prefix), None)
        if name in names:
            gathered.values[name.lower()] = value
        elif prefix is not None:
            collected = gathered.values.setdefault(PREFIXES[prefix], {})
            assert isinstance(collected, dict)
            collected[option_name(name, prefix)] = value
        elif name.upper().startswith(_OURS) or name in lowercase_given:
            gathered.problems.append(f"{name}: unknown; {nearest(name, names)}")
    return gathered


def others_of_file(env_file: str | Path, names: Collection[str]) -> dict[str, str]:
    """Variables of a file that are no settings of ours; nothing when it cannot be read, which `gather` tells."""
    return {name: value for name, value in _read_file(Path(env_file), Gathered()).items() if name in names}


def names_in(env_file: str | Path, fields: Collection[str]) -> list[str]:
    """Names of settings that a file gives; none when it cannot be read, which `gather` tells."""
    names = {name.upper() for name in fields}
    return [
        name
        for name in _read_file(Path(env_file), Gathered())
        if name in names or any(name.startswith(prefix) for prefix in PREFIXES)
    ]


def is_injected(name: str, value: str) -> bool:
    """Whether a container platform sets such a variable by itself, for a service that happens to be called so."""
    if name.endswith("_PORT") and _INJECTED_PORT.fullmatch(value):
        return True
    return _INJECTED.fullmatch(name) is not None


def nearest(name: str, names: Collection[str]) -> str:
    """The valid name that looks most like a given one, as the end of a problem's text."""
    candidates = difflib.get_close_matches(name.upper(), sorted(names), n=1, cutoff=0.0)
    return f"the nearest name is {candidates[0]}"


def _read_file(path: Path, gathered: Gathered) -> dict[str, str]:
    """Values are taken as they stand: nothing is interpolated, so that a password may hold any character."""
    try:
        with path.open(encoding="utf-8") as stream:
            bindings = list(parse_stream(stream))
    except FileNotFoundError:
        if str(path) != ENV_FILE:
            gathered.problems.append(f"{path}: No such file; accepted: a file of NAME=value lines")
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        gathered.problems.append(f"{path}: {reason}; accepted: a file of NAME=value lines")
        return {}
    for binding in bindings:
        if binding.error:
            gathered.problems.append(f"{path}, line {binding.original.line}: accepted: NAME=value, or a comment")
    return {binding.key: binding.value for binding in bindings if binding.key and binding.value}
