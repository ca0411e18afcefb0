"""Answers of REST that mean harm: bounded in memory and in time, and told as an exchange that cannot be reached."""

from __future__ import annotations

import gzip
import tracemalloc
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from ingest_actors.binance.rest import RestClient
from ingest_actors.binance.rest_errors import RequestRefused
from ingest_actors.errors import ExchangeUnreachable

pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")
"""httpx leaves its own generators to the garbage collector when an answer is not read to its end."""

TIME = b'{"serverTime":1790000000123}'
MIB = 1024 * 1024


def answer(body: bytes = TIME, *headers: bytes, status: bytes = b"200 OK", length: int | None = None) -> bytes:
    head = [b"HTTP/1.1 " + status, b"Content-Length: %d" % (len(body) if length is None else length), *headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


class Server:
    """Says what a test wants said to each who asks; `asked` has the heads of what was asked."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            while self.answers:
                head = b""
                while b"\r\n\r\n" not in head:
                    data = await stream.receive_some()
                    if not data:
                        return
                    head += data
                self.asked.append(head)
                try:
                    await stream.send_all(self.answers.pop(0))
                except trio.BrokenResourceError:
                    return


@asynccontextmanager
async def asking(server: Server, **options):
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1"))
        async with RestClient([f"http://127.0.0.1:{listener.socket.getsockname()[1]}"], **options) as rest:
            yield rest
        nursery.cancel_scope.cancel()


async def refusal(*answers: bytes, **options) -> str:
    async with asking(Server(*answers), **options) as rest:
        with pytest.raises(ExchangeUnreachable) as caught:
            await rest.server_time()
    return str(caught.value)


async def test_a_compressed_answer_is_read_and_nothing_else_is_asked_for():
    body = gzip.compress(b'{"serverTime":179,"filling":"%b"}' % (b"x" * 3 * MIB))
    server = Server(answer(body, b"Content-Encoding: gzip"), answer(TIME, b"Content-Encoding: identity"))
    async with asking(server) as rest:
        assert [await rest.server_time(), await rest.server_time()] == [179, 1790000000123]
    assert b"accept-encoding: gzip\r\n" in server.asked[0]


async def test_an_answer_that_unpacks_to_gigabytes_is_given_up_at_the_bound(monkeypatch):
    monkeypatch.setattr("ingest_actors.binance.rest.ANSWER_MAX_BYTES", MIB)
    bomb = answer(gzip.compress(b"0" * 40 * MIB), b"Content-Encoding: gzip")
    async with asking(Server(bomb)) as rest:
        tracemalloc.start()
        try:
            with pytest.raises(ExchangeUnreachable, match=f"more than {MIB} bytes"):
                await rest.server_time()
            assert tracemalloc.get_traced_memory()[1] < 6 * MIB
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    ("body", "encoding", "said"),
    [
        pytest.param(b"no gzip", b"gzip", "damaged", id="no gzip"),
        pytest.param(gzip.compress(TIME, mtime=0)[:-9], b"gzip", "cut short", id="gzip cut short"),
        pytest.param(TIME, b"br", "not asked for: 'br'", id="br"),
        pytest.param(TIME, b"zstd", "not asked for", id="zstd"),
        pytest.param(TIME, b"gzip, gzip", "not asked for", id="gzip twice"),
        pytest.param(b"[" + b"{}," * 1_000_001 + b"{}]", b"identity", "more than 1000000 objects", id="many objects"),
        pytest.param(b"[" * 100_000, b"identity", "cannot be read", id="deep"),
        pytest.param(b'{"serverTime":1e999}', b"identity", "cannot be read", id="no finite number"),
        pytest.param(b'{"serverTime":"\xff"}', b"identity", "cannot be read", id="no UTF-8"),
        pytest.param(b"\x00", b"identity", "cannot be read", id="no JSON"),
    ],
)  # fmt: skip
async def test_a_body_that_is_none_is_told(body, encoding, said):
    assert said in await refusal(answer(body, b"Content-Encoding: " + encoding))


@pytest.mark.parametrize(
    "wire",
    [
        answer(length=10_000),
        answer(length=-1),
        answer(status=b"999999 X"),
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFFFFFF\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"\x16\x03\x01\x02\x00" * 20,
        b"",
    ],
    ids=["longer", "negative", "status", "many headers", "long header", "chunk", "two lengths", "tls", "nothing"],
)
async def test_an_answer_that_is_no_http_is_told(wire):
    assert await refusal(wire + b"", timeout_s=0.5)


async def test_a_redirection_leads_nowhere():
    server = Server(answer(b"", b"Location: http://127.0.0.1:1/", status=b"302 Found"))
    async with asking(server) as rest:
        with pytest.raises(ExchangeUnreachable, match="HTTP 302 Found"):
            await rest.server_time()
    assert len(server.asked) == 1


async def test_cookies_are_not_kept():
    server = Server(answer(TIME, *[b"Set-Cookie: c%d=%b" % (number, b"x" * 1000) for number in range(20)]), answer())
    async with asking(server) as rest:
        await rest.server_time()
        await rest.server_time()
    assert b"cookie" not in server.asked[1].lower()


@pytest.mark.parametrize("used", [b"9" * 5000, b"-1", b"1e9", b"\xd9\xa3", b""])
async def test_a_weight_that_is_none_is_passed_over(used):
    async with asking(Server(answer(TIME, b"x-mbx-used-weight-1m: " + used))) as rest:
        assert await rest.server_time() == 1790000000123
        assert rest.used_weight is None


@pytest.mark.parametrize("wait", [b"9" * 5000, b"-5", b"soon"])
async def test_a_wait_that_is_asked_for_ends_within_days(wait):
    async with asking(Server(answer(b"{}", b"retry-after: " + wait, status=b"418 I'm a teapot"))) as rest:
        with pytest.raises(ExchangeUnreachable):
            await rest.server_time()
        assert 0 < rest._endpoints.held_s() <= 3 * 86_400


async def test_the_words_of_a_refusal_are_cut():
    body = b'{"code":-1,"msg":"%b"}' % (b"m" * MIB)
    async with asking(Server(answer(body, status=b"400 Bad Request"))) as rest:
        with pytest.raises(RequestRefused) as caught:
            await rest.server_time()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".com"])
async def test_a_host_that_no_name_can_be_is_told(host):
    async with RestClient([f"http://{host}"]) as rest:
        with pytest.raises(ExchangeUnreachable):
            await rest.server_time()


@pytest.mark.parametrize("base", ["http://a\x00b", "http://\u2602.x"])
def test_an_address_that_is_none_is_told(base):
    with pytest.raises(ExchangeUnreachable, match="BINANCE_REST_URL"):
        RestClient([base])
