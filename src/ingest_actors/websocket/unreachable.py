"""Why a WebSocket could not be opened, and what to try, in words for the person at the console."""

from __future__ import annotations

import http
import re
from typing import Final

from ingest_actors.causes import cause_of
from ingest_actors.errors import ExchangeUnreachable
from ingest_actors.websocket.proxy import ProxyFailed

_SETTING: Final = "BINANCE_WS_URL"
_REFUSED_ADDRESS: Final = (
    "the exchange refuses this address (by region, or after too many requests); do not retry at once, "
    "use another address or region, or BINANCE_WS_URL=wss://data-stream.binance.vision"
)
_STATUS_HINTS: Final = {
    400: "the exchange did not understand the request; check BINANCE_WS_URL, also whether it should be wss://",
    401: "this endpoint needs credentials; check BINANCE_WS_URL",
    403: _REFUSED_ADDRESS,
    404: "there is no such path; BINANCE_WS_URL is the base alone, without /ws or /stream",
    407: "a proxy on the way wants a user name and password; set HTTPS_PROXY=http://user:password@host:port",
    418: "this address is banned for a time for going on after 429; stop connecting from it until the ban is over",
    429: "too many connections from this address (300 in 5 minutes are allowed); wait before the next attempt",
    451: _REFUSED_ADDRESS,
}
_SERVER_ERROR_HINT: Final = "the exchange has trouble of its own; it is worth trying again later"
_REDIRECT_HINT: Final = "something redirects WebSocket connections here; check BINANCE_WS_URL, and proxies on the way"
_SUCCESS_HINT: Final = (
    "a web server answers in the place of the exchange, as where a network wants a log-in first; check the network,"
    " BINANCE_WS_URL, and proxies on the way"
)
_OTHER_STATUS_HINT: Final = "this is not the answer of a WebSocket server; check BINANCE_WS_URL, and proxies on the way"
_CUT_HINT: Final = (
    "it was cut off while opening; check that the port speaks what the URL says (ws:// or wss://), and proxies on the"
    " way"
)
_TLS_HINT: Final = "what answers there speaks TLS; is it wss:// instead of ws://? check BINANCE_WS_URL"

_RETRY_AFTER: Final = re.compile(rb"\r\nretry-after:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)
_TLS_ALERT: Final = b"\x15\x03"
"""How the answer of a TLS server begins to what is no TLS (RFC 8446, section 5.1)."""


def refused_by_status(url: str, status: int, head: bytes) -> ExchangeUnreachable:
    """The handshake was answered with an HTTP status other than 101.

    Args:
        url: what was tried.
        status: the status.
        head: status line and headers as they came.
    """
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    if status < 0:
        return ExchangeUnreachable(url, "what answers there does not speak HTTP", hint=_OTHER_STATUS_HINT)
    retry_after = _RETRY_AFTER.search(head)
    retry_after_s = float(retry_after[1]) if retry_after else None
    hint = _STATUS_HINTS.get(status) or _hint_of_class(status)
    if retry_after_s is not None:
        hint += f"; it asks to wait {retry_after_s:.0f} s"
    return ExchangeUnreachable(
        url, f"HTTP {status} {phrase}".rstrip(), hint=hint, status=status, retry_after_s=retry_after_s
    )


def _hint_of_class(status: int) -> str:
    return {5: _SERVER_ERROR_HINT, 3: _REDIRECT_HINT, 2: _SUCCESS_HINT}.get(status // 100, _OTHER_STATUS_HINT)


def failed_to_connect(url: str, error: BaseException) -> ExchangeUnreachable:
    """The way to the server failed: proxy, name, TCP or TLS.

    Args:
        url: what was tried.
        error: what a connector raised: OSError (ssl.SSLError is one), trio.BrokenResourceError, trio.TooSlowError.
    """
    if isinstance(error, ProxyFailed):
        return ExchangeUnreachable(url, error.cause, hint=error.hint)
    cause, hint = cause_of(error, _SETTING)
    return ExchangeUnreachable(url, cause, hint=hint)


def failed_handshake(url: str, cause: str, *, head: bytes = b"", answered: bool = False) -> ExchangeUnreachable:
    """The connection stood, but no WebSocket came of it.

    Args:
        url: what was tried.
        cause: what happened.
        head: what came of an answer.
        answered: whether it is the answer that is wrong, rather than that none came.
    """
    if head.startswith(_TLS_ALERT):
        return ExchangeUnreachable(url, "what answers there speaks TLS, not HTTP", hint=_TLS_HINT)
    return ExchangeUnreachable(url, cause, hint=_OTHER_STATUS_HINT if answered else _CUT_HINT)
