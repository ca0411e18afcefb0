"""One run of the guard: the pipeline, or the naive one, fed from memory, into a real broker by a real librdkafka.

    python bench/guard_run.py ours 127.0.0.1:9092 100000                  # KAFKA_TOPIC_* say where to
    python bench/guard_run.py ours 127.0.0.1:9092 10000 --instructions    # count the interpreter's instead of time

The stream beneath the WebSocket is an object in this process: it shakes hands, answers the subscription, and then has
chunks of frames that were made beforehand, always of the same size. So neither an exchange nor the kernel's buffers
have a say in what a message costs. Everything above it is what runs in production: the tap, the mailboxes, continuity,
the ledger, batches, the sink and every acknowledgement.

Prints one line of JSON: CPU time a message, of this process and of its main thread, from the first chunk to the last
acknowledgement, and how many times as long that took; or the interpreter's instructions a message, on trio's thread.
`--burden` spends so much more on each message, us or instructions, to see that the guard sees it.
"""

from __future__ import annotations

import argparse
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
from types import FrameType
from typing import Any

import httpx
import trio
import trio_websocket

from blaster import STREAM_TYPES, SYMBOLS, WEBSOCKET_GUID, make_chunks, text_frame

LOOK_S = 0.02
RUN_MAX_S = 120.0
"""Of one run, which takes two seconds of CPU time."""


class Cpu:
    """CPU time from `begin` on."""

    def begin(self) -> None:
        """From now on."""
        self._began_s = time.monotonic()
        self._cpu_s, self._own_s = time.process_time(), time.thread_time()

    def spend(self, us: float) -> None:
        """Take so much of it."""
        until_s = time.thread_time() + us * 1e-6
        while time.thread_time() < until_s:
            pass

    def found(self, messages: int) -> dict[str, float]:
        """What it came to."""
        cpu_s, own_s = time.process_time() - self._cpu_s, time.thread_time() - self._own_s
        return {
            "cpu_us_per_message": cpu_s / messages * 1e6,
            "own_us_per_message": own_s / messages * 1e6,
            "stretch": (time.monotonic() - self._began_s) / cpu_s,
        }


class Instructions:
    """Instructions of the interpreter from `begin` on, on this thread: the same in every run, on whatever machine."""

    def __init__(self) -> None:
        self._count = 0

    def begin(self) -> None:
        """From now on; frames that are suspended now are seen when they go on."""
        sys.settrace(self._enter)

    def spend(self, instructions: float) -> None:
        """Run so many; a turn of this loop has four."""
        for _ in range(round(instructions / 4)):
            pass

    def found(self, messages: int) -> dict[str, float]:
        """What it came to."""
        sys.settrace(None)
        return {"instructions_per_message": self._count / messages}

    def _enter(self, frame: FrameType, _event: str, _argument: object) -> Callable[..., Any]:
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return self._step

    def _step(self, _frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
        if event == "opcode":
            self._count += 1
        return self._step


class Exchange(trio.abc.Stream):
    """The exchange's end and the way to it, in one: what is sent is answered, then it has all its chunks."""

    def __init__(self, messages: int, meter: Cpu | Instructions, burden: float) -> None:
        self.meter = meter
        self._chunks = make_chunks(messages)
        self._burden = burden * messages / len(self._chunks)
        self._begun = False
        self._asked = b""
        self._answers: deque[bytes] = deque()
        self._wake = trio.Event()
        self._open = False

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
        elif self._open and self._chunks and not self._begun:
            self._answers.append(text_frame(b'{"result":null,"id":1}'))
            self._answers.extend(self._chunks)
            self._chunks = []
            self._begun = True
            self.meter.begin()
        self._wake.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next answer, or chunk, whole if it may be; nothing more comes at the end, and the stream stays open."""
        await trio.lowlevel.checkpoint()
        while not self._answers:
            self._wake = trio.Event()
            await self._wake.wait()
        data = self._answers.popleft()
        self.meter.spend(self._burden)
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
    found = exchange.meter.found(messages)
    print(json.dumps({name: round(value, 3) for name, value in found.items()}), flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("who", choices=["ours", "naive"])
    parser.add_argument("servers")
    parser.add_argument("messages", type=int)
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--burden", type=float, default=0)
    options = parser.parse_args()
    os.environ |= {
        "BINANCE_WS_URL": "ws://exchange.test",
        "BINANCE_REST_URL": "http://exchange.test",
        "BINANCE_SYMBOLS": ",".join(SYMBOLS),
        "BINANCE_STREAM_TYPES": ",".join(STREAM_TYPES),
        "KAFKA_BOOTSTRAP_SERVERS": options.servers,
        "HTTP_PORT": "off",
        "LOG_LEVEL": "WARNING",
    }
    meter = Instructions() if options.instructions else Cpu()
    exchange = Exchange(options.messages, meter, options.burden)
    await {"ours": ours, "naive": naive}[options.who](exchange, options.messages)


if __name__ == "__main__":
    trio.run(main)
