"""What the simulator's tests share: clients in memory, markets without a clock, frames in recorders' formats."""

import gzip
import json
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from trio.testing import memory_stream_pair
from trio_websocket import wrap_client_stream
from wsproto.connection import ConnectionType
from wsproto.frame_protocol import FrameDecoder

from ingest_actors.simulator import SimulatorConfig
from ingest_actors.simulator.control import ControlState
from ingest_actors.simulator.market.source import MarketSource
from ingest_actors.simulator.session import Session

START_MS = 1_790_000_000_000
CAPTURES = Path(__file__).parents[3] / "shared" / "captures"


def quiet(**changes):
    """A market for virtual time: no ports, a fixed start, ticks that cost little."""
    settings = {
        "ws_port": None,
        "rest_port": None,
        "start_ms": START_MS,
        "symbols": ("BTCUSDT", "ETHUSDT"),
        "tick_s": 0.1,
    }
    return SimulatorConfig(**(settings | changes))


@asynccontextmanager
async def client_of(exchange, path, **options):
    """A WebSocket client over a stream in memory."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.serve_stream, theirs)
        client = await wrap_client_stream(nursery, ours, "exchange", path, **options)
        try:
            yield client
        finally:
            nursery.cancel_scope.cancel()


async def handshake_status(exchange, path, address=None):
    """The HTTP status that a handshake is answered with."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.serve_stream, theirs, address)
        await ours.send_all(handshake(path))
        answer = bytes(await ours.receive_some(65536))
        nursery.cancel_scope.cancel()
    return int(answer.split()[1])


def handshake(path):
    lines = [
        f"GET {path} HTTP/1.1", "Host: exchange", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


async def ask(client, method, params=None, request_id=1):
    """Send a control message; its reply. Events that come before it are passed over."""
    request = {"method": method, "id": request_id} | ({} if params is None else {"params": params})
    await client.send_message(json.dumps(request))
    while True:
        answer = json.loads(await client.get_message())
        if "stream" not in answer and ("result" in answer or "error" in answer):
            return answer


async def events(client, count):
    """The next so many messages, decoded."""
    return [json.loads(await client.get_message()) for _ in range(count)]


def decode_frames(data):
    """Payloads of a server's data frames."""
    decoder = FrameDecoder(ConnectionType.CLIENT)
    decoder.receive_bytes(data)
    payloads, parts = [], []
    while True:
        frame = decoder.process_buffer()
        if frame is None:
            return payloads
        part = frame.payload
        parts.append(part.encode() if isinstance(part, str) else bytes(part))
        if frame.frame_finished and frame.message_finished:
            payloads.append(b"".join(parts))
            parts = []


class Listener:
    """A session of its own on a market source, and what was sent to it."""

    def __init__(self, source, *streams, number=1, phase_us=0, microseconds=False, combined=True):
        self.source = source
        self.session = Session(
            number, ControlState(combined=combined), phase_us=phase_us, microseconds=microseconds, lossless=True
        )
        for stream in streams:
            source.attach(self.session, stream)

    def payloads(self):
        """What was sent since the last call."""
        data = b"".join(self.session._frames)
        self.session._frames.clear()
        self.session._waiting_bytes = 0
        return decode_frames(data)

    def messages(self):
        return [json.loads(payload) for payload in self.payloads()]


def make_market(**changes):
    """A market without a clock: `advance` moves it. To be called within trio."""
    config = quiet(**changes)
    return MarketSource(config, config.start_ms * 1000)


def advance(source, seconds):
    source.scheduler.advance(source.scheduler.now_us + int(seconds * 1e6))


def by_stream(messages):
    streams = {}
    for message in messages:
        streams.setdefault(message["stream"], []).append(message["data"])
    return streams


STREAMS = ("trade", "aggTrade", "bookTicker", "depth@100ms", "kline_1m")


def record_market(seconds=20, *, symbols=("BTCUSDT", "ETHUSDT"), streams=STREAMS, **changes):
    """Frames of a seeded market as a recorder would have got them: (receive time ns, payload), and book snapshots.

    To be called within trio.
    """
    source = make_market(symbols=symbols, **changes)
    listener = Listener(source, *(f"{symbol.lower()}@{stream}" for symbol in symbols for stream in streams))
    frames, snapshots = [], {}
    for _ in range(int(seconds * 10)):
        advance(source, 0.1)
        frames += [(source.scheduler.now_us * 1000 + i * 1000, frame) for i, frame in enumerate(listener.payloads())]
        for symbol in symbols:
            snapshots.setdefault(symbol, (source.scheduler.now_us * 1000, source.rest.depth(symbol, 1000)))
    return frames, snapshots


def record(seconds=20):
    """The same, to be called outside of trio."""

    async def run():
        return record_market(seconds)

    return trio.run(run)


def write_numbered(path, frames, *, unit_ns=1, snapshot=None, cut_trailer=False):
    """`<time> <frame>` lines, gzipped when the name ends so."""
    lines = [b"%d %b\n" % (time // unit_ns, frame) for time, frame in frames]
    if snapshot is not None:
        lines.insert(len(lines) // 2, b"%d %b\n" % (snapshot[0] // unit_ns, snapshot[1]))
    return _write(path, b"".join(lines), cut_trailer=cut_trailer)


def write_with_urls(path, frames, snapshots, *, streams):
    """`<seconds>: <frame>` lines, with what was subscribed and REST's answers between them."""
    url = "wss://stream.example.com:9443/stream?streams=" + "/".join(streams)
    lines = [f"{url} <-> {frames[0][0] / 1e9 - 1}\n".encode()]
    lines += [_timed(time, frame) for time, frame in frames]
    lines[5:5] = [answer_line(symbol, *snapshot) for symbol, snapshot in snapshots.items()]
    return _write(path, b"".join(lines) + b"\n\n")


def answer_line(symbol, time_ns, body):
    url = f"https://www.example.com/api/v3/depth?symbol={symbol}&limit=1000"
    return f"{url} -> {time_ns // 10**9}.{time_ns % 10**9:09d}: ".encode() + body + b"\n"


def _timed(time_ns, frame):
    return f"{time_ns // 10**9}.{time_ns % 10**9:09d}".rstrip("0").encode() + b": " + frame + b"\n"


def _write(path, text, *, cut_trailer=False):
    data = gzip.compress(text, mtime=0) if path.name.endswith(".gz") else text
    path.write_bytes(data[:-8] if cut_trailer else data)
    return path
