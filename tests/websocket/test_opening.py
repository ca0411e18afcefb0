"""What becomes of attempts to open a feed: every failure is an `ExchangeUnreachable` that says what to try."""

from __future__ import annotations

import errno
import os
import socket
import ssl

import pytest
import trio
from raw_server import URL, RawServer, accept_key, agreement

from ingest_actors.errors import ExchangeUnreachable
from ingest_actors.websocket.address import WebSocketAddress
from ingest_actors.websocket.feed import open_feed
from ingest_actors.websocket.unreachable import failed_to_connect, refused_by_status

AGREEMENT = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n"
)
both_paths = pytest.mark.parametrize("fast", [True, False], ids=["fast", "slow"])


async def refusal_of(server: RawServer, answer: bytes | None, *, url: str = URL, **options) -> ExchangeUnreachable:
    """What comes of this answer to the handshake; None: none at all."""

    async def serve() -> None:
        head = await server.read_head()
        if answer is not None:
            await server.send(answer.replace(b"{key}", accept_key(head)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with pytest.raises(ExchangeUnreachable) as caught:
            async with open_feed(url, name="c", connect=server.connect, **options):
                raise AssertionError("never reached")
    return caught.value


@pytest.fixture
def server() -> RawServer:
    return RawServer()


@both_paths
@pytest.mark.parametrize(
    ("status", "cause", "hint"),
    [
        (b"451 Unavailable", "HTTP 451 Unavailable For Legal Reasons", "refuses this address"),
        (b"403 Forbidden", "HTTP 403 Forbidden", "refuses this address"),
        (b"404 Not Found", "HTTP 404 Not Found", "without /ws or /stream"),
        (b"418 Teapot", "HTTP 418 I'm a Teapot", "banned"),
        (b"429 Too Many Requests", "HTTP 429 Too Many Requests", "300 in 5 minutes"),
        (b"400 Bad Request", "HTTP 400 Bad Request", "wss://"),
        (b"401 Unauthorized", "HTTP 401 Unauthorized", "credentials"),
        (b"502 Bad Gateway", "HTTP 502 Bad Gateway", "try"),
        (b"301 Moved Permanently", "HTTP 301 Moved Permanently", "redirects"),
        (b"200 OK", "HTTP 200 OK", "a web server answers in the place of the exchange"),
        (b"222 Odd", "HTTP 222", "wants a log-in first"),
        (b"407 Proxy Authentication Required", "HTTP 407 Proxy Authentication Required", "user:password"),
        (b"599 Whatever", "HTTP 599", "trouble of its own"),
    ],
)
async def test_a_refused_handshake_names_the_status_and_what_to_try(server, fast, status, cause, hint):
    error = await refusal_of(server, b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\nnever", fast=fast)
    assert error.url == URL
    assert error.cause == cause
    assert hint in error.hint
    assert error.status == int(status[:3])
    assert error.retry_after_s is None
    assert await server.stream.receive_some() == b""


async def test_a_wait_that_the_exchange_asks_for_is_passed_on(server):
    error = await refusal_of(server, b"HTTP/1.1 418 I'm a teapot\r\nretry-after: 120\r\n\r\n")
    assert (error.status, error.retry_after_s) == (418, 120.0)
    assert "it asks to wait 120 s" in error.hint


@both_paths
async def test_what_is_not_http_is_told_as_such(server, fast):
    error = await refusal_of(server, b"SSH-2.0-OpenSSH_9.2\r\n\r\n", fast=fast)
    assert "does not speak HTTP" in error.cause
    assert error.status is None


@both_paths
@pytest.mark.parametrize(
    "answer",
    [
        AGREEMENT.replace(b"{key}", b"bm90IHRoaXMga2V5") + b"\r\n",
        AGREEMENT.replace(b"websocket", b"h2c") + b"\r\n",
        AGREEMENT + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        AGREEMENT + b"broken header\r\n\r\n",
    ],
    ids=["wrong key", "other protocol", "extension that was not offered", "malformed"],
)
async def test_a_bad_agreement_is_refused_at_once(server, fast, answer, autojump_clock):
    error = await refusal_of(server, answer, fast=fast)
    assert "handshake is not valid" in error.cause
    assert trio.current_time() < 1


@both_paths
async def test_a_server_that_never_answers_the_handshake_runs_into_the_timeout(server, fast, autojump_clock):
    error = await refusal_of(server, None, fast=fast, open_timeout_s=7)
    assert error.cause == "no answer to the WebSocket handshake within 7 s"
    assert trio.current_time() == pytest.approx(7)


@both_paths
async def test_a_server_that_hangs_up_during_the_handshake_is_told(server, fast):
    async def hang_up() -> None:
        await server.read_head()
        await server.send(b"HTTP/1.1 101 Swit")
        await server.stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang_up)
        with pytest.raises(ExchangeUnreachable, match="ended the connection"):
            async with open_feed(URL, name="c", connect=server.connect, fast=fast):
                raise AssertionError("never reached")


@both_paths
async def test_the_handshake_may_come_byte_by_byte(server, fast):
    async def dribble() -> None:
        for byte in agreement(await server.read_head()) + b"\x81\x02ok":
            await server.send(bytes([byte]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dribble)
        async with open_feed(URL, name="c", connect=server.connect, fast=fast, close_timeout_s=0.01) as feed:
            assert (await feed.receive()).frames == [b"ok"]


async def test_a_connector_that_takes_too_long_runs_into_the_timeout(autojump_clock):
    async def never(host, port, tls) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    with pytest.raises(ExchangeUnreachable) as caught:
        async with open_feed(URL, name="c", connect=never, open_timeout_s=10):
            raise AssertionError("never reached")
    assert caught.value.cause == "timed out"
    assert "firewalls" in caught.value.hint
    assert trio.current_time() == pytest.approx(10)


async def test_the_host_header_path_and_query_are_right(server):
    await refusal_of(server, b"HTTP/1.1 400\r\n\r\n", url="ws://exchange.test:9443/stream?streams=a@b/c@d%40e")
    request_line, *headers = server.head.split(b"\r\n")
    assert request_line == b"GET /stream?streams=a@b/c@d%40e HTTP/1.1"
    assert b"Host: exchange.test:9443" in headers
    assert not [header for header in headers if b"extensions" in header.lower()]
    assert server.asked_for == [("exchange.test", 9443, False)]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("wss://a.test", ("a.test", 443, True, "a.test", "/")),
        ("wss://a.test:443/ws", ("a.test", 443, True, "a.test", "/ws")),
        ("ws://a.test:443/ws", ("a.test", 443, False, "a.test:443", "/ws")),
        ("ws://a.test/", ("a.test", 80, False, "a.test", "/")),
        ("wss://[::1]:9443/ws", ("::1", 9443, True, "[::1]:9443", "/ws")),
        ("wss://A.Test/ws/币安usdt@trade", ("a.test", 443, True, "a.test", "/ws/%E5%B8%81%E5%AE%89usdt@trade")),
        ("wss://bücher.test/", ("xn--bcher-kva.test", 443, True, "xn--bcher-kva.test", "/")),
        ("wss://a.test/stream?streams=x@y%40z", ("a.test", 443, True, "a.test", "/stream?streams=x@y%40z")),
    ],
)  # fmt: skip
def test_addresses_are_taken_apart(url, address):
    assert tuple(WebSocketAddress.parse(url)) == address


@pytest.mark.parametrize("url", ["https://a.test/", "a.test:9443", "wss://", "wss:///ws", "wss://a.test:99999/", ""])
async def test_what_is_no_websocket_url_is_refused(url):
    with pytest.raises(ExchangeUnreachable) as caught:
        async with open_feed(url, name="c"):
            raise AssertionError("never reached")
    assert caught.value.url == url
    assert caught.value.cause
    assert "wss://stream.binance.com:9443" in caught.value.hint


async def test_a_refused_connection_is_told():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}/ws"
        with pytest.raises(ExchangeUnreachable) as caught:
            async with open_feed(url, name="c"):
                raise AssertionError("never reached")
    assert caught.value.cause == "Connection refused"
    assert "nothing listens there" in caught.value.hint


def caused(outer: BaseException, inner: BaseException) -> BaseException:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "cause", "hint"),
    [
        (socket.gaierror(-2, "Name or service not known"), "name lookup failed: Name or service not known", "spelling"),
        (
            caused(
                OSError("all attempts to connect to a.test:9 failed"),
                ExceptionGroup("", [OSError(errno.EHOSTUNREACH, "x"), OSError(errno.ECONNREFUSED, "y")]),
            ),
            os.strerror(errno.EHOSTUNREACH),
            "no route to that host",
        ),
        (OSError("odd"), "odd", ""),
        (ConnectionResetError(errno.ECONNRESET, "x"), os.strerror(errno.ECONNRESET), "cuts the connection"),
        (
            caused(trio.BrokenResourceError(), ConnectionResetError(errno.ECONNRESET, "x")),
            os.strerror(errno.ECONNRESET),
            "cuts the connection",
        ),
        (trio.BrokenResourceError("hung up"), "hung up", "cut off while opening"),
        (trio.TooSlowError(), "timed out", "proxy"),
        (ssl.SSLError(1, "[SSL: TLSV1_ALERT] alert"), "TLS failed", "could not agree on TLS"),
    ],
)
def test_failures_to_connect_say_what_to_try(error, cause, hint):
    told = failed_to_connect("wss://a.test/ws", error)
    assert told.cause.startswith(cause)
    assert hint in told.hint
    assert told.exit_code == 75


def test_a_status_without_http_is_no_status():
    assert refused_by_status("ws://a.test", -1, b"").status is None
