"""The ASGI application: ``/healthz``, ``/readyz``, ``/metrics``, the page, and what keeps it up to date."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest_actors.console.events import Events, Onlookers
from ingest_actors.console.heartbeat import LAG_MAX_S, Heartbeat
from ingest_actors.console.metrics import metrics_registry, package_version, render_metrics
from ingest_actors.console.page import render_page
from ingest_actors.console.survey import Query
from ingest_actors.console.view import View
from ingest_actors.details import Details
from ingest_actors.logs import get_logger
from ingest_actors.status import Status
from ingest_actors.summary import get_metrics

log = get_logger()

SECURITY_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
            b" base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
        ),
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)

ASSETS: Final = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    **dict.fromkeys(("good.svg", "warn.svg", "bad.svg", "idle.svg"), "image/svg+xml"),
}
"""What the page is made of, and what each is."""

Answer = Callable[[Request], Awaitable[Response | Events]]


def make_app(
    status: Callable[[], Status],
    heartbeat: Heartbeat,
    *,
    instance: str,
    token: str | None = None,
    details: Details | None = None,
) -> Starlette:
    """Build the application; its ``state.onlookers.closing`` is to be set when the service ends.

    Args:
        status: called for each request that shows something of the service; on the trio thread.
        heartbeat: runs elsewhere; ``/healthz`` tells what it measured.
        instance: the service's name, for people.
        token: when given, the page and all that belongs to it ask for it (as a bearer token, or as the password of
            basic authentication, which is what browsers ask for). Health and metrics never do: what polls them has no
            secrets to keep.
        details: tells of single streams, connections and gaps; None: the page does without.
    """
    onlookers = Onlookers(View(status, details))
    page = _Page(status, onlookers, instance=instance)

    def guarded(answer: Answer) -> Answer:
        async def asked(request: Request) -> Response | Events:
            if token is not None and not _authorized(request.headers.get("authorization", ""), token):
                wanted = {"www-authenticate": 'Basic realm="ingest_actors"'}
                return PlainTextResponse("a token is needed\n", 401, wanted)
            return await answer(request)

        return asked

    routes = [
        *_open_to_all(status, heartbeat),
        Route("/", guarded(page.page)),
        Route("/events", guarded(page.events)),
        Route("/assets/{name}", guarded(page.asset)),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(_Guard)])
    app.state.onlookers = onlookers
    return app


def _open_to_all(status: Callable[[], Status], heartbeat: Heartbeat) -> list[Route]:
    """Health, readiness and metrics."""
    registry = metrics_registry(status)

    async def healthz(_request: Request) -> Response:
        lag_s = heartbeat.lag_s()
        healthy = lag_s < LAG_MAX_S
        body = {"status": "ok" if healthy else "the event loop is stalled", "loop_lag_s": round(lag_s, 3)}
        return JSONResponse(body, 200 if healthy else 503)

    async def readyz(_request: Request) -> Response:
        reasons = status().unready()
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def metrics(request: Request) -> Response:
        body, content_type = render_metrics(registry, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]


class _Page:
    """The page, and what belongs to it."""

    def __init__(self, status: Callable[[], Status], onlookers: Onlookers, *, instance: str) -> None:
        self._status = status
        self._onlookers = onlookers
        self._instance = instance
        self._assets = {name: (resources.files(__package__) / "assets" / name).read_bytes() for name in ASSETS}

    async def page(self, request: Request) -> Response:
        """HTML for people, JSON for programs."""
        if "text/html" in request.headers.get("accept", ""):
            query = Query.of(request.query_params)
            board, streams = await self._onlookers.view.look(query)
            page = render_page(board, streams, query, instance=self._instance, version=package_version())
            return HTMLResponse(page)
        links = {"healthz": "/healthz", "readyz": "/readyz", "metrics": "/metrics"}
        return JSONResponse({"instance": self._instance, **get_metrics(self._status()), "links": links})

    async def asset(self, request: Request) -> Response:
        """A file that the page is made of."""
        name = request.path_params["name"]
        if name not in self._assets:
            return PlainTextResponse("Not Found", 404)
        return Response(self._assets[name], headers={"content-type": ASSETS[name]})

    async def events(self, request: Request) -> Response | Events:
        """What has changed, as long as somebody looks."""
        return self._onlookers.answer(Query.of(request.query_params))


class _Guard:
    """Adds the security headers, and turns a bug into a logged 500 instead of a broken connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message["headers"], *SECURITY_HEADERS]}
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send_guarded)
        except Exception as error:
            log.exception("http_request_failed", path=scope["path"], error=repr(error))
            if not started:
                await PlainTextResponse("internal error; see the log\n", 500)(scope, receive, send_guarded)


def _authorized(header: str, token: str) -> bool:
    """Whether an ``Authorization`` header carries the token (RFC 7617, RFC 6750)."""
    scheme, _, credentials = header.partition(" ")
    given = credentials.strip().encode()
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).partition(b":")[2]
        except binascii.Error:
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given, token.encode())
