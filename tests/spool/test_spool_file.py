"""The file: what was committed is there and equal, whatever is wrong with it is said by name."""

import os
import resource
import shutil
import signal
import sqlite3
from contextlib import suppress

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from spool_rig import GAP, MIB, TOPICS, TRADE, batch

from ingest_actors.errors import JournalTooNew, SpoolCorrupt, SpoolUnusable
from ingest_actors.messages import EventBatch, Route
from ingest_actors.spool.codec import BatchCodec
from ingest_actors.spool.disk import Disk
from ingest_actors.spool.file import PAGE_BYTES, SPOOL_VERSION, Entry, SpoolFile, SpoolFull, set_aside_file
from ingest_actors.spool.queue import Slot

ROUTES = st.builds(
    Route,
    st.sampled_from(["trade", "depth_update", "unparsed", "gap"]),
    st.lists(st.sampled_from([*TOPICS.values(), "raw", "=odd"]), min_size=1, max_size=3).map(tuple),
    st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=20)), max_size=3).map(tuple),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10_000),
)
EVENTS = st.lists(
    st.tuples(st.binary(max_size=50), st.none() | st.binary(max_size=9), st.integers(-(2**63), 2**63 - 1), ROUTES),
    max_size=20,
)


def facts(event):
    value, key, timestamp_ms, route = event
    return value, key, timestamp_ms, tuple(getattr(route, name) for name in Route.__struct_fields__)


def entry(number, content=b"x" * 100, events=1, size=300):
    return Entry(number, 7, events, size, 0, content)


def fill(file, size):
    """Until it raises."""
    while file.last < 1000:
        file.write([entry(file.last + 1, os.urandom(size))])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "i.spool"


@pytest.fixture
def file(path):
    made = SpoolFile(path, bytes_max=64 * MIB)
    yield made
    made.close()


@given(EVENTS)
def test_events_come_back_equal(events):
    codec = BatchCodec(TOPICS)
    content = codec.encode(EventBatch(events, received_at_ms=5))
    found = codec.decode(content, received_at_ms=5, size_bytes=77, number=9)
    assert list(map(facts, found.events)) == list(map(facts, events))
    assert (found.received_at_ms, found.size_bytes, found.spooled) == (5, 77, 9)


def test_known_routes_are_shared_and_those_with_headers_are_not():
    codec = BatchCodec(TOPICS, [TRADE, GAP])
    letter = Route("trade", ("dead",), headers=(("reason", b"x"),), dead_letter=True)
    other = Route("new_kind", ("raw-topic",))
    events = [(b"1", None, 1, route) for route in (TRADE, GAP, letter, other)]
    content = codec.encode(EventBatch(events, received_at_ms=0))
    first, second = (codec.decode(content, received_at_ms=0, size_bytes=0, number=1).events for _ in range(2))
    assert (first[0][3], first[1][3]) == (TRADE, GAP)
    assert first[3][3] is second[3][3]
    assert first[2][3] is not second[2][3]


def test_events_go_to_the_topics_of_today_by_their_roles():
    content = BatchCodec(TOPICS).encode(EventBatch([(b"1", None, 1, TRADE)], received_at_ms=0))
    today = BatchCodec(TOPICS | {"trades": "renamed"})
    found = today.decode(content, received_at_ms=0, size_bytes=0, number=1)
    assert found.events[0][3].topics == ("raw-topic", "renamed")


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_no_content_crashes_the_codec_in_another_way_than_it_says(content):
    with suppress(ValueError):
        BatchCodec(TOPICS).decode(content, received_at_ms=0, size_bytes=0, number=1)


def test_what_is_written_is_read_in_order_and_what_is_drained_is_gone(file):
    file.write([entry(n) for n in (3, 4, 7)])
    file.write([entry(8), entry(9)], drained=4)
    assert [found.number for found in file.read(0, size_bytes=10**6)] == [7, 8, 9]
    assert [found.number for found in file.read(7, size_bytes=300)] == [8]
    assert [found.number for found in file.read(7, size_bytes=1)] == [8], "at least one"
    assert (file.batches, file.events, file.size_bytes, file.last) == (3, 3, 900, 9)


def test_a_copy_of_the_files_after_a_commit_has_it_and_before_has_not(file, path, tmp_path):
    def copied(name):
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", tmp_path / f"{name}{suffix}")
        copy = SpoolFile(tmp_path / name, bytes_max=MIB)
        found = [one.number for one in copy.read(0, size_bytes=10**6)]
        copy.close()
        return found

    file.write([entry(1)])
    assert copied("a") == [1]
    file._db.execute("BEGIN IMMEDIATE")
    file._db.execute("DELETE FROM batch")
    assert copied("b") == [1]
    file._db.execute("COMMIT")
    assert copied("c") == []


def test_a_full_spool_says_so_and_the_file_never_exceeds_its_bound(path):
    file = SpoolFile(path, bytes_max=MIB)
    with pytest.raises(SpoolFull, match="SPOOL_MAX_BYTES bounds it"):
        fill(file, 20_000)
    assert file.last > 20
    file.close()
    assert path.stat().st_size <= MIB


def test_room_that_was_drained_is_used_again(path):
    file = SpoolFile(path, bytes_max=MIB)
    for number in range(1, 500):
        file.write([entry(number, os.urandom(30_000))], drained=number - 5)
    file.close()
    assert path.stat().st_size < MIB // 2


def test_a_new_file_gives_the_room_back_and_numbers_go_on(file, path):
    file.write([entry(n, os.urandom(100_000)) for n in range(1, 100)], drained=0)
    file.write([], drained=99)
    file.renew()
    assert (file.last, file.batches) == (99, 0)
    assert file.used_bytes <= 6 * PAGE_BYTES
    file.close()
    assert path.stat().st_size <= 6 * PAGE_BYTES
    again = SpoolFile(path, bytes_max=MIB)
    assert again.last == 99
    again.close()


def test_a_newer_version_is_refused_by_name(file, path):
    file._db.execute(f"PRAGMA user_version = {SPOOL_VERSION + 1}")
    file.close()
    with pytest.raises(JournalTooNew, match=f"i.spool has version {SPOOL_VERSION + 1}, this release knows"):
        SpoolFile(path, bytes_max=MIB)
    assert path.exists()


def test_somebody_elses_database_is_left_alone(path):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE precious (x)")
    db.close()
    with pytest.raises(SpoolUnusable, match="another program; use another SPOOL_DIR"):
        SpoolFile(path, bytes_max=MIB)
    assert path.exists()


@pytest.mark.parametrize("garbage", [b"not a database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_garbage_is_told_to_be_damaged_and_is_kept(path, garbage):
    path.write_bytes(garbage)
    with pytest.raises(SpoolCorrupt):
        SpoolFile(path, bytes_max=MIB)
    aside = set_aside_file(path, 42)
    assert aside.name == "i.spool.corrupt-42"
    assert aside.read_bytes() == garbage
    SpoolFile(path, bytes_max=MIB).close()


def test_an_empty_file_is_a_new_one(path):
    path.touch()
    SpoolFile(path, bytes_max=MIB).close()


def test_a_flipped_bit_is_found_and_what_lies_before_it_is_given_out(file, path):
    file.write([entry(n, bytes([n]) * 20_000) for n in range(1, 6)])
    file.close()
    content = bytearray(path.read_bytes())
    content[content.index(bytes([3]) * 10_000) + 5] ^= 1
    path.write_bytes(content)
    found = SpoolFile(path, bytes_max=MIB)
    assert [one.number for one in found.read(0, size_bytes=10**6)] == [1, 2]
    with pytest.raises(SpoolCorrupt, match="batch 3 is not what was written") as caught:
        found.read(2, size_bytes=10**6)
    assert caught.value.number == 3
    assert found.set_aside(3, (2, 2, 600)) == 3
    found.write([entry(6)], drained=1)
    assert [one.number for one in found.read(0, size_bytes=10**6)] == [2, 6]
    found.close()
    again = SpoolFile(path, bytes_max=MIB)
    assert (again.aside, again.batches, again.last) == ((3, 5), 2, 6)
    again.write([], drained=6)
    again.renew()
    assert (again.aside, again.batches) == (None, 0)
    again.close()
    kept = sqlite3.connect(path.with_name("i.spool.corrupt-6"))
    assert [row[0] for row in kept.execute("SELECT number FROM batch")] == [3, 4, 5]
    kept.close()


def test_a_write_that_fails_changes_nothing(file):
    file.write([entry(1)])
    with pytest.raises(SpoolUnusable, match="UNIQUE"):
        file.write([entry(2), entry(2)], drained=1)
    assert (file.batches, file.last) == (1, 1)
    file.write([entry(2)])
    assert [one.number for one in file.read(0, size_bytes=10**6)] == [1, 2]


def test_a_disk_that_is_full_is_told_and_works_again_when_there_is_room(tmp_path):
    """A limit on the size of files, in a process of its own, stands for it."""
    pid = os.fork()
    if not pid:
        os._exit(_with_a_limit(tmp_path))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _with_a_limit(tmp_path):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    file = SpoolFile(tmp_path / "s", bytes_max=64 * MIB)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, resource.RLIM_INFINITY))
    with pytest.raises(SpoolUnusable, match=r"full|disk I/O error"):
        fill(file, 50_000)
    before = file.last
    assert [one.number for one in file.read(0, size_bytes=10**9)] == list(range(1, before + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    file.write([entry(before + 1)])
    assert file.batches == before + 1
    file.close()
    return 0


async def test_a_write_that_is_cancelled_once_it_is_begun_says_that_it_is_done(tmp_path, monkeypatch):
    file = SpoolFile(tmp_path / "s", bytes_max=MIB)
    disk, write = Disk(file, BatchCodec(TOPICS)), file.write
    done = False
    with trio.CancelScope() as scope:

        def cancelled_meanwhile(*args, **options):
            trio.from_thread.run_sync(scope.cancel)
            write(*args, **options)

        monkeypatch.setattr(file, "write", cancelled_meanwhile)
        one = batch(1)
        one.spooled = 1
        await disk.write([Slot(one)], drained=0)
        done = True
    assert done
    assert file.batches == 1
    file.close()
