"""`BUFFER_MAX_BYTES` is shared out whole, and no share is more than it says."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_actors.bounds import NEVER_ISOLATED, READ_AHEAD_BYTES_MAX, READ_AHEAD_BYTES_MIN, Bounds
from ingest_actors.messages import EVENT_OVERHEAD_BYTES, FRAME_OVERHEAD_BYTES

MIB = 1024 * 1024


@given(st.integers(min_value=MIB, max_value=1024 * MIB))
def test_the_shares_are_the_whole(buffer_bytes_max):
    bounds = Bounds.of(buffer_bytes_max)
    shares = (
        bounds.sink, bounds.batches_mailbox, bounds.events_mailbox, bounds.frames_mailbox, bounds.waiting,
        bounds.read_ahead,
    )  # fmt: skip
    assert sum(shares) == buffer_bytes_max
    assert min(shares) >= buffer_bytes_max // 16


def test_the_default_is_shared_out_as_documented():
    assert Bounds.of(64 * MIB) == Bounds(
        sink=32 * MIB,
        batches_mailbox=16 * MIB,
        events_mailbox=4 * MIB,
        frames_mailbox=4 * MIB,
        waiting=4 * MIB,
        read_ahead=4 * MIB,
    )


def test_mailboxes_are_bounded_by_bytes_and_never_by_fewer_items_than_these_can_be():
    bounds = Bounds.of(64 * MIB)
    frames, events, batches = bounds.frames("frames"), bounds.events("events"), bounds.batches("batches")
    assert [(box.name, box.bytes_max) for box in (frames, events, batches)] == [
        ("frames", 4 * MIB),
        ("events", 4 * MIB),
        ("batches", 16 * MIB),
    ]
    assert frames.events_max == 4 * MIB // FRAME_OVERHEAD_BYTES
    assert events.events_max == 4 * MIB // EVENT_OVERHEAD_BYTES
    assert batches.events_max == 16 * MIB // EVENT_OVERHEAD_BYTES


def test_batches_stay_whole_for_the_sink_knows_them_by_identity():
    bounds = Bounds.of(64 * MIB)
    assert bounds.batches("batches").strikes_max == NEVER_ISOLATED
    assert bounds.frames("frames").strikes_max == bounds.events("events").strikes_max == 3


@pytest.mark.parametrize(
    ("connections", "each"),
    [
        (0, READ_AHEAD_BYTES_MAX),
        (1, READ_AHEAD_BYTES_MAX),
        (4, READ_AHEAD_BYTES_MAX),
        (8, MIB // 2),
        (10_000, READ_AHEAD_BYTES_MIN),
    ],
)
def test_connections_share_what_is_read_ahead_within_reason(connections, each):
    assert Bounds.of(64 * MIB).read_ahead_of_each(connections) == each


def test_a_spool_takes_its_share_from_the_batches_that_wait():
    plain, spooling = Bounds.of(64 * MIB), Bounds.of(64 * MIB, spool=True)
    assert plain.spool == 0
    assert spooling == replace(plain, batches_mailbox=8 * MIB, spool=8 * MIB)
