"""The way to the exchange through an HTTP proxy: CONNECT (RFC 9110, section 9.3.6), and a tunnel when it agrees."""

from __future__ import annotations

import base64
import http
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import h11
import trio

from ingest_actors.causes import cause_of
from ingest_actors.proxies import Proxies, Proxy
from ingest_actors.websocket.connect import Connector, connect_tcp_tls, start_tls

PROXY_TIMEOUT_S: Final = 8.0
"""For reaching the proxy and for its answer. Less than an opening has as a whole, so that the proxy is named when it is
the proxy that hangs."""

ANSWER_HEAD_BYTES_MAX: Final = 16 * 1024
"""Of one answer to CONNECT: a status line and a handful of headers. What comes after the head is not read here."""

INTERIM_ANSWERS_MAX: Final = 10
"""Answers of the class 1xx before the final one; a proxy has no reason to give any."""

_READ_BYTES: Final = 16 * 1024
_SHOWN_CHARACTERS_MAX: Final = 120
_SUCCESS: Final = range(200, 300)

_HINTS: Final = {
    407: "the proxy wants a user name and password, or others; give them in {variable}: http://user:password@host:port",
    403: "the proxy does not let this address through; ask whoever runs it, or name the exchange in NO_PROXY",
    405: "what answers there is no proxy for tunnels (CONNECT); check {variable}",
    502: "the proxy is there and cannot reach the exchange; check BINANCE_WS_URL, and what the proxy may reach",
    503: "the proxy is there and cannot reach the exchange, or is overloaded; it is worth trying again later",
    504: "the proxy is there and got no answer from the exchange; check BINANCE_WS_URL, and what the proxy may reach",
}
_OTHER_HINT: Final = "this is the proxy's answer, not the exchange's; check {variable} and NO_PROXY"
_TIMEOUT_HINT: Final = "the proxy does not answer in time; check {variable} and NO_PROXY, and that the proxy is well"
_CUT_HINT: Final = "the proxy hung up; check that {variable} names a proxy for HTTP, and its scheme (http or https)"
_NOT_HTTP_HINT: Final = "what answers there is no HTTP proxy; check {variable}"
_TLS_HINT: Final = (
    "an https:// proxy is spoken to in TLS; check whether {variable} should be http://, and SSL_CERT_FILE when the"
    " proxy's certificate is signed by an authority of your own"
)
_CONNECT_HINT: Final = "the proxy cannot be reached; check {variable} and NO_PROXY, and that the proxy runs"


class ProxyFailed(OSError):
    """The way led through a proxy, and the proxy is why there is no connection.

    Attributes:
        cause: what went wrong, with the proxy's address, its password masked.
        hint: what to try.
    """

    def __init__(self, proxy: Proxy, cause: str, hint: str) -> None:
        self.cause = f"proxy {proxy.shown}: {cause}"
        self.hint = hint.format(variable=proxy.variable)
        super().__init__(self.cause)


def by_proxy(proxies: Proxies, *, connect: Connector = connect_tcp_tls) -> Connector:
    """A way to the network that goes through a proxy where one is set, and directly where none is.

    Args:
        proxies: decides.
        connect: the direct way, also to the proxy itself.
    """

    async def connect_by_proxy(host: str, port: int, tls: bool) -> trio.abc.Stream:  # noqa: FBT001 as `Connector` has it
        proxy = proxies.between("wss" if tls else "ws", host, port)
        if proxy is None:
            return await connect(host, port, tls)
        return await _connect_through(proxy, host, port, tls=tls, connect=connect)

    return connect_by_proxy


async def _connect_through(proxy: Proxy, host: str, port: int, *, tls: bool, connect: Connector) -> trio.abc.Stream:
    """The open stream to the exchange. Cancelled: nothing stays open.

    Raises:
        ProxyFailed: the proxy cannot be reached, or does not let us through.
        OSError, trio.BrokenResourceError: TLS with the exchange failed, as `connect_tcp_tls` has it.
    """
    deadline = trio.current_time() + PROXY_TIMEOUT_S
    stream = await _guarded(proxy, deadline, partial(connect, proxy.host, proxy.port, proxy.scheme == "https"))
    try:
        stream = await _guarded(proxy, deadline, partial(open_tunnel, stream, proxy, host, port))
        return await start_tls(stream, host) if tls else stream
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def open_tunnel(stream: trio.abc.Stream, proxy: Proxy, host: str, port: int) -> trio.abc.Stream:
    """Ask a proxy for a tunnel. Has no timeout of its own.

    Args:
        stream: the open connection to the proxy; belongs to what is returned, and stays open on failure.
        proxy: whose answer it is, and as whom we ask.
        host: where the tunnel should end; the proxy looks the name up.
        port: likewise.

    Returns:
        The tunnel; what came of it together with the proxy's answer is read first.

    Raises:
        ProxyFailed: the proxy refuses, or does not speak HTTP.
        trio.BrokenResourceError: the connection broke.
    """
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    headers = [("Host", target)]
    if proxy.username or proxy.password:
        credentials = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
        headers.append(("Proxy-Authorization", f"Basic {credentials}"))
    talk = h11.Connection(h11.CLIENT, max_incomplete_event_size=ANSWER_HEAD_BYTES_MAX)
    request = h11.Request(method="CONNECT", target=target, headers=headers)
    await stream.send_all((talk.send(request) or b"") + (talk.send(h11.EndOfMessage()) or b""))
    try:
        answer = await _answer(stream, talk)
    except h11.RemoteProtocolError as error:
        raise _not_http(proxy, talk, error) from None
    if answer.status_code not in _SUCCESS:
        raise _refused(proxy, answer.status_code)
    early, _ = talk.trailing_data
    return _Tunnel(stream, early) if early else stream


async def _answer(stream: trio.abc.Stream, talk: h11.Connection) -> h11.Response:
    """The proxy's final answer.

    Raises:
        h11.RemoteProtocolError: it is not HTTP, too long, or was cut off.
    """
    interim = 0
    while True:
        event = talk.next_event()
        if event is h11.NEED_DATA:
            talk.receive_data(bytes(await stream.receive_some(_READ_BYTES)))
        elif isinstance(event, h11.Response):
            return event
        else:
            interim += 1
            if interim > INTERIM_ANSWERS_MAX:
                raise h11.RemoteProtocolError(f"more than {INTERIM_ANSWERS_MAX} interim answers")


class _Tunnel(trio.abc.Stream):
    """A stream of which some was read already."""

    def __init__(self, transport: trio.abc.Stream, early: bytes) -> None:
        self._transport = transport
        self._early = early

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See `trio.abc.ReceiveStream`."""
        if not self._early:
            return await self._transport.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        most = len(self._early) if max_bytes is None else max_bytes
        data, self._early = self._early[:most], self._early[most:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`."""
        await self._transport.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
        await self._transport.aclose()


async def _guarded(proxy: Proxy, deadline: float, step: Callable[[], Awaitable[trio.abc.Stream]]) -> trio.abc.Stream:
    """One step of the way that concerns the proxy alone; its failures are told as the proxy's."""
    try:
        with trio.fail_at(deadline):
            return await step()
    except ProxyFailed:
        raise
    except trio.TooSlowError as error:
        raise ProxyFailed(proxy, f"no answer within {PROXY_TIMEOUT_S:g} s", _TIMEOUT_HINT) from error
    except ssl.SSLError as error:
        text, _ = cause_of(error, proxy.variable)
        raise ProxyFailed(proxy, f"with the proxy itself: {text}", _TLS_HINT) from error
    except OSError as error:
        text, hint = cause_of(error, proxy.variable)
        raise ProxyFailed(proxy, text, hint or _CONNECT_HINT) from error
    except trio.BrokenResourceError as error:
        raise ProxyFailed(proxy, "it hung up", _CUT_HINT) from error


def _refused(proxy: Proxy, status: int) -> ProxyFailed:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return ProxyFailed(proxy, f"HTTP {status} {phrase}".rstrip(), _HINTS.get(status, _OTHER_HINT))


def _not_http(proxy: Proxy, talk: h11.Connection, error: h11.RemoteProtocolError) -> ProxyFailed:
    received, ended = talk.trailing_data
    if ended:
        what = "in the middle of its answer" if received else "without an answer"
        return ProxyFailed(proxy, f"it hung up {what}", _CUT_HINT)
    if len(received) > ANSWER_HEAD_BYTES_MAX:
        return ProxyFailed(proxy, f"the head of its answer has more than {ANSWER_HEAD_BYTES_MAX} bytes", _OTHER_HINT)
    return ProxyFailed(proxy, f"its answer is not valid HTTP: {str(error)[:_SHOWN_CHARACTERS_MAX]}", _NOT_HTTP_HINT)
