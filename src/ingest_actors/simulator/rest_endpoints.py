"""REST's endpoints: what each accepts and what it weighs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_NUMBER = re.compile(r"[0-9]{1,20}")
Sent = Mapping[str, str]
"""Parameters as sent, decoded, not checked."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint's rules.

    Attributes:
        name: below ``/api/v3/``.
        weight: what a request costs, by its parameters, good or bad.
        mandatory: parameters that must be sent, in the order in which they are checked.
        optional: parameters that may be sent.
        either: parameters of which exactly one must be sent.
        exclusive: sets of parameters of which at most one may be sent.
        limit_default: items when no limit is given.
        limit_max: most items; a higher limit counts as this one.
        symbols_max: most symbols in one request.
    """

    name: str
    weight: Callable[[Sent], int]
    mandatory: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    either: tuple[str, ...] = ()
    exclusive: tuple[tuple[str, ...], ...] = ()
    limit_default: int = 500
    limit_max: int = 1000
    symbols_max: int | None = None

    @property
    def known(self) -> tuple[str, ...]:
        """All parameters that it reads."""
        return self.mandatory + self.either + self.optional


def _costs(weight: int) -> Callable[[Sent], int]:
    return lambda _sent: weight


def _depth_weight(sent: Sent) -> int:
    text = sent.get("limit", "100")
    limit = int(text) if _NUMBER.fullmatch(text) else 100
    for limit_max, weight in ((100, 5), (500, 25), (1000, 50)):
        if limit <= limit_max:
            return weight
    return 250


def _symbols_named(sent: Sent) -> int | None:
    """How many symbols a request names; None: none, which means all."""
    if "symbols" not in sent:
        return 1 if "symbol" in sent else None
    try:
        names = json.loads(sent["symbols"])
    except (json.JSONDecodeError, RecursionError):
        return 1
    return len(names) if isinstance(names, list) else 1


def _day_ticker_weight(sent: Sent) -> int:
    named = _symbols_named(sent)
    for named_max, weight in ((20, 2), (100, 40)):
        if named is not None and named <= named_max:
            return weight
    return 80


def _costs_by_symbol(weight: int, *, most: int, all_symbols: int) -> Callable[[Sent], int]:
    def of(sent: Sent) -> int:
        named = _symbols_named(sent)
        return all_symbols if named is None else min(most, weight * max(1, named))

    return of


def _price_weight(sent: Sent) -> int:
    return 2 if "symbol" in sent else 4


_ONE_OR_SOME = (("symbol", "symbols"),)
_WINDOWED = _costs_by_symbol(4, most=200, all_symbols=4)
_CANDLES = ("startTime", "endTime", "timeZone", "limit")

ENDPOINTS = {
    endpoint.name: endpoint
    for endpoint in (
        Endpoint("ping", _costs(1)),
        Endpoint("time", _costs(1)),
        Endpoint(
            "exchangeInfo",
            _costs(20),
            optional=("symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"),
            exclusive=(("symbol", "symbols", "permissions"), ("symbol", "symbolStatus"), ("symbols", "symbolStatus")),
        ),
        Endpoint(
            "executionRules",
            _costs_by_symbol(2, most=40, all_symbols=40),
            optional=("symbol", "symbols", "symbolStatus"),
            exclusive=(("symbol", "symbols", "symbolStatus"),),
        ),
        Endpoint("depth", _depth_weight, ("symbol",), ("limit", "symbolStatus"), limit_default=100, limit_max=5000),
        Endpoint("trades", _costs(25), ("symbol",), ("limit",)),
        Endpoint("historicalTrades", _costs(25), ("symbol",), ("limit", "fromId")),
        Endpoint("historicalBlockTrades", _costs(25), ("symbol", "fromId"), ("limit",)),
        Endpoint("aggTrades", _costs(4), ("symbol",), ("fromId", "startTime", "endTime", "limit")),
        Endpoint("klines", _costs(2), ("symbol", "interval"), _CANDLES),
        Endpoint("uiKlines", _costs(2), ("symbol", "interval"), _CANDLES),
        Endpoint("avgPrice", _costs(2), ("symbol",)),
        Endpoint("referencePrice", _costs(2), ("symbol",)),
        Endpoint("referencePrice/calculation", _costs(2), ("symbol",), ("symbolStatus",)),
        Endpoint(
            "ticker/24hr", _day_ticker_weight, optional=("symbol", "symbols", "type", "symbolStatus"),
            exclusive=_ONE_OR_SOME,
        ),
        Endpoint(
            "ticker/tradingDay", _WINDOWED, (), ("timeZone", "type", "symbolStatus"), ("symbol", "symbols"),
            _ONE_OR_SOME, symbols_max=100,
        ),
        Endpoint(
            "ticker", _WINDOWED, (), ("windowSize", "type", "symbolStatus"), ("symbol", "symbols"),
            _ONE_OR_SOME, symbols_max=100,
        ),
        Endpoint(
            "ticker/price", _price_weight, optional=("symbol", "symbols", "symbolStatus"), exclusive=_ONE_OR_SOME
        ),
        Endpoint(
            "ticker/bookTicker", _price_weight, optional=("symbol", "symbols", "symbolStatus"), exclusive=_ONE_OR_SOME
        ),
    )
}  # fmt: skip
"""The endpoints there are."""
