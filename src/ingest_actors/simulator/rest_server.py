"""The REST side: an ASGI application. Each request passes through one function, in the same steps."""

from __future__ import annotations

from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ingest_actors.simulator.rest_answers import RestAnswers, dump
from ingest_actors.simulator.rest_endpoints import ENDPOINTS, Endpoint
from ingest_actors.simulator.rest_faults import RestFaults, Strike
from ingest_actors.simulator.rest_rules import RestRefusal, check, split_query
from ingest_actors.simulator.rest_weight import RAW_MINUTES, RAW_REQUESTS_MAX, Charge, WeightBudget
from ingest_actors.simulator.source import Source

_TOO_MUCH = (
    "Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
    "Please use WebSocket Streams for live updates to avoid polling the API."
)
_TOO_MANY = (
    "Too many requests; current limit is {limit} requests per {minutes} MINUTE. "
    "Please use WebSocket Streams for live updates to avoid polling the API."
)
_BANNED = (
    "Way too much request weight used; IP banned until {until_ms}. "
    "Please use WebSocket Streams for live updates to avoid bans."
)
_NOT_FOUND = "<html><body><h2>404 Not found</h2></body></html>"
_JSON = "application/json;charset=UTF-8"
_MICROSECONDS = ("MICROSECOND", "microsecond")
_REFUSED, _BANNED_STATUS = 429, 418


def make_rest_app(
    source: Source,
    *,
    weight_per_minute: int,
    raw_requests_max: int = RAW_REQUESTS_MAX,
    strike: Strike = lambda _endpoint: None,
) -> Starlette:
    """An ASGI application that answers ``/api/v3/...`` from a source.

    Args:
        source: what is told.
        weight_per_minute: weight that one address may use.
        raw_requests_max: requests that one address may make within five minutes of the clock.
        strike: what befalls a request of an endpoint; nothing by default.
    """
    faults = RestFaults(strike, source.rest)
    server = _RestServer(source, WeightBudget(weight_per_minute, raw_requests_max), faults)
    routes = [
        Route(f"/api/v3/{endpoint.name}", partial(server.respond, endpoint), methods=["GET"])
        for endpoint in ENDPOINTS.values()
    ]
    return Starlette(routes=routes, exception_handlers={404: _not_found})


async def _not_found(_request: Request, _error: Exception) -> Response:
    return Response(_NOT_FOUND, status_code=404, media_type="text/html")


class _RestServer:
    def __init__(self, source: Source, budget: WeightBudget, faults: RestFaults) -> None:
        self._source = source
        self._faults = faults
        self._budget = budget
        limits = [
            ("REQUEST_WEIGHT", "MINUTE", 1, budget.weight_per_minute),
            ("RAW_REQUESTS", "MINUTE", RAW_MINUTES, budget.raw_requests_max),
        ]
        self._answers = RestAnswers(source.rest, lambda: source.now_ms() * 1000, limits=limits)

    async def respond(self, endpoint: Endpoint, request: Request) -> Response:
        """Answer one request, unless something befalls it."""
        return await self._faults.befall(endpoint.name, request, partial(self._respond, endpoint, request))

    def _respond(self, endpoint: Endpoint, request: Request) -> Response:
        """Charge a request, check it, answer it."""
        items = split_query(request.url.query)
        address = request.client.host if request.client else ""
        charge = self._budget.charge(address, endpoint.weight(dict(items)), self._source.now_ms())
        headers = {"x-mbx-used-weight": str(charge.used), "x-mbx-used-weight-1m": str(charge.used)}
        if charge.status is not None:
            headers["retry-after"] = str(charge.retry_after_s)
        try:
            self._check_charge(charge)
            body, status = self._answer(endpoint, items, request), 200
        except RestRefusal as refusal:
            body, status = dump({"code": refusal.code, "msg": refusal.text}), refusal.status
        return Response(body, status_code=status, headers=headers, media_type=_JSON)

    def _answer(self, endpoint: Endpoint, items: list[tuple[str, str]], request: Request) -> bytes:
        traded = self._source.rest.symbols()
        parameters = check(endpoint, items, traded=traded, now_us=self._source.now_ms() * 1000)
        unit = 1 if request.headers.get("x-mbx-time-unit") in _MICROSECONDS else 1000
        return self._answers.answer(endpoint.name, parameters, unit)

    def _check_charge(self, charge: Charge) -> None:
        if charge.status == _BANNED_STATUS:
            raise RestRefusal(-1003, _BANNED.format(until_ms=charge.banned_until_ms), status=_BANNED_STATUS)
        if charge.status == _REFUSED and charge.too_many:
            text = _TOO_MANY.format(limit=self._budget.raw_requests_max, minutes=RAW_MINUTES)
            raise RestRefusal(-1003, text, status=_REFUSED)
        if charge.status == _REFUSED:
            raise RestRefusal(-1003, _TOO_MUCH.format(limit=self._budget.weight_per_minute), status=_REFUSED)
