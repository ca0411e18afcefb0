"""The bodies of REST's answers: the exchange's keys in the exchange's order, compact, eight decimals. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from ingest_actors.simulator.market.prices import REFERENCE_BUCKET_US, REFERENCE_BUCKETS
from ingest_actors.simulator.rest_data import AggregateRow, KlineRow, RestData, TradeRow
from ingest_actors.simulator.rest_rules import Parameters, RestRefusal
from ingest_actors.simulator.rest_tickers import TickerAnswers, wanted_symbols

dump = msgspec.json.encode
"""Compact JSON, UTF-8 as it is."""

_RULES = {
    "ruleType": "PRICE_RANGE",
    "bidLimitMultUp": "1.2000",
    "bidLimitMultDown": "0.2000",
    "askLimitMultUp": "5.0000",
    "askLimitMultDown": "0.8000",
}


class RestAnswers:
    """What each endpoint answers.

    Args:
        data: what is told.
        now_us: the exchange's clock.
        limits: of the exchange, as exchangeInfo tells them: kind, interval, number of intervals, limit.
    """

    def __init__(
        self, data: RestData, now_us: Callable[[], int], *, limits: Sequence[tuple[str, str, int, int]]
    ) -> None:
        self._data = data
        self._now_us = now_us
        self._limits = limits
        self._answers: dict[str, Callable[[Parameters, int], bytes]] = {
            "ping": lambda _parameters, _unit: b"{}",
            "time": self._time,
            "exchangeInfo": self._exchange_info,
            "executionRules": self._execution_rules,
            "depth": self._depth,
            "trades": partial(self._trades, lagging=False),
            "historicalTrades": partial(self._trades, lagging=True),
            "historicalBlockTrades": self._block_trades,
            "aggTrades": self._aggregates,
            "klines": self._klines,
            "uiKlines": self._klines,
            "referencePrice": self._reference_price,
            "referencePrice/calculation": self._reference_calculation,
            **TickerAnswers(data).answers,
        }

    def answer(self, endpoint: str, parameters: Parameters, unit: int) -> bytes:
        """The body of an answer.

        Args:
            endpoint: a name of `ingest_actors.simulator.rest_endpoints.ENDPOINTS`.
            parameters: checked.
            unit: by which times in microseconds are divided.

        Raises:
            RestRefusal: it cannot be answered.
        """
        return self._answers[endpoint](parameters, unit)

    def _time(self, _parameters: Parameters, unit: int) -> bytes:
        return b'{"serverTime":%d}' % (self._now_us() // unit)

    def _exchange_info(self, parameters: Parameters, unit: int) -> bytes:
        data = self._data
        infos = [data.symbol_info(symbol) for symbol in parameters.symbols or data.symbols()]
        status = parameters.text.get("symbolStatus")
        if status is not None:
            infos = [info for info in infos if info["status"] == status]
        if "permissions" in parameters.text:
            permissions = _permissions(parameters.text["permissions"])
            infos = [info for info in infos if permissions & _permitted(info)]
        if parameters.text.get("showPermissionSets") == "false":
            infos = [{**info, "permissionSets": []} for info in infos]
        return dump(
            {
                "timezone": "UTC",
                "serverTime": self._now_us() // unit,
                "rateLimits": [
                    {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}
                    for kind, interval, number, limit in self._limits
                ],
                "exchangeFilters": [],
                "symbols": infos,
            }
        )

    def _execution_rules(self, parameters: Parameters, _unit: int) -> bytes:
        data = self._data
        rules = [
            {"symbol": symbol, "rules": [_RULES] if data.reference_price(symbol) else []}
            for symbol in wanted_symbols(data, parameters)
        ]
        return dump({"symbolRules": rules})

    def _depth(self, parameters: Parameters, _unit: int) -> bytes:
        (symbol,) = wanted_symbols(self._data, parameters)
        return self._data.depth(symbol, parameters.limit)

    def _trades(self, parameters: Parameters, unit: int, *, lagging: bool) -> bytes:
        rows = self._data.trades(
            parameters.symbols[0], from_id=parameters.from_id, limit=parameters.limit, lagging=lagging
        )
        return dump([{**_trade(row, unit), "isBestMatch": True} for row in rows])

    def _block_trades(self, parameters: Parameters, unit: int) -> bytes:
        rows = self._data.block_trades(parameters.symbols[0], from_id=parameters.from_id or 0, limit=parameters.limit)
        return dump([_trade(row, unit) for row in rows])

    def _aggregates(self, parameters: Parameters, unit: int) -> bytes:
        rows = self._data.aggregates(
            parameters.symbols[0],
            from_id=parameters.from_id,
            start_us=parameters.start_us,
            end_us=parameters.end_us,
            limit=parameters.limit,
        )
        return dump([_aggregate(row, unit) for row in rows])

    def _klines(self, parameters: Parameters, unit: int) -> bytes:
        rows = self._data.klines(
            parameters.symbols[0],
            parameters.text["interval"],
            start_us=parameters.start_us,
            end_us=parameters.end_us,
            limit=parameters.limit,
            offset_us=parameters.offset_us,
        )
        return dump([_kline(row, unit) for row in rows])

    def _reference_price(self, parameters: Parameters, unit: int) -> bytes:
        (symbol,) = parameters.symbols
        price, at_us = self._reference(symbol)
        return dump({"symbol": symbol, "referencePrice": price, "timestamp": at_us // unit})

    def _reference_calculation(self, parameters: Parameters, _unit: int) -> bytes:
        (symbol,) = wanted_symbols(self._data, parameters)
        self._reference(symbol)
        return dump(
            {
                "symbol": symbol,
                "calculationType": "ARITHMETIC_MEAN",
                "bucketCount": REFERENCE_BUCKETS,
                "bucketWidthMs": REFERENCE_BUCKET_US // 1000,
            }
        )

    def _reference(self, symbol: str) -> tuple[str | None, int]:
        reference = self._data.reference_price(symbol)
        if reference is None:
            raise RestRefusal(-2043, "This symbol doesn't have a reference price.")
        return reference


def _permissions(text: str) -> set[str]:
    """A permission, or a JSON list of them."""
    try:
        given: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:
        given = [text]
    return {str(permission) for permission in given} if isinstance(given, list) else {text}


def _permitted(info: dict[str, Any]) -> set[str]:
    return {permission for permissions in info.get("permissionSets", []) for permission in permissions}


def _trade(row: TradeRow, unit: int) -> dict[str, object]:
    return {
        "id": row.trade_id,
        "price": row.price,
        "qty": row.quantity,
        "quoteQty": row.quote_quantity,
        "time": row.time_us // unit,
        "isBuyerMaker": row.buyer_is_maker,
    }


def _aggregate(row: AggregateRow, unit: int) -> dict[str, object]:
    return {
        "a": row.aggregate_id,
        "p": row.price,
        "q": row.quantity,
        "f": row.first_id,
        "l": row.last_id,
        "T": row.time_us // unit,
        "m": row.buyer_is_maker,
        "M": True,
    }


def _kline(row: KlineRow, unit: int) -> list[object]:
    close = (row.close_us + 1) // unit - 1
    base, quote, taker_base, taker_quote = row.volumes
    return [row.open_us // unit, *row.prices, base, close, quote, row.trades, taker_base, taker_quote, "0"]
