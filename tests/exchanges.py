"""An exchange that a test drives by hand over streams in memory, where one send is one read of the service."""

import base64
import hashlib
import itertools
from contextlib import asynccontextmanager

import trio
from trio.testing import lockstep_stream_pair

from ingest_actors.actors.fleet import Wanted
from ingest_actors.network import Network
from ingest_actors.websocket.feed import open_feed

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
FIRST_ID = 1_000_000_000
"""So that every trade is of the same length."""


def trade(number):
    """A trade's message; `number` counts from 0."""
    number += FIRST_ID
    return (
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1700000000000,"s":"BTCUSDT","t":%d,"p":"1.00000000",'
        b'"q":"2.00000000","T":1700000000000,"m":true,"M":true}}'
    ) % number


def numbers(events):
    """The numbers of trades, as `trade` was given them; the journal between them is passed over."""
    return [
        int(value.split(b'"t":', 1)[1].split(b",", 1)[0]) - FIRST_ID for value, *_, route in events if route.counted
    ]


def text_frame(payload):
    assert 125 < len(payload) < 65536
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


class Line:
    """The exchange's end of one connection."""

    def __init__(self, stream):
        self.stream = stream
        self.sent = 0
        self.pongs = []

    async def shake_hands(self):
        request = b""
        while b"\r\n\r\n" not in request:
            request += await self.stream.receive_some()
        key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        accept = base64.b64encode(hashlib.sha1(key.split(b":", 1)[1].strip() + MAGIC).digest())
        await self.stream.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    async def listen(self):
        """Take note of pongs; everything that the service sends is short and masked."""
        data = b""
        while True:
            chunk = await self.stream.receive_some()
            if not chunk:
                return
            data += chunk
            while len(data) >= 2 and len(data) >= 6 + (data[1] & 0x7F):
                length = data[1] & 0x7F
                mask, body = data[2:6], data[6 : 6 + length]
                if data[0] == 0x8A:
                    self.pongs.append(bytes(byte ^ mask[place % 4] for place, byte in enumerate(body)))
                data = data[6 + length :]

    async def send(self, payload):
        """One message; returns when it has been read."""
        await self.stream.send_all(text_frame(payload))
        self.sent += 1

    async def ping(self, payload):
        await self.stream.send_all(b"\x89" + bytes([len(payload)]) + payload)

    async def cut(self):
        await self.stream.aclose()


class HandDriven:
    """Lets the service in; `lines` has the connections in the order in which they came.

    Args:
        nursery: for the exchange's own tasks.
        play: awaited with each new `Line`; by default nothing is sent.
        endpoints: what the service takes for its addresses.
        refuse: hosts that cannot be reached.
    """

    def __init__(self, nursery, *, play=None, endpoints=("ws://exchange",), streams=("btcusdt@trade",), refuse=()):
        self.nursery = nursery
        self.play = play
        self.refuse = refuse
        self.lines = []
        self.asked = []
        self.clock_ms = itertools.count(1_700_000_000_000).__next__
        self.network = Network(endpoints, self.open_feed, Unasked, self.resolve)
        self.streams = streams

    async def resolve(self, announce):
        return Wanted(self.streams)

    async def connect(self, host, port, tls):
        await trio.lowlevel.checkpoint()
        self.asked.append((trio.current_time(), host))
        if host in self.refuse:
            raise OSError(f"nobody listens at {host}")
        client, server = lockstep_stream_pair()
        self.nursery.start_soon(self.serve, Line(server))
        return client

    @asynccontextmanager
    async def open_feed(self, url, *, name, intercept, read_ahead_bytes_max):
        async with open_feed(
            url,
            name=name,
            connect=self.connect,
            intercept=intercept,
            read_ahead_bytes_max=read_ahead_bytes_max,
            clock_ms=self.clock_ms,  # another millisecond for each read, so that no two are merged
        ) as feed:
            yield feed

    async def serve(self, line):
        try:
            await line.shake_hands()
            self.lines.append(line)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(line.listen)
                if self.play is not None:
                    await self.play(line)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


class Unasked:
    """A subscriber without a protocol: everything is acknowledged."""

    def __init__(self, streams):
        self.acknowledged = frozenset(streams)
        self.missing = frozenset()
        self.renewed = []

    def intercept(self, frames):
        return frames

    async def subscribe(self, feed):
        yield len(self.acknowledged)

    def carry(self, streams):
        self.acknowledged = frozenset(streams)

    def renew(self, streams):
        self.renewed.extend(streams)
