"""Ways from a frame to the record's value, its key and its time; no socket, no Kafka.

    python bench/parsers.py WAY MESSAGES FRAMES_AT_ONCE

Each way gets the same frames, so many at once, and says at the end how long that took. What comes out is checked on the
first frames before the clock starts: all ways that keep the exchange's bytes must agree.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from blaster import make_payloads

NOW_MS = time.time_ns() // 1_000_000
TAIL = b',"ingestion_timestamp":%d,"source":"binance_websocket","event_type":"%b"}'
AGGREGATE, UPDATE = (TAIL.replace(b"%b", kind) for kind in (b"aggregate_trade", b"depth_update"))
CHECKED = 100

Record = tuple[bytes, str, int]
"""Value, key, time."""


class Way(NamedTuple):
    """What is timed, and how to see what came out of it."""

    parse: Callable[[list[bytes]], Any]
    records: Callable[[Any], Iterable[Record]] = iter


class Envelope(msgspec.Struct):
    data: msgspec.Raw


class Event(msgspec.Struct):
    e: str
    E: int
    s: str


class AggTrade(msgspec.Struct, tag_field="e", tag="aggTrade"):
    E: int
    s: str
    a: int


class DepthUpdate(msgspec.Struct, tag_field="e", tag="depthUpdate"):
    E: int
    s: str
    U: int
    u: int


def ours(*, fast: bool) -> Way:
    """The service's parser with continuity, as it does it for a batch, the commit included."""
    from ingest_actors.binance.continuity import Continuity  # noqa: PLC0415 - each way has only its own in memory
    from ingest_actors.binance.journal import Journal  # noqa: PLC0415
    from ingest_actors.binance.parser import EventParser  # noqa: PLC0415
    from ingest_actors.binance.stream_table import StreamTable  # noqa: PLC0415
    from ingest_actors.messages import FrameBatch  # noqa: PLC0415

    continuity = Continuity(
        hold_s=lambda _: 10.0, late=lambda event: event, journal=Journal("gaps").record, held_max=1000,
        bytes_max=10**9, clock=time.monotonic, clock_ms=lambda: NOW_MS,
    )  # fmt: skip
    parser = EventParser(StreamTable(), fast=fast, continuity=continuity)

    def parse(frames: list[bytes]) -> Any:
        parsed = parser.parse(FrameBatch(frames, received_at_ms=NOW_MS, connection="bench"))
        continuity.commit(parsed.odd)
        return parsed

    def records(parsed: Any) -> Iterable[Record]:
        return ((value, key.decode(), at_ms) for value, key, at_ms, _ in parsed.events)

    return Way(parse, records)


def by_json() -> Way:
    """Parse all, print all again."""
    kinds = {"aggTrade": "aggregate_trade", "depthUpdate": "depth_update"}

    def parse(frames: list[bytes]) -> list[Record]:
        records = []
        for frame in frames:
            event = json.loads(frame)["data"]
            event["ingestion_timestamp"] = NOW_MS
            event["source"] = "binance_websocket"
            event["event_type"] = kinds[event["e"]]
            records.append((json.dumps(event).encode(), event["s"], event["E"]))
        return records

    return Way(parse)


def by_msgspec(*, ids: bool) -> Way:
    """As `clients/picows_uvloop.py` does it: two decoders, a slice, and ids if asked for."""
    envelope, plain = msgspec.json.Decoder(Envelope).decode, msgspec.json.Decoder(Event).decode
    tagged = msgspec.json.Decoder(AggTrade | DepthUpdate).decode
    trades: dict[str, int] = {}
    updates: dict[str, int] = {}
    gaps = 0

    def parse(frames: list[bytes]) -> list[Record]:
        records = []
        for frame in frames:
            data = envelope(frame).data
            event = plain(data)
            tail = AGGREGATE if event.e == "aggTrade" else UPDATE
            records.append((bytes(data)[:-1] + tail % NOW_MS, event.s, event.E))
        return records

    def parse_and_check(frames: list[bytes]) -> list[Record]:
        nonlocal gaps
        records = []
        for frame in frames:
            data = envelope(frame).data
            event: Any = tagged(data)
            symbol = event.s
            if event.__class__ is AggTrade:
                gaps += trades.get(symbol, event.a - 1) != event.a - 1
                trades[symbol] = event.a
                tail = AGGREGATE
            else:
                gaps += updates.get(symbol, event.U - 1) != event.U - 1
                updates[symbol] = event.u
                tail = UPDATE
            records.append((bytes(data)[:-1] + tail % NOW_MS, symbol, event.E))
        return records

    return Way(parse_and_check if ids else parse)


WAYS: dict[str, Callable[[], Way]] = {
    "ours": lambda: ours(fast=True),
    "ours, slow way": lambda: ours(fast=False),
    "json": by_json,
    "msgspec": lambda: by_msgspec(ids=False),
    "msgspec, ids checked": lambda: by_msgspec(ids=True),
}


def check(name: str, way: Way, frames: list[bytes]) -> None:
    """What it makes of the first frames is what the exchange sent, and the three fields."""
    for (value, key, at_ms), frame in zip(way.records(way.parse(frames)), frames, strict=True):
        event = json.loads(frame)["data"]
        kind = "aggregate_trade" if event["e"] == "aggTrade" else "depth_update"
        added = {"ingestion_timestamp": NOW_MS, "source": "binance_websocket", "event_type": kind}
        if json.loads(value) != event | added or key != event["s"] or at_ms != event["E"]:
            raise SystemExit(f"{name} makes {value!r} of {frame!r}")


def main(name: str, messages: int, frames_at_once: int) -> None:
    frames = list(make_payloads(messages))
    batches = [frames[at : at + frames_at_once] for at in range(CHECKED, messages, frames_at_once)]
    way = WAYS[name]()
    check(name, way, frames[:CHECKED])
    parse = way.parse
    gc.collect()
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    for batch in batches:
        parse(batch)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    done = messages - CHECKED
    print(json.dumps({"messages_per_s": round(done / wall_s), "cpu_us_per_message": round(cpu_s / done * 1e6, 3)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
