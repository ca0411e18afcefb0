"""Onlookers who mean harm: health is answered meanwhile, memory and descriptors are bounded, the end comes in time."""

from __future__ import annotations

import gc
import time
import tracemalloc
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import h2.config
import h2.connection
import httpx
import pytest
import trio
import trio.testing
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from ingest_actors.console import server as server_module
from ingest_actors.console.connections import CONNECTIONS_MAX, Connections
from ingest_actors.console.http import listen, serve_http

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def port(status, nursery):
    async def run(task_status):
        await serve_http(lambda: status, host="127.0.0.1", port=0, instance="me", task_status=task_status)

    url = await nursery.start(run)
    await healthy(int(url.rpartition(":")[2]))
    return int(url.rpartition(":")[2])


async def healthy(port, within_s=2.0):
    async with httpx.AsyncClient(trust_env=False, timeout=within_s) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/healthz")
    assert answer.status_code == 200


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


async def ended(stream):
    """Whether the server ends a connection, now or in a moment."""
    with trio.move_on_after(2):
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
        return True
    return False


async def test_as_many_connections_as_anybody_opens_leave_health_answered_and_descriptors_free(port):
    descriptors = open_descriptors()
    async with AsyncExitStack() as stack:
        streams = []
        for number in range(3 * CONNECTIONS_MAX):
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nslow: "[: number % 40])
            streams.append(stream)
        await healthy(port)
        assert open_descriptors() - descriptors <= len(streams) + CONNECTIONS_MAX + 5
        assert await ended(streams[0])
        await streams[-1].send_all(b"\r\n")


async def test_the_oldest_connection_is_the_one_that_goes():
    served, gone = [], []

    async def handle(stream):
        served.append(stream)
        try:
            await stream.receive_some()
        except trio.ClosedResourceError:
            gone.append(stream)

    connections = Connections(2)
    async with trio.open_nursery() as nursery:
        pairs = []
        for _ in range(4):
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            async with listener:
                near = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
                far = await listener.accept()
            pairs.append((near, far))
            nursery.start_soon(connections.serve, handle, far)
            await trio.testing.wait_all_tasks_blocked()
        assert gone == [far for _, far in pairs[:2]]
        assert len(connections) == 2
        connections.close_all()
        await connections.wait_none()
        assert len(gone) == 4
        for near, _ in pairs:
            await near.aclose()


@asynccontextmanager
async def serving(app):
    sockets = await listen("127.0.0.1", 0)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server_module.serve_until_cancelled, app, sockets)
            await trio.testing.wait_all_tasks_blocked()
            yield sockets[0].getsockname()[1]
            nursery.cancel_scope.cancel()
    finally:
        for sock in sockets:
            sock.close()


async def test_a_client_that_does_not_read_its_answer_does_not_keep_the_service_from_ending():
    async def large(_request):
        return Response(b"x" * 30_000_000)

    async with serving(Starlette(routes=[Route("/", large)])) as port:
        deaf = await trio.open_tcp_stream("127.0.0.1", port)
        await deaf.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await deaf.receive_some(100)
        started = time.monotonic()
    assert time.monotonic() - started < 5
    await deaf.aclose()


HOSTILE = {
    "a method that is none": b"\x00\x01 / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method without end": b"G" * 100_000,
    "a path without end": b"GET /" + b"a" * 100_000,
    "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(5000)) + b"\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a chunk without end": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFF\r\nxxx",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a version that is none": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "another's address": b"GET http://169.254.169.254/latest/meta-data HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
    "a tunnel": b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n",
    "a trace": b"TRACE / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret-of-mine\r\n\r\n",
    "an upgrade": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: ////\r\n\r\n",
    "a websocket": (
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ),
    "requests in a row": HEALTH * 500,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
async def test_whatever_is_sent_health_is_answered_and_nothing_of_it_comes_back(port, name):
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        answer = b""
        with trio.move_on_after(1):
            try:
                await stream.send_all(HOSTILE[name])
                await stream.send_eof()
                async for data in stream:
                    answer += data
            except trio.BrokenResourceError:
                pass
        for repeated in (b"secret-of-mine", b"169.254", b"localhost:22"):
            assert repeated not in answer
        await healthy(port)


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
        "/static/../app.py",
        "/healthz/..", "/\\..\\x", "/%00", "/metrics%0d%0aX-Injected:%20yes", "/" + "a" * 5000, "/?" + "q=1&" * 1000,
    ],
)  # fmt: skip
async def test_a_path_leads_to_nothing_but_what_is_served(port, path):
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
        answer = b"".join([data async for data in stream])
    assert b"root:" not in answer
    assert b"x-injected" not in answer.lower().partition(b"\r\n\r\n")[0]
    status = int(answer.split()[1])
    assert status in ((200,) if path.startswith("/?") else (307, 400, 404))


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1@evil.example", "<script>", "x" * 5000])
async def test_the_host_that_is_named_is_repeated_nowhere(port, host):
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET /nothing HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host.encode())
        answer = b"".join([data async for data in stream])
    assert b"evil" not in answer
    assert b"<script>" not in answer


def http2():
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    return connection


async def test_streams_opened_and_reset_by_the_thousand_leave_health_answered_and_memory_as_it_was(port):
    """What has felled many servers of HTTP/2: each request costs its sender nothing."""
    request = [(":method", "GET"), (":path", "/healthz"), (":scheme", "http"), (":authority", "x")]
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream, trio.open_nursery() as nursery:
        connection = http2()
        await stream.send_all(connection.data_to_send())
        nursery.start_soon(drain, stream)
        gc.collect()
        tracemalloc.start()
        try:
            with trio.move_on_after(10):
                for number in range(20):
                    for _ in range(50):
                        name = connection.get_next_available_stream_id()
                        connection.send_headers(name, request, end_stream=True)
                        connection.reset_stream(name)
                    try:
                        await stream.send_all(connection.data_to_send())
                    except trio.BrokenResourceError:
                        break
                    if number % 5 == 0:
                        await healthy(port)
            await healthy(port)
            assert tracemalloc.get_traced_memory()[0] < 8_000_000
        finally:
            tracemalloc.stop()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("frame", ["settings", "ping", "continuation", "window"])
async def test_frames_of_http2_without_end_leave_health_answered(port, frame):
    header = {
        "settings": b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        "ping": b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"8" * 8,
        "continuation": b"\x00\x00\x01\x09\x00\x00\x00\x00\x01\x00",
        "window": b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x01",
    }[frame]
    begun = b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82" if frame == "continuation" else b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream, trio.open_nursery() as nursery:
        await stream.send_all(http2().data_to_send() + begun)
        nursery.start_soon(drain, stream)
        with trio.move_on_after(5):
            try:
                for _ in range(50):
                    await stream.send_all(header * 100)
            except trio.BrokenResourceError:
                pass  # turned away
        await healthy(port)
        nursery.cancel_scope.cancel()


async def drain(stream):
    try:
        while await stream.receive_some():
            pass
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


def test_what_bounds_a_connection_is_set():
    config = server_module._config()
    assert isinstance(config, Config)
    assert config.h11_max_incomplete_size <= 16 * 1024
    assert config.h2_max_concurrent_streams <= 100
    assert config.h2_max_header_list_size <= 2**16
    assert 0 < config.keep_alive_timeout <= 15
    assert config.read_timeout is None, "who listens to events says nothing more; the number of connections is bounded"
