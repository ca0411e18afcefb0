"""A spool's directory in which somebody else has been: what cannot be is set aside, and the service starts."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from zlib import crc32

import msgspec
import pytest
from spool_rig import MIB, TOPICS, batch, refused_event

from ingest_actors.errors import SpoolCorrupt, SpoolUnusable
from ingest_actors.messages import EventBatch
from ingest_actors.settings import Settings
from ingest_actors.spool import SpoolingSink, with_spool
from ingest_actors.spool.codec import BatchCodec
from ingest_actors.spool.disk import Disk
from ingest_actors.spool.file import Entry, SpoolFile
from sinks import MemorySink


def content_of(count=3):
    return BatchCodec(TOPICS).encode(batch(*range(count)))


def leave(path, *changes, content=None, events=3):
    """A spool with one batch, and what somebody has done to it."""
    content = content_of() if content is None else content
    file = SpoolFile(path, bytes_max=64 * MIB)
    file.write([Entry(1, 7, events, 300, 0, content)])
    file.close()
    with closing(sqlite3.connect(path)) as db:
        for statement, *values in changes:
            db.execute(statement, values)
        db.commit()


async def start(directory):
    told = []
    sink = await with_spool(
        MemorySink(),
        Settings(spool_dir=directory, instance_name="me"),
        window_bytes=MIB,
        topics=TOPICS,
        refused_event=refused_event,
        announce=lambda name, **fields: told.append((name, fields.get("cause", ""))),
        clock_ms=lambda: 777,
    )
    assert isinstance(sink, SpoolingSink)
    await sink.aclose()
    return told


CHANGES = [
    ("UPDATE batch SET content = 'text'",),
    ("UPDATE batch SET content = NULL",),
    ("UPDATE batch SET events = 'many'",),
    ("UPDATE batch SET events = 1e300",),
    ("UPDATE batch SET size_bytes = x'00'",),
    ("UPDATE batch SET received_at_ms = 'never'",),
    ("UPDATE batch SET checksum = 'none'",),
    ("UPDATE batch SET tries = 2.5",),
    ("UPDATE meta SET value = 'last'",),
    ("INSERT INTO meta VALUES ('aside_first', 'x')",),
    ("INSERT INTO meta VALUES ('aside_first', 1)",),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change[0][:60])
async def test_values_of_another_kind_never_stop_the_service(tmp_path, change):
    try:
        leave(tmp_path / "me.spool", change)
    except sqlite3.IntegrityError:
        pytest.skip("the database itself refuses that")
    told = {name for name, _ in await start(tmp_path)}
    assert told <= {"spool_set_aside", "spool_found", "spool_left", "spool_space_low"}


def packed(**changes):
    """A batch's content with some of its columns changed."""
    names = ("routes", "values", "keys", "timestamps_ms", "route_of")
    columns = dict(zip(names, msgspec.msgpack.decode(content_of()), strict=True)) | changes
    return msgspec.msgpack.encode([columns[name] for name in names])


CONTENTS = [
    b"",
    b"\xc1",
    b"\x91" * 100_000,
    packed(route_of=[-1, -1, -1]),
    packed(route_of=[7, 7, 7]),
    packed(route_of=[0]),
    packed(timestamps_ms=[2**64 - 1] * 3),
    packed(values=[b"one"]),
    packed(routes=[]),
    packed(keys=["text"] * 3),
    packed()[:-1],
]


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
async def test_contents_that_are_none_are_kept_aside_and_told(tmp_path, content):
    leave(tmp_path / "me.spool", content=content)
    assert "spool_set_aside" in [name for name, _ in await start(tmp_path)]


async def test_a_batch_that_has_other_events_than_it_says_is_not_believed(tmp_path):
    leave(tmp_path / "me.spool", events=1000)
    told = dict(await start(tmp_path))
    assert "has 3 events and should have 1000" in told["spool_set_aside"]


async def test_a_trigger_in_the_file_does_not_run_what_is_not_harmless(tmp_path):
    """With a trusted schema a file could have functions of the program called; here it may not."""
    path = tmp_path / "me.spool"
    leave(path)
    file = SpoolFile(path, bytes_max=64 * MIB)
    assert file._pragma("trusted_schema") == 0
    assert file._pragma("cell_size_check") == 1
    file.close()


@pytest.mark.parametrize("what", ["directory", "noise", "huge sparse noise"])
async def test_a_file_that_is_none_is_kept_aside_or_refused_by_name(tmp_path, what):
    path = tmp_path / "me.spool"
    if what == "directory":
        path.mkdir()
    else:
        path.write_bytes(os.urandom(100_000))
        if what.startswith("huge"):
            os.truncate(path, 50 * 1024**3)
    if what == "directory":
        with pytest.raises(SpoolUnusable, match=r"me\.spool"):
            await start(tmp_path)
    else:
        assert "spool_set_aside" in [name for name, _ in await start(tmp_path)]


def test_the_checksum_is_over_the_content_alone_so_columns_are_checked_by_themselves(tmp_path):
    path = tmp_path / "x.spool"
    content = content_of()
    leave(path, ("UPDATE batch SET checksum = ?", crc32(content)), content=content)
    file = SpoolFile(path, bytes_max=64 * MIB)
    (entry,) = file.read(0, size_bytes=1)
    assert isinstance(Disk(file, BatchCodec(TOPICS))._slot(entry).batch, EventBatch)
    with pytest.raises(SpoolCorrupt):
        Disk(file, BatchCodec(TOPICS))._slot(entry._replace(events=4))
    file.close()
