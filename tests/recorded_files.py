"""Batches as they come from connections, and what is read back of them."""

from __future__ import annotations

import itertools

import pytest
import trio
from hypothesis import strategies as st

from ingest_actors.messages import FrameBatch
from ingest_actors.recordings.own import Connection, Foot, Mark, Message
from ingest_actors.recordings.reader import RecordingReader
from ingest_actors.recordings.writer import RecordingWriter
from ingest_actors.replayer.player import batches_of

START_NS = 1_790_000_000_000_000_000

data = st.sampled_from(
    [b'{"e":"trade"}', b"[]", '{"text":"币安"}'.encode(), b'{"a":\r1}', b'{"broken', b"{\n}", b'{"x":"\x00\xff"}']
)
payloads = st.one_of(
    data.map(lambda data: b'{"stream":"btcusdt@trade","data":%b}' % data),
    st.sampled_from(
        [
            b"", b"\n", b"{}", b'{"stream":"a\\u0040trade","data":{}}', b'{"connection":"c1"}', b'{"recording":9}',
            b'{"end":"stopped"}', b'{"stream":"a@trade","data":{}}\r', b'{"stream":"a\n","data":{}}',
            b'{"stream":"a","data":1}\n{"stream":"b","data":2}', b'{"lastUpdateId":1}', b'{"result":null,"id":1}',
            b'{"error":{}}', b"\x1f\x8b",
        ]
    ),
    st.binary(max_size=60),
)  # fmt: skip

batch_lists = st.lists(
    st.tuples(
        st.lists(payloads, min_size=1, max_size=5), st.sampled_from(["ws-1", "ws-2", 'b\n"2']), st.booleans(),
        st.integers(0, 3_000_000),
    ),
    max_size=12,
)  # fmt: skip


def make_batches(drawn):
    """Batches of what was drawn, each received a while after the one before."""
    times = itertools.accumulate((after_ns for *_, after_ns in drawn), initial=START_NS)
    return [
        FrameBatch(frames, received_at_ms=at_ns // 10**6, received_at_ns=at_ns, connection=name, binary=binary)
        for (frames, name, binary, _), at_ns in zip(drawn, times, strict=False)
    ]


def told(batches):
    """One tuple a message: when, by which connection, of which kind, what."""
    return [
        (batch.received_at_ns, batch.connection, batch.binary, frame) for batch in batches for frame in batch.frames
    ]


def write(path, blocks, **options):
    """A recording of blocks, ended properly; the writer."""
    writer = RecordingWriter(path, {"program": "test"}, clock_ns=itertools.count(START_NS).__next__, **options)
    writer.open()
    for block in blocks:
        writer.write(block)
    writer.close("stopped")
    return writer


def read(path):
    """Messages as `told` tells them (the time is that of each message), and the reader."""
    reader = RecordingReader(path)
    messages, connection = [], "?"
    for entries in reader:
        for entry in entries:
            if isinstance(entry, Connection):
                connection = entry.name
            elif isinstance(entry, list):
                messages += [(int(time), connection, False, frame) for time, frame, _ in entry]
            elif isinstance(entry, Message):
                messages += told(batches_of(entry, connection))
    return messages, reader


def marks(path):
    """Marks and feet, in order."""
    return [
        entry for entries in RecordingReader(path) for entry in entries if isinstance(entry, Mark | Foot)
    ]  # fmt: skip


def records_of(sink):
    """What a reader of the topics would see of what a `MemorySink` got."""
    return [
        (value, key, timestamp_ms, route.event_type, route.topics, route.headers)
        for value, key, timestamp_ms, route in sink.written
    ]


def series_of(sink):
    """The same without what came from REST, by the unit of order: event type and key."""
    found = {}
    for record in records_of(sink):
        if record[3] != "depth_snapshot":
            found.setdefault((record[3], record[1]), []).append(record)
    return found


@pytest.fixture
def no_threads(monkeypatch):
    """Blocking work is done on the spot, so that virtual time does not run away from it."""

    async def run_sync(function, *arguments, **_):
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
