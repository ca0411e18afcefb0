"""The commands with their options, from the functions that the command line is made of."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from reference_tables import code, table
from typer.models import ArgumentInfo, ParameterInfo

from ingest_actors.cli import COMMANDS

_KINDS = {"int": "a whole number", "float": "a number", "str": "text", "Path": "a path"}


def commands() -> str:
    """A chapter for each command: its help, and a table of what it takes."""
    return "\n".join(
        f"## `{name}`\n\n{inspect.getdoc(command)}\n\n{_options(command)}" for name, command in COMMANDS.items()
    )


def _options(command: Callable[..., None]) -> str:
    rows = list(_rows(command))
    return table(("option", "takes", "default", "meaning"), rows) if rows else "It takes no options.\n"


def _rows(command: Callable[..., None]) -> Iterator[tuple[str, str, str, str]]:
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if get_origin(hint) is not Annotated:
            continue
        kind, *notes = get_args(hint)
        info = next(note for note in notes if isinstance(note, ParameterInfo))
        if not info.hidden:
            meaning = " ".join((info.help or "").split())
            yield code(_names(parameter, info)), _takes(kind, info), _default(parameter), meaning


def _names(parameter: inspect.Parameter, info: ParameterInfo) -> list[str]:
    if isinstance(info, ArgumentInfo):
        return [str(info.metavar or parameter.name.upper())]
    option = parameter.name.replace("_", "-")
    declared = [info.default, *(info.param_decls or ())]  # in `Annotated` the first name takes the default's place
    names = [name for name in declared if isinstance(name, str) and name.startswith("-")]
    if names:
        return names
    return [f"--{option}", f"--no-{option}"] if isinstance(parameter.default, bool) else [f"--{option}"]


def _default(parameter: inspect.Parameter) -> str:
    default = parameter.default
    if default in (None, "", inspect.Parameter.empty) or default is False:
        return ""
    if default is True:
        return f"`--{parameter.name.replace('_', '-')}`"
    return f"`{default.value if isinstance(default, Enum) else default}`"


def _takes(kind: Any, info: ParameterInfo) -> str:
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(one for one in get_args(kind) if one is not type(None))
    if kind is bool:
        return ""
    if get_origin(kind) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(f"`{choice.value}`" for choice in kind)
    if get_origin(kind) is list:
        return f"{_takes(get_args(kind)[0], info)}; several times"
    name = _KINDS.get(kind.__name__, kind.__name__)
    if info.min is not None and info.max is not None:
        return f"{name} from {info.min} to {info.max}"
    return name if info.min is None else f"{name}, at least {info.min}"
