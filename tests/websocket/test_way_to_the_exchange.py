"""The way on real sockets: names that do not resolve or change, dead addresses, and what stands at the other end."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import time
from functools import partial

import pytest
import trio
import trustme
from small_exchange import SERVER_TIME_MS, certified, serve_exchange, serve_exchange_over_tls

from ingest_actors.binance.rest import RestClient
from ingest_actors.causes import cause_of, root_of
from ingest_actors.errors import ExchangeUnreachable
from ingest_actors.websocket.feed import open_feed

LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


class Resolver(trio.abc.HostnameResolver):
    """Names are what a test says, and may be something else the next time."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002, PLR0917
        await trio.lowlevel.checkpoint()
        self.asked.append(host)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answer]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


@pytest.fixture
def resolve():
    """Sets the resolver for this test."""

    def resolve(*answers):
        resolver = Resolver(*answers)
        trio.socket.set_custom_hostname_resolver(resolver)
        return resolver

    return resolve


async def listening(nursery, handler, host="127.0.0.1"):
    [listener] = await nursery.start(partial(trio.serve_tcp, handler, 0, host=host))
    return listener.socket.getsockname()[1]


async def both_refusals(port, *, secure):
    """What WebSocket and REST say of the same place."""
    told = []
    with pytest.raises(ExchangeUnreachable) as caught:
        async with open_feed(f"{'wss' if secure else 'ws'}://exchange.test:{port}/ws", name="c", open_timeout_s=3):
            raise AssertionError("never reached")
    told.append(caught.value)
    async with RestClient([f"{'https' if secure else 'http'}://exchange.test:{port}"], timeout_s=3) as rest:
        with pytest.raises(ExchangeUnreachable) as caught:
            await rest.server_time()
    return [*told, caught.value]


@pytest.mark.parametrize(
    ("error", "cause", "hint"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known", "spelling in"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "Temporary failure", "tried again"),
    ],
)
async def test_a_name_that_does_not_exist_and_a_resolver_that_is_down_have_hints_of_their_own(
    resolve, error, cause, hint
):
    resolve(error)
    for told, setting in zip(await both_refusals(9, secure=True), ("WS_URL", "REST_URL"), strict=True):
        assert told.cause.startswith("name lookup failed: ")
        assert cause in told.cause
        assert hint in told.hint
        assert ("spelling" not in hint) or f"BINANCE_{setting}" in told.hint


async def test_every_attempt_resolves_anew_so_that_a_change_of_address_is_followed(resolve):
    async with trio.open_nursery() as nursery:
        port = await listening(nursery, serve_exchange, host="127.0.0.2")
        resolver = resolve(["127.0.0.3"], ["127.0.0.2"])
        url = f"ws://exchange.test:{port}/ws"
        with pytest.raises(ExchangeUnreachable, match="Connection refused"):
            async with open_feed(url, name="c"):
                raise AssertionError("never reached")
        async with open_feed(url, name="c", close_timeout_s=0.01) as feed:
            assert (await feed.receive()).frames == [b"hello"]
        assert resolver.asked == [b"exchange.test"] * 2
        nursery.cancel_scope.cancel()


@contextlib.contextmanager
def black_hole(host, port):
    """An address that never answers: a listener whose queue is full, so that the system drops what comes."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)  # noqa: FBT003
            filler.connect_ex((host, port))
        time.sleep(0.05)
        yield


async def test_dead_addresses_of_a_host_are_passed_over_in_time(resolve):
    async with trio.open_nursery() as nursery:
        port = await listening(nursery, serve_exchange, host="127.0.0.2")
        resolve(["127.0.0.3", "127.0.0.4", "127.0.0.2"])
        with black_hole("127.0.0.3", port):
            began = trio.current_time()
            async with open_feed(f"ws://exchange.test:{port}/ws", name="c", close_timeout_s=0.01) as feed:
                assert (await feed.receive()).frames == [b"hello"]
            async with RestClient([f"http://exchange.test:{port}"]) as rest:
                assert await rest.server_time() == SERVER_TIME_MS
            assert trio.current_time() - began < 3
        nursery.cancel_scope.cancel()


async def test_an_address_that_never_answers_is_given_up_in_time(resolve):
    with socket.socket() as probe:
        probe.bind(("127.0.0.3", 0))
        port = probe.getsockname()[1]
    resolve(["127.0.0.3"])
    with black_hole("127.0.0.3", port):
        began = trio.current_time()
        for told in await both_refusals(port, secure=False):
            assert told.cause == "timed out"
            assert "HTTPS_PROXY" in told.hint
        assert trio.current_time() - began < 8


@pytest.mark.parametrize(
    ("context", "cause", "hint"),
    [
        (certified("other.test"), "certificate refused: Hostname mismatch", "for another name"),
        (certified(authority=trustme.CA()), "certificate refused: unable to get local issuer", "SSL_CERT_FILE"),
        (certified(not_after=LONG_AGO), "certificate refused: certificate has expired", "clock"),
    ],
    ids=["wrong host", "unknown authority", "expired"],
)
async def test_a_certificate_that_is_not_right_says_what_is_wrong_with_it(resolve, trusted, context, cause, hint):
    resolve(["127.0.0.1"])
    async with trio.open_nursery() as nursery:
        port = await listening(nursery, partial(serve_exchange_over_tls, context))
        for told in await both_refusals(port, secure=True):
            assert told.cause.startswith(cause)
            assert hint in told.hint
        nursery.cancel_scope.cancel()


async def test_tls_spoken_to_a_plain_port_is_told_as_that(resolve):
    async def answer_as_http(stream):
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.receive_some(100)
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    resolve(["127.0.0.1"])
    async with trio.open_nursery() as nursery:
        port = await listening(nursery, answer_as_http)
        for told, scheme in zip(await both_refusals(port, secure=True), ("ws", "http"), strict=True):
            assert "does not speak TLS" in told.hint
            assert f"is it {scheme}:// instead of {scheme}s://?" in told.hint
        nursery.cancel_scope.cancel()


async def test_plain_text_spoken_to_a_tls_port_is_told_as_that(resolve):
    async def alert(stream):
        """As most libraries do; trio's own hangs up without a word."""
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.receive_some(1000)
            await stream.send_all(b"\x15\x03\x03\x00\x02\x02\x46")

    resolve(["127.0.0.1"])
    async with trio.open_nursery() as nursery:
        websocket, _ = await both_refusals(await listening(nursery, alert), secure=False)
        assert websocket.cause == "what answers there speaks TLS, not HTTP"
        assert "is it wss:// instead of ws://?" in websocket.hint
        silent, _ = await both_refusals(
            await listening(nursery, partial(serve_exchange_over_tls, certified())), secure=False
        )
        assert "the port speaks what the URL says (ws:// or wss://)" in silent.hint
        nursery.cancel_scope.cancel()


async def test_garbage_is_told_as_no_answer_of_a_websocket_server(resolve):
    async def babble(stream):
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.receive_some(1000)
            await stream.send_all(b"\xff" * 100_000)

    resolve(["127.0.0.1"])
    async with trio.open_nursery() as nursery:
        port = await listening(nursery, babble)
        websocket, rest = await both_refusals(port, secure=False)
        assert "not valid" in websocket.cause
        assert len(websocket.cause) <= 300
        assert "not the answer of a WebSocket server" in websocket.hint
        assert rest.hint
        nursery.cancel_scope.cancel()


def test_what_is_behind_a_failure_is_found_and_a_circle_has_an_end():
    inner = ConnectionRefusedError(111, "x")
    outer = RuntimeError("outer")
    outer.__context__ = ExceptionGroup("", [inner])
    inner.__context__ = outer
    assert root_of(outer) is inner
    assert cause_of(outer, "BINANCE_WS_URL").text == "Connection refused"
    plain = RuntimeError("plain")
    assert root_of(plain) is plain
