"""Which symbols there are, and which of them settings mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import translate
from re import compile as compile_pattern
from typing import NamedTuple

from ingest_actors.binance.names import nearest_name

TRADING = "TRADING"
"""The status in which a symbol's streams flow."""

_PATTERN_CHARACTERS = frozenset("*?[")


class Expanded(NamedTuple):
    """What symbols and patterns amount to."""

    symbols: tuple[str, ...]
    """Upper case, each once: in the order of asking, those of one pattern by name."""
    unknown: dict[str, str]
    """What the exchange does not list or no symbol matches, with the nearest that it lists (empty: none is near)."""


def is_pattern(text: str) -> bool:
    """Whether it stands for all the symbols that look like it."""
    return not _PATTERN_CHARACTERS.isdisjoint(text)


def expand_symbols(wanted: Iterable[str], statuses: Mapping[str, str]) -> Expanded:
    """Find what is meant among what there is.

    Args:
        wanted: symbols in any case, and shell patterns. A pattern means symbols that are trading; a symbol that is
            named is taken in any status, for trading may begin again.
        statuses: of every listed symbol, by its name.
    """
    trading = sorted(symbol for symbol, status in statuses.items() if status == TRADING)
    symbols: dict[str, None] = {}
    unknown: dict[str, str] = {}
    for text in wanted:
        name = text.upper()
        if is_pattern(name):
            matches = compile_pattern(translate(name)).match
            found = [symbol for symbol in trading if matches(symbol)]
        else:
            found = [name] if name in statuses else []
        symbols.update(dict.fromkeys(found))
        if not found:
            unknown[name] = "" if is_pattern(name) else nearest_name(name, statuses)
    return Expanded(tuple(symbols), unknown)
