from __future__ import annotations

import socket

import pytest
import trio

from ingest_actors.console.healthcheck import healthcheck
from ingest_actors.console.heartbeat import Heartbeat
from ingest_actors.console.http import serve_http


async def ask(host, port, **options):
    return await trio.to_thread.run_sync(lambda: healthcheck(host, port, **options))


async def serve(nursery, status, host="127.0.0.1"):
    async def run(task_status):
        await serve_http(lambda: status, host=host, port=0, instance="x", task_status=task_status)

    return int((await nursery.start(run)).rpartition(":")[2])


async def test_a_running_service_is_healthy(status, nursery):
    port = await serve(nursery, status)
    assert await ask("127.0.0.1", port) == (0, f"healthy (http://127.0.0.1:{port}); ready")


async def test_a_service_that_listens_on_all_addresses_is_asked_on_the_loopback_one(status, nursery):
    port = await serve(nursery, status, host="0.0.0.0")
    assert (await ask("0.0.0.0", port)).exit_code == 0


async def test_a_service_that_is_not_ready_is_healthy_and_the_reasons_are_told(make_status, nursery):
    port = await serve(nursery, make_status(connections=()))
    result = await ask("127.0.0.1", port)
    assert result == (0, f"healthy (http://127.0.0.1:{port}); not ready: no connection is planned yet")


async def test_a_stalled_service_is_unhealthy(status, nursery, monkeypatch):
    monkeypatch.setattr(Heartbeat, "lag_s", lambda _: 9.0)
    port = await serve(nursery, status)
    text = f"unhealthy: http://127.0.0.1:{port}/healthz answered 503: the event loop is stalled"
    assert await ask("127.0.0.1", port) == (1, text)


async def test_proxies_are_not_asked(status, nursery, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    port = await serve(nursery, status)
    assert (await ask("127.0.0.1", port)).exit_code == 0


def test_nobody_there_is_told_with_the_address():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    result = healthcheck("127.0.0.1", port)
    assert result.exit_code == 1
    assert result.text.startswith(f"unhealthy: http://127.0.0.1:{port} does not answer: ")
    assert result.text.endswith("; is the service running?")


def test_a_service_that_does_not_answer_in_time_is_unhealthy():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        result = healthcheck("127.0.0.1", sock.getsockname()[1], timeout_s=0.05)
    assert result.exit_code == 1
    assert "timed out" in result.text


@pytest.mark.parametrize("answer", [b"HTTP/1.1 500 no\r\ncontent-length: 4\r\n\r\noops", b"no HTTP at all\r\n\r\n"])
async def test_something_else_on_the_port_is_unhealthy(nursery, answer):
    async def handle(stream):
        await stream.receive_some()
        await stream.send_all(answer)
        await stream.aclose()

    listeners = await nursery.start(trio.serve_tcp, handle, 0)
    result = await ask("127.0.0.1", listeners[0].socket.getsockname()[1])
    assert result.exit_code == 1
    assert ("answered 500: oops" in result.text) == answer.startswith(b"HTTP/1.1")


@pytest.mark.parametrize(("port", "text"), [(None, "HTTP_PORT=off"), (0, "HTTP_PORT=0")])
def test_a_port_that_cannot_be_asked_is_told(port, text):
    result = healthcheck("127.0.0.1", port)
    assert result.exit_code == 1
    assert text in result.text
