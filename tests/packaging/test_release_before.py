"""What releases before this one have left behind is read. `leave_behind.py` made the files; they are never made again.

A directory of `before/` for each form that there ever was, called by the commit that left it.
"""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path

import pytest

from ingest_actors.binance.resume import ResumeState
from ingest_actors.kafka.owner import decode as decode_owner
from ingest_actors.recordings.reader import RecordingReader
from ingest_actors.spool.codec import BatchCodec
from ingest_actors.spool.file import SpoolFile

BEFORE = Path(__file__).with_name("before")
TOPICS = {"raw": "raw", "trades": "trades", "depth": "depth", "dead_letters": "dead", "gaps": "gaps"}


@pytest.fixture(params=sorted(path.name for path in BEFORE.iterdir()))
def left(request):
    return BEFORE / request.param


def said(left):
    return json.loads((left / "said.json").read_text())


def test_where_it_ended_is_known(left):
    state = ResumeState("left")
    records = [json.loads(line) for line in (left / "state.jsonl").read_text().splitlines()]
    others = [key for key, value in records if not state.load(key.encode(), value.encode())]
    assert others == ["left/owner"]
    assert {place.name for place in state.marks} == {
        f"{kind}/BTCUSDT" for kind in ("aggregate_trade", "depth_update", "trade")
    }
    assert all(mark.last > 0 and mark.at > 0 for mark in state.marks.values())
    [owner] = [value for key, value in records if key == "left/owner"]
    assert decode_owner(b"left/owner", owner.encode()).generation == 1


def test_what_lies_on_its_disk_can_be_drained(left, tmp_path):
    """Every batch, with each series going on by ones where its ids do."""
    path = tmp_path / "left.spool"
    path.write_bytes(gzip.decompress((left / "spool.gz").read_bytes()))
    file = SpoolFile(path, bytes_max=1024**3)
    codec = BatchCodec(TOPICS)
    assert file.events == said(left)["spooled"] > 0
    trades, events, last = [], 0, 0
    while entries := file.read(last, size_bytes=1024**2):
        for entry in entries:
            batch = codec.decode(
                entry.content, received_at_ms=entry.received_at_ms, size_bytes=entry.size_bytes, number=entry.number
            )
            events += len(batch.events)
            trades += [json.loads(value)["t"] for value, _, _, route in batch.events if route.event_type == "trade"]
            last = entry.number
    file.close()
    assert events == file.events
    assert all(later == earlier + 1 for earlier, later in pairwise(trades))


def test_its_recording_can_be_played(left):
    reader = RecordingReader(left / "recording.gz")
    pieces = list(reader)
    assert reader.version == 1
    assert reader.foot == "stopped"
    assert not reader.incomplete
    assert sum(len(run) for piece in pieces for run in piece if isinstance(run, list)) > 0
