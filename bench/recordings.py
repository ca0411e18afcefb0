"""Recordings of the exchange, and what their frames must look like in Kafka: a second opinion.

Nothing here is shared with the package, so that a mistake of the one is not the other's too: it reads files with
`json`, knows the rules of docs and README, and has a murmur2 of its own.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

TIMED = re.compile(rb"([0-9.]+):? (\{.*\})\s*")
TAIL = re.compile(
    rb'((?:,"symbol":"[^"]*")?(?:,"stream":"[^"]*")?),"ingestion_timestamp":(\d{13}),"source":"binance_websocket",'
    rb'"event_type":"(\w+)"\}'
)
EVENT_TYPES = {
    "aggTrade": "aggregate_trade", "trade": "trade", "blockTrade": "block_trade", "depthUpdate": "depth_update",
    "bookTicker": "book_ticker", "kline": "kline", "24hrMiniTicker": "mini_ticker", "24hrTicker": "ticker",
    "1hTicker": "rolling_ticker", "4hTicker": "rolling_ticker", "1dTicker": "rolling_ticker",
    "avgPrice": "average_price", "referencePrice": "reference_price",
}  # fmt: skip
COPIES = {"aggregate_trade": "trades", "trade": "trades", "depth_update": "depth", "depth_snapshot": "depth"}
IDENTITIES = {
    "aggregate_trade": ("a",), "trade": ("t",), "block_trade": ("t",), "depth_update": ("U", "u"),
    "book_ticker": ("u",), "partial_depth": ("lastUpdateId",),
}  # fmt: skip


class Expected(NamedTuple):
    """One event of a recording, as it must come out."""

    series: tuple[str, str]
    """Symbol and event type."""
    identity: object
    payload: bytes
    appended: bytes
    """What the stream's name adds to it."""
    time_ms: int | None
    """None: the time of receipt."""


def read_recording(path: Path) -> Iterator[tuple[str, bytes]]:
    """Stream and frame of each line that is a frame of a combined stream."""
    for line in text_of(path).split(b"\n"):
        timed = TIMED.fullmatch(line)
        if timed:
            try:
                frame = json.loads(timed[2])
            except ValueError:
                continue  # the last line of a file that was cut off
            if "stream" in frame and "data" in frame:
                yield frame["stream"], timed[2]


def text_of(path: Path) -> bytes:
    """A file's text; gzip's end may be missing."""
    data = path.read_bytes()
    if not data.startswith(b"\x1f\x8b"):
        return data
    pieces = []
    while data:
        inflate = zlib.decompressobj(wbits=31)
        pieces.append(inflate.decompress(data))
        data = inflate.unused_data
    return b"".join(pieces)


def expected_events(stream: str, frame: bytes) -> Iterator[Expected]:
    """What one frame must become."""
    prefix = b'{"stream":"%b","data":' % stream.encode()
    if not frame.startswith(prefix):
        raise SystemExit(f"a frame that is not written as the exchange writes them: {frame[:80]!r}")
    payload = frame[len(prefix) : -1]
    if not payload.startswith(b"["):
        yield expected_event(stream, payload)
        return
    text, at, decoder = payload.decode(), 1, json.JSONDecoder()
    while text[at] != "]":
        _, end = decoder.raw_decode(text, at)
        yield expected_event(stream, text[at:end].encode())
        at = end + (text[end] == ",")


def expected_event(stream: str, payload: bytes) -> Expected:
    event = json.loads(payload)
    stream_type = stream.partition("@")[2]
    symbol = event.get("s") or stream.partition("@")[0].upper()
    kind = event_type_of(event, stream_type)
    appended = b""
    if kind in {"book_ticker", "partial_depth"} or stream_type.endswith("@+08:00"):
        appended = b',"symbol":"%b","stream":"%b"' % (symbol.encode(), stream.encode())
    time = event.get("E") or event.get("T")
    return Expected((symbol, kind), identity_of(kind, event), payload, appended, time if time is None else to_ms(time))


def event_type_of(event: dict[str, Any], stream_type: str) -> str:
    if re.fullmatch(r"depth(5|10|20)(@.*)?", stream_type):
        return "partial_depth"
    if "e" not in event:
        return "book_ticker"
    return EVENT_TYPES.get(event["e"]) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", event["e"]).lower()


def identity_of(kind: str, event: dict[str, Any]) -> object:
    """What tells one event of a series from another."""
    if kind == "kline":
        return (*(event["k"][name] for name in ("i", "t", "L", "n", "x")), event["E"])
    return tuple(event[name] for name in IDENTITIES.get(kind, ("e", "E")) if name in event)


def to_ms(time: int) -> int:
    """Milliseconds, from a time in ms, us or ns."""
    while time >= 10**14:
        time //= 1000
    return time


def java_partition(key: bytes, partitions: int) -> int:
    """Where Java's default partitioner puts a key: murmur2 with its seed, made positive, modulo."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(key)) & mask
    whole = len(key) - len(key) % 4
    for index in range(0, whole, 4):
        k = int.from_bytes(key[index : index + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if whole < len(key):
        h = (h ^ int.from_bytes(key[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return ((h ^ h >> 15) & 0x7FFFFFFF) % partitions
