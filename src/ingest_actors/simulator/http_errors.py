"""HTTP errors as they come with handshakes and REST: the bodies that go with a status, when nobody wants another."""

from __future__ import annotations

import json
from http import HTTPStatus

_MESSAGES = {
    418: (-1003, "Way too many requests; IP banned. Wait for as long as Retry-After says."),
    429: (-1003, "Too many requests. Wait for as long as Retry-After says."),
    451: (0, "Service unavailable from a restricted location."),
    500: (-1000, "An unknown error occurred while processing the request."),
    503: (-1008, "Server is currently overloaded with other requests. Please try again in a few minutes."),
    504: (-1007, "Timeout waiting for response from backend server. Send status unknown; execution status unknown."),
}


def default_body(status: int) -> str:
    """JSON where the exchange itself answers, a page where something in front of it does (403, 502, ...)."""
    if status in _MESSAGES:
        code, text = _MESSAGES[status]
        return json.dumps({"code": code, "msg": text}, separators=(",", ":"))
    return f"<html><body><h2>{status} {phrase(status)}</h2></body></html>"


def phrase(status: int) -> str:
    """The words that go with a status; empty for one that nobody knows."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def media_type(body: str) -> str:
    """What kind of body this is."""
    return "application/json;charset=UTF-8" if body.startswith(("{", "[")) else "text/html"
