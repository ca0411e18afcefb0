"""How each kind of value is read: from a string as in the environment, or from a Python value as a program gives it.

A reader raises `ValueError` with the reason when it cannot; an empty reason lets the list of what is accepted speak.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr


class Kind(NamedTuple):
    """A kind of value."""

    read: Callable[[Any], Any]
    """Makes the value of what was given; raises `ValueError` when it cannot."""
    accepts: str
    """What is accepted, in words."""


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_SIZE_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


def size(minimum: int, maximum: int) -> Kind:
    """Bytes; units are binary, as in ``64MiB``, ``64M``, ``512k``, ``1.5GiB``."""

    def read(value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return int(_within(value, minimum, maximum))
        match = _SIZE.fullmatch(str(value).strip())
        if match is None:
            raise ValueError("it is no size")
        return int(_within(float(match[1]) * 1024 ** _SIZE_POWERS[match[2].lower()], minimum, maximum))

    bounds = f"{size_text(minimum)} to {size_text(maximum)}"
    return Kind(read, f"a size from {bounds}: bytes, or with a unit as in 64MiB, 10GiB, 512k")


def whole(minimum: int, maximum: int | None = None) -> Kind:
    """A whole number between two bounds, both included."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not re.fullmatch(r"[+-]?[0-9]{1,18}", str(value).strip()):
            raise ValueError("it is no whole number")
        return int(_within(int(value), minimum, maximum))

    bounds = f"from {minimum} to {maximum}" if maximum is not None else f"of {minimum} or more"
    return Kind(read, f"a whole number {bounds}")


def number(minimum: float, maximum: float) -> Kind:
    """A number, fractions allowed, between two bounds, both included."""

    def read(value: Any) -> float:
        try:
            result = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            result = math.nan
        if not math.isfinite(result):
            raise ValueError("it is no number")
        return _within(result, minimum, maximum)

    return Kind(read, f"a number from {minimum:g} to {maximum:g}")


def truth() -> Kind:
    """A boolean, in the words that people use."""

    def read(value: Any) -> bool:
        word = str(value).strip().lower()
        if word not in _TRUE | _FALSE:
            raise ValueError("")
        return word in _TRUE

    return Kind(read, "true or false (also 1/0, yes/no, on/off)")


def one_of(*choices: str, also: dict[str, str] | None = None) -> Kind:
    """One word of a list, in any case; `also` names other spellings."""
    by_word = {choice.lower(): choice for choice in choices} | (also or {})

    def read(value: Any) -> str:
        try:
            return by_word[str(value).strip().lower()]
        except KeyError:
            raise ValueError("") from None

    return Kind(read, f"one of {', '.join(choices)}")


def off_or(kind: Kind) -> Kind:
    """``off`` (in Python also None) reads as None, everything else as the other kind says."""

    def read(value: Any) -> Any:
        return None if value is None or str(value).strip().lower() == "off" else kind.read(value)

    return Kind(read, f"{kind.accepts}, or off")


def none_or(kind: Kind) -> Kind:
    """``off`` (in Python also an empty tuple) reads as an empty tuple, everything else as the other kind says."""

    def read(value: Any) -> Any:
        return () if value == () or str(value).strip().lower() == "off" else kind.read(value)

    return Kind(read, f"{kind.accepts}, or off")


def minus_one_or(kind: Kind) -> Kind:
    """-1 stands for "let the other side decide"."""
    return Kind(lambda value: -1 if str(value).strip() == "-1" else kind.read(value), f"-1, or {kind.accepts}")


def optional(kind: Kind) -> Kind:
    """None stays None, for programs; everything else as the other kind says."""
    return Kind(lambda value: None if value is None else kind.read(value), kind.accepts)


def listed(kind: Kind, accepts: str) -> Kind:
    """A comma-separated list, or any iterable: each item of one kind, at least one, none twice, order kept."""

    def read(value: Any) -> tuple[Any, ...]:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, Iterable):
            raise ValueError("it is no list")  # noqa: TRY004 - what pydantic collects
        result: list[Any] = []
        for text in (str(item).strip() for item in items):
            if not text:
                continue  # a trailing comma harms nobody
            item = kind.read(text)
            if item in result:
                raise ValueError(f"{text!r} is there twice")
            result.append(item)
        if not result:
            raise ValueError("the list is empty")
        return tuple(result)

    return Kind(read, f"a comma-separated list of {accepts}")


def matching(pattern: str, accepts: str, *, upper: bool = False) -> Kind:
    """A word that a regular expression matches as a whole."""
    compiled = re.compile(pattern)

    def read(value: Any) -> str:
        word = text_of(value).strip()
        word = word.upper() if upper else word
        if compiled.fullmatch(word) is None:
            raise ValueError(f"{value!r} does not fit")
        return word

    return Kind(read, accepts)


def path(accepts: str) -> Kind:
    """A path; ``~`` is the home directory."""

    def read(value: Any) -> Path:
        given = value if isinstance(value, Path) else Path(text_of(value))
        if b"\0" in os.fsencode(given):  # which refuses half a character by itself
            raise ValueError("a path has no NUL in it")
        try:
            return given.expanduser()
        except RuntimeError:
            raise ValueError("there is no such user") from None

    return Kind(read, accepts)


def secret(accepts: str, pattern: str = r"[\s\S]+") -> Kind:
    """Something never to be shown: no reason repeats it."""
    compiled = re.compile(pattern)

    def read(value: Any) -> SecretStr:
        text = value.get_secret_value() if isinstance(value, SecretStr) else text_of(value)
        if compiled.fullmatch(text) is None:
            raise ValueError("")
        return SecretStr(text)

    return Kind(read, accepts)


def text_of(value: Any) -> str:
    """A text as it is; nothing else is taken for one."""
    if not isinstance(value, str):
        raise ValueError("it is no text")  # noqa: TRY004 - what pydantic collects
    return value


def size_text(count: int) -> str:
    """Bytes as people write them: in the largest unit that divides them."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if count and count % 1024**power == 0:
            return f"{count // 1024**power}{unit}"
    return str(count)


def _within(value: float, minimum: float, maximum: float | None) -> float:
    if value < minimum:
        raise ValueError("it is too small")
    if maximum is not None and value > maximum:
        raise ValueError("it is too large")
    return value
