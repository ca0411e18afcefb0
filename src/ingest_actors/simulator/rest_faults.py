"""What goes wrong with REST: it happens to the one place where a request passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ingest_actors.simulator.fault_actions import Action
from ingest_actors.simulator.fault_refusals import RestCutShort, RestError, RestHang, RestLag, RestNotJson
from ingest_actors.simulator.http_errors import default_body, media_type
from ingest_actors.simulator.rest_data import RestData

HANG_MAX_S = 600.0
"""How long an answer hangs that never comes, seconds: no client waits that long, and nothing waits for ever."""

Strike: TypeAlias = Callable[[str], Action | None]
"""What befalls a request of this endpoint."""


class RestFaults:
    """Stands between a request and its answer.

    Args:
        strike: see `Strike`.
        data: what answers are made from; lags when it is told to.
    """

    def __init__(self, strike: Strike, data: RestData) -> None:
        self._strike = strike
        self._data = data

    async def befall(self, endpoint: str, request: Request, answer: Callable[[], Response]) -> Response:
        """The answer, or what becomes of it.

        Args:
            endpoint: without the path before it: ``aggTrades``.
            request: what was asked.
            answer: makes the right answer.
        """
        action = self._strike(endpoint)
        if isinstance(action, RestError):
            return _error(action)
        if isinstance(action, RestNotJson):
            return Response(action.body, media_type="text/html")
        if isinstance(action, RestCutShort):
            return CutShort(answer())
        if isinstance(action, RestLag):
            return self._lagging(action.lag_s, answer)
        if isinstance(action, RestHang) and not await _outlasts(request, action.delay_s):
            return _error(RestError(504))
        return answer()

    def _lagging(self, lag_s: float, answer: Callable[[], Response]) -> Response:
        self._data.extra_lag_us = round(lag_s * 1e6)
        try:
            return answer()
        finally:
            self._data.extra_lag_us = 0


class CutShort(Response):
    """Half of a response, announced as the whole; then the connection ends."""

    def __init__(self, whole: Response) -> None:
        super().__init__(bytes(whole.body), whole.status_code, dict(whole.headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        """Send it. A server ends the connection when no more comes; in memory there is none, and the body ends."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        has_connection = "extensions" in scope
        half = self.body[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": bytes(half), "more_body": has_connection})


def _error(action: RestError) -> Response:
    body = default_body(action.status) if action.body is None else action.body
    headers = {} if action.retry_after_s is None else {"retry-after": str(action.retry_after_s)}
    return Response(body, action.status, headers, media_type=media_type(body))


async def _outlasts(request: Request, delay_s: float | None) -> bool:
    """Wait as long as a client does; whether it is still there when `delay_s` is over (None: never answered)."""
    with trio.move_on_after(HANG_MAX_S if delay_s is None else delay_s):
        while (await request.receive())["type"] != "http.disconnect":
            pass  # the rest of the request
        return False
    return delay_s is not None
