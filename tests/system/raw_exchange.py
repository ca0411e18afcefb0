"""An exchange made of threads and bytes: it does what a script says, lawful or not, as fast as the socket takes it.

Each client that shakes hands gets a thread that runs the script and another that reads: it answers subscriptions,
pings and closes, and notes pongs. The few REST answers that the service asks for at its start come from the same port.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
SEND_BUFFER_BYTES = 64 * 1024
"""Small, so that a reader who stops is noticed soon."""
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A final, unmasked frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return b"%c%c" % (0x80 | opcode, size) + payload
    if size < 65_536:
        return b"%c\x7e" % (0x80 | opcode) + size.to_bytes(2, "big") + payload
    return b"%c\x7f" % (0x80 | opcode) + size.to_bytes(8, "big") + payload


class Gone(Exception):
    """The client has gone, or was cut: the script ends here."""


class Client:
    """One connection of the service.

    Attributes:
        number: counted from 1, in the order of the handshakes.
        subscribed: set once something is subscribed.
        gone: set once the connection is of no more use.
        close_code: of the close frame that the client sent; None before.
        pongs: by payload, when each was read, monotonic seconds.
    """

    def __init__(self, sock: socket.socket, buffer: bytes, number: int) -> None:
        self.number = number
        self.subscribed = threading.Event()
        self.gone = threading.Event()
        self.close_code: int | None = None
        self.pongs: dict[bytes, float] = {}
        self._sock = sock
        self._buffer = buffer
        self._write = threading.Lock()

    def send(self, data: bytes, *, patience_s: float | None = None) -> None:
        """Send whole frames; waits as long as the client does not read.

        Raises:
            Gone: the client has.
            TimeoutError: it took nothing for `patience_s`; part of the data may be under way.
        """
        with self._write:
            view = memoryview(data)
            deadline = None if patience_s is None else time.monotonic() + patience_s
            while view:
                try:
                    sent = self._sock.send(view)
                except (BlockingIOError, TimeoutError):
                    if self.gone.is_set():
                        raise Gone from None
                    if deadline is not None and time.monotonic() > deadline:
                        raise TimeoutError("the client does not read") from None
                    continue
                except OSError:
                    self.gone.set()
                    raise Gone from None
                view = view[sent:]
                if patience_s is not None:
                    deadline = time.monotonic() + patience_s

    def send_text(self, *payloads: bytes) -> None:
        """Send messages, together."""
        self.send(b"".join(map(frame, payloads)))

    def ping_s(self, payload: bytes, timeout_s: float, ahead: bytes = b"") -> float | None:
        """Ping, behind other frames; seconds until the pong, None if it did not come in time."""
        sent_s = time.monotonic()
        self.send(ahead + frame(payload, PING))
        while time.monotonic() < sent_s + timeout_s:
            if payload in self.pongs:
                return self.pongs[payload] - sent_s
            time.sleep(0.001)
        return None

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye, as the exchange does, and wait for the answer before the connection ends."""
        self.send(frame(struct.pack(">H", code) + reason.encode(), CLOSE))
        self.gone.wait(5)
        self.cut()

    def cut(self) -> None:
        """End the connection without a word."""
        self.gone.set()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def read(self) -> None:
        """Answer what the client sends until the end. Runs on a thread of its own."""
        with contextlib.suppress(OSError, EOFError):
            while not self.gone.is_set():
                self._answer(*self._read_frame())
        self.gone.set()

    def _answer(self, opcode: int, payload: bytes) -> None:
        if opcode == PONG:
            self.pongs[payload] = time.monotonic()
        elif opcode == PING:
            self.send(frame(payload, PONG))
        elif opcode == TEXT:
            request = json.loads(payload)
            self.send_text(json.dumps({"result": None, "id": request["id"]}).encode())
            self.subscribed.set()
        elif opcode == CLOSE:
            self.close_code = struct.unpack(">H", payload[:2])[0] if payload else 1005
            with contextlib.suppress(Gone, TimeoutError):
                self.send(frame(payload, CLOSE), patience_s=1)
            raise EOFError

    def _read_frame(self) -> tuple[int, bytes]:
        first, second = self._read(2)
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(self._read(2), "big")
        mask = self._read(4)
        payload = self._read(size)
        return first & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))

    def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                data = self._sock.recv(65_536)
            except (BlockingIOError, TimeoutError):
                if self.gone.is_set():
                    raise EOFError from None
                continue
            if not data:
                raise EOFError
            self._buffer += data
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data


class RawExchange:
    """Listens from `__enter__` to `__exit__`.

    Args:
        script: what is done to each client once it has subscribed; ends when it returns, and the connection stays.
        symbols: what is listed.

    Attributes:
        clients: all so far.
        failures: what scripts died of; asserted to be nothing at the end.
    """

    def __init__(self, script: Callable[[Client], None], symbols: Sequence[str]) -> None:
        self.clients: list[Client] = []
        self.failures: list[BaseException] = []
        self._script = script
        self._symbols = symbols
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    @property
    def settings(self) -> dict[str, str]:
        """What leads the service here."""
        address = "{}:{}".format(*self._listener.getsockname())
        return {
            "BINANCE_WS_URL": f"ws://{address}",
            "BINANCE_REST_URL": f"http://{address}",
            "BINANCE_SYMBOLS": ",".join(self._symbols),
        }

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self.clients:
            client.cut()
        for thread in list(self._threads):
            thread.join(5)
            assert not thread.is_alive(), f"{thread.name} does not end"
        assert not self.failures, self.failures

    def client(self, number: int, timeout_s: float = 20) -> Client:
        """The client of that number, once it has subscribed."""
        deadline = time.monotonic() + timeout_s
        while len(self.clients) < number:
            assert time.monotonic() < deadline, f"connection {number} did not come in {timeout_s} s"
            time.sleep(0.01)
        client = self.clients[number - 1]
        assert client.subscribed.wait(timeout_s), f"connection {number} did not subscribe in {timeout_s} s"
        return client

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(0.2)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            head, _, rest = _read_head(sock).partition(b"\r\n\r\n")
        except (OSError, EOFError):
            sock.close()
            return
        target = head.split(b" ", 2)[1]
        if target.startswith(b"/api/"):
            with sock, contextlib.suppress(OSError):
                sock.settimeout(5)
                sock.sendall(self._rest_answer(target))
            return
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
        assert key
        accept = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest())
        with self._lock:
            client = Client(sock, rest, len(self.clients) + 1)
            self.clients.append(client)
        with contextlib.suppress(Gone):
            client.send(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
        if b"streams=" in target or target.startswith(b"/ws/"):
            client.subscribed.set()
        self._start(self._play, client)
        client.read()
        sock.close()

    def _play(self, client: Client) -> None:
        while not client.subscribed.wait(0.1):
            if client.gone.is_set():
                return
        try:
            self._script(client)
        except Gone:
            pass
        except BaseException as failure:  # noqa: BLE001 - told at the end
            self.failures.append(failure)

    def _rest_answer(self, target: bytes) -> bytes:
        listed = [
            {"symbol": symbol, "status": "TRADING", "isSpotTradingAllowed": True, "permissionSets": [["SPOT"]]}
            for symbol in self._symbols
        ]
        answers = {
            b"/api/v3/time": {"serverTime": time.time_ns() // 1_000_000},
            b"/api/v3/exchangeInfo": {"timezone": "UTC", "rateLimits": [], "exchangeFilters": [], "symbols": listed},
        }
        body = json.dumps(answers.get(target.partition(b"?")[0], {})).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        return head.encode() + b"connection: close\r\n\r\n" + body


def _read_head(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65_536)
        if not piece:
            raise EOFError
        data += piece
    return data
