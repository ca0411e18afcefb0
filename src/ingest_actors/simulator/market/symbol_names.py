"""Names of symbols: which are possible, what their assets are, and invented ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, count, islice, product

from ingest_actors.errors import SettingsError

DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "ADAUSDT", "XRPUSDT")

STATUSES = ("TRADING", "END_OF_DAY", "HALT", "BREAK", "CANCEL_ONLY")
"""The statuses that a symbol can have."""

_SYMBOL = re.compile(r"[\w\-.]{1,50}")
_QUOTES = ("USDT", "FDUSD", "USDC", "TUSD", "BUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "JPY", "USD")
_INVENTED_QUOTES = ("USDT", "USDC", "BTC", "TRY", "FDUSD", "EUR", "BNB", "ETH")
_STARTS, _MIDDLES, _ENDS = "BDFGKLMNPRSTVZ", "AEIOU", "XLNRSTKM"


def refused_names(names: Iterable[str]) -> list[str]:
    """What is wrong with names of symbols; empty: nothing. Lowercase ones are fine, they are taken as uppercase."""
    names = list(names)
    problems = [
        f"{name!r}; accepted: 1 to 50 letters or digits of any script, '_', '-', '.'"
        for name in names
        if not _SYMBOL.fullmatch(name.upper())
    ]
    return problems if names else ["none given; at least one symbol is needed"]


def check_status(status: str) -> None:
    """Refuse what is no status of a symbol.

    Raises:
        SettingsError: with those that there are.
    """
    if status not in STATUSES:
        raise SettingsError([f"status {status!r}; accepted: {', '.join(STATUSES)}"])


def invent_symbols(number: int) -> tuple[str, ...]:
    """So many symbols: the five best known, then invented ones; always the same.

    Args:
        number: from 1.
    """
    return tuple(islice(chain(DEFAULT_SYMBOLS, _invented()), number))


def split_symbol(name: str) -> tuple[str, str]:
    """Base and quote asset of a symbol, by the usual quote assets."""
    for quote_asset in _QUOTES:
        if name.endswith(quote_asset) and len(name) > len(quote_asset):
            return name[: -len(quote_asset)], quote_asset
    return name, "USDT"


def _invented() -> Iterator[str]:
    """Endless and without repetition: pronounceable assets, each against one of the usual quotes."""
    for series in count():
        suffix = str(series) if series else ""
        assets = chain(product(_STARTS, _MIDDLES, _ENDS), product(_STARTS, _MIDDLES, _ENDS, _MIDDLES))
        for number, letters in enumerate(map("".join, assets)):
            yield letters + suffix + _INVENTED_QUOTES[number % len(_INVENTED_QUOTES)]
