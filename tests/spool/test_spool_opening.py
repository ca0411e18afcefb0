"""From the settings to a spool: what is wrong is said at start, by name, and nothing that can be read is lost."""

import json
import os
import sqlite3
import subprocess
import sys
from types import SimpleNamespace

import pytest
import trio
from spool_rig import GAP, MIB, TOPICS, Rig, batch, refused_event

from ingest_actors.binance.resume import Place, ResumeState
from ingest_actors.errors import JournalTooNew, SettingsError, SpoolInUse
from ingest_actors.messages import EventBatch
from ingest_actors.settings import Settings
from ingest_actors.spool import SpoolingSink, with_spool
from ingest_actors.spool.codec import BatchCodec
from ingest_actors.spool.file import Entry, Known, SpoolFile
from ingest_actors.spool.opening import LOCK_WAIT_S
from ingest_actors.spool.sink import STALL_S
from sinks import MemorySink

WHERE = Place("trade", "BTCUSDT")


async def opened(directory, told=None, *, drained=None, marks=None, progress=None, **settings):
    def announce(name, *, level="info", **fields):
        if told is not None:
            told.append((name, fields))

    return await with_spool(
        MemorySink(),
        Settings(spool_dir=directory, instance_name="me", **settings),
        window_bytes=MIB,
        topics=TOPICS,
        refused_event=refused_event,
        announce=announce,
        clock_ms=lambda: 777,
        drained=drained,
        marks=marks,
        progress=progress,
    )


def leave_behind(directory, count):
    """A spool with so many trades, one a batch, of about 20 kB each."""
    directory.mkdir(parents=True, exist_ok=True)
    file = SpoolFile(directory / "me.spool", bytes_max=1024 * MIB)
    codec = BatchCodec(TOPICS)
    for number in range(1, count + 1):
        one = batch(number, filling=20_000)
        file.write([Entry(number, 7, 1, one.size_bytes, 0, codec.encode(one))])
    file.close()


async def drained_by(sink):
    left = sink.status().spool.events
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sink.drive)
        while left > 0:  # by no clock: virtual time does not wait for threads
            left -= len((await sink.acknowledged()).batch)
        with trio.move_on_after(0.5):
            await sink.acknowledged()
            raise AssertionError("something comes that was not there")
        nursery.cancel_scope.cancel()
    return [event[2] for event in sink.inner.written]


async def test_without_a_directory_there_is_no_spool():
    sink = MemorySink()
    assert await with_spool(
        sink, Settings(), window_bytes=MIB, topics=TOPICS, refused_event=refused_event, announce=print,
        clock_ms=lambda: 0,
    ) is sink  # fmt: skip


async def test_the_directory_is_made(tmp_path):
    sink = await opened(tmp_path / "a" / "b")
    assert isinstance(sink, SpoolingSink)
    assert (tmp_path / "a" / "b" / "me.spool").exists()
    await sink.aclose()
    assert sink.inner.closed


async def test_a_directory_that_cannot_be_made_is_a_bad_setting():
    with pytest.raises(SettingsError, match="SPOOL_DIR='/proc/x': No such file or directory; accepted: a directory"):
        await opened("/proc/x")


async def test_what_was_left_is_told_and_moves_the_marks_on(tmp_path):
    leave_behind(tmp_path, 5)
    told, marks = [], ResumeState("me")
    sink = await opened(tmp_path, told, marks=marks)
    assert told == [("spool_found", {"events": 5, "already_written": 0, "file": str(tmp_path / "me.spool")})]
    assert marks.marks[WHERE].last == 5
    assert marks.spooled == 5
    assert await drained_by(sink) == [1, 2, 3, 4, 5]
    await sink.aclose()


async def test_what_the_state_says_is_written_is_not_written_again(tmp_path):
    leave_behind(tmp_path, 5)
    told, marks = [], ResumeState("me")
    sink = await opened(tmp_path, told, drained=3, marks=marks)
    assert told[0][1]["already_written"] == 3
    assert await drained_by(sink) == [4, 5]
    await sink.aclose()


async def test_numbers_begin_behind_those_of_the_state_when_the_file_was_deleted(tmp_path):
    sink = await opened(tmp_path, drained=70)
    one = batch(1)
    await sink.accept(one)
    assert one.spooled == 71
    await sink.aclose()


async def test_damage_in_the_middle_is_kept_and_what_lies_before_it_goes_out(tmp_path):
    leave_behind(tmp_path, 9)
    path = tmp_path / "me.spool"
    content = bytearray(path.read_bytes())
    at = content.index(b'{"t":5}') + 100
    content[at : at + 5] = b"xxxxx"
    path.write_bytes(content)
    for _ in range(2):
        told, marks = [], ResumeState("me")
        sink = await opened(tmp_path, told, marks=marks)
        assert marks.marks[WHERE].last == 4, "the trades behind it come from the exchange again"
        await sink.aclose()
    sink = await opened(tmp_path, told)
    assert await drained_by(sink) == [1, 2, 3, 4]
    await sink.aclose()
    assert [name for name, _ in told] == ["spool_found", "spool_left", "spool_found", "spool_drained"]
    kept = [name.name for name in tmp_path.iterdir() if "corrupt" in name.name]
    assert kept == ["me.spool.corrupt-9"]
    with sqlite3.connect(tmp_path / kept[0]) as db:
        assert [row[0] for row in db.execute("SELECT number FROM batch")] == [5, 6, 7, 8, 9]
    db.close()


async def test_damage_is_told_once_with_what_it_costs(tmp_path):
    leave_behind(tmp_path, 9)
    path = tmp_path / "me.spool"
    content = bytearray(path.read_bytes())
    at = content.index(b'{"t":5}') + 100
    content[at : at + 5] = b"xxxxx"
    path.write_bytes(content)
    told = []
    sink = await opened(tmp_path, told)
    assert [name for name, _ in told] == ["spool_set_aside", "spool_found"]
    assert (told[0][1]["events"], told[0][1]["cause"]) == (5, "batch 5 is not what was written")
    assert told[1][1]["events"] == 4
    await sink.aclose()


async def test_a_file_that_is_no_database_any_more_is_kept_and_a_new_one_begun(tmp_path):
    leave_behind(tmp_path, 3)
    path = tmp_path / "me.spool"
    path.write_bytes(b"\xff" * 50_000)
    told = []
    sink = await opened(tmp_path, told)
    assert told[0][0] == "spool_set_aside"
    assert "not a database" in told[0][1]["cause"]
    assert (tmp_path / "me.spool.corrupt-777").read_bytes() == b"\xff" * 50_000
    assert await drained_by(sink) == []
    await sink.aclose()


async def test_a_newer_version_is_refused_by_name(tmp_path):
    leave_behind(tmp_path, 1)
    with sqlite3.connect(tmp_path / "me.spool") as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(JournalTooNew, match=r"me\.spool has version 9, this release knows versions up to 1"):
        await opened(tmp_path)


async def test_a_disk_with_less_room_than_the_spool_may_take_is_warned_about(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=5 * MIB))
    told = []
    sink = await opened(tmp_path, told)
    assert told[0][0] == "spool_space_low"
    assert told[0][1]["free_bytes"] == 5 * MIB
    await sink.aclose()


async def test_two_instances_share_a_directory(tmp_path):
    one = await opened(tmp_path)
    settings = Settings(spool_dir=tmp_path, instance_name="you")
    other = await with_spool(
        MemorySink(), settings, window_bytes=MIB, topics=TOPICS, refused_event=refused_event, announce=print,
        clock_ms=lambda: 0,
    )  # fmt: skip
    await one.aclose()
    await other.aclose()


HOLDER = """
import sys, time
from pathlib import Path
from ingest_actors.spool.lock import SpoolLock
assert SpoolLock(Path(sys.argv[1])).take()
print("taken", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the spool."""
    arguments = [sys.executable, "-c", HOLDER, str(tmp_path / "me.spool.lock")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "taken\n"
        yield process
        process.kill()


async def test_a_spool_in_use_is_waited_for_a_while_and_then_told_with_who_has_it(tmp_path, holder, autojump_clock):
    told = []
    with pytest.raises(SpoolInUse, match=rf"in use by another process \(pid {holder.pid}\): stop that one, or give"):
        await opened(tmp_path, told)
    assert trio.current_time() >= LOCK_WAIT_S
    assert [name for name, _ in told] == ["spool_waits"]


async def test_a_process_that_was_killed_holds_nothing(tmp_path, holder):
    holder.kill()
    holder.wait()
    sink = await opened(tmp_path)
    await sink.aclose()
    assert (tmp_path / "me.spool.lock").read_text() == f"pid {os.getpid()}"


async def test_an_outage_is_not_what_the_settings_delay_by_themselves(tmp_path):
    sink = await opened(tmp_path, kafka_producer_options={"linger.ms": "3000"})
    assert sink._bounds.stall_s == STALL_S + 3
    await sink.aclose()


class StatefulSink(MemorySink):
    """Moves a state on by what it acknowledges, as it is written to Kafka a while later."""

    def __init__(self, progress):
        super().__init__()
        self.progress = progress

    def _write(self, one):
        self.progress.apply(one)
        return super()._write(one)


def journalled(state):
    gap = {
        "v": 1, "gap": "btcusdt@trade:3-4", "symbol": "BTCUSDT", "stream": "btcusdt@trade", "event_type": "trade",
        "first_id": 3, "last_id": 4, "state": state, "reason": "disconnected", "detected_at": 7,
    }  # fmt: skip
    return EventBatch([(json.dumps(gap).encode(), b"BTCUSDT", 7, GAP)], received_at_ms=7)


@pytest.mark.parametrize("drained_before_the_kill", [False, True])
async def test_what_was_acknowledged_and_is_in_no_state_yet_is_known_to_the_spool(
    tmp_path, drained_before_the_kill, autojump_clock
):
    """Without transactions the state in Kafka comes later; a gap that was opened meanwhile must not be forgotten."""
    path = tmp_path / "me.spool"
    progress = ResumeState("me")
    rig = Rig(path, StatefulSink(progress), progress=progress)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.run)
        rig.put(batch(1, 2), journalled("open"), batch(5))
        await trio.sleep(0.1)
        rig.inner.pause()
        rig.put(batch(6))
        await trio.sleep(5)
        if drained_before_the_kill:
            rig.inner.resume()
            await trio.sleep(0.01)
            rig.inner.pause()
            rig.put(batch(7))
            await trio.sleep(5)
            assert rig.numbers() == [1, 2, 5, 6]
        nursery.cancel_scope.cancel()
    rig.file.close()

    state, marks = ResumeState("me"), ResumeState("me")
    sink = await opened(tmp_path, marks=marks, progress=state)
    found = marks.marks[WHERE]
    assert (found.last, found.holes, len(found.gaps)) == (6 + drained_before_the_kill, ((3, 4),), 1)
    assert state.marks[WHERE].holes == ((3, 4),)
    assert state.marks[WHERE].last < found.last
    records = state.change().records
    assert any(b'"trade/BTCUSDT"' in value for _, value in records), "it is written with the next state"
    assert await drained_by(sink) == [6 + drained_before_the_kill]
    await sink.aclose()


@pytest.mark.parametrize("torn", [False, True])
async def test_a_state_in_kafka_that_is_newer_is_not_put_back(tmp_path, torn):
    """Nor is it believed: the number may be written although the marks that belong to it are not."""
    leave_behind(tmp_path, 5)
    file = SpoolFile(tmp_path / "me.spool", bytes_max=MIB)
    old, state = ResumeState("me"), ResumeState("me")
    old.apply(EventBatch(batch(1).events, received_at_ms=7, spooled=1))
    file.write([], known=Known(1, old.everything()))
    file.close()
    state.apply(EventBatch(batch(1, *([] if torn else [2, 3])).events, received_at_ms=7, spooled=3))
    told, marks = [], state.copy()
    sink = await opened(tmp_path, told, drained=3, marks=marks, progress=state)
    assert (marks.marks[WHERE].last, state.marks[WHERE].last, state.spooled) == (5, 3, 3)
    assert (told[0][1]["events"], told[0][1]["already_written"]) == (2, 3)
    assert await drained_by(sink) == [4, 5]
    await sink.aclose()


@pytest.mark.parametrize("torn", [False, True])
async def test_what_went_past_the_disk_is_not_forgotten_for_an_older_word_of_the_spool(tmp_path, torn):
    """Kafka knows that the last that lay on the disk was written, and of a batch behind it that never lay there."""
    leave_behind(tmp_path, 5)
    file = SpoolFile(tmp_path / "me.spool", bytes_max=MIB)
    old, state = ResumeState("me"), ResumeState("me")
    old.apply(EventBatch(batch(1, 2).events, received_at_ms=7, spooled=2))
    file.write([], drained=2, known=Known(2, old.everything()))
    file.close()
    state.apply(EventBatch(batch(1, 2, 3, *([] if torn else [4, 5, 6])).events, received_at_ms=7, spooled=6))
    told, marks = [], state.copy()
    sink = await opened(tmp_path, told, drained=6, marks=marks, progress=state)
    last = 5 if torn else 6
    assert (marks.marks[WHERE].last, state.marks[WHERE].last) == (last, last)
    assert (marks.spooled, state.spooled) == (6, 6)
    assert (told[0][1]["events"], told[0][1]["already_written"]) == (0, 3)
    assert await drained_by(sink) == []
    await sink.aclose()
