"""What travels: counted in items and bytes, and split without losing or doubling anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_actors.messages import (
    EVENT_OVERHEAD_BYTES,
    FRAME_OVERHEAD_BYTES,
    EventBatch,
    FrameBatch,
    Route,
)

TRADE = Route("trade", ("raw", "trades"))
LETTER = Route("trade", ("dead",), headers=(("reason", b"x"),), dead_letter=True)


def events(*values, route=TRADE):
    return [(value, b"BTCUSDT", 7, route) for value in values]


def test_a_batch_of_frames_counts_payloads_and_what_each_costs_besides():
    batch = FrameBatch([b"abc", b"", b"de"], received_at_ms=5, connection="ws-1")
    assert len(batch) == 3
    assert batch.size_bytes == 5 + 3 * FRAME_OVERHEAD_BYTES


def test_a_batch_of_events_counts_values_and_what_each_costs_besides():
    batch = EventBatch(events(b"abc", b"de"), received_at_ms=5)
    assert len(batch) == 2
    assert batch.size_bytes == 5 + 2 * EVENT_OVERHEAD_BYTES


def test_a_size_that_is_known_is_not_counted_again():
    assert FrameBatch([b"abc"], received_at_ms=5, connection="ws-1", size_bytes=1).size_bytes == 1
    assert EventBatch(events(b"abc"), received_at_ms=5, size_bytes=1).size_bytes == 1


@given(st.lists(st.binary(max_size=9), min_size=2), st.data())
def test_the_parts_of_frames_are_the_whole_in_order_with_its_marks_and_its_size(payloads, data):
    whole = FrameBatch(payloads, received_at_ms=5, connection="ws-1", binary=True)
    front, rest = whole.split(data.draw(st.integers(1, len(payloads) - 1)))
    assert front.frames + rest.frames == payloads
    assert front.size_bytes + rest.size_bytes == whole.size_bytes
    for part in (front, rest):
        assert (part.received_at_ms, part.connection, part.binary) == (5, "ws-1", True)


@given(st.lists(st.binary(max_size=9), min_size=1), st.integers(1, 9))
def test_even_parts_of_frames_are_the_whole_in_order_as_few_as_can_be(payloads, most):
    whole = FrameBatch(payloads, received_at_ms=5, connection="ws-1", binary=True)
    parts = list(whole.parts(most))
    lengths = [len(part) for part in parts]
    assert [frame for part in parts for frame in part.frames] == payloads
    assert sum(part.size_bytes for part in parts) == whole.size_bytes
    assert max(lengths) <= most
    assert max(lengths) - min(lengths) <= 1
    assert len(parts) == -(-len(payloads) // most)
    assert {(part.received_at_ms, part.connection, part.binary) for part in parts} == {(5, "ws-1", True)}


@given(st.lists(st.binary(max_size=9), min_size=2), st.data())
def test_the_parts_of_events_are_the_whole_in_order_with_its_age_and_its_size(values, data):
    whole = EventBatch(events(*values), received_at_ms=5)
    front, rest = whole.split(data.draw(st.integers(1, len(values) - 1)))
    assert front.events + rest.events == whole.events
    assert front.size_bytes + rest.size_bytes == whole.size_bytes
    assert front.received_at_ms == rest.received_at_ms == 5


def test_events_are_counted_by_route_which_is_compared_by_identity():
    twin = Route("trade", ("raw", "trades"))
    batch = EventBatch(events(b"1", b"2") + events(b"3", route=LETTER) + events(b"4", route=twin), received_at_ms=0)
    assert dict(batch.routes()) == {TRADE: 2, LETTER: 1, twin: 1}


def test_the_count_of_the_routes_belongs_to_the_batch_and_not_to_its_parts():
    whole = EventBatch(events(b"1", b"2", b"3"), received_at_ms=0)
    assert dict(whole.routes()) == {TRADE: 3}
    assert [dict(part.routes()) for part in whole.split(1)] == [{TRADE: 1}, {TRADE: 2}]
    assert dict(whole.routes()) == {TRADE: 3}


def test_a_route_is_not_changed_once_it_is_made():
    assert (TRADE.headers, TRADE.dead_letter, TRADE.overhead_bytes) == ((), False, EVENT_OVERHEAD_BYTES)
    with pytest.raises(AttributeError):
        TRADE.dead_letter = True
