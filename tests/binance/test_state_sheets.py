"""The state topic has the mark of every series, whatever was compacted away and whichever write got lost."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_actors.binance.marks import Mark, OpenGap, Place, encode_mark
from ingest_actors.binance.resume import ResumeState
from ingest_actors.binance.state_sheets import BLOCKS, MARKS_A_SHEET, ROUNDS_KEPT, TURNS
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.messages import EventBatch

TABLE = StreamTable()
ROUTE = TABLE.route(TABLE.kind("trade"))


def trades(numbers):
    """One event of each series, by its symbol."""
    events = [(b'{"t":%d}' % last, symbol.encode(), last, ROUTE) for symbol, last in numbers.items()]
    return EventBatch(events, received_at_ms=0)


def read(kept, rng):
    """What a process makes of the topic, of which it reads one record of each key, in whatever order."""
    state = ResumeState("me")
    keys = sorted(kept)
    rng.shuffle(keys)
    for key in keys:
        assert state.load(key, kept[key])
    return state


def lasts(state):
    return {place.symbol: mark.last for place, mark in state.marks.items()}


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 200))
def test_wherever_a_process_ends_the_next_one_knows_all_that_was_settled(seed, symbols, changes):
    rng = random.Random(seed)
    kept, settled, state = {}, {}, ResumeState("me")
    for number in range(changes):
        fate = rng.random()
        if fate < 0.05:
            before, state = lasts(state), read(kept, rng)
            found = lasts(state)
            assert all(settled[symbol] <= found[symbol] <= before[symbol] for symbol in settled)
            settled = found
        moved = {f"S{rng.randrange(symbols)}": number for _ in range(rng.randrange(1, 4))}
        state.apply(trades(moved))
        change = state.change()
        if fate < 0.85:
            kept.update(change.records)
            state.settle(change)
            settled = lasts(state)
        else:  # without a transaction any part of it may be there, and it is tried again with what has come since
            kept.update(record for record in change.records if rng.random() < 0.5)
    assert (
        lasts(read(kept, rng)).items()
        >= {symbol: last for symbol, last in settled.items() if lasts(state)[symbol] == last}.items()
    )


@pytest.mark.parametrize("tick", range(TURNS))
def test_a_mark_that_grows_large_is_in_the_topic_as_it_was_until_its_own_record_is_written(tick):
    state, kept = ResumeState("me"), {}

    def change():
        made = state.change()
        kept.update(made.records)
        return made

    state.apply(trades({"S": 5000} | {f"X{other}": 1 for other in range(BLOCKS * 8)}))
    state.settle(change())
    for number in range(TURNS * ROUNDS_KEPT + tick):
        state.apply(trades({"BUSY": number}))
        state.settle(change())
    gaps = tuple(OpenGap(f"g{at}", "s@trade", at, at + 5, "disconnected", 1) for at in range(5001, 5041, 10))
    grown = Mark(5100, 1, tuple((gap.first_id, gap.last_id) for gap in gaps), gaps)
    state.take_over([(b"me/series/trade/S", encode_mark(grown))])
    made = state.change()
    own = [(key, value) for key, value in made.records if key == b"me/series/trade/S"]
    kept.update(record for record in made.records if record not in own)
    assert read(kept, random.Random(tick)).marks[Place("trade", "S")].last == 5000
    kept.update(own)
    assert read(kept, random.Random(tick)).marks[Place("trade", "S")] == grown


def test_what_is_in_the_topic_does_not_grow_with_changes():
    state, kept, sizes = ResumeState("me"), {}, []
    for number in range(TURNS * ROUNDS_KEPT * 3):
        state.apply(trades({f"S{series}": number for series in range(300)}))
        change = state.change()
        kept.update(change.records)
        state.settle(change)
        sizes.append(len(kept))
    assert max(sizes) <= BLOCKS + 2 * TURNS * ROUNDS_KEPT
    assert len(set(sizes[TURNS * ROUNDS_KEPT :])) == 1


def test_a_change_of_many_series_is_a_few_records():
    state = ResumeState("me")
    state.apply(trades({f"S{series:05}USDT": 10**10 for series in range(10_000)}))
    records = state.change().records
    assert len(records) == 10_000 // MARKS_A_SHEET + BLOCKS // TURNS
    assert max(len(value) for _, value in records) < 20_000


def test_no_record_is_larger_than_a_topic_takes_whatever_is_missing():
    place = {f"S{series:05}USDT": Place("trade", f"S{series:05}USDT") for series in range(4_000)}
    gap = OpenGap("x" * 100, "x" * 60, 2**62, 2**62, "disconnected", 2**41)
    marks = {
        each: Mark(2**63 - 1, 2**41, ((2**62, 2**62),) * holes, (gap,) * gaps)
        for each, (holes, gaps) in zip(place.values(), [(16, 0), (0, 4), (400, 0), (4, 40)] * 1_000, strict=True)
    }
    state = ResumeState("me")
    state.take_over((b"me/series/" + each.name.encode(), encode_mark(mark)) for each, mark in marks.items())
    kept = {}
    for number in range(TURNS + 1):  # everything once, then every block, to which the large marks are settled
        change = state.change()
        assert max(len(value) for _, value in change.records) < 400_000
        assert max(len(value) for key, value in change.records if b"/block/" in key) < 40_000
        kept.update(change.records)
        state.settle(change)
        state.apply(trades({"BUSY": number}))
    assert read(kept, random.Random(1)).marks == marks | {Place("trade", "BUSY"): Mark(TURNS - 1, TURNS - 1)}


@pytest.mark.parametrize("order", [1, -1])
def test_of_the_records_of_a_series_the_one_that_was_written_last_holds(order):
    state = ResumeState("me")
    records = [(b"me/series/trade/S1", encode_mark(Mark(1, 1)))]
    for number in (2, 3):
        state.apply(trades({"S1": number}))
        change = state.change()
        records += change.records
        state.settle(change)
    found = ResumeState("me")
    for key, value in records[::order]:
        found.load(key, value)
    assert lasts(found) == {"S1": 3}


def test_marks_of_the_form_before_are_read_and_written_in_this_one_from_the_first_change_on():
    kept = {b"me/series/trade/S%d" % series: b'{"v":1,"last":%d,"at":5}' % series for series in range(50)}
    state = read(kept, random.Random(1))
    assert lasts(state) == {f"S{series}": series for series in range(50)}
    for _ in range(TURNS):
        state.apply(trades({"S7": lasts(state)["S7"] + 1}))
        change = state.change()
        kept.update(change.records)
        state.settle(change)
    sheets = {key: value for key, value in kept.items() if msgspec.json.decode(value)["v"] == 2}
    assert lasts(read(sheets, random.Random(1))) == lasts(read(kept, random.Random(2))) == lasts(state)
