"""The queue between a connection's reader and its owner."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from ingest_actors.errors import FeedClosed
from ingest_actors.messages import FrameBatch
from ingest_actors.websocket.read_ahead import MERGE_BYTES_MAX, ReadAhead


def batch(*frames: bytes, at_ms: int = 1, binary: bool = False) -> FrameBatch:
    return FrameBatch(list(frames), received_at_ms=at_ms, connection="c", binary=binary)


async def test_batches_of_one_millisecond_and_kind_are_merged_and_others_are_not():
    read_ahead = ReadAhead(10_000)
    for added in (batch(b"a"), batch(b"b"), batch(b"c", at_ms=2), batch(b"d", at_ms=2, binary=True)):
        read_ahead.put(added)
    taken = [await read_ahead.take() for _ in range(3)]
    assert [(one.received_at_ms, one.binary, one.frames) for one in taken] == [
        (1, False, [b"a", b"b"]),
        (2, False, [b"c"]),
        (2, True, [b"d"]),
    ]
    assert [one.size_bytes for one in taken] == [batch(b"a", b"b").size_bytes, 61, 61]
    assert read_ahead.size_bytes == 0


async def test_merged_batches_stay_bounded():
    read_ahead = ReadAhead(1 << 30)
    half = b"x" * (MERGE_BYTES_MAX // 2)
    for _ in range(4):
        read_ahead.put(batch(half))
    assert len(await read_ahead.take()) == 1


async def test_there_is_room_until_the_bound_is_reached_and_again_when_less_is_held():
    read_ahead = ReadAhead(122)
    read_ahead.put(batch(b"a"))
    assert not read_ahead.full
    assert read_ahead.room_bytes == 61
    read_ahead.put(batch(b"b", at_ms=2))
    assert read_ahead.full
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_ahead.wait_room)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        await read_ahead.take()
    assert not read_ahead.full


async def test_lifting_the_bound_wakes_who_waits_for_room():
    read_ahead = ReadAhead(1)
    read_ahead.put(batch(b"a"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_ahead.wait_room)
        await trio.testing.wait_all_tasks_blocked()
        read_ahead.lift()
    assert not read_ahead.full


async def test_the_first_end_stays_and_comes_after_what_is_held():
    read_ahead = ReadAhead(1000)
    read_ahead.put(batch(b"a"))
    read_ahead.end(FeedClosed(1001, "first"))
    read_ahead.end(FeedClosed(1006, "second"))
    assert (await read_ahead.take()).frames == [b"a"]
    for _ in range(2):
        with pytest.raises(FeedClosed, match="first"):
            await read_ahead.take()


async def test_taking_lets_other_tasks_run_and_a_cancelled_taker_takes_nothing():
    read_ahead = ReadAhead(1000)
    read_ahead.put(batch(b"a"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await read_ahead.take()
    assert scope.cancelled_caught
    with trio.testing.assert_checkpoints():
        assert (await read_ahead.take()).frames == [b"a"]
