"""One run of the guard: the pipeline, or the naive one, fed from memory, into a real broker by a real librdkafka.

    python bench/guard_run.py ours 127.0.0.1:9092 100000 0      # KAFKA_TOPIC_* say where to

The stream beneath the WebSocket is an object in this process: it shakes hands, answers the subscription, and then has
chunks of frames that were made beforehand, always of the same size. So neither an exchange nor the kernel's buffers
have a say in what a message costs. Everything above it is what runs in production: the tap, the mailboxes, continuity,
the ledger, batches, the sink and every acknowledgement.

Prints one line of JSON: CPU time a message, of this process and of its main thread, from the first chunk to the last
acknowledgement, and how many times as long that took. The last argument burns so many us of it a message, to see that
the guard sees it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import trio
import trio_websocket

from blaster import STREAM_TYPES, SYMBOLS, WEBSOCKET_GUID, make_chunks, text_frame

LOOK_S = 0.02
RUN_MAX_S = 120.0
"""Of one run, which takes two seconds of CPU time."""


class Exchange(trio.abc.Stream):
    """The exchange's end and the way to it, in one: what is sent is answered, then it has all its chunks."""

    def __init__(self, messages: int, burden_us: float) -> None:
        self._chunks = make_chunks(messages)
        self._burden_s = burden_us * 1e-6 * messages / len(self._chunks)
        self._asked = b""
        self._answers: deque[bytes] = deque()
        self._wake = trio.Event()
        self._open = False
        self.began_cpu_s = 0.0
        self.began_own_s = 0.0
        self.began_s = 0.0

    async def connect(self, *_address: object) -> Exchange:
        """As a `Connector`."""
        await trio.lowlevel.checkpoint()
        return self

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Answer the handshake, and whatever comes first after it, which is the subscription."""
        await trio.lowlevel.checkpoint()
        self._asked += bytes(data)
        if not self._open and b"\r\n\r\n" in self._asked:
            key = re.search(rb"(?i)sec-websocket-key: *(\S+)", self._asked)
            assert key
            accept = base64.b64encode(hashlib.sha1(key[1] + WEBSOCKET_GUID).digest())
            head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            self._answers.append(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
            self._open = True
        elif self._open and self._chunks and not self.began_cpu_s:
            self._answers.append(text_frame(b'{"result":null,"id":1}'))
            self._answers.extend(self._chunks)
            self._chunks = []
            self.began_s = time.monotonic()
            self.began_cpu_s, self.began_own_s = time.process_time(), time.thread_time()
        self._wake.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next answer, or chunk, whole if it may be; nothing more comes at the end, and the stream stays open."""
        await trio.lowlevel.checkpoint()
        while not self._answers:
            self._wake = trio.Event()
            await self._wake.wait()
        data = self._answers.popleft()
        until_s = time.thread_time() + self._burden_s
        while self._burden_s and time.thread_time() < until_s:
            pass
        if max_bytes is not None and len(data) > max_bytes:
            self._answers.appendleft(data[max_bytes:])
            data = data[:max_bytes]
        return data

    async def wait_send_all_might_not_block(self) -> None:
        """Never does."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Nothing is to be let go of."""
        await trio.lowlevel.checkpoint()


async def until(done: Callable[[], bool]) -> None:
    """Look now and then."""
    with trio.fail_after(RUN_MAX_S):
        while not done():  # noqa: ASYNC110 - nothing tells
            await trio.sleep(LOOK_S)


async def ours(exchange: Exchange, messages: int) -> None:
    """The service, with its defaults."""
    from ingest_actors.network import real_network  # noqa: PLC0415 - the naive one must not pay for it
    from ingest_actors.proxies import Proxies  # noqa: PLC0415
    from ingest_actors.service import Service, wall_clock_ms  # noqa: PLC0415
    from ingest_actors.settings import Settings  # noqa: PLC0415

    listed = {"symbols": [{"symbol": symbol, "status": "TRADING"} for symbol in SYMBOLS]}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/exchangeInfo"):
            return httpx.Response(200, json=listed)
        return httpx.Response(400, json={"code": -1, "msg": "there is nothing but streams"})

    settings = Settings.from_env(env_file=None)
    network = real_network(
        settings,
        clock_ms=wall_clock_ms,
        connect=exchange.connect,
        rest_transport=httpx.MockTransport(answer),
        proxies=Proxies({}),
    )
    service = Service(settings, network=network)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.run)
        await until(lambda: sum(entry.delivered for entry in service.status().ledger.values()) >= messages)
        tell(messages, exchange)
        service.stop()


async def naive(exchange: Exchange, messages: int) -> None:
    """The naive client's own code, on this stream."""
    sys.path.insert(0, str(Path(__file__).parent / "clients"))
    import naive as client  # noqa: PLC0415 - it reads its settings when it is imported
    from common import Account, make_producer  # noqa: PLC0415

    @contextlib.asynccontextmanager
    async def open_websocket(_url: str) -> AsyncIterator[trio_websocket.WebSocketConnection]:
        async with trio.open_nursery() as own:
            yield await trio_websocket.wrap_client_stream(own, exchange, "exchange.test", "/stream")

    client.trio_websocket.open_websocket_url = open_websocket
    account = Account()
    kafka = make_producer(account)
    to_parser, frames = trio.open_memory_channel[str](1000)
    to_producer, events = trio.open_memory_channel[dict[str, Any]](1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.connection, to_parser)
        nursery.start_soon(client.parser, frames, to_producer)
        nursery.start_soon(client.producer, events, kafka)
        nursery.start_soon(client.poll, kafka)
        await until(lambda: account.delivered >= 2 * messages)
        tell(messages, exchange)
        nursery.cancel_scope.cancel()


def tell(messages: int, exchange: Exchange) -> None:
    cpu_s, own_s = time.process_time() - exchange.began_cpu_s, time.thread_time() - exchange.began_own_s
    found = {
        "cpu_us_per_message": cpu_s / messages * 1e6,
        "own_us_per_message": own_s / messages * 1e6,
        "stretch": (time.monotonic() - exchange.began_s) / cpu_s,
    }
    print(json.dumps({name: round(value, 3) for name, value in found.items()}), flush=True)


async def main() -> None:
    who, servers, messages, burden_us = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    os.environ |= {
        "BINANCE_WS_URL": "ws://exchange.test",
        "BINANCE_REST_URL": "http://exchange.test",
        "BINANCE_SYMBOLS": ",".join(SYMBOLS),
        "BINANCE_STREAM_TYPES": ",".join(STREAM_TYPES),
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "HTTP_PORT": "off",
        "LOG_LEVEL": "WARNING",
    }
    await {"ours": ours, "naive": naive}[who](Exchange(messages, burden_us), messages)


if __name__ == "__main__":
    trio.run(main)
