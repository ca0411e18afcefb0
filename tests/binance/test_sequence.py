"""Every id leaves once and in order, whatever is offered in whatever order; what is given up may come late, once."""

from hypothesis import given
from hypothesis import strategies as st

from ingest_actors.binance.sequence import LATE_HOLES_MAX, Fate, Hole, Sequence


def offered(sequence, *ids):
    """What leaves when these are offered one by one."""
    left = []
    for number in ids:
        if sequence.offer(number, number, number) is Fate.FRESH:
            left += [number, *sequence.release()]
    return left


def test_what_comes_first_begins_the_series():
    sequence = Sequence()
    assert sequence.offer(17, 17, "a") is Fate.FRESH
    assert sequence.next_id == 18


def test_what_was_there_before_is_a_duplicate():
    sequence = Sequence(next_id=5)
    assert sequence.offer(4, 4, None) is Fate.DUPLICATE
    assert sequence.offer(6, 6, None) is Fate.HELD
    assert sequence.offer(6, 6, None) is Fate.DUPLICATE
    assert (sequence.next_id, sequence.held) == (5, 1)


def test_events_behind_a_hole_wait_until_it_is_filled():
    sequence = Sequence(next_id=1)
    assert offered(sequence, 1, 4, 6, 5) == [1]
    assert sequence.holes() == [Hole(2, 3)]
    assert offered(sequence, 2) == [2]
    assert sequence.holes() == [Hole(3, 3)]
    assert offered(sequence, 3) == [3, 4, 5, 6]
    assert (sequence.holes(), sequence.held, sequence.next_id) == ([], 0, 7)


def test_a_hole_that_is_given_up_can_be_filled_late_and_only_once():
    sequence = Sequence(next_id=1)
    assert offered(sequence, 4, 5, 9) == []
    assert sequence.give_up() == (Hole(1, 3), [4, 5], None)
    assert (sequence.late, sequence.holes()) == ([Hole(1, 3)], [Hole(6, 8)])
    assert sequence.offer(2, 2, None) is Fate.LATE
    assert sequence.offer(2, 2, None) is Fate.DUPLICATE
    assert sequence.late == [Hole(1, 1), Hole(3, 3)]
    assert sequence.offer(3, 3, None) is Fate.LATE
    assert sequence.late == [Hole(1, 1)]
    assert sequence.missing(Hole(1, 8)) == Hole(1, 1)
    assert sequence.skip(Hole(1, 3)) == []
    assert (sequence.late, sequence.missing(Hole(1, 5))) == ([], None)
    assert sequence.missing(Hole(1, 7)) == Hole(6, 7)
    assert sequence.skip(Hole(6, 7)) == []
    assert sequence.skip(Hole(8, 8)) == [9]


def test_nothing_is_given_up_where_nothing_is_missing():
    assert Sequence().give_up() is None
    assert Sequence(next_id=3).give_up() is None


def test_holes_that_were_given_up_are_bounded_and_the_oldest_is_told_lost():
    sequence = Sequence(next_id=0)
    for number in range(1, 2 * LATE_HOLES_MAX, 2):
        sequence.offer(number, number, None)
        assert sequence.give_up().lost is None
    sequence.offer(2 * LATE_HOLES_MAX + 1, 2 * LATE_HOLES_MAX + 1, None)
    assert sequence.give_up().lost == Hole(0, 0)
    assert len(sequence.late) == LATE_HOLES_MAX


def test_an_event_that_straddles_the_end_goes_on_with_the_series():
    sequence = Sequence(next_id=10)
    assert sequence.offer(8, 12, None) is Fate.FRESH
    assert sequence.next_id == 13
    assert sequence.offer(9, 12, None) is Fate.DUPLICATE


def test_differently_cut_events_join_where_they_overlap():
    sequence = Sequence(next_id=1)
    assert sequence.offer(5, 9, "ours") is Fate.HELD
    assert sequence.offer(6, 8, "within") is Fate.DUPLICATE
    assert sequence.offer(7, 12, "theirs") is Fate.HELD
    assert sequence.offer(1, 6, "first") is Fate.FRESH
    assert sequence.release() == ["ours", "theirs"]
    assert sequence.next_id == 13


def test_what_was_overtaken_while_it_waited_is_dropped():
    sequence = Sequence(next_id=1)
    sequence.offer(5, 6, "overtaken")
    assert sequence.offer(1, 20, "large") is Fate.FRESH
    assert (sequence.release(), sequence.held, sequence.next_id) == ([], 0, 21)


def test_one_hole_between_two_that_wait_is_told_apart():
    sequence = Sequence(next_id=1)
    offered(sequence, 3, 7)
    assert sequence.holes() == [Hole(1, 2), Hole(4, 6)]
    assert sum(hole.size for hole in sequence.holes()) == 5
    assert sequence.held_items() == [3, 7]
    assert sequence.last_hole() == Hole(4, 6)
    offered(sequence, 8)
    assert sequence.last_hole() is None


def test_the_last_hole_is_before_what_came_last():
    sequence = Sequence(next_id=1)
    assert sequence.last_hole() is None
    offered(sequence, 5)
    assert sequence.last_hole() == Hole(1, 4)
    offered(sequence, 3)
    assert sequence.last_hole() == Hole(4, 4)


@given(st.data())
def test_every_id_leaves_once_and_in_order_unless_it_was_given_up(data):
    count = data.draw(st.integers(1, 40))
    offers = data.draw(st.lists(st.integers(0, count), max_size=120))
    sequence = Sequence(next_id=0)
    in_order, late, waited_for = [], [], set()
    for number in offers:
        if data.draw(st.integers(0, 9)) == 0 and (given_up := sequence.give_up()):
            waited_for.update(range(given_up.hole.first, given_up.hole.last + 1))
            in_order += given_up.released
        match sequence.offer(number, number, number):
            case Fate.FRESH:
                in_order += [number, *sequence.release()]
            case Fate.LATE:
                late.append(number)
                assert number in waited_for
    assert in_order == sorted(set(in_order))
    assert len(late) == len(set(late))
    assert not set(late) & set(in_order)
    assert {*in_order, *late, *sequence.held_items()} == set(offers)
    missing = {number for hole in (*sequence.late, *sequence.holes()) for number in range(hole.first, hole.last + 1)}
    assert missing.isdisjoint(offers)
    assert missing | set(offers) == set(range(max([sequence.next_id - 1, *offers], default=0) + 1)) or not offers
