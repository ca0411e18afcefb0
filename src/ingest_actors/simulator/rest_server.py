"""The REST side: an ASGI application."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ingest_actors.simulator.rest_data import AggregateRow, KlineRow, TradeRow
from ingest_actors.simulator.rest_rules import ENDPOINTS, Endpoint, Parameters, RestRefusal, check, split_query
from ingest_actors.simulator.rest_weight import Charge, WeightBudget
from ingest_actors.simulator.source import Source

_TOO_MUCH = (
    "Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
    "Please use WebSocket Streams for live updates to avoid polling the API."
)
_BANNED = (
    "Way too much request weight used; IP banned until {until_ms}. "
    "Please use WebSocket Streams for live updates to avoid bans."
)
_NOT_FOUND = "<html><body><h2>404 Not found</h2></body></html>"
_RAW_REQUESTS_MAX = 300_000


def make_rest_app(source: Source, *, weight_per_minute: int) -> Starlette:
    """An ASGI application that answers ``/api/v3/...`` from a source.

    Args:
        source: what is told.
        weight_per_minute: what one address may use.
    """
    server = _RestServer(source, WeightBudget(weight_per_minute))
    routes = [
        Route(f"/api/v3/{endpoint.name}", partial(server.answer, endpoint), methods=["GET"])
        for endpoint in ENDPOINTS.values()
    ]
    return Starlette(routes=routes, exception_handlers={404: _not_found})


async def _not_found(_request: Request, _error: Exception) -> Response:
    return Response(_NOT_FOUND, status_code=404, media_type="text/html")


class _RestServer:
    def __init__(self, source: Source, budget: WeightBudget) -> None:
        self._source = source
        self._budget = budget
        self._answers: dict[str, Callable[[Parameters, int], bytes]] = {
            "ping": lambda _parameters, _unit: b"{}",
            "time": self._time,
            "exchangeInfo": self._exchange_info,
            "depth": self._depth,
            "trades": partial(self._trades, lagging=False),
            "historicalTrades": partial(self._trades, lagging=True),
            "aggTrades": self._aggregates,
            "klines": self._klines,
            "uiKlines": self._klines,
        }

    async def answer(self, endpoint: Endpoint, request: Request) -> Response:
        """Answer one request."""
        items = split_query(request.url.query)
        now_ms = self._source.now_ms()
        address = request.client.host if request.client else ""
        charge = self._budget.charge(address, endpoint.weight(dict(items)), now_ms)
        headers = {"x-mbx-used-weight": str(charge.used), "x-mbx-used-weight-1m": str(charge.used)}
        try:
            self._check_charge(charge)
            traded = self._source.rest.symbols()
            parameters = check(endpoint, items, traded=traded, now_us=now_ms * 1000)
            unit = 1 if request.headers.get("x-mbx-time-unit", "").lower() == "microsecond" else 1000
            body, status = self._answers[endpoint.name](parameters, unit), 200
        except RestRefusal as refusal:
            body, status = _dump({"code": refusal.code, "msg": refusal.text}), refusal.status
            if charge.status:
                headers["retry-after"] = str(charge.retry_after_s)
        return Response(body, status_code=status, headers=headers, media_type="application/json;charset=UTF-8")

    def _check_charge(self, charge: Charge) -> None:
        if charge.status == 429:  # noqa: PLR2004 - HTTP's number
            raise RestRefusal(-1003, _TOO_MUCH.format(limit=self._budget.weight_per_minute), status=429)
        if charge.status is not None:
            raise RestRefusal(-1003, _BANNED.format(until_ms=charge.banned_until_ms), status=charge.status)

    def _time(self, _parameters: Parameters, unit: int) -> bytes:
        return b'{"serverTime":%d}' % (self._source.now_ms() * 1000 // unit)

    def _exchange_info(self, parameters: Parameters, unit: int) -> bytes:
        rest = self._source.rest
        wanted = parameters.symbols or rest.symbols()
        if parameters.symbols and "symbolStatus" in parameters.text:
            raise RestRefusal(-1128, "Combination of optional parameters invalid.")
        status = parameters.text.get("symbolStatus")
        infos = [rest.symbol_info(symbol) for symbol in wanted]
        limits = [
            ("REQUEST_WEIGHT", "MINUTE", 1, self._budget.weight_per_minute),
            ("RAW_REQUESTS", "MINUTE", 5, _RAW_REQUESTS_MAX),
        ]
        return _dump(
            {
                "timezone": "UTC",
                "serverTime": self._source.now_ms() * 1000 // unit,
                "rateLimits": [
                    {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}
                    for kind, interval, number, limit in limits
                ],
                "exchangeFilters": [],
                "symbols": [info for info in infos if status in (None, info["status"])],
            }
        )

    def _depth(self, parameters: Parameters, _unit: int) -> bytes:
        return self._source.rest.depth(parameters.symbols[0], parameters.limit)

    def _trades(self, parameters: Parameters, unit: int, *, lagging: bool) -> bytes:
        rows = self._source.rest.trades(
            parameters.symbols[0], from_id=parameters.from_id, limit=parameters.limit, lagging=lagging
        )
        return _dump([_trade(row, unit) for row in rows])

    def _aggregates(self, parameters: Parameters, unit: int) -> bytes:
        rows = self._source.rest.aggregates(
            parameters.symbols[0],
            from_id=parameters.from_id,
            start_us=parameters.start_us,
            end_us=parameters.end_us,
            limit=parameters.limit,
        )
        return _dump([_aggregate(row, unit) for row in rows])

    def _klines(self, parameters: Parameters, unit: int) -> bytes:
        rows = self._source.rest.klines(
            parameters.symbols[0],
            parameters.text["interval"],
            start_us=parameters.start_us,
            end_us=parameters.end_us,
            limit=parameters.limit,
        )
        return _dump([_kline(row, unit) for row in rows])


def _trade(row: TradeRow, unit: int) -> dict[str, object]:
    return {
        "id": row.trade_id,
        "price": row.price,
        "qty": row.quantity,
        "quoteQty": row.quote_quantity,
        "time": row.time_us // unit,
        "isBuyerMaker": row.buyer_is_maker,
        "isBestMatch": True,
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


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
