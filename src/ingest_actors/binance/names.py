"""Stream names: ``btcusdt@depth@100ms``, ``!miniTicker@arr``; which there are, and which cannot stand together."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from ingest_actors.binance.stream_table import KINDS

STREAM_TYPES: tuple[str, ...] = tuple(name for kind in KINDS for name in kind.stream_types)
"""What may follow a symbol's ``@``."""

ARRAY_STREAMS: tuple[str, ...] = tuple(name for kind in KINDS for name in kind.arrays)
"""Streams of all symbols at once."""

_RETIRED = {
    "!ticker@arr": "the exchange retired it on 2026-03-26; use ticker with the symbols wanted, or !miniTicker@arr",
    "!bookTicker": "the exchange retired it in December 2022; use bookTicker with the symbols wanted",
    "!bookTicker@arr": "the exchange retired it in December 2022; use bookTicker with the symbols wanted",
}
_SETTING = "BINANCE_STREAM_TYPES"
_ACCEPTED = (
    "accepted: aggTrade, trade, blockTrade, depth, depth@100ms, depth5, depth10, depth20 (also @100ms), bookTicker,"
    " kline_1m and other intervals (also @+08:00), miniTicker, ticker, ticker_1h, ticker_4h, ticker_1d, avgPrice,"
    " referencePrice, !miniTicker@arr, !ticker_1h@arr, !ticker_4h@arr, !ticker_1d@arr"
)
_SYMBOL_AND_TYPE = re.compile(r"[\w\-.]+@(?P<type>.+)")
_SPEED = re.compile(r"(?P<depth>depth\d*)@\d+ms")


def stream_type_problems(types: Sequence[str]) -> list[str]:
    """What is wrong with stream types, one text for each problem, for people; empty when nothing is.

    Args:
        types: as in ``BINANCE_STREAM_TYPES``.
    """
    if not types:
        return [f"{_SETTING}=: nothing to subscribe; {_ACCEPTED}"]
    names = list(dict.fromkeys(types))
    problems = [f"{_SETTING}={name}: {_unknown(name)}" for name in names if name not in STREAM_TYPES + ARRAY_STREAMS]
    alike: dict[str, str] = {}
    for name in names:
        other = alike.setdefault(_record_form(name), name)
        if other != name:
            problems.append(f"{_SETTING}={other},{name}: the two cannot be told apart in Kafka; choose one of them")
    return problems


def _record_form(name: str) -> str:
    """What records of a stream type look like: those of the same form differ in nothing that tells their stream."""
    if name in ("depth", "depth@100ms"):
        return "depth"
    return name.removeprefix("!").removesuffix("@arr")


def _unknown(name: str) -> str:
    if name in _RETIRED:
        return _RETIRED[name]
    with_symbol = _SYMBOL_AND_TYPE.fullmatch(name)
    if with_symbol and with_symbol["type"] in STREAM_TYPES:
        return f"leave the symbol out, it comes from BINANCE_SYMBOLS: {with_symbol['type']}"
    speed = _SPEED.fullmatch(name)
    if speed and speed["depth"] in STREAM_TYPES:
        return f"the exchange has no such speed; accepted: {speed['depth']}, {speed['depth']}@100ms"
    nearest = nearest_name(name, STREAM_TYPES + ARRAY_STREAMS)
    return f"the exchange has no such stream; {f'did you mean {nearest}?' if nearest else _ACCEPTED}"


def nearest_name(name: str, names: Iterable[str]) -> str:
    """The name most like one that does not exist; case counts for little. Empty when none is near enough."""
    by_folded: dict[str, str] = {}
    for known in names:
        by_folded.setdefault(known.casefold(), known)
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else ""


def streams_for(symbols: Iterable[str], types: Sequence[str]) -> list[str]:
    """The names of all streams to subscribe, each once: symbol by symbol, then those of all symbols.

    Args:
        symbols: in any case; a name in upper case would be acknowledged by the exchange and stay silent for ever.
        types: those that `stream_type_problems` has nothing against.
    """
    own = [name for name in types if not name.startswith("!")]
    arrays = [name for name in types if name.startswith("!")]
    return list(dict.fromkeys([f"{symbol.lower()}@{name}" for symbol in symbols for name in own] + arrays))
