"""Names of the streams that the exchange has."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ingest_actors.simulator.market.candles import HOUR_US, INTERVALS

_KLINE = re.compile(rf"kline_({'|'.join(INTERVALS)})(@\+08:00)?")
_DEPTH = re.compile(r"depth(5|10|20)?(@100ms|@1000ms)?")
"""The documents do not name ``@1000ms``, which is what nothing means; clients that people use ask for it."""
_ROLLING = re.compile(r"ticker_(1h|4h|1d)")
_ARRAY = re.compile(r"!(?:(miniTicker)|ticker_(1h|4h|1d))@arr")
_PLAIN = frozenset(
    ("trade", "aggTrade", "blockTrade", "bookTicker", "miniTicker", "ticker", "avgPrice", "referencePrice")
)


@dataclass(frozen=True, slots=True)
class StreamName:
    """A stream name, understood.

    Attributes:
        symbol: uppercase; empty for arrays of all symbols.
        kind: ``trade``, ``aggTrade``, ``blockTrade``, ``bookTicker``, ``depth``, ``partial``, ``kline``,
            ``miniTicker``, ``ticker``, ``rolling``, ``avgPrice``, ``referencePrice``.
        option: the interval of a kline, the window of a rolling ticker; else empty.
        levels: of a partial depth.
        fast: depth every 100 ms instead of every second.
        offset_us: how far the time zone of a kline's candles is ahead of UTC.
    """

    symbol: str
    kind: str
    option: str = ""
    levels: int = 0
    fast: bool = False
    offset_us: int = 0


def parse_stream(name: str) -> StreamName | None:
    """Understand a stream name; None: the exchange has no such stream, and would keep silent.

    The symbol must be lowercase; what follows it is case-sensitive.
    """
    array = _ARRAY.fullmatch(name)
    if array:
        return StreamName("", "miniTicker") if array[1] else StreamName("", "rolling", array[2])
    symbol, _, suffix = name.partition("@")
    if symbol != symbol.lower() or not symbol:
        return None
    symbol = symbol.upper()
    if suffix in _PLAIN:
        return StreamName(symbol, suffix)
    kline = _KLINE.fullmatch(suffix)
    if kline:
        return StreamName(symbol, "kline", kline[1], offset_us=8 * HOUR_US if kline[2] else 0)
    depth = _DEPTH.fullmatch(suffix)
    if depth:
        levels = int(depth[1] or 0)
        return StreamName(symbol, "partial" if levels else "depth", levels=levels, fast=depth[2] == "@100ms")
    rolling = _ROLLING.fullmatch(suffix)
    return StreamName(symbol, "rolling", rolling[1]) if rolling else None
