"""What REST's endpoints accept, and how they refuse. Sans-IO."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_plus

from ingest_actors.simulator.market.candles import INTERVALS

_SYMBOL = re.compile(r"[\w\-.]{1,50}")
_NUMBER = re.compile(r"[0-9]{1,20}")
_MICROSECONDS_FROM = 10**14
"""Times above this are in microseconds: in milliseconds it would be the year 5138."""
_EARLIEST_US = 1_483_228_800_000_000
"""2017-01-01: earlier times are taken for this one."""
_LATEST_AHEAD_US = 10_000_000


class RestRefusal(Exception):
    """The answer to a bad request.

    Attributes:
        status: of HTTP.
        code: the exchange's own, negative.
        text: for people.
    """

    def __init__(self, code: int, text: str, *, status: int = 400) -> None:
        super().__init__(code, text)
        self.status = status
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Parameters:
    """A request's parameters, checked.

    Attributes:
        text: as sent, decoded.
        limit: how many items are wanted, within the endpoint's bounds.
        from_id: the id that the answer is to start with.
        start_us: earliest time wanted, microseconds, inclusive.
        end_us: latest time wanted, microseconds, inclusive.
        symbols: the symbols asked for; empty: none was named.
    """

    text: Mapping[str, str]
    limit: int
    from_id: int | None
    start_us: int | None
    end_us: int | None
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint's rules.

    Attributes:
        name: below ``/api/v3/``.
        weight: what a request costs, by its parameters.
        mandatory: parameters that must be sent, in the order in which they are checked.
        optional: parameters that may be sent.
        limit_default: items when no limit is given.
        limit_max: most items; a higher limit counts as this one.
    """

    name: str
    weight: Callable[[Mapping[str, str]], int]
    mandatory: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    limit_default: int = 500
    limit_max: int = 1000


def _depth_weight(parameters: Mapping[str, str]) -> int:
    text = parameters.get("limit", "100")
    limit = int(text) if _NUMBER.fullmatch(text) else 100
    for limit_max, weight in ((100, 5), (500, 25), (1000, 50)):
        if limit <= limit_max:
            return weight
    return 250


def _costs(weight: int) -> Callable[[Mapping[str, str]], int]:
    return lambda _parameters: weight


ENDPOINTS = {
    endpoint.name: endpoint
    for endpoint in (
        Endpoint("ping", _costs(1)),
        Endpoint("time", _costs(1)),
        Endpoint(
            "exchangeInfo",
            _costs(20),
            optional=("symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"),
        ),
        Endpoint("depth", _depth_weight, ("symbol",), ("limit", "symbolStatus"), 100, 5000),
        Endpoint("trades", _costs(25), ("symbol",), ("limit",)),
        Endpoint("historicalTrades", _costs(25), ("symbol",), ("limit", "fromId")),
        Endpoint("aggTrades", _costs(4), ("symbol",), ("fromId", "startTime", "endTime", "limit")),
        Endpoint("klines", _costs(2), ("symbol", "interval"), ("startTime", "endTime", "timeZone", "limit")),
        Endpoint("uiKlines", _costs(2), ("symbol", "interval"), ("startTime", "endTime", "timeZone", "limit")),
    )
}
"""The endpoints there are."""


def split_query(query: str) -> list[tuple[str, str]]:
    """Names and values of a query string, in the order sent, duplicates included."""
    items = [item.partition("=") for item in query.split("&") if item]
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in items]


def check(endpoint: Endpoint, items: Sequence[tuple[str, str]], *, traded: Sequence[str], now_us: int) -> Parameters:
    """Check a request.

    Args:
        endpoint: what was asked.
        items: the parameters, in the order sent.
        traded: every symbol there is.
        now_us: the exchange's clock.

    Raises:
        RestRefusal: as the exchange would refuse it.
    """
    sent = dict(items)
    known = endpoint.mandatory + endpoint.optional
    if len(sent) < len(items):
        raise RestRefusal(-1101, "Duplicate values for a parameter detected.")
    if len(items) > len(known):
        raise RestRefusal(-1101, f"Too many parameters; expected '{len(known)}' and received '{len(items)}'.")
    for name, value in items:
        if name in known and not value:
            raise RestRefusal(-1105, f"Parameter '{name}' was empty.")
    for name in endpoint.mandatory:
        if name not in sent:
            raise RestRefusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    read = sum(name in known for name in sent)
    if read < len(sent):
        raise RestRefusal(
            -1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(sent)}'."
        )
    return _parsed(endpoint, sent, traded, now_us)


def _parsed(endpoint: Endpoint, sent: dict[str, str], traded: Sequence[str], now_us: int) -> Parameters:
    symbols = _symbols(sent, traded)
    limit = _number(sent, "limit")
    if limit == 0:
        raise RestRefusal(-1130, "Data sent for parameter 'limit' is not valid.")
    from_id = _number(sent, "fromId")
    start_us, end_us = _time(sent, "startTime", now_us), _time(sent, "endTime", now_us)
    if from_id is not None and (start_us is not None or end_us is not None):
        raise RestRefusal(-1128, "Combination of optional parameters invalid.")
    if "interval" in sent and sent["interval"] not in INTERVALS:
        raise RestRefusal(-1120, "Invalid interval.")
    if "symbolStatus" in sent and sent["symbolStatus"] not in ("TRADING", "HALT", "BREAK"):
        raise RestRefusal(-1122, "Invalid symbolStatus.")
    return Parameters(
        text=sent,
        limit=min(endpoint.limit_max, endpoint.limit_default if limit is None else limit),
        from_id=from_id,
        start_us=start_us,
        end_us=end_us,
        symbols=symbols,
    )


def _symbols(sent: dict[str, str], traded: Sequence[str]) -> tuple[str, ...]:
    names: list[str] = []
    if "symbols" in sent:
        if "symbol" in sent:
            raise RestRefusal(-1128, "Combination of optional parameters invalid.")
        try:
            names = json.loads(sent["symbols"])
        except json.JSONDecodeError:
            names = []
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise _illegal("symbols", r'^\[("[\w\-._&&[^a-z]]{1,50}"(,"[\w\-._&&[^a-z]]{1,50}"){0,}){0,1}\]$')
    elif "symbol" in sent:
        names = [sent["symbol"]]
    for name in names:
        if not _SYMBOL.fullmatch(name) or name != name.upper():
            raise _illegal("symbol", r"^[\w\-._&&[^a-z]]{1,50}$")
    if len(set(names)) < len(names):
        raise RestRefusal(-1151, "Symbol is present multiple times in the list.")
    if not set(traded).issuperset(names):
        raise RestRefusal(-1121, "Invalid symbol.")
    return tuple(names)


def _number(sent: dict[str, str], name: str) -> int | None:
    value = sent.get(name)
    if value is None:
        return None
    if not _NUMBER.fullmatch(value):
        raise _illegal(name, "^[0-9]{1,20}$")
    return int(value)


def _time(sent: dict[str, str], name: str, now_us: int) -> int | None:
    """A time in microseconds, whichever unit it came in; a bound in milliseconds includes all of the last one."""
    value = _number(sent, name)
    if value is None:
        return None
    if value < _MICROSECONDS_FROM:
        value = value * 1000 + (999 if name == "endTime" else 0)
    return min(max(value, _EARLIEST_US), now_us + _LATEST_AHEAD_US)


def _illegal(name: str, legal: str) -> RestRefusal:
    return RestRefusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")
