"""The recordings of the exchange, through the parser: nothing is lost, changed or taken for something else."""

import json
import re
import zlib
from collections import Counter

import pytest
from exchange_frames import comparable

from ingest_actors.binance.parser import EventParser
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.messages import FrameBatch

LINE = re.compile(rb"^\d+(?:\.\d+:)? (\{\"stream\":.*)$")
LATER = 1_800_000_000_000


def frames_of(path):
    text = zlib.decompressobj(31).decompress(path.read_bytes())
    return [found[1] for line in text.split(b"\n") if (found := LINE.match(line))]


@pytest.mark.parametrize(
    ("name", "expected", "slow_max"),
    [
        ("spot_btcusdt_20240808.gz", {"book_ticker": 28040, "trade": 9757, "depth_update": 3451}, 3),
        ("spot_btcusdt_20240809.gz", {"book_ticker": 45134, "trade": 10147, "depth_update": 3044}, 3),
        ("spot_btcusdt_20230405.dat.gz", {"book_ticker": 8015, "depth_update": 3929, "trade": 3144}, 3),
        ("spot_2021-04-04_3symbols.txt.gz", {"depth_update": 2688, "aggregate_trade": 1910, "kline": 118}, 9),
        (
            "spot_2021-04-17_ws.txt.gz",
            {"depth_update": 614, "book_ticker": 570, "aggregate_trade": 24, "kline": 20},
            40,
        ),
        (
            "usdm_btcusdt_20230404.dat.gz",
            {"book_ticker": 6765, "depth_update": 4322, "trade": 2197, "mark_price_update": 99},
            4,
        ),
    ],
)
def test_every_recorded_frame_becomes_one_event_of_its_own_bytes(captures, name, expected, slow_max, monkeypatch):
    frames = frames_of(captures / name)
    table = StreamTable()
    parser, careful = EventParser(table), EventParser(table, fast=False)
    slow = []
    parse_one = parser._parse_one
    monkeypatch.setattr(parser, "_parse_one", lambda *arguments: slow.append(parse_one(*arguments)))
    counts = Counter()
    for start in range(0, len(frames), 100):
        batch = FrameBatch(frames[start : start + 100], received_at_ms=LATER, connection="ws-1")
        parsed = parser.parse(batch)
        assert comparable(parsed) == comparable(careful.parse(batch))
        assert len(parsed.events) == len(batch)
        for frame, (value, key, time, route) in zip(batch.frames, parsed.events, strict=True):
            envelope = json.loads(frame)
            data = envelope["data"]
            assert value.startswith(frame[len('{"stream":"","data":') + len(envelope["stream"]) : -2] + b',"')
            assert json.loads(value).items() >= {"event_type": route.event_type, "ingestion_timestamp": LATER}.items()
            assert key == data["s"].encode()
            assert time == data.get("E", LATER)
            counts[route.event_type] += 1
    assert counts == expected
    assert len(slow) <= slow_max
