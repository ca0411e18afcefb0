"""Server-sent events: what has changed on the page, once a second, for as many onlookers as there is room for.

Nothing is queued for anybody: who reads slowly is sent the newest picture when there is room again. An answer ends
after `LIFE_S`, and the browser asks for another: so one that has vanished keeps its place no longer than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import trio
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from ingest_actors.console.board import Table
from ingest_actors.console.survey import Query
from ingest_actors.console.view import View

CLIENTS_MAX: Final = 8
"""Pages that are kept up to date at the same time. Each costs a fraction of a millisecond a second."""

LIFE_S: Final = 60.0
"""Longest that one answer lasts."""

RETRY_MS: Final = 500
"""How long a browser waits until it asks for another."""

HEARTBEAT_S: Final = 10.0
"""A comment is sent when nothing else was for so long, so that the page knows that the service is there."""

_HEADERS: Final = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]


class Onlookers:
    """Who has the page open.

    Args:
        view: what there is to be seen.

    Attributes:
        view: as above.
        clients: how many there are.
        closing: set when the service ends: each is told, and its answer ends.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.clients = 0
        self.closing = trio.Event()

    def answer(self, query: Query) -> Events | PlainTextResponse:
        """What to answer to one who asks for events."""
        if self.clients >= CLIENTS_MAX:
            text = f"{CLIENTS_MAX} pages are kept up to date already; close one, or load this one again by hand\n"
            return PlainTextResponse(text, 503, {"retry-after": "10"})
        return Events(self, self.view, query)


class Events:
    """One answer: an ASGI application.

    Args:
        onlookers: where it counts.
        view: what there is to be seen.
        query: which of the streams are looked at.
    """

    def __init__(self, onlookers: Onlookers, view: View, query: Query) -> None:
        self._onlookers = onlookers
        self._view = view
        self._query = query
        self._sent: dict[str, bytes] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client goes away, the service ends, or time is over."""
        self._onlookers.clients += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            if scope["method"] != "HEAD":
                async with trio.open_nursery() as nursery:
                    nursery.cancel_scope.deadline = trio.current_time() + LIFE_S + HEARTBEAT_S
                    nursery.start_soon(_cancel_when_gone, receive, nursery.cancel_scope)
                    await self._tell(send)
                    nursery.cancel_scope.cancel()
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._onlookers.clients -= 1

    async def _tell(self, send: Send) -> None:
        ends_s = trio.current_time() + LIFE_S
        quiet_since_s = trio.current_time()
        await _send(send, b"retry: %d\n\n" % RETRY_MS)
        while trio.current_time() < ends_s and not self._onlookers.closing.is_set():
            board, page = await self._view.look(self._query)
            parts = board.parts()
            if page is not None:
                parts |= {"table-streams": Table(page.rows, page.note), "pages": [page.page, page.pages]}
            changes = self._changes(parts)
            if changes:
                await _send(send, b"data: {%b}\n\n" % b",".join(changes))
                quiet_since_s = trio.current_time()
            elif trio.current_time() - quiet_since_s >= HEARTBEAT_S:
                await _send(send, b": nothing new\n\n")
                quiet_since_s = trio.current_time()
            with trio.move_on_after(self._view.tick_s):
                await self._onlookers.closing.wait()
        if self._onlookers.closing.is_set():
            await _send(send, b"event: bye\ndata: {}\n\n")

    def _changes(self, parts: Mapping[str, Any]) -> list[bytes]:
        """The parts that are not as they were sent before, as members of a JSON object."""
        changes = []
        for name, part in parts.items():
            encoded = msgspec.json.encode(part)
            if self._sent.get(name) != encoded:
                self._sent[name] = encoded
                changes.append(b'"%b":%b' % (name.encode(), encoded))
        return changes


async def _send(send: Send, text: bytes) -> None:
    await send({"type": "http.response.body", "body": text, "more_body": True})


async def _cancel_when_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
