"""Why a connection could not be opened, and what to try, in words for the person at the console."""

from __future__ import annotations

import errno
import http
import os
import re
import socket
import ssl
from typing import Final

import trio

from ingest_actors.errors import ExchangeUnreachable

_REFUSED_ADDRESS: Final = (
    "the exchange refuses this address (by region, or after too many requests); do not retry at once, "
    "use another address or region, or BINANCE_WS_URL=wss://data-stream.binance.vision"
)
_STATUS_HINTS: Final = {
    400: "the exchange did not understand the request; check the stream names in the URL",
    401: "this endpoint needs credentials; check BINANCE_WS_URL",
    403: _REFUSED_ADDRESS,
    404: "there is no such path; BINANCE_WS_URL is the base alone, without /ws or /stream",
    418: "this address is banned for a time for going on after 429; stop connecting from it until the ban is over",
    429: "too many connections from this address (300 in 5 minutes are allowed); wait before the next attempt",
    451: _REFUSED_ADDRESS,
}
_SERVER_ERROR_HINT: Final = "the exchange has trouble of its own; it is worth trying again later"
_REDIRECT_HINT: Final = "something redirects WebSocket connections here; check BINANCE_WS_URL, and proxies on the way"
_OTHER_STATUS_HINT: Final = "this is not the answer of a WebSocket server; check BINANCE_WS_URL, and proxies on the way"

_OS_HINTS: Final = {
    errno.ECONNREFUSED: "nothing listens there; check host and port of BINANCE_WS_URL, and that the server is up",
    errno.ENETUNREACH: "this machine has no route to the network; check its connection",
    errno.EHOSTUNREACH: "there is no route to that host; check the network and firewalls",
    errno.ETIMEDOUT: "nothing answers there; check firewalls, and whether a proxy is needed",
    errno.ECONNRESET: "something on the way cuts the connection; check firewalls and proxies",
}
_TIMEOUT_HINT: Final = "nothing answers in time; check firewalls, and whether a proxy is needed"
_CUT_HINT: Final = "it was cut off while opening; check that the port speaks what the URL says, and proxies on the way"
_DNS_HINT: Final = "the name is not known; check its spelling in BINANCE_WS_URL and this machine's DNS"

_CERTIFICATE_EXPIRED: Final = 10
_CERTIFICATE_NOT_YET_VALID: Final = 9
_CERTIFICATE_HOSTNAME: Final = (62, 64)
_CA_HINT: Final = (
    "its certificate was signed by nobody that this machine trusts; when the authority is your own, point "
    "SSL_CERT_FILE at its certificate; otherwise something on the way intercepts the connection"
)

_RETRY_AFTER: Final = re.compile(rb"\r\nretry-after:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)


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
        phrase = "no HTTP" if status < 0 else ""
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
    return {5: _SERVER_ERROR_HINT, 3: _REDIRECT_HINT}.get(status // 100, _OTHER_STATUS_HINT)


def failed_to_connect(url: str, error: BaseException) -> ExchangeUnreachable:
    """The way to the server failed: name, TCP or TLS.

    Args:
        url: what was tried.
        error: what a connector raised: OSError (ssl.SSLError is one), trio.BrokenResourceError, trio.TooSlowError.
    """
    error = _root(error)
    if isinstance(error, trio.TooSlowError):
        return ExchangeUnreachable(url, "timed out", hint=_TIMEOUT_HINT)
    if isinstance(error, ssl.SSLCertVerificationError):
        return ExchangeUnreachable(url, f"certificate refused: {error.verify_message}", hint=_certificate_hint(error))
    if isinstance(error, ssl.SSLError):
        return ExchangeUnreachable(url, f"TLS failed: {_reason(error) or error}", hint=_tls_hint(error))
    if isinstance(error, socket.gaierror):
        return ExchangeUnreachable(url, f"name lookup failed: {error.strerror}", hint=_DNS_HINT)
    if isinstance(error, OSError):
        cause = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
        return ExchangeUnreachable(url, cause, hint=_OS_HINTS.get(error.errno or 0, ""))
    return ExchangeUnreachable(url, str(error) or type(error).__name__, hint=_CUT_HINT)


def failed_handshake(url: str, cause: str) -> ExchangeUnreachable:
    """The connection stood, but no WebSocket came of it."""
    return ExchangeUnreachable(url, cause, hint=_CUT_HINT)


def _root(error: BaseException) -> BaseException:
    """`trio.open_tcp_stream` wraps what each address answered; the first of them says most."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError) and isinstance(error, OSError | trio.BrokenResourceError):
        return cause
    return error


def _reason(error: ssl.SSLError) -> str:
    return getattr(error, "reason", None) or ""  # it has none when it was not OpenSSL that raised it


def _certificate_hint(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _CERTIFICATE_HOSTNAME:
        return "the certificate is for another name; check the host in BINANCE_WS_URL, and proxies on the way"
    if error.verify_code in (_CERTIFICATE_EXPIRED, _CERTIFICATE_NOT_YET_VALID):
        return "the certificate's time is over or has not come; check this machine's clock first"
    return _CA_HINT


def _tls_hint(error: ssl.SSLError) -> str:
    if _reason(error) in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return "what answers there does not speak TLS; is it ws:// instead of wss://?"
    return "the two sides could not agree on TLS; check proxies on the way"
