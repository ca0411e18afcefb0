"""Why a host could not be reached - name, TCP or TLS - and what to try, in words for the person at the console."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final, NamedTuple

import trio


class Cause(NamedTuple):
    """What went wrong, and what to try."""

    text: str
    hint: str


_OS_HINTS: Final = {
    errno.ECONNREFUSED: "nothing listens there; check host and port of {setting}, and that the server is up",
    errno.ENETUNREACH: "this machine has no route to the network; check its connection",
    errno.EHOSTUNREACH: "there is no route to that host; check the network and firewalls",
    errno.ETIMEDOUT: "nothing answers there; check firewalls, and whether a proxy is needed (HTTPS_PROXY)",
    errno.ECONNRESET: "something on the way cuts the connection; check firewalls and proxies",
    errno.EMFILE: "this process has too many files and connections open; raise its limit (ulimit -n)",
}
_TIMEOUT_HINT: Final = "nothing answers in time; check firewalls, and whether a proxy is needed (HTTPS_PROXY)"
_CUT_HINT: Final = "it was cut off while opening; check that the port speaks what the URL says, and proxies on the way"
_NO_SUCH_NAME_HINT: Final = "there is no such name; check its spelling in {setting}, and this machine's DNS"
_NO_DNS_HINT: Final = (
    "DNS does not answer at the moment: this machine's resolver or its network is down, so no name can be looked up;"
    " it is tried again"
)
_UNKNOWN_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})

_CERTIFICATE_EXPIRED: Final = 10
_CERTIFICATE_NOT_YET_VALID: Final = 9
_CERTIFICATE_HOSTNAME: Final = (62, 64)
_CA_HINT: Final = (
    "its certificate was signed by nobody that this machine trusts; when the authority is your own, point "
    "SSL_CERT_FILE at its certificate; otherwise something on the way intercepts the connection"
)
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
"""OpenSSL's reasons when what comes is no TLS at all; which of them depends on its version and on the bytes."""


def cause_of(error: BaseException, setting: str) -> Cause:
    """Explain a failure to reach a host.

    Args:
        error: what opening a connection raised: OSError (`ssl.SSLError` and `socket.gaierror` are such),
            `trio.BrokenResourceError`, `trio.TooSlowError`; wrapped or not.
        setting: the name of what holds the host's address, for the hint.
    """
    text, hint = _cause_of(root_of(error), setting)
    return Cause(text, hint.format(setting=setting))


def root_of(error: BaseException) -> BaseException:
    """What is behind an exception that wraps a failure of the network; the exception itself when nothing is.

    `trio.open_tcp_stream` wraps what each address answered in a group; the first of them says most. TLS wraps too.
    """
    found = error
    seen: set[int] = set()
    inner: BaseException | None = error
    while inner is not None and id(inner) not in seen:
        seen.add(id(inner))
        if isinstance(inner, BaseExceptionGroup):
            inner = inner.exceptions[0]
            continue
        if isinstance(inner, OSError | trio.TooSlowError):
            found = inner
        inner = inner.__cause__ or inner.__context__  # httpcore hides what it translates, but keeps it as context
    return found


def _cause_of(error: BaseException, setting: str) -> Cause:
    if isinstance(error, trio.TooSlowError):
        return Cause("timed out", _TIMEOUT_HINT)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Cause(f"certificate refused: {error.verify_message}", _certificate_hint(error))
    if isinstance(error, ssl.SSLError):
        return Cause(f"TLS failed: {_reason(error) or error}", _tls_hint(error, setting))
    if isinstance(error, socket.gaierror):
        hint = _NO_SUCH_NAME_HINT if error.errno in _UNKNOWN_NAME else _NO_DNS_HINT
        return Cause(f"name lookup failed: {error.strerror}", hint)
    if isinstance(error, OSError):
        text = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
        return Cause(text, _OS_HINTS.get(error.errno or 0, ""))
    return Cause(str(error) or type(error).__name__, _CUT_HINT)


def _reason(error: ssl.SSLError) -> str:
    return getattr(error, "reason", None) or ""  # it has none when it was not OpenSSL that raised it


def _certificate_hint(error: ssl.SSLCertVerificationError) -> str:
    code = getattr(error, "verify_code", 0)  # as with the reason above
    if code in _CERTIFICATE_HOSTNAME:
        return "the certificate is for another name; check the host in {setting}, and proxies on the way"
    if code in (_CERTIFICATE_EXPIRED, _CERTIFICATE_NOT_YET_VALID):
        return "the certificate's time is over or has not come; check this machine's clock first"
    return _CA_HINT


def _tls_hint(error: ssl.SSLError, setting: str) -> str:
    if _reason(error) in _NO_TLS:
        plain = "http:// instead of https://" if setting == "BINANCE_REST_URL" else "ws:// instead of wss://"
        return f"what answers there does not speak TLS; is it {plain}? check {{setting}}"
    return "the two sides could not agree on TLS; check proxies on the way"
