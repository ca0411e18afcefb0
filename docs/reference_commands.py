"""The commands with their options, from the parser of the command line."""

from __future__ import annotations

import inspect
from typing import Any

import typer
from reference_tables import code, table

from ingest_actors.cli import PROGRAM, app


def commands() -> str:
    """A chapter for each command: its help, and a table of what it takes."""
    group: Any = typer.main.get_command(app)
    parts = [f"Options of `{PROGRAM}` itself, before any command:\n\n{_options(group)}"]
    for name, command in group.commands.items():
        if not command.hidden:
            parts.append(f"## `{name}`\n\n{_text(command.help)}\n\n{_options(command)}")
    return "\n".join(parts)


def _text(help_text: str | None) -> str:
    return inspect.cleandoc((help_text or "").partition("\f")[0])


def _options(command: Any) -> str:
    rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    return table(("option", "takes", "default", "meaning"), rows) if rows else "It takes no options.\n"


def _row(parameter: Any) -> tuple[str, str, str, str]:
    argument = parameter.param_type_name == "argument"
    names = [parameter.metavar or parameter.human_readable_name] if argument else parameter.opts
    names = [*names, *getattr(parameter, "secondary_opts", ())]
    is_flag = getattr(parameter, "is_flag", False)
    default = parameter.default
    shown = "" if argument or default in (None, "", False) or callable(default) else f"`{_value(default)}`"
    if is_flag:
        shown = f"`{parameter.opts[0]}`" if default is True and parameter.secondary_opts else ""
    return code(names), "" if is_flag else _takes(parameter), shown, " ".join((parameter.help or "").split())


def _value(default: Any) -> str:
    return str(getattr(default, "value", default))


def _takes(parameter: Any) -> str:
    kind = parameter.type
    choices = getattr(kind, "choices", None)
    if choices:
        return " or ".join(f"`{_value(choice)}`" for choice in choices)
    name = {"integer": "a whole number", "float": "a number", "text": "text"}.get(kind.name.removesuffix(" range"))
    name = name or {"path": "a path", "file": "a file", "directory": "a directory"}.get(kind.name, kind.name)
    least, most = getattr(kind, "min", None), getattr(kind, "max", None)
    if least is not None and most is not None:
        return f"{name} from {least} to {most}"
    return f"{name}, at least {least}" if least is not None else name
