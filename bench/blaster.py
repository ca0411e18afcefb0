"""The exchange as a blaster: frames made beforehand, sent as fast as the socket takes them.

Ten symbols, aggregate trades and diff depth in turn, ids continuous in every series, frames of about 342 bytes on
average. A client shakes hands, subscribes, gets its acknowledgement, and then all the frames there are; afterwards the
connection stays open and silent. The few REST answers that a client asks for at its start come from the same port; with
`--tls`, where every frame is a TLS record of its own, REST stays plain on a port beside.

With ``--rate`` they go out at that pace instead, each telling when it was sent (see `pacing`).

Stdout: one JSON line with the addresses as soon as it listens, then one at the start and one at the end of each blast,
with CLOCK_MONOTONIC times, which mean the same in every process of the machine.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import itertools
import json
import os
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pacing import PacedFrames
from tls_socket import TlsSocket, make_certificates

SYMBOLS = (
    "BTCUSDT", "ETHUSDT", "BNBUSDT", "ADAUSDT", "XRPUSDT", "SOLUSDT", "DOGEUSDT", "DOTUSDT", "LTCUSDT", "TRXUSDT",
)  # fmt: skip
STREAM_TYPES = ("aggTrade", "depth@100ms")
FIRST_UPDATE_ID = 9_000_000_000
"""Of every book: the first update follows it, and REST's snapshot stands at it."""
CHUNK_BYTES = 64 * 1024
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def make_payloads(messages: int, seed: int = 7) -> Iterator[bytes]:
    """Combined-stream payloads: aggTrade and depthUpdate alternate, symbol by symbol."""
    rng = random.Random(seed)
    now_ms = time.time_ns() // 1_000_000
    trade_ids = dict.fromkeys(SYMBOLS, 1_000_000)
    aggregate_ids = dict.fromkeys(SYMBOLS, 500_000)
    update_ids = dict.fromkeys(SYMBOLS, FIRST_UPDATE_ID)
    levels = [b'["%d.%08d","%d.%08d"]' % (rng.randrange(10, 10_000), rng.randrange(10**8), rng.randrange(9),
              rng.randrange(10**8)) for _ in range(512)]  # fmt: skip
    sides = [b",".join(rng.choices(levels, k=rng.randrange(1, 11))) for _ in range(4096)]
    for index in range(messages):
        symbol = SYMBOLS[index // 2 % len(SYMBOLS)]
        lower, upper = symbol.lower().encode(), symbol.encode()
        at_ms = now_ms + index // 100
        if index % 2 == 0:
            aggregate_ids[symbol] += 1
            first = trade_ids[symbol] + 1
            last = trade_ids[symbol] = first + index % 3
            yield (
                b'{"stream":"%b@aggTrade","data":{"e":"aggTrade","E":%d,"s":"%b","a":%d,"p":"%d.45000000",'
                b'"q":"0.%08d","f":%d,"l":%d,"T":%d,"m":%b,"M":true}}'
                % (lower, at_ms, upper, aggregate_ids[symbol], 20_000 + index % 40_000, index * 7919 % 10**8, first,
                   last, at_ms - 1, b"true" if index % 4 else b"false")
            )  # fmt: skip
        else:
            first = update_ids[symbol] + 1
            last = update_ids[symbol] = first + index % 11
            yield (
                b'{"stream":"%b@depth@100ms","data":{"e":"depthUpdate","E":%d,"s":"%b","U":%d,"u":%d,"b":[%b],"a":[%b]}}'
                % (lower, at_ms, upper, first, last, sides[index * 31 % 4096], sides[index * 17 % 4096])
            )


def text_frame(payload: bytes) -> bytes:
    """A final, unmasked text frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81%c" % size + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def make_chunks(messages: int) -> list[bytes]:
    """All frames, joined to chunks of whole frames."""
    chunks, frames, size = [], [], 0
    for payload in make_payloads(messages):
        frame = text_frame(payload)
        frames.append(frame)
        size += len(frame)
        if size >= CHUNK_BYTES:
            chunks.append(b"".join(frames))
            frames, size = [], 0
    return [*chunks, b"".join(frames)]


Send = Callable[[Any], None]
Feed = Callable[[Send], dict[str, Any]]


def all_at_once(chunks: list[bytes], rounds: int) -> Feed:
    """As fast as the socket takes them, so many times; 0 = without end."""

    def feed(send: Send) -> dict[str, Any]:
        for _ in range(rounds) if rounds else itertools.count():
            for chunk in chunks:
                send(chunk)
        return {}

    return feed


def paced(frames: PacedFrames, rate: float) -> Feed:
    """So many a second."""
    return lambda send: frames.send(send, rate)._asdict()


class Client:
    """One connection, on two threads: this one reads, and `_blast` writes.

    Args:
        sock: the connection.
        feed: sends all there is by the function that it is given; returns what is to be told of it.

    Attributes:
        books: whether REST answers with a book; else it has none to give.
    """

    books = False

    def __init__(self, sock: socket.socket | TlsSocket, feed: Feed) -> None:
        self._sock = sock
        self._feed = feed
        self._write = threading.Lock()
        self._buffer = b""
        self._blasting = False

    def run(self) -> None:
        with self._sock, contextlib.suppress(OSError, EOFError):
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            head = self._read_head()
            target = head.split(b" ", 2)[1]
            if target.startswith(b"/api/"):
                self._answer_rest(target)
                return
            key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
            assert key
            accept = base64.b64encode(hashlib.sha1(key[1] + WEBSOCKET_GUID).digest())
            self._sock.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            if b"streams=" in target:
                self._start_blast()
            while True:
                self._answer(*self._read_frame())

    def _answer(self, opcode: int, payload: bytes) -> None:
        if opcode == 0x8:
            self._send(b"\x88%c" % len(payload) + payload)
            raise EOFError
        if opcode == 0x9:
            self._send(b"\x8a%c" % len(payload) + payload)
        elif opcode == 0x1:
            request = json.loads(payload)
            self._send(text_frame(json.dumps({"result": None, "id": request["id"]}).encode()))
            if request["method"] == "SUBSCRIBE":
                self._start_blast()

    def _start_blast(self) -> None:
        if not self._blasting:
            self._blasting = True
            threading.Thread(target=self._blast, daemon=True).start()

    def _blast(self) -> None:
        tell(event="blast_started", at_s=time.monotonic())
        how: dict[str, Any] = {}
        with contextlib.suppress(OSError):
            how = self._feed(self._send)
        tell(event="blast_ended", at_s=time.monotonic(), **how)

    def _send(self, data: bytes | memoryview) -> None:
        with self._write:
            self._sock.sendall(data)

    def _answer_rest(self, target: bytes) -> None:
        symbols = [
            {
                "symbol": symbol, "status": "TRADING", "baseAsset": symbol[:-4], "quoteAsset": "USDT",
                "isSpotTradingAllowed": True, "permissions": [], "permissionSets": [["SPOT"]],
                "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.01000000"}],
            }
            for symbol in SYMBOLS
        ]  # fmt: skip
        answers = {
            b"/api/v3/ping": {},
            b"/api/v3/time": {"serverTime": time.time_ns() // 1_000_000},
            b"/api/v3/exchangeInfo": {"timezone": "UTC", "rateLimits": [], "exchangeFilters": [], "symbols": symbols},
        }
        if self.books:
            answers[b"/api/v3/depth"] = {"lastUpdateId": FIRST_UPDATE_ID, "bids": [], "asks": []}
        body = json.dumps(answers.get(target.partition(b"?")[0], {})).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self._sock.sendall(head.encode() + b"connection: close\r\n\r\n" + body)

    def _read_head(self) -> bytes:
        while b"\r\n\r\n" not in self._buffer:
            self._fill()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head

    def _read_frame(self) -> tuple[int, bytes]:
        first, second = self._read(2)
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(self._read(2), "big")
        elif size == 127:
            size = int.from_bytes(self._read(8), "big")
        mask = self._read(4) * (size // 4 + 1)
        return first & 0x0F, bytes(a ^ b for a, b in zip(self._read(size), mask, strict=False))

    def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _fill(self) -> None:
        data = self._sock.recv(65_536)
        if not data:
            raise EOFError
        self._buffer += data


def tell(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=1, help="how often all of them are sent; 0 = without end")
    parser.add_argument("--rate", type=float, default=0, help="messages a second; 0 = as fast as the socket takes them")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", type=Path, metavar="DIRECTORY", help="wss://; the authority's certificate goes there")
    parser.add_argument("--books", action="store_true", help="REST has a book of each symbol, at its first update")
    options = parser.parse_args()
    Client.books = options.books
    if options.rate:
        frames = PacedFrames(make_payloads(options.messages), text_frame)
        wire_bytes, feed = frames.wire_bytes, paced(frames, options.rate)
    else:
        chunks = make_chunks(options.messages)
        wire_bytes, feed = sum(map(len, chunks)), all_at_once(chunks, options.rounds)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", options.port)))
        rest, context, about = server, None, {}
        if options.tls:
            context, ca_file = make_certificates(options.tls)
            rest, about = stack.enter_context(socket.create_server(("127.0.0.1", 0))), {"ca_file": str(ca_file)}
            threading.Thread(target=serve, args=(rest, None, feed), daemon=True).start()
        tell(
            ws_url=f"{'wss' if options.tls else 'ws'}://127.0.0.1:{server.getsockname()[1]}",
            rest_url=f"http://127.0.0.1:{rest.getsockname()[1]}",
            messages=options.messages,
            frame_bytes=round(wire_bytes / options.messages, 1),
            wire_bytes=wire_bytes,
            pid=os.getpid(),
            **about,
        )
        serve(server, context, feed)


def serve(server: socket.socket, context: ssl.SSLContext | None, feed: Feed) -> None:
    """A thread for each connection, for ever."""
    while True:
        sock, _ = server.accept()
        threading.Thread(target=welcome, args=(sock, context, feed), daemon=True).start()


def welcome(sock: socket.socket, context: ssl.SSLContext | None, feed: Feed) -> None:
    with contextlib.suppress(OSError, EOFError):
        Client(TlsSocket(sock, context) if context else sock, feed).run()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
