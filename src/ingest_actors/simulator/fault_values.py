"""What the fields of a fault accept. Each says so in words, for faults made in files and in Python alike."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

_KEY = "accepts"
_REASON_BYTES_MAX = 123  # what fits into a close frame beside its code


@dataclass(frozen=True, slots=True)
class Accepts:
    """The values of one field.

    Attributes:
        text: what is accepted, to be read by people.
        test: whether a value is.
    """

    text: str
    test: Callable[[Any], bool]


def option(default: Any, accepts: Accepts) -> Any:
    """A field of a dataclass that knows what it accepts."""
    return field(default=default, metadata={_KEY: accepts})


def required(accepts: Accepts) -> Any:
    """The same, for a field that must be given."""
    return field(metadata={_KEY: accepts})


def switch(*, on: bool = False) -> Any:
    """A field that is true or false."""
    return option(on, YES_OR_NO)


def problems_of(thing: Any) -> list[str]:
    """``field = value; accepted: ...`` for each field of a dataclass with a value that it does not accept."""
    problems = []
    for entry in dataclasses.fields(thing):
        accepts: Accepts | None = entry.metadata.get(_KEY)
        value = getattr(thing, entry.name)
        if accepts is not None and value is not entry.default and not accepts.test(value):
            problems.append(f"{entry.name} = {value!r}; accepted: {accepts.text}")
    return problems


def given(thing: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults, in the order of the class."""
    entries = dataclasses.fields(thing)
    return {entry.name: getattr(thing, entry.name) for entry in entries if getattr(thing, entry.name) != entry.default}


def frozen(numbers: object) -> Any:
    """Any iterable as a frozenset; what cannot be one as it is, to be refused with the rest."""
    if not isinstance(numbers, Iterable) or isinstance(numbers, str | bytes):
        return numbers
    numbers = list(numbers)
    try:
        return frozenset(numbers)
    except TypeError:
        return numbers


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def whole(least: int, most: int | None = None) -> Accepts:
    """Whole numbers from `least`, to `most`."""
    text = f"a whole number from {least}" + ("" if most is None else f" to {most}")
    return Accepts(text, lambda value: _is_whole(value) and least <= value and (most is None or value <= most))


def seconds(*, above_zero: bool = False) -> Accepts:
    """A time span."""
    if above_zero:
        return Accepts("seconds, more than 0", lambda value: _is_number(value) and value > 0)
    return Accepts("seconds, from 0", lambda value: _is_number(value) and value >= 0)


def one_of(*choices: str) -> Accepts:
    """One of these words."""
    return Accepts(", ".join(choices), lambda value: isinstance(value, str) and value in choices)


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return isinstance(value, str | bool) or _is_number(value) or _is_table(value)


def _is_table(value: object) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(key, str) and _is_plain(entry) for key, entry in value.items())
    )


def _is_numbers(value: object) -> bool:
    return isinstance(value, frozenset) and all(_is_whole(number) and number > 0 for number in value)


def _is_reason(value: object) -> bool:
    return isinstance(value, str) and len(value.encode("utf-8", "replace")) <= _REASON_BYTES_MAX


PROBABILITY = Accepts("a number above 0, up to 1", lambda value: _is_number(value) and 0 < value <= 1)
TEXT = Accepts("text", lambda value: isinstance(value, str))
GLOB = Accepts("a name, in which * and ? stand for anything", lambda value: isinstance(value, str) and value != "")
NAME = Accepts("a symbol, such as BTCUSDT", lambda value: isinstance(value, str) and value != "")
YES_OR_NO = Accepts("true or false", lambda value: isinstance(value, bool))
NUMBERS = Accepts("a list of whole numbers from 1", _is_numbers)
TABLE = Accepts("a table of names and texts, numbers, true, false, lists or tables", _is_table)
REASON = Accepts("text of at most 123 bytes", _is_reason)
STATUS = Accepts("an HTTP status, 400 to 599", lambda value: _is_whole(value) and 400 <= value <= 599)  # noqa: PLR2004
