"""The WebSocket through a proxy: the tunnel stands, or the error says that it is the proxy, and what to try."""

from __future__ import annotations

import socket
import ssl
from functools import partial

import pytest
import trio
import trio.testing
from raw_server import URL, agreement
from small_exchange import SERVER_TIME_MS, certified, serve_exchange, serve_exchange_over_tls

from connect_proxy import ConnectProxy
from ingest_actors.binance.rest import RestClient
from ingest_actors.errors import ExchangeUnreachable
from ingest_actors.proxies import Proxies
from ingest_actors.websocket.connect import connect_tcp_tls
from ingest_actors.websocket.feed import open_feed
from ingest_actors.websocket.proxy import ANSWER_HEAD_BYTES_MAX, PROXY_TIMEOUT_S, by_proxy
from wire_frames import text

SECRET = "hunter2-swordfish"
PROXY = f"http://me:{SECRET}@proxy.test:3128"
SHOWN = "proxy http://***@proxy.test:3128: "
AGREED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Proxied:
    """The proxy's end of one connection in memory."""

    def __init__(self, proxy=PROXY):
        self.client_end, self.stream = trio.testing.memory_stream_pair()
        self.proxies = Proxies({"HTTPS_PROXY": proxy})
        self.asked_for = []
        self.request = b""

    async def connect(self, host, port, tls):
        await trio.lowlevel.checkpoint()
        self.asked_for.append((host, port, tls))
        return self.client_end

    async def read_request(self):
        while b"\r\n\r\n" not in self.request:
            self.request += await self.stream.receive_some(65536)

    async def refusal(self, *answer, url=URL, hang_up=True, **options):
        """What comes of this answer, sent in these pieces."""

        async def serve():
            await self.read_request()
            try:
                for piece in answer:
                    await self.stream.send_all(piece)
                if hang_up:
                    await self.stream.aclose()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            with pytest.raises(ExchangeUnreachable) as caught:
                async with open_feed(url, name="c", connect=by_proxy(self.proxies, connect=self.connect), **options):
                    raise AssertionError("never reached")
            nursery.cancel_scope.cancel()
        assert SECRET not in f"{caught.value!s} {caught.value!r} {caught.value.hint}"
        assert caught.value.url == url
        assert caught.value.status is None, "a status would be the exchange's"
        return caught.value


async def test_a_tunnel_is_asked_for_with_the_credentials_and_what_comes_with_the_answer_is_not_lost():
    proxied = Proxied()

    async def serve():
        await proxied.read_request()
        await proxied.stream.send_all(AGREED)
        head = b""
        while b"\r\n\r\n" not in head:
            head += await proxied.stream.receive_some(65536)
        await proxied.stream.send_all(agreement(head) + text("hello"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        connect = by_proxy(proxied.proxies, connect=proxied.connect)
        async with open_feed(URL, name="c", connect=connect, close_timeout_s=0.01) as feed:
            assert (await feed.receive()).frames == [b"hello"]
    assert proxied.asked_for == [("proxy.test", 3128, False)]
    assert proxied.request.split(b"\r\n")[:3] == [
        b"CONNECT exchange.test:9443 HTTP/1.1",
        b"Host: exchange.test:9443",
        b"Proxy-Authorization: Basic bWU6aHVudGVyMi1zd29yZGZpc2g=",
    ]


@pytest.mark.parametrize("most", [None, 3])
async def test_bytes_of_the_tunnel_in_the_segment_of_the_answer_are_read_first(most):
    proxied = Proxied("http://proxy.test:3128")

    async def serve():
        await proxied.read_request()
        await proxied.stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n" + AGREED + b"early bytes")
        assert await proxied.stream.receive_some(100) == b"from us"
        await proxied.stream.send_all(b", later bytes")
        await proxied.stream.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        stream = await by_proxy(proxied.proxies, connect=proxied.connect)("::1", 80, tls=False)
        await stream.wait_send_all_might_not_block()
        await stream.send_all(b"from us")
        got = b""
        while data := await stream.receive_some(most):
            assert most is None or len(data) <= most
            got += data
        assert got == b"early bytes, later bytes"
        await stream.aclose()
    assert proxied.request.startswith(b"CONNECT [::1]:80 HTTP/1.1\r\n")
    assert b"authorization" not in proxied.request.lower()


@pytest.mark.parametrize(
    ("answer", "cause", "hint"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "HTTP 407 Proxy Auth", "give them in HTTPS_PROXY"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "HTTP 403 Forbidden", "NO_PROXY"),
        (b"HTTP/1.1 405 No\r\n\r\n", "HTTP 405 Method Not Allowed", "no proxy for tunnels"),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", "HTTP 502 Bad Gateway", "cannot reach the exchange"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "HTTP 503 Service Unavailable", "trying again later"),
        (b"HTTP/1.1 504 Late\r\n\r\n", "HTTP 504 Gateway Timeout", "no answer from the exchange"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://login\r\n\r\n", "HTTP 302 Found", "the proxy's answer"),
        (b"HTTP/1.1 599 Odd\r\n\r\n", "HTTP 599", "the proxy's answer"),
        (b"", "it hung up without an answer", "the proxy hung up"),
        (b"HTTP/1.1 200 Conn", "it hung up in the middle of its answer", "the proxy hung up"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "its answer is not valid HTTP: illegal", "no HTTP proxy"),
        (b"\x15\x03\x03\x00\x02\x02\x46\r\n\r\n", "its answer is not valid HTTP: illegal", "no HTTP proxy"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 11, "more than 10 interim answers", "no HTTP proxy"),
    ],
)
async def test_whatever_the_proxy_answers_the_error_says_that_it_is_the_proxy(answer, cause, hint):
    error = await Proxied().refusal(answer)
    assert error.cause.startswith(SHOWN)
    assert cause in error.cause
    assert hint in error.hint
    assert len(error.cause) < 300


async def test_an_answer_without_end_is_not_kept(autojump_clock):
    pieces = [b"HTTP/1.1 200 OK\r\n", *[b"X-Filler: " + b"x" * 1000 + b"\r\n"] * 1000]
    error = await Proxied().refusal(*pieces, hang_up=False)
    assert error.cause == f"{SHOWN}the head of its answer has more than {ANSWER_HEAD_BYTES_MAX} bytes"
    assert trio.current_time() < 1


async def test_a_proxy_that_hangs_is_named_before_the_time_of_the_opening_is_up(autojump_clock):
    error = await Proxied().refusal(b"HTTP/1.1 200 O", hang_up=False)
    assert error.cause == f"{SHOWN}no answer within 8 s"
    assert "check HTTPS_PROXY" in error.hint
    assert trio.current_time() == pytest.approx(PROXY_TIMEOUT_S)


async def test_a_proxy_that_cannot_be_connected_to_is_named_within_the_same_time(autojump_clock):
    async def never(host, port, tls):
        await trio.sleep_forever()

    with pytest.raises(ExchangeUnreachable, match=r"proxy http://\*\*\*@proxy.test:3128: no answer within 8 s"):
        async with open_feed(URL, name="c", connect=by_proxy(Proxies({"ALL_PROXY": PROXY}), connect=never)):
            raise AssertionError("never reached")


@pytest.mark.parametrize(
    ("failure", "cause", "hint"),
    [
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "name lookup failed",
            "spelling in ALL_PROXY",
        ),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "name lookup failed", "DNS does not answer"),
        (ConnectionRefusedError(111, "x"), "Connection refused", "host and port of ALL_PROXY"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] x"), "with the proxy itself: TLS failed", "http://"),
        (OSError("odd"), "odd", "the proxy cannot be reached"),
        (trio.BrokenResourceError("cut"), "it hung up", "check that ALL_PROXY names a proxy"),
    ],
)
async def test_a_proxy_that_cannot_be_reached_is_named_with_the_reason(failure, cause, hint):
    async def connect(host, port, tls):
        await trio.lowlevel.checkpoint()
        raise failure

    with pytest.raises(ExchangeUnreachable) as caught:
        async with open_feed(URL, name="c", connect=by_proxy(Proxies({"ALL_PROXY": PROXY}), connect=connect)):
            raise AssertionError("never reached")
    assert caught.value.cause.startswith(SHOWN + cause)
    assert hint in caught.value.hint
    assert SECRET not in str(caught.value)


async def test_where_no_proxy_is_set_the_way_is_direct():
    asked = []

    async def connect(host, port, tls):
        await trio.lowlevel.checkpoint()
        asked.append((host, port, tls))
        return trio.testing.memory_stream_pair()[0]

    direct = by_proxy(Proxies({"HTTPS_PROXY": PROXY, "NO_PROXY": "exchange.test"}), connect=connect)
    await direct("exchange.test", 9443, tls=True)
    assert asked == [("exchange.test", 9443, True)]


async def test_whoever_is_cancelled_leaves_no_connection_open():
    proxied = Proxied()
    with trio.move_on_after(0.05):
        await by_proxy(proxied.proxies, connect=proxied.connect)("exchange.test", 443, tls=True)
    await proxied.read_request()
    assert await proxied.stream.receive_some() == b""


@pytest.mark.parametrize("secure_exchange", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("secure_proxy", [False, True], ids=["http proxy", "https proxy"])
async def test_websocket_and_rest_go_through_a_real_proxy(trusted, secure_exchange, secure_proxy):
    context = certified("localhost")
    handler = partial(serve_exchange_over_tls, context) if secure_exchange else serve_exchange
    proxy = ConnectProxy(credentials=f"me:{SECRET}", context=certified("127.0.0.1") if secure_proxy else None)
    async with trio.open_nursery() as nursery, proxy.serving():
        [listener] = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        target = f"localhost:{port}"
        scheme, rest_scheme = ("wss", "https") if secure_exchange else ("ws", "http")
        proxies = Proxies({"ALL_PROXY": proxy.url.replace("://", f"://me:{SECRET}@")})
        with trio.fail_after(10):
            async with open_feed(
                f"{scheme}://{target}/stream", name="c", connect=by_proxy(proxies), close_timeout_s=0.01
            ) as feed:
                assert (await feed.receive()).frames == [b"hello"]
            async with RestClient([f"{rest_scheme}://{target}"], proxies=proxies) as rest:
                assert await rest.server_time() == SERVER_TIME_MS
        asked_rest = target if secure_exchange else f"http://{target}/api/v3/time"
        assert proxy.asked == [target, asked_rest]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_rest_says_too_that_it_is_the_proxy(scheme):
    async with ConnectProxy(credentials=f"me:{SECRET}").serving() as proxy:
        proxies = Proxies({"ALL_PROXY": proxy.url.replace("://", "://me:wrong-one@")})
        async with RestClient([f"{scheme}://127.0.0.1:1"], proxies=proxies) as rest:
            with pytest.raises(ExchangeUnreachable, match="407") as caught:
                await rest.server_time()
    assert "ALL_PROXY" in caught.value.hint
    assert "wrong-one" not in str(caught.value)
    async with RestClient([f"{scheme}://127.0.0.1:1"], proxies=proxies) as rest:  # it is gone now
        with pytest.raises(
            ExchangeUnreachable, match=r"proxy http://\*\*\*@127.0.0.1:\d+: Connection refused"
        ) as caught:
            await rest.server_time()
    assert "ALL_PROXY" in caught.value.hint


async def test_a_certificate_that_the_exchange_shows_through_a_proxy_is_verified(trusted):
    handler = partial(serve_exchange_over_tls, certified("other.test"))
    async with trio.open_nursery() as nursery, ConnectProxy().serving() as proxy:
        [listener] = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        url = f"wss://localhost:{listener.socket.getsockname()[1]}/ws"
        with pytest.raises(ExchangeUnreachable, match="certificate refused") as caught:
            async with open_feed(url, name="c", connect=by_proxy(Proxies({"HTTPS_PROXY": proxy.url}))):
                raise AssertionError("never reached")
        assert "for another name" in caught.value.hint
        nursery.cancel_scope.cancel()


async def test_the_way_without_a_proxy_is_the_networks_own():
    with pytest.raises(OSError, match="connect"):
        await by_proxy(Proxies({}))("127.0.0.1", 1, tls=False)
    assert by_proxy.__kwdefaults__["connect"] is connect_tcp_tls
