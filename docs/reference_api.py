"""The Python API: public names with their signatures and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from enum import Enum
from types import ModuleType
from typing import Any

from pydantic import BaseModel

import ingest_actors
from ingest_actors import testing
from ingest_actors.errors import IngestError

_SECTION = re.compile(r"^(Args|Returns|Raises|Attributes|Yields|Cancellation|Errors):[ ]?(.*)$")
_ENTRY = re.compile(r"^    (\*{0,2}[\w, ]+):[ ](.*)$")
_WORDS = {"Args": "Arguments"}
_DEFAULT_MAX = 20
"""Longer ones are shown as `...`."""
_LINE_MAX = 100
"""Longer signatures have a line for each parameter."""


def package_api() -> str:
    """Everything that `import ingest_actors` gives."""
    homes: dict[str, str] = vars(ingest_actors)["_HOMES"]
    return _api(ingest_actors, sorted(homes, key=_rank))


def testing_api() -> str:
    """Everything that `import ingest_actors.testing` gives; faults have a page of their own."""
    names = [name for name, value in vars(testing).items() if not name.startswith("_") and not _is_fault(value)]
    return _api(testing, sorted((name for name in names if not isinstance(vars(testing)[name], ModuleType)), key=_rank))


def _is_fault(value: object) -> bool:
    return isinstance(value, type) and hasattr(value, "DO")


def _rank(name: str) -> tuple[bool, str]:
    """Functions first."""
    return name[0].isupper(), name.lower()


def _api(module: Any, names: list[str]) -> str:
    return "\n".join(_chapter(f"{module.__name__}.{name}", name, getattr(module, name)) for name in names)


def _chapter(path: str, name: str, value: Any) -> str:
    lines = [f"### `{name}`", "", "```python", f"{_kind(value)} {path}{_signature(value, wrapped=True)}", "```", ""]
    lines += [*_markdown(_docstring(value)), ""]
    if isinstance(value, type):
        lines += [line for member, found in _members(value) for line in _member(member, found)]
    return "\n".join(lines)


def _kind(value: Any) -> str:
    if isinstance(value, type):
        return "class"
    return "async def" if inspect.iscoroutinefunction(value) else "def"


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    """What the class itself, or a base of ours, has and documents."""
    if issubclass(cls, IngestError | Enum):
        return
    own = [base for base in reversed(cls.__mro__) if base.__module__.startswith("ingest_actors")]
    names = {name: None for base in own for name in vars(base)}
    fields = {entry.name for entry in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    for name in names:
        found = inspect.getattr_static(cls, name)
        if not name.startswith("_") and name not in fields and _is_member(found) and _docstring(_bare(found)):
            yield name, found


def _is_member(found: object) -> bool:
    return isinstance(found, property | staticmethod | classmethod) or inspect.isfunction(found)


def _bare(found: Any) -> Any:
    if isinstance(found, property):
        return found.fget
    return found.__func__ if isinstance(found, staticmethod | classmethod) else found


def _member(name: str, found: Any) -> list[str]:
    bare = _bare(found)
    if isinstance(found, property):
        shown = f"`{name}`: {_annotation(inspect.signature(bare).return_annotation)}"
    else:
        is_async = inspect.iscoroutinefunction(bare)
        shown = f"`{'await ' if is_async else ''}{name}{_signature(found)}`"
    return [f"- {shown}", "", *(f"  {line}".rstrip() for line in _markdown(_docstring(bare))), ""]


def _signature(value: Any, *, wrapped: bool = False) -> str:
    """As it is written, without the module names of types."""
    if isinstance(value, type) and issubclass(value, BaseModel):
        return "(**settings)"
    target = value.__func__ if isinstance(value, classmethod) else _bare(value)
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return ""
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    each = list(_parameters(parameters))
    shown = ", ".join(each)
    if wrapped and len(shown) > _LINE_MAX:
        shown = "".join(f"\n    {one}," for one in each) + "\n"
    back = signature.return_annotation
    arrow = "" if isinstance(value, type) or back is inspect.Signature.empty else f" -> {_annotation(back)}"
    return f"({shown}){arrow}"


def _parameters(parameters: list[inspect.Parameter]) -> Iterator[str]:
    star = False
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            star = True
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not star:
            star = True
            yield "*"
        yield _parameter(parameter)


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = stars + parameter.name
    if parameter.annotation is not inspect.Parameter.empty:
        text += f": {_annotation(parameter.annotation)}"
    if parameter.default is not inspect.Parameter.empty:
        text += f" = {_default(parameter.default)}"
    return text


def _default(value: object) -> str:
    text = repr(value)
    return "..." if "<" in text or " at 0x" in text or (text.endswith(")") and len(text) > _DEFAULT_MAX) else text


def _annotation(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"ForwardRef\('([^']*)'\)", r"\1", text)
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])", "", text)


def _docstring(value: Any) -> str:
    """The docstring of its own; dataclasses without one have their signature there, which is no text."""
    text = inspect.cleandoc(value.__doc__ or "")
    return "" if isinstance(value, type) and text.startswith(f"{value.__name__}(") else text


def _markdown(text: str) -> list[str]:
    """Google's sections as lists."""
    lines: list[str] = []
    listing = False
    for line in text.splitlines():
        section = _SECTION.match(line)
        entry = _ENTRY.match(line) if listing else None
        if section:
            listing = section[1] in ("Args", "Raises", "Attributes")
            lines += [
                *([""] if lines and lines[-1] else []),
                f"*{_WORDS.get(section[1], section[1])}*: {section[2]}".rstrip(),
                "",
            ]
        elif entry:
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        elif listing and line.startswith("        "):
            lines.append(f"  {line.strip()}")
        elif listing and line.startswith("    "):
            lines.append(line.strip())
        else:
            listing = listing and not line
            lines.append(line.replace("::", ":") if line.endswith("::") else line)
    return lines
