"""Files that are no recordings, or mean harm: refused by name and line, in bounded memory, whatever they hold."""

from __future__ import annotations

import gzip
import random
import tracemalloc
from pathlib import Path

import pytest

from ingest_actors.recordings import reader as reader_module
from ingest_actors.recordings.lines import time_ns, understand
from ingest_actors.recordings.reader import RecordingError, RecordingReader
from ingest_actors.simulator.recorded_rest import RecordedRest
from ingest_actors.simulator.recording import Recording

MIB = 1024 * 1024
FRAME = b'1790000000000000002 {"stream":"btcusdt@trade","data":{"e":"trade","t":1}}'
HEAD = b'1790000000000000000 {"recording":1,"program":"ingest-actors"}'

REFUSED = [
    b'1.2.3 {"stream":"a@trade","data":{}}',
    b'. {"lastUpdateId":1}',
    b"9" * 5000 + b' {"lastUpdateId":1}',
    b'1790000000 {"a":' + b"[" * 100_000 + b"}",
    b'1790000000 {"a":' + b"9" * 5000 + b"}",
    b"https://x/api/v3/depth -> 1: " + b"[" * 100_000 + b"]",
    b"https://x/api/v3/depth -> ...: {}",
    b"https://\xff/ -> 1: {}",
    b"wss://x/ws/\xff@trade <-> 1",
    b'1790000000 {"stream":"\\ud800","data":{}}',
    b'1790000000 {"stream":"a@trade","d\\u0061ta":{}}',
    b'1790000000 {"text":"\\ud800"}',
    b'1790000000 {"binary":"not base64"}',
    b"\x00\x01\x02\xff",
    b"",
]  # fmt: skip


def read(path: Path):
    return [entry for entries in RecordingReader(path) for entry in entries]


@pytest.mark.parametrize("line", REFUSED[:-1], ids=lambda line: line[:30].decode("latin-1"))
@pytest.mark.parametrize("head", [b"", HEAD + b"\n"], ids=["of others", "ours"])
def test_a_line_that_is_none_is_refused_with_its_number(tmp_path, line, head):
    path = tmp_path / "bad.txt"
    path.write_bytes(head + FRAME + b"\n" + line + b"\n" + FRAME + b"\n")
    with pytest.raises(RecordingError) as caught:
        read(path)
    assert caught.value.line == 2 + bool(head)


def test_a_line_without_end_is_given_up_at_the_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(reader_module, "LINE_BYTES_MAX", MIB)
    path = tmp_path / "endless.txt"
    path.write_bytes(FRAME + b"\n" + FRAME[:-2] + b"x" * 30 * MIB)
    tracemalloc.start()
    try:
        with pytest.raises(RecordingError, match="longer than 1,048,576 bytes"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 5 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("head", [b"", HEAD + b"\n"], ids=["of others", "ours"])
def test_a_file_that_unpacks_to_gigabytes_is_given_up_at_the_bound(tmp_path, monkeypatch, head):
    monkeypatch.setattr(reader_module, "LINE_BYTES_MAX", MIB)
    monkeypatch.setattr(reader_module, "CHECKED_BYTES_MAX", MIB)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(head + b"1790000000 {" + b"x" * 40 * MIB))
    tracemalloc.start()
    try:
        with pytest.raises(RecordingError, match="longer than"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_what_is_compressed_a_thousandfold_is_read_whole(tmp_path):
    path = tmp_path / "small.gz"
    lines = (FRAME + b"\n") * 60_000
    path.write_bytes(gzip.compress(lines[:3_000_000] + b"", 9) + gzip.compress(lines[3_000_000:], 9))
    assert sum(len(entry) for entry in read(path)) == 60_000


def test_lines_that_look_like_frames_without_end_are_looked_at_once_each(tmp_path):
    """A quadratic search of 256 kB of these would take a minute."""
    path = tmp_path / "half.txt"
    path.write_bytes(b'1 {"stream":"\n' * 60_000)
    with pytest.raises(RecordingError) as caught:
        read(path)
    assert caught.value.line == 1


@pytest.mark.parametrize(
    "line",
    [
        b'1790000000 {"stream":"\xff@trade","data":{}}',
        b'1790000000 {"connection":"c","event":"subscribed","streams":5}',
        b'1790000000 {"connection":"c","event":"subscribed","streams":[5,null,{}]}',
        b"https://x/api/v3/exchangeInfo -> 1: []",
        b'https://x/api/v3/exchangeInfo -> 1: {"symbols":5}',
        b'https://x/api/v3/exchangeInfo -> 1: {"symbols":[5,{},{"symbol":[]}]}',
        b"https://x/api/v3/depth?symbol=%ff%00 -> 1: {}",
        b"wss://x/stream?streams=%ff@trade/../../etc@passwd <-> 1",
    ],
)
def test_strange_contents_are_served_or_refused_and_crash_nothing(tmp_path, line):
    path = tmp_path / "strange.txt"
    path.write_bytes(HEAD + b"\n" + FRAME + b"\n" + line + b"\n")
    recording = Recording([path])
    assert RecordedRest(recording, history=10).symbols()
    assert recording.frames >= 1


def test_no_line_makes_the_reader_raise_anything_but_what_it_says():
    rng = random.Random(7)  # seeded: the same lines each time
    lines = [line for line in REFUSED if len(line) < 1000] + [FRAME, HEAD, b'https://x/a?symbol=B -> 1.5: {"a":1}']
    for _ in range(5000):
        line = bytearray(rng.choice(lines) + rng.choice([b"", rng.choice(lines)]))
        for _ in range(rng.randrange(4)):
            if line:
                place = rng.randrange(len(line))
                line[place : place + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        found = understand(bytes(line).replace(b"\n", b" "))
        if found is not None and hasattr(found, "time"):
            assert time_ns(found.time) >= 0
