"""How REST checks a request, and how it refuses. Sans-IO."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_plus

from ingest_actors.simulator.market.candles import DAY_US, HOUR_US, INTERVALS, MINUTE_US
from ingest_actors.simulator.rest_endpoints import Endpoint

_SYMBOL = re.compile(r"[\w\-.]{1,50}")
_NUMBER = re.compile(r"[0-9]{1,20}")
_WINDOW = re.compile(r"([1-9]|[1-5][0-9])m|([1-9]|1[0-9]|2[0-3])h|[1-7]d")
_UNITS_US = {"m": MINUTE_US, "h": HOUR_US, "d": DAY_US}
_TIME_ZONE = re.compile(r"([+-]?)([0-9]{1,2})(?::([0-5][0-9]))?")
_WESTMOST_US, _EASTMOST_US = -12 * HOUR_US, 14 * HOUR_US
_MICROSECONDS_FROM = 10**14
"""Times above this are in microseconds: in milliseconds it would be the year 5138."""
_EARLIEST_US = 1_483_228_800_000_000
"""2017-01-01: earlier times are taken for this one."""
_LATEST_AHEAD_US = 10_000_000
_STATUSES = ("TRADING", "HALT", "BREAK")
"""What may be asked for; there are more."""


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
        offset_us: how far the wanted time zone is ahead of UTC.
        window: length of a rolling window, as sent.
        window_us: the same in microseconds.
    """

    text: Mapping[str, str]
    limit: int
    from_id: int | None
    start_us: int | None
    end_us: int | None
    symbols: tuple[str, ...]
    offset_us: int
    window: str
    window_us: int


def split_query(query: str) -> list[tuple[str, str]]:
    """Names and values of a query string, in the order sent, duplicates included."""
    items = [item.partition("=") for item in query.split("&") if item]
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in items]


def check(endpoint: Endpoint, items: Sequence[tuple[str, str]], *, traded: Collection[str], now_us: int) -> Parameters:
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
    known = endpoint.known
    if len(sent) < len(items):
        raise RestRefusal(-1101, "Duplicate values for a parameter detected.")
    if len(items) > len(known):
        raise RestRefusal(-1101, f"Too many parameters; expected '{len(known)}' and received '{len(items)}'.")
    for name, value in items:
        if name in known and not value:
            raise RestRefusal(-1105, f"Parameter '{name}' was empty.")
    missing = [name for name in endpoint.mandatory if name not in sent]
    if endpoint.either and not any(name in sent for name in endpoint.either):
        missing.append(endpoint.either[0])
    if missing:
        raise RestRefusal(-1102, f"Mandatory parameter '{missing[0]}' was not sent, was empty/null, or malformed.")
    read = sum(name in known for name in sent)
    if read < len(sent):
        raise RestRefusal(
            -1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(sent)}'."
        )
    return _parsed(endpoint, sent, traded, now_us)


def _parsed(endpoint: Endpoint, sent: dict[str, str], traded: Collection[str], now_us: int) -> Parameters:
    if any(sum(name in sent for name in names) > 1 for names in endpoint.exclusive):
        raise _combination()
    symbols = _symbols(sent, traded)
    if endpoint.symbols_max is not None and len(symbols) > endpoint.symbols_max:
        raise _invalid("symbols")
    limit = _number(sent, "limit")
    if limit == 0:
        raise _invalid("limit")
    from_id = _number(sent, "fromId")
    start_us, end_us = _time(sent, "startTime", now_us), _time(sent, "endTime", now_us)
    if from_id is not None and (start_us is not None or end_us is not None):
        raise _combination()
    if "interval" in sent and sent["interval"] not in INTERVALS:
        raise RestRefusal(-1120, "Invalid interval.")
    if "symbolStatus" in sent and sent["symbolStatus"] not in _STATUSES:
        raise RestRefusal(-1122, "Invalid symbolStatus.")
    if sent.get("type", "FULL") not in ("FULL", "MINI"):
        raise _invalid("type")
    window = sent.get("windowSize", "1d")
    if not _WINDOW.fullmatch(window):
        raise _invalid("windowSize")
    return Parameters(
        text=sent,
        limit=min(endpoint.limit_max, endpoint.limit_default if limit is None else limit),
        from_id=from_id,
        start_us=start_us,
        end_us=end_us,
        symbols=symbols,
        offset_us=_offset(sent),
        window=window,
        window_us=int(window[:-1]) * _UNITS_US[window[-1]],
    )


def _symbols(sent: dict[str, str], traded: Collection[str]) -> tuple[str, ...]:
    names: list[str] = []
    if "symbols" in sent:
        try:
            names = json.loads(sent["symbols"])
        except (json.JSONDecodeError, RecursionError):
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
    if not all(name in traded for name in names):
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


def _offset(sent: dict[str, str]) -> int:
    """A time zone such as ``8``, ``-1:00`` or ``05:45``, in microseconds ahead of UTC."""
    found = _TIME_ZONE.fullmatch(sent.get("timeZone", "0"))
    if found is None:
        raise _invalid("timeZone")
    offset_us = int(found[2]) * HOUR_US + int(found[3] or 0) * MINUTE_US
    if found[1] == "-":
        offset_us = -offset_us
    if not _WESTMOST_US <= offset_us <= _EASTMOST_US:
        raise _invalid("timeZone")
    return offset_us


def _illegal(name: str, legal: str) -> RestRefusal:
    return RestRefusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def _invalid(name: str) -> RestRefusal:
    return RestRefusal(-1130, f"Data sent for parameter '{name}' is not valid.")


def _combination() -> RestRefusal:
    return RestRefusal(-1128, "Combination of optional parameters invalid.")
