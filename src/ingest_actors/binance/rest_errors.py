"""What went wrong with a REST request, in words for the person at the console."""

from __future__ import annotations

import http
import ssl
from collections.abc import Mapping
from typing import Final

import httpx
import msgspec
import trio

from ingest_actors.causes import cause_of, root_of
from ingest_actors.errors import ExchangeUnreachable, IngestError
from ingest_actors.proxies import Proxy

_SETTING: Final = "BINANCE_REST_URL"
_REFUSED_ADDRESS: Final = (
    "the exchange refuses this address, by region or by rule; use another address, or"
    " BINANCE_REST_URL=https://data-api.binance.vision, which serves market data alone"
)
_HINTS: Final = {
    403: _REFUSED_ADDRESS,
    404: "there is no such path; BINANCE_REST_URL is the base alone, without /api/v3",
    407: "the proxy wants a user name and password; check HTTPS_PROXY",
    418: "this address is banned for a time, for asking on after 429; ask nothing until the ban is over",
    429: "this address has used up its weight of this minute; lower REST_WEIGHT_PER_MINUTE when others share it",
    451: _REFUSED_ADDRESS,
}
_LEFT_ALONE: Final = (
    "its last answer says why: 429 and 418 pass by themselves; at 403 or 451 use another address, or"
    " BINANCE_REST_URL=https://data-api.binance.vision, which serves market data alone"
)
_TROUBLE_HINT: Final = "the exchange has trouble of its own; it is worth trying again later"
_ADDRESS_HINT: Final = "this is no answer of the exchange; check BINANCE_REST_URL, and proxies on the way"
_NETWORK_HINT: Final = (
    "check host and port of BINANCE_REST_URL, DNS, firewalls, and whether a proxy is needed (HTTPS_PROXY)"
)
_PROXY_HINT: Final = "the proxy does not lead to the exchange; check HTTPS_PROXY and NO_PROXY"
_BODY_SHOWN_MAX: Final = 200
_SERVER_ERROR: Final = 500


class RequestRefused(IngestError):
    """The exchange understood a question and refuses to answer it.

    Attributes:
        url: what was asked.
        code: the exchange's error code, e.g. -1121; match on it, for the texts change.
        text: its own words.
        status: the HTTP status.
    """

    def __init__(self, url: str, code: int, text: str, status: int) -> None:
        self.url = url
        self.code = code
        self.text = text
        self.status = status
        super().__init__(url, code)

    def __str__(self) -> str:
        return f"the exchange refused {self.url}: {self.text} (code {self.code})"


class _Problem(msgspec.Struct, gc=False):
    code: int
    msg: str = ""


def failed_to_ask(url: str, error: Exception, *, proxy: Proxy | None = None) -> ExchangeUnreachable:
    """No answer came.

    Args:
        url: what was asked.
        error: what httpx, the system or a deadline raised.
        proxy: through which it was asked, if any.
    """
    root = root_of(error)
    if isinstance(error, httpx.TimeoutException) or isinstance(root, trio.TooSlowError):
        cause, hint = "timed out", _NETWORK_HINT
    elif isinstance(root, OSError):
        cause, hint = cause_of(root, _SETTING)
    else:
        cause = str(error) or type(error).__name__
        hint = _PROXY_HINT if isinstance(error, httpx.ProxyError) else ""
    if proxy is None:
        return ExchangeUnreachable(url, cause, hint=hint or _NETWORK_HINT)
    if isinstance(error, httpx.ProxyError) or (isinstance(root, OSError) and not isinstance(root, ssl.SSLError)):
        cause, hint = f"proxy {proxy.shown}: {cause}", _PROXY_HINT
    else:
        cause, hint = f"{cause} (through the proxy {proxy.shown})", hint or _PROXY_HINT
    return ExchangeUnreachable(url, cause, hint=hint.replace("HTTPS_PROXY", proxy.variable))


def answered_badly(url: str, cause: str) -> ExchangeUnreachable:
    """Something answered, but not as the exchange does."""
    return ExchangeUnreachable(url, cause, hint=_ADDRESS_HINT)


def kept_away(url: str, seconds: float) -> ExchangeUnreachable:
    """It was not even asked, because it has just banned or refused this address, or asked to wait."""
    return ExchangeUnreachable(
        url,
        f"not asked: the exchange has refused this address, and is left alone for another {seconds:.0f} s",
        hint=_LEFT_ALONE,
        retry_after_s=seconds,
    )


def refused(
    url: str, status: int, headers: Mapping[str, str], body: bytes, *, proxy: Proxy | None = None
) -> IngestError:
    """An answer with another HTTP status than 200.

    Args:
        url: what was asked.
        status: the HTTP status.
        headers: of the answer; ``retry-after`` is read.
        body: of the answer; the exchange's own error, or a page of whatever stands on the way.
        proxy: through which it was asked, if any.
    """
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = None
    if problem is not None and status not in _HINTS and status < _SERVER_ERROR:
        return RequestRefused(url, problem.code, problem.msg[:_BODY_SHOWN_MAX], status)
    try:
        cause = f"HTTP {status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        cause = f"HTTP {status}"
    if problem is not None:
        cause += f": {problem.msg[:_BODY_SHOWN_MAX]} (code {problem.code})"
    hint = _HINTS.get(status) or (_TROUBLE_HINT if status >= _SERVER_ERROR else _ADDRESS_HINT)
    if proxy is not None and problem is None and url.startswith("http://"):  # no tunnel, so it may speak for itself
        hint = f"{hint.replace('HTTPS_PROXY', proxy.variable)}; it may be the proxy {proxy.shown} that says so"
    seconds = headers.get("retry-after", "")
    retry_after_s = float(seconds) if seconds.isdecimal() else None
    if retry_after_s is not None:
        hint += f"; it asks to wait {retry_after_s:.0f} s"
    return ExchangeUnreachable(url, cause, hint=hint, status=status, retry_after_s=retry_after_s)
