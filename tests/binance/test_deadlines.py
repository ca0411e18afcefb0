"""What is due comes in its time, however often a deadline is moved."""

from hypothesis import given
from hypothesis import strategies as st

from ingest_actors.binance.deadlines import STALE_MAX, Deadlines


def test_the_earliest_is_told_and_taken():
    deadlines = Deadlines()
    deadlines.set("b", 2.0)
    deadlines.set("a", 1.0)
    deadlines.set("c", 3.0)
    assert deadlines.next() == 1.0
    assert list(deadlines.take_due(2.0)) == ["a", "b"]
    assert deadlines.next() == 3.0


def test_a_deadline_that_was_moved_is_due_at_its_new_time_only():
    deadlines = Deadlines()
    deadlines.set("a", 1.0)
    deadlines.set("a", 5.0)
    assert (list(deadlines.take_due(4.0)), deadlines.next()) == ([], 5.0)
    deadlines.set("a", 3.0)
    assert list(deadlines.take_due(9.0)) == ["a"]
    deadlines.set("a", None)
    assert deadlines.next() is None


def test_deadlines_that_are_moved_on_and_on_cost_no_memory():
    deadlines = Deadlines()
    deadlines.set("first", 0.0)
    for at in range(10_000):
        deadlines.set("moved", float(at))
    assert len(deadlines._heap) <= 2 * 2 + STALE_MAX + 1
    assert list(deadlines.take_due(9_998.0)) == ["first"]
    assert list(deadlines.take_due(9_999.0)) == ["moved"]


@given(st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(0, 9))), st.integers(0, 9))
def test_it_agrees_with_a_look_at_all_of_them(changes, now):
    deadlines, plain = Deadlines(), {}
    for thing, at in changes:
        deadlines.set(thing, at)
        plain[thing] = at
    there = {thing: at for thing, at in plain.items() if at is not None}
    assert deadlines.next() == min(there.values(), default=None)
    taken = list(deadlines.take_due(now))
    assert sorted(taken) == sorted(thing for thing, at in there.items() if at <= now)
    assert [there[thing] for thing in taken] == sorted(there[thing] for thing in taken)
    assert deadlines.next() == min((at for at in there.values() if at > now), default=None)
