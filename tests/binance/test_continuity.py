"""Whatever comes in whatever order, however often a batch is parsed: each event leaves once and in order."""

import json

from hypothesis import given
from hypothesis import strategies as st

from ingest_actors.binance.begun_again import DATABASE_LAG_MAX_S, DOUBT_S, DOUBTED_FROM
from ingest_actors.binance.continuity import Continuity
from ingest_actors.binance.event_time import FUTURE_LIMIT_MS
from ingest_actors.binance.gaps import Reason, State
from ingest_actors.binance.journal import Journal
from ingest_actors.binance.sequence import LATE_HOLES_MAX
from ingest_actors.binance.series import Odd, size_of
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.messages import Route

ROUTE = Route("trade", ("raw", "trades"))
LATE = Route("late", ("raw", "trades"))


def event(number, at_ms=0):
    return (b"%d" % number, b"BTCUSDT", at_ms, ROUTE)


class World:
    """A parser's half of the work, in the order in which the real one does it."""

    def __init__(self, *, next_id=1, hold_s=10.0, held_max=1000):
        self.now = 0.0
        self.tick = 0
        self.continuity = Continuity(
            hold_s=lambda kind: hold_s,
            late=lambda event: (event[0], event[1], event[2], LATE),
            journal=Journal("gaps").record,
            held_max=held_max,
            bytes_max=10**9,
            clock=lambda: self.now,
            clock_ms=lambda: 1_000_000 + int(self.now * 1000),
        )
        self.continuity.doubts.on_drop = self.drop
        self.series = self.continuity.series(StreamTable().kind("trade"), "btcusdt@trade", "BTCUSDT", ROUTE)
        if next_id is not None:
            self.series.sequence.next_id = self.series.staged = next_id
        self.left = []
        self.journal = []
        self.duplicates = 0

    def drop(self, routes):
        self.duplicates += sum(routes.values())

    def parse(self, numbers):
        """What the parser does with a batch before anything is decided."""
        self.continuity.begin()
        series, straight, odd = self.series, [], []
        for number in numbers:
            if not series.touched:
                self.continuity.touch(series)
            self.tick += 1
            if number == series.staged:
                series.staged = number + 1
                series.latest_ms = self.tick
                straight.append(number)
                continue
            if series.staged is not None:
                series.reached = series.staged
                series.staged = None
            odd.append(Odd(series, number, number, event(number, self.tick)))
        return straight, odd

    def batch(self, *numbers):
        straight, odd = self.parse(numbers)
        self.left += straight
        self.continuity.commit(odd)

    def flush(self):
        while events := self.continuity.next_ready(3):
            for value, _, _, route in events:
                if route.event_type == "gap":
                    gap = json.loads(value)
                    self.journal.append((gap["first_id"], gap["last_id"], State(gap["state"]), gap["recovered"]))
                else:
                    self.left.append(int(value) if route is ROUTE else -int(value))
            self.continuity.took(len(events))

    def fill(self, *numbers):
        return [self.fill_one(number) for number in numbers]

    def fill_one(self, number):
        gaps = [gap for gap in self.continuity.gaps.values() if gap.hole.first <= number <= gap.hole.last]
        return bool(gaps) and self.continuity.fill(gaps[0], number, number, event(number))


def test_what_goes_on_where_it_ended_is_not_even_looked_at():
    world = World()
    world.batch(1, 2, 3)
    world.batch(4)
    assert (world.left, world.continuity.waiting, world.series.staged) == ([1, 2, 3, 4], 0, 5)


def test_a_hole_holds_its_series_until_it_is_filled():
    world = World()
    world.batch(1, 4, 5)
    world.flush()
    assert world.left == [1]
    assert list(world.continuity.routes()) == [ROUTE, ROUTE]
    (gap,) = world.continuity.gaps.values()
    assert (gap.name, gap.reason, gap.detected_at_ms) == ("btcusdt@trade:2-3", Reason.DISCONNECTED, 1_000_000)
    assert world.fill(2, 2, 3) == [True, False, True]
    world.batch(6)
    world.flush()
    assert world.left == [1, 2, 3, 4, 5, 6]
    assert [entry[2] for entry in world.journal] == [State.OPEN, State.CLOSED]
    assert world.journal[-1] == (2, 3, State.CLOSED, 2)
    assert world.continuity.gaps == {}
    world.batch(7)
    assert (world.left[-1], world.continuity.waiting, world.series.staged) == (7, 0, 8)


def test_a_batch_that_is_parsed_again_meets_the_same_state():
    world = World()
    world.parse([1, 2, 5, 6])
    world.parse([1, 2, 5])
    world.batch(1, 2, 5, 6)
    assert (world.left, world.series.sequence.next_id, world.series.sequence.held) == ([1, 2], 3, 2)
    assert world.duplicates == 0


def test_duplicates_are_dropped_and_counted():
    world = World()
    world.batch(1, 2)
    world.batch(1, 2, 2, 3)
    world.flush()
    assert (world.left, world.duplicates) == ([1, 2, 3], 3)


def test_new_events_queue_up_behind_those_that_are_ready():
    world = World()
    world.batch(3)
    assert world.fill(1, 2) == [True, True]
    world.batch(4, 5)
    assert world.left == []
    world.flush()
    assert world.left == [1, 2, 3, 4, 5]


def test_a_series_is_held_up_no_longer_than_it_may_be_and_what_comes_then_is_late():
    world = World(hold_s=10.0)
    world.batch(1, 5)
    world.now = 9.9
    world.continuity.expire()
    world.flush()
    assert (world.left, world.continuity.next_expiry()) == ([1], 10.0)
    world.now = 10.0
    world.continuity.expire()
    world.flush()
    assert (world.left, world.journal) == ([1, 5], [(2, 4, State.OPEN, 0)])
    assert world.fill(3) == [True]
    world.batch(6)
    world.fill(2, 4)
    world.flush()
    assert world.left == [1, 5, -3, 6, -2, -4]
    assert world.journal == [(2, 4, State.OPEN, 0), (2, 4, State.CLOSED, 3)]


def test_what_comes_late_while_a_batch_waits_for_room_does_not_hold_the_batch_up():
    world = World(hold_s=0.0)
    world.batch(1, 3)
    world.continuity.expire()
    world.flush()
    straight, odd = world.parse([4, 5])
    assert world.fill(2) == [True]
    world.left += straight
    world.continuity.commit(odd)
    world.flush()
    world.batch(6)
    assert world.left == [1, 3, 4, 5, -2, 6]


def test_no_more_is_held_than_may_be():
    world = World(held_max=3)
    world.batch(1, 3, 4, 5, 6)
    world.continuity.expire()
    world.flush()
    assert world.left == [1, 3, 4, 5, 6]


def test_what_will_never_come_is_journalled_as_lost_and_the_series_goes_on():
    world = World()
    world.batch(1, 4)
    (gap,) = world.continuity.gaps.values()
    world.fill(2)
    world.continuity.lose(gap)
    world.flush()
    assert world.left == [1, 2, 4]
    assert world.journal[-1] == (2, 3, State.LOST, 1)
    assert world.series.sequence.late == []
    assert world.fill(3) == [False]
    world.batch(5)
    assert world.left == [1, 2, 4, 5]


def test_the_journal_tells_a_gap_in_the_place_where_it_is():
    world = World(hold_s=0.0)
    world.batch(1, 3)
    world.continuity.expire()
    (first, second) = world.continuity.next_ready(10)
    assert json.loads(first[0])["gap"] == "btcusdt@trade:2-2"
    assert second[0] == b"3"


def test_the_first_event_of_a_series_without_a_past_begins_it():
    world = World(next_id=None)
    world.batch(17, 18)
    world.flush()
    world.batch(19)
    assert (world.left, world.continuity.gaps, world.series.staged) == ([17, 18, 19], {}, 20)


def test_ids_that_begin_again_are_a_new_sequence_once_the_exchange_says_so():
    world = World()
    world.batch(*range(1, 101))
    world.batch(7, 8, 9, 10, 11)
    world.flush()
    assert (world.left[-1], list(world.continuity.doubts.open)) == (100, ["btcusdt@trade"])
    world.batch(12)
    assert not world.continuity.answer(world.series, newest=12)
    world.now = DATABASE_LAG_MAX_S
    assert world.continuity.answer(world.series, newest=12)
    world.batch(13)
    world.flush()
    assert world.left[100:] == [7, 8, 9, 10, 11, 12, 13]
    assert world.journal == [(7, 100, State.OPEN, 0), (7, 100, State.LOST, 0)]
    assert (world.duplicates, world.continuity.size_bytes, list(world.continuity.routes())) == (0, 0, [])
    world.batch(14)
    assert (world.left[-1], world.series.staged) == (14, 15)


def test_ids_that_the_exchange_has_gone_beyond_are_duplicates_however_many():
    world = World()
    world.batch(*range(1, 101))
    world.batch(7, 8, 9, 10, 11)
    assert not world.continuity.answer(world.series, newest=98)
    assert world.continuity.answer(world.series, newest=100)
    world.batch(101)
    world.flush()
    assert (world.left[100:], world.duplicates, world.continuity.size_bytes) == ([101], 5, 0)
    assert world.continuity.doubts.open == {}


def test_one_duplicate_is_doubted_when_nothing_new_follows():
    world = World()
    world.batch(1, 2, 3, 2)
    assert (list(world.continuity.routes()), world.continuity.next_expiry()) == ([ROUTE], DOUBT_S)
    world.now = DOUBT_S
    world.continuity.expire()
    assert list(world.continuity.doubts.open) == ["btcusdt@trade"]
    world.batch(4)
    assert (world.continuity.doubts.open, world.duplicates) == ({}, 1)


def test_without_anybody_to_ask_a_long_run_is_believed():
    world = World(hold_s=None)
    world.batch(*range(1, 101))
    world.batch(*range(7, 26))
    world.flush()
    assert world.left[-1] == 100
    world.batch(26)
    world.flush()
    assert world.left[100:] == list(range(7, 27))


def test_without_anybody_to_ask_a_short_run_is_believed_when_nothing_else_comes():
    world = World(hold_s=None)
    world.batch(*range(1, 101))
    for number in range(7, 11):  # a quiet symbol: one event in a minute
        world.batch(number)
        world.now += 60.0
        assert world.continuity.next_expiry() is None
        world.continuity.expire()
        world.flush()
        assert (world.left[-1], world.duplicates) == (100, 0)
    world.batch(11)
    world.flush()
    assert world.left[100:] == [7, 8, 9, 10, 11]
    assert world.journal == [(7, 100, State.OPEN, 0), (7, 100, State.LOST, 0)]


def test_ids_that_begin_again_on_two_connections_are_one_beginning():
    books = Books()
    books.continuity.share({"btcusdt@x": 0.1})
    books.series.sequence.next_id = books.series.staged = 10**6
    books.offer((10**6, 10**6))
    for first in range(1, 9, 2):  # the same by both, cut differently
        books.offer((first, first + 1), (first, first), (first + 1, first + 2))
    books.expire(20.0)
    books.offer((10, 11))
    books.flush()
    cuts = [b"1-2", b"2-3", b"3-4", b"4-5", b"5-6", b"6-7", b"7-8", b"8-9", b"10-11"]
    assert (books.left, books.dropped) == ([b"1000000-1000000", *cuts], 4)


def test_a_clock_that_was_set_back_does_not_make_a_new_beginning_old():
    books = Books()
    books.tick = 2 * FUTURE_LIMIT_MS
    books.offer((100, 100))
    books.tick = 1  # the time of receipt stands for one that lies too far ahead of the clock
    books.offer(*((number, number) for number in range(1, 21)))
    books.flush()
    assert (len(books.left), books.dropped) == (21, 0)


def test_what_is_doubted_gives_way_when_there_is_no_room():
    books = Books(bytes_max=3 * size_of((b"10-10", b"B", 0, ROUTE)))
    books.offer((100, 100), (101, 101), (10, 10), (11, 11), (12, 12), (13, 13))
    books.expire()
    assert (books.dropped, books.series.suspects) == (4, [])


@given(st.data())
def test_every_event_leaves_once_and_in_order_and_every_hole_is_told(data):
    world = World(hold_s=5.0, held_max=data.draw(st.integers(3, 30)))
    came = set()
    for _ in range(data.draw(st.integers(1, 25))):
        match data.draw(st.integers(0, 5)):
            case 0 | 1 | 2:
                numbers = data.draw(st.lists(st.integers(1, 40), max_size=10))
                if data.draw(st.booleans()):
                    world.parse(numbers)  # and the parser crashes
                world.batch(*numbers)
                came |= set(numbers)
            case 3:
                numbers = data.draw(st.lists(st.integers(1, 40), max_size=10))
                came |= {number for number, taken in zip(numbers, world.fill(*numbers), strict=True) if taken}
            case 4:
                world.flush()
            case 5:
                world.now += data.draw(st.floats(0, 7))
                world.continuity.expire()
    world.flush()
    sequence = world.series.sequence
    in_order = [number for number in world.left if number > 0]
    late = [-number for number in world.left if number < 0]
    assert in_order == sorted(set(in_order))
    assert len(late) == len(set(late))
    assert set(late).isdisjoint(in_order)
    assert {*in_order, *late, *(int(item[0]) for item in sequence.held_items())} == came
    missing = {n for hole in (*sequence.late, *sequence.holes()) for n in range(hole.first, hole.last + 1)}
    told = {n for gap in world.continuity.gaps.values() for n in range(gap.hole.first, gap.hole.last + 1)}
    assert missing <= told
    opened = [entry[:2] for entry in world.journal if entry[2] is State.OPEN]
    assert len(opened) == len(set(opened))


class Books:
    """A series of book updates that nobody repairs; everything that is offered is counted."""

    def __init__(self, *, bytes_max=10**9, repairable=False):
        self.now = 0.0
        self.dropped = 0
        self.offered = 0
        self.left = []
        self.tick = 0
        self.continuity = Continuity(
            hold_s=lambda kind: 10.0 if repairable else None,
            late=lambda event: (event[0], event[1], event[2], LATE),
            journal=Journal("gaps").record,
            held_max=50,
            bytes_max=bytes_max,
            clock=lambda: self.now,
            clock_ms=lambda: int(self.now * 1000),
        )
        self.continuity.doubts.on_drop = lambda routes: setattr(self, "dropped", self.dropped + sum(routes.values()))
        kind = StreamTable().kind("trade" if repairable else "depth_update")
        self.series = self.continuity.series(kind, "btcusdt@x", "BTCUSDT", ROUTE)
        self.series.sequence.next_id = self.series.staged = 100

    def offer(self, *ranges, old=False):
        self.continuity.begin()
        items = []
        for first, last in ranges:
            self.tick += 1
            items.append(
                Odd(self.series, first, last, (b"%d-%d" % (first, last), b"B", 0 if old else self.tick, ROUTE))
            )
        self.offered += len(items)
        self.continuity.commit(items)
        self.check()

    def expire(self, seconds=0.0):
        self.now += seconds
        self.continuity.expire()
        self.check()

    def flush(self):
        while events := self.continuity.next_ready(10):
            self.left += [value for value, _, _, route in events if route.counted]
            self.continuity.took(len(events))
        self.check()

    def check(self):
        continuity, series = self.continuity, self.series
        waiting = list(continuity.routes())
        assert self.offered == len(self.left) + self.dropped + len(waiting)
        held = [*series.sequence.held_items(), *(item.event for item in series.suspects)]
        ready = [event for event in continuity.next_ready(10**6) if event[3].counted]
        assert continuity.size_bytes == sum(size_of(event) for event in (*held, *ready))
        for gap in series.gaps:
            assert series.sequence.missing(gap.hole) is not None or gap.hole.last >= series.sequence.next_id
        assert {gap.name for gap in series.gaps} == set(continuity.gaps)
        for hole in series.sequence.holes():
            assert any(gap.hole.first <= hole.first and hole.last <= gap.hole.last for gap in series.gaps)
        told_by_time = series.repairable or len(series.suspects) >= DOUBTED_FROM
        if series.sequence.held or (series.suspects and not continuity.doubts.open and told_by_time):
            assert continuity.next_expiry() is not None


@given(st.data())
def test_whatever_books_and_stops_come_everything_is_accounted_for(data):
    books = Books(repairable=data.draw(st.booleans()), bytes_max=data.draw(st.sampled_from([600, 10**9])))
    numbers = st.integers(80, 140)
    for _ in range(data.draw(st.integers(1, 20))):
        match data.draw(st.integers(0, 5)):
            case 0 | 1 | 2:
                ranges = []
                for _ in range(data.draw(st.integers(1, 6))):
                    first = data.draw(numbers)
                    ranges.append((first, first if books.series.by_ones else first + data.draw(st.integers(0, 12))))
                books.offer(*ranges, old=data.draw(st.booleans()))
            case 3:
                books.expire(data.draw(st.floats(0, 12)))
            case 4:
                books.flush()
            case 5:
                books.continuity.answer(books.series, data.draw(st.none() | numbers))
                books.check()
    books.continuity.let_go()
    books.flush()
    assert books.offered == len(books.left) + books.dropped
    assert books.continuity.size_bytes == 0


def test_books_cut_differently_close_every_gap_that_they_cover():
    books = Books()
    books.offer((110, 111), (120, 121), (105, 125))
    books.expire()
    books.offer((140, 141))
    books.expire()
    books.flush()
    assert books.continuity.gaps == {}


def test_what_is_overtaken_is_counted():
    books = Books()
    books.offer((110, 115), (112, 118), (100, 120))
    books.flush()
    assert (books.left, books.dropped) == ([b"100-120"], 2)


def test_one_absurd_id_does_not_move_its_series():
    world = World()
    world.batch(1, 2, 2**62, 3, 4)
    world.flush()
    assert (world.left, world.duplicates, world.continuity.gaps) == ([1, 2, 3, 4], 1, {})


def test_what_seems_to_begin_again_is_decided_however_little_may_be_held():
    """Or the wait for it would be over for ever, again and again."""
    for held_max in (0, 3, 4, 1000):
        world = World(held_max=held_max)
        world.batch(*range(1, 31))
        world.batch(7, 8, 9, 10)
        world.now = DOUBT_S
        world.continuity.expire()
        world.batch(31)
        world.flush()
        assert (world.left[-1], world.duplicates) == (31, 4)


def test_a_copy_of_what_was_there_is_dropped_at_once():
    books = Books(repairable=True)
    books.offer((100, 100), (101, 101), (102, 102))
    books.offer((100, 100), (101, 101), old=True)
    books.flush()
    assert (books.dropped, books.series.suspects, len(books.left)) == (2, [], 3)


def test_a_new_sequence_begins_after_the_last_copy_of_the_old_one():
    books = Books(repairable=True)
    books.offer((100, 100))
    books.offer((100, 100), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5))
    assert not books.continuity.answer(books.series, None)
    books.now = DATABASE_LAG_MAX_S
    assert books.continuity.answer(books.series, 5)
    books.flush()
    assert (books.left, books.dropped) == ([b"100-100", b"1-1", b"2-2", b"3-3", b"4-4", b"5-5"], 1)


def test_a_database_far_behind_is_no_new_beginning():
    books = Books(repairable=True)
    books.offer(*((number, number) for number in range(100, 110)))
    books.offer((109, 109))
    books.now = 100.0
    assert not books.continuity.answer(books.series, 105)
    books.expire()
    assert books.continuity.answer(books.series, 109)
    books.flush()
    assert (len(books.left), books.dropped) == (10, 1)


def test_holes_that_are_too_many_end_their_gaps():
    world = World(hold_s=0.0)
    for number in range(3, 3 + 2 * (LATE_HOLES_MAX + 5), 2):
        world.batch(number)
        world.continuity.expire()
    world.flush()
    assert len(world.continuity.gaps) == LATE_HOLES_MAX
    assert all(world.continuity.missing(gap) for gap in world.continuity.gaps.values())


def test_a_stop_loses_what_nobody_repairs():
    world = World(hold_s=None)
    world.batch(1, 3)
    world.continuity.let_go()
    world.flush()
    assert [entry[2] for entry in world.journal] == [State.OPEN, State.LOST]


def test_a_gap_that_a_full_spool_brought_about_says_so():
    world = World()
    world.batch(1, 2)
    world.series.latest_ms = 5_000
    world.continuity.gap_book.spool_full_ms = lambda: 4_999
    world.batch(4)
    assert [gap.reason for gap in world.continuity.gaps.values()] == [Reason.DISCONNECTED]
    world.continuity.gap_book.spool_full_ms = lambda: 5_001
    world.series.latest_ms = 5_000
    world.batch(4, 6)
    assert [gap.reason for gap in world.continuity.gaps.values()] == [Reason.DISCONNECTED, Reason.SPOOL_FULL]
