"""Clients that only receive: from the socket to whole messages in Python, nothing done with them.

    python bench/receivers.py WAY URL MESSAGES WIRE_BYTES

Stdout: one line of JSON when the last message is there. The clock runs from the first message on: what comes before is
the handshake.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import trio


class Clock:
    def __init__(self) -> None:
        self._wall_s = self._cpu_s = 0.0

    def start(self) -> None:
        if not self._wall_s:
            self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    def tell(self, messages: int) -> None:
        wall_s, cpu_s = time.perf_counter() - self._wall_s, time.process_time() - self._cpu_s
        figures = {"messages_per_s": round(messages / wall_s), "cpu_us_per_message": round(cpu_s / messages * 1e6, 3)}
        print(json.dumps(figures), flush=True)


async def by_feed(url: str, messages: int, *, fast: bool) -> None:
    from ingest_actors.websocket.feed import open_feed  # noqa: PLC0415 - each way has only its own in memory

    clock = Clock()
    async with open_feed(url, name="bench", fast=fast) as feed:
        received = 0
        while received < messages:
            batch = await feed.receive()
            clock.start()
            received += len(batch)
        clock.tell(received)


async def by_get_message(url: str, messages: int) -> None:
    import trio_websocket  # noqa: PLC0415

    clock = Clock()
    async with trio_websocket.open_websocket_url(url) as websocket:
        for _ in range(messages):
            await websocket.get_message()
            clock.start()
        clock.tell(messages)


async def by_socket(url: str, messages: int, wire_bytes: int) -> None:
    clock = Clock()
    host, _, port = url.removeprefix("ws://").partition("/")[0].partition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    async with stream:
        request = f"GET /stream?streams=all HTTP/1.1\r\nHost: {host}\r\nSec-WebSocket-Key: eA==\r\n\r\n"
        await stream.send_all(request.encode())
        received = 0
        while received < wire_bytes:
            received += len(await stream.receive_some(256 * 1024))
            clock.start()
        clock.tell(messages)


async def by_websockets(url: str, messages: int) -> None:
    import websockets  # noqa: PLC0415

    clock = Clock()
    async with websockets.connect(url, compression=None) as websocket:
        for _ in range(messages):
            await websocket.recv()
            clock.start()
        clock.tell(messages)


async def by_picows(url: str, messages: int) -> None:
    from picows import WSFrame, WSListener, WSTransport, ws_connect  # noqa: PLC0415

    clock = Clock()

    class Listener(WSListener):  # type: ignore[misc]
        received = 0

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            clock.start()
            frame.get_payload_as_bytes()
            self.received += 1
            if self.received == messages:
                clock.tell(messages)
                transport.disconnect()

    transport, _ = await ws_connect(Listener, url)
    await transport.wait_disconnected()


def run_tap(url: str, messages: int, _wire_bytes: int) -> None:
    trio.run(lambda: by_feed(url, messages, fast=True))


def run_slow_path(url: str, messages: int, _wire_bytes: int) -> None:
    trio.run(lambda: by_feed(url, messages, fast=False))


def run_get_message(url: str, messages: int, _wire_bytes: int) -> None:
    trio.run(by_get_message, url, messages)


def run_socket(url: str, messages: int, wire_bytes: int) -> None:
    trio.run(by_socket, url, messages, wire_bytes)


def run_websockets(url: str, messages: int, _wire_bytes: int) -> None:
    import asyncio  # noqa: PLC0415

    asyncio.run(by_websockets(url, messages))


def run_picows(url: str, messages: int, _wire_bytes: int) -> None:
    import uvloop  # noqa: PLC0415

    uvloop.run(by_picows(url, messages))


WAYS: dict[str, Callable[[str, int, int], None]] = {
    "tap": run_tap,
    "slow-path": run_slow_path,
    "get_message": run_get_message,
    "websockets": run_websockets,
    "picows": run_picows,
    "socket": run_socket,
}


if __name__ == "__main__":
    way, url, messages, wire_bytes = sys.argv[1:]
    WAYS[way](url, int(messages), int(wire_bytes))
