"""The tape on virtual time: a block a moment, bounded, and nothing that was taken in is lost."""

import errno
import os
import time
from functools import partial

import pytest
import trio
from test_recording_round_trip import block, members
from test_recording_writer import Disk, open_writer
from trio.testing import wait_all_tasks_blocked

from ingest_actors.messages import FrameBatch
from ingest_actors.recordings import writer as writer_module
from ingest_actors.recordings.tape import BLOCK_BYTES, BLOCK_INTERVAL_S, WAITING_BYTES_MAX, Tape
from ingest_actors.recordings.writer import RecordingFailed
from recorded_files import read, told

ONE_SECOND = 1.0


@pytest.fixture
def writer(tmp_path):
    writer = open_writer(tmp_path / "r.gz")
    yield writer
    writer.abandon()


def large(size_bytes):
    return FrameBatch([b'{"stream":"a@trade","data":"%b"}' % (b"x" * size_bytes)], received_at_ms=1, connection="ws-1")


def blocks_of(writer):
    return len(members(writer.paths[0].read_bytes())) - 1  # without the head


async def wait_written(tape):
    """Wait for the thread that writes, without letting virtual time pass."""
    deadline_s = time.monotonic() + 10
    while tape.waiting_bytes:
        assert time.monotonic() < deadline_s, "nobody writes"
        time.sleep(0.001)  # noqa: ASYNC251 - the other one is a thread
        await trio.lowlevel.checkpoint()


async def test_what_came_is_in_the_file_before_a_second_has_passed(autojump_clock, nursery, writer):
    tape = Tape(writer)
    nursery.start_soon(tape.run)
    assert BLOCK_INTERVAL_S < ONE_SECOND
    for number in range(5):
        tape.keep(block(1, start=number)[0])
        await trio.sleep(BLOCK_INTERVAL_S / 10)
    assert blocks_of(writer) == 0
    await trio.sleep(BLOCK_INTERVAL_S / 2 + 0.01)
    await wait_written(tape)
    assert blocks_of(writer) == 1
    assert read(writer.paths[0])[0] == told(block(5))
    await trio.sleep(100)
    assert blocks_of(writer) == 1  # nothing came, nothing is written
    assert tape.waiting_bytes == 0


async def test_a_large_block_is_written_at_once(autojump_clock, nursery, writer):
    tape = Tape(writer)
    nursery.start_soon(tape.run)
    tape.keep(large(BLOCK_BYTES))
    began_s = trio.current_time()
    await wait_written(tape)
    assert trio.current_time() == began_s
    assert blocks_of(writer) == 1


async def test_there_is_no_room_while_the_disk_is_slow(nursery, writer):
    tape = Tape(writer)
    while tape.waiting_bytes < WAITING_BYTES_MAX:
        await tape.wait_for_room()
        tape.keep(large(BLOCK_BYTES // 2))
    assert tape.waiting_bytes < WAITING_BYTES_MAX + BLOCK_BYTES
    scope = trio.CancelScope()

    async def wait():
        with scope:
            await tape.wait_for_room()

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    assert not scope.cancelled_caught
    await tape.flush()
    await tape.wait_for_room()
    assert tape.waiting_bytes == 0


async def test_what_was_kept_is_written_by_the_next_who_runs_it(autojump_clock, writer):
    tape = Tape(writer)
    for number in range(3):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tape.run)
            tape.keep(block(1, start=number)[0])
            await trio.sleep(BLOCK_INTERVAL_S * number / 2)
            nursery.cancel_scope.cancel()
    await tape.finish("stopped")
    assert read(writer.paths[0])[0] == told(block(3))


async def test_a_cancellation_in_the_instant_of_writing_loses_nothing(writer):
    tape = Tape(writer)
    tape.keep(block(1)[0])
    with trio.CancelScope() as scope:
        scope.cancel()
        await tape.flush()
    await tape.finish("stopped")
    assert read(writer.paths[0])[0] == told(block(1))


async def test_a_full_disk_fails_whoever_writes_each_time(autojump_clock, writer, monkeypatch):
    tape = Tape(writer)
    monkeypatch.setattr(writer_module.os, "write", Disk(0))
    tape.keep(block(1)[0])
    for write in (tape.run, tape.flush, partial(tape.finish, "stopped")):
        with pytest.raises(RecordingFailed, match=os.strerror(errno.ENOSPC)):
            await write()
