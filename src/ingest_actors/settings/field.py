"""What a setting knows of itself besides type and default, and how values are shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from ingest_actors.settings.values import Kind, size_text

MASK = "***"
"""What stands for a secret."""

_CREDENTIALS_IN_ADDRESS = re.compile(r"[^/@\s,'\"]+:[^/@\s,'\"]*@")
_SHOWN_CHARACTERS_MAX = 200


@dataclass(frozen=True)
class Spec:
    """Stands in the annotation of each field of `Settings`."""

    meaning: str
    """What the setting does, for people; Markdown."""
    kind: Kind
    """How its values are read, and what is accepted."""
    unset: str = "unset"
    """How the default None is told."""
    secret: bool = False
    """Whether the value must never be shown."""
    in_bytes: bool = False
    """Whether the value is a size."""


def spec_of(field: FieldInfo) -> Spec:
    """The `Spec` in a field's annotation."""
    return next(entry for entry in field.metadata if isinstance(entry, Spec))


def env_name(field_name: str) -> str:
    """The name of a setting in the environment."""
    return field_name.upper()


def written(value: object, *, in_bytes: bool = False) -> str:
    """A value as it is written in the environment: secrets masked, empty for None."""
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and in_bytes:
        return size_text(value)
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def shown(value: object, *, secret: bool) -> str:
    """A value that somebody gave, for an error text: masked where it must be, quoted, of bounded length."""
    if secret or isinstance(value, SecretStr):
        return MASK
    text = repr(str(value) if isinstance(value, Path) else value)
    return shortened(text)


def shortened(text: str) -> str:
    """A text of bounded length."""
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else f"{text[:_SHOWN_CHARACTERS_MAX]}..."


def without_credentials(text: str) -> str:
    """A text with ``user:password@`` masked, for addresses that should not have held it."""
    return _CREDENTIALS_IN_ADDRESS.sub(f"{MASK}@", text)
