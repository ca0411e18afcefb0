"""A WebSocket server made of bytes: says exactly what a test wants said, rules or no rules."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field

import trio
import trio.testing

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
URL = "ws://exchange.test:9443/ws"


def accept_key(head: bytes) -> bytes:
    """The answer to the key in a client's handshake (RFC 6455, section 4.2.2)."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            return base64.b64encode(hashlib.sha1(value.strip() + GUID).digest())
    raise AssertionError(f"no key in {head!r}")


def agreement(head: bytes, *extra: bytes) -> bytes:
    """The 101 that answers a client's handshake."""
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept_key(head),
        *extra,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def client_frames(data: bytes) -> list[tuple[int, bytes]]:
    """What a client sent after its handshake: (opcode, payload unmasked)."""
    frames = []
    while data:
        opcode = data[0] & 0x0F
        assert data[1] & 0x80, "a client's frames are masked"
        length, start = data[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        mask, payload = data[start : start + 4], data[start + 4 : start + 4 + length]
        frames.append((opcode, bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))))
        data = data[start + 4 + length :]
    return frames


@dataclass
class RawServer:
    """The server's end of an in-memory connection; `connect` is the way to it."""

    asked_for: list[tuple[str, int, bool]] = field(default_factory=list)
    head: bytes = b""
    heard: bytes = b""

    def __post_init__(self) -> None:
        self.client_end, self.stream = trio.testing.memory_stream_pair()

    async def connect(self, host, port, tls) -> trio.abc.Stream:
        self.asked_for.append((host, port, tls))
        return self.client_end

    async def read_head(self) -> bytes:
        while b"\r\n\r\n" not in self.head:
            self.head += await self.stream.receive_some(65536)
        return self.head

    async def shake_hands(self, first_frames: bytes = b"") -> None:
        await self.stream.send_all(agreement(await self.read_head()) + first_frames)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def listen(self) -> list[tuple[int, bytes]]:
        """All that the client sends until it hangs up."""
        async for data in self.stream:
            self.heard += data
        return client_frames(self.heard)

    async def listen_for(self, frames: int) -> list[tuple[int, bytes]]:
        """The first so many frames of the client, in one piece each as trio-websocket sends them."""
        while True:
            try:
                got = client_frames(self.heard)
            except IndexError:
                got = []
            if len(got) >= frames:
                return got
            data = await self.stream.receive_some(65536)
            assert data, f"the client hung up after {got}"
            self.heard += data
