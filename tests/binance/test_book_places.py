"""A book snapshot stands before the first update that goes beyond it, whatever happens while it is asked for."""

import json

from hypothesis import given
from hypothesis import strategies as st

from ingest_actors.binance.continuity import JUMP_MAX, Continuity
from ingest_actors.binance.departures import WITHHELD_MAX
from ingest_actors.binance.journal import Journal
from ingest_actors.binance.outcome import Outcome
from ingest_actors.binance.series import size_of
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.messages import EVENT_OVERHEAD_BYTES, FrameBatch, Route

UPDATE = Route("depth_update", ("raw", "depth"))
SNAPSHOT = Route("depth_snapshot", ("raw", "depth"))
WITHHOLD_S = 10.0


def update(first, last, at_ms=0):
    return (b'{"U":%d,"u":%d}' % (first, last), b"BTCUSDT", at_ms, UPDATE)


class World:
    """A parser and a hand that passes on what is ready, as the real ones do it, around one book."""

    def __init__(self, *, bytes_max=10**9, begun=True):
        self.now = 0.0
        self.tick = 0
        self.record = []
        self.came = self.dropped = 0
        self.begun = []
        self.holes = []
        self.continuity = Continuity(
            hold_s=lambda kind: None,
            late=lambda event: event,
            journal=Journal("gaps").record,
            held_max=1000,
            bytes_max=bytes_max,
            clock=lambda: self.now,
            clock_ms=lambda: int(self.now * 1000),
        )
        self.continuity.doubts.on_drop = lambda routes: setattr(self, "dropped", self.dropped + sum(routes.values()))
        self.continuity.on_book = self.begun.append
        self.continuity.on_book_hole = lambda _series, hole: self.holes.append((hole.first, hole.last))
        kind = StreamTable().kind("depth_update")
        self.series = self.continuity.series(kind, "btcusdt@depth", "BTCUSDT", UPDATE)
        if begun:
            self.batch((1, 10))

    def parse(self, *ranges):
        """The parser has looked at a batch, and waits for room downstream."""
        self.continuity.begin()
        outcome = Outcome(FrameBatch([], received_at_ms=0, connection="ws-1"), self.continuity)
        for first, last in ranges:
            self.tick += 1
            outcome.offer(self.series, first, last, update(first, last, self.tick))
        return outcome

    def put(self, outcome):
        """There is room: it is handed on."""
        self.came += len(outcome.events) + len(outcome.odd)
        self.record += outcome.events
        self.continuity.commit(outcome.odd)

    def batch(self, *ranges):
        self.put(self.parse(*ranges))

    def flush(self):
        self.continuity.expire()
        while events := self.continuity.next_ready(3):
            self.record += events
            self.continuity.took(len(events))
            self.continuity.expire()

    def withhold(self):
        return self.continuity.withhold(self.series, WITHHOLD_S)

    def insert(self, number):
        event = (b'{"lastUpdateId":%d}' % number, b"BTCUSDT", 0, SNAPSHOT)
        taken = self.continuity.insert(self.series, number, event)
        self.came += taken
        return taken

    def told(self):
        """The record in short: the last id of an update, a snapshot's negative, a state of the journal."""
        return [
            -value["lastUpdateId"] if route is SNAPSHOT else value["u"] if route is UPDATE else value["state"]
            for value, route in ((json.loads(event[0]), event[3]) for event in self.record)
        ]

    def check(self):
        continuity = self.continuity
        waiting = list(continuity.routes())
        written = [event for event in self.record if event[3].counted]
        assert self.came == len(written) + self.dropped + len(waiting)
        series = self.series
        held = [*series.sequence.held_items(), *(item.event for item in series.suspects)]
        held += [item for item in series.withheld or () if isinstance(item[0], bytes)]
        ready = [event for event in continuity.next_ready(10**6) if event[3].counted]
        assert continuity.size_bytes == sum(map(size_of, (*held, *ready)))
        if series.withheld is not None:
            assert continuity.next_expiry() is not None


def test_updates_that_the_snapshot_contains_stand_before_it_and_the_others_behind():
    world = World()
    world.withhold()
    world.batch((11, 20), (21, 30))
    world.flush()
    assert world.told() == [10]
    assert list(world.continuity.routes()) == [UPDATE, UPDATE]
    assert world.insert(20)
    world.batch((31, 40))
    world.flush()
    world.batch((41, 50))
    assert world.told() == [10, 20, -20, 30, 40, 50]
    assert (world.series.staged, world.continuity.size_bytes) == (51, 0)


def test_a_snapshot_that_falls_inside_an_update_stands_before_it():
    world = World()
    world.withhold()
    world.batch((11, 20), (21, 30))
    assert world.insert(25)
    world.flush()
    assert world.told() == [10, 20, -25, 30]


def test_a_snapshot_ahead_of_the_stream_is_written_at_once():
    world = World()
    world.withhold()
    assert world.insert(40)
    world.batch((11, 20))
    world.flush()
    world.batch((21, 50))
    assert world.told() == [10, -40, 20, 50]


def test_a_snapshot_older_than_what_has_left_is_not_written():
    world = World()
    world.withhold()
    world.batch((11, 20))
    assert not world.insert(9)
    assert world.insert(10)
    world.flush()
    assert world.told() == [10, -10, 20]


def test_a_snapshot_of_another_sequence_is_not_written():
    world = World()
    world.withhold()
    assert not world.insert(11 + JUMP_MAX + 1)
    assert world.insert(11 + JUMP_MAX)


def test_without_withholding_nothing_is_written():
    world = World()
    assert not world.insert(10)
    world.withhold()
    world.continuity.let_leave(world.series)
    assert not world.insert(10)
    world.batch((11, 20))
    assert world.told() == [10, 20]


def test_updates_are_withheld_no_longer_than_they_may_be():
    world = World()
    assert world.withhold() == WITHHOLD_S
    world.now = 5.0
    assert world.withhold() == world.continuity.next_expiry() == WITHHOLD_S, "asking again prolongs nothing"
    world.batch((11, 20))
    world.now = WITHHOLD_S
    world.flush()
    assert world.told() == [10, 20]
    assert not world.insert(20)
    world.batch((21, 30))
    assert (world.told(), world.continuity.next_expiry()) == ([10, 20, 30], None)


def test_no_more_updates_are_withheld_than_may_be():
    world = World()
    world.withhold()
    world.batch(*((number, number) for number in range(11, 11 + WITHHELD_MAX)))
    world.flush()
    assert world.told() == [10]
    world.batch((11 + WITHHELD_MAX, 11 + WITHHELD_MAX))
    world.flush()
    assert world.told() == [*range(10, 12 + WITHHELD_MAX)]


def test_no_more_bytes_are_withheld_than_may_wait():
    world = World(bytes_max=2 * EVENT_OVERHEAD_BYTES)
    world.withhold()
    world.batch((11, 20), (21, 30))
    world.flush()
    assert (world.told(), world.continuity.size_bytes) == ([10, 20, 30], 0)


def test_a_batch_under_way_when_the_question_is_sent_goes_before_all_that_is_withheld():
    world = World()
    under_way = world.parse((11, 20), (21, 30))
    world.withhold()
    assert not world.insert(20), "what is under way goes beyond it"
    world.put(under_way)
    world.batch((31, 40))
    assert not world.insert(29)
    assert world.insert(30)
    world.flush()
    assert world.told() == [10, 20, 30, -30, 40]


def test_an_answer_that_comes_while_the_batch_is_still_under_way_may_stand_before_it():
    world = World()
    under_way = world.parse((11, 20), (25, 30))
    world.withhold()
    assert world.insert(20)
    world.flush()
    world.put(under_way)
    world.flush()
    world.batch((31, 40))
    assert world.told() == [10, -20, 20, "open", 30, "lost", 40]
    assert world.holes == [(21, 24)]


def test_a_batch_that_is_parsed_again_meets_the_withholding():
    world = World()
    world.parse((11, 20))
    world.withhold()
    world.batch((11, 20), (21, 30))
    world.flush()
    assert world.told() == [10]
    assert world.insert(20)
    world.flush()
    assert world.told() == [10, 20, -20, 30]


def test_a_hole_keeps_its_place_among_what_is_withheld():
    world = World()
    world.withhold()
    world.batch((11, 20), (25, 30))
    assert world.holes == []
    world.flush()
    assert (world.told(), world.holes) == ([10], [(21, 24)])
    assert world.insert(27)
    world.flush()
    assert world.told() == [10, 20, "open", -27, 30, "lost"]


def test_what_was_only_out_of_order_is_no_hole():
    world = World()
    world.batch((11, 20), (25, 30), (21, 24))
    world.flush()
    assert world.told() == [10, 20, "open", 24, 30, "closed"]
    assert world.holes == []


def test_a_new_sequence_lets_go_what_was_withheld_of_the_old_one():
    world = World()
    world.batch((11, 100))
    world.withhold()
    world.batch((101, 110))
    world.batch(*((number, number) for number in range(1, 26)))
    world.flush()
    assert world.told() == [10, 100, 110, "open", "lost", *range(1, 26)]
    assert not world.insert(110)
    assert world.holes == [(1, 1)]


def test_a_stop_lets_everything_go():
    world = World()
    world.withhold()
    world.batch((11, 20))
    world.continuity.let_go()
    world.flush()
    assert (world.told(), world.continuity.size_bytes) == ([10, 20], 0)


def test_a_book_begins_when_its_first_update_has_gone_on():
    world = World(begun=False)
    under_way = world.parse((1, 10))
    assert world.begun == []
    world.put(under_way)
    assert world.begun == [world.series]
    world.batch((11, 20))
    assert world.begun == [world.series]


def draw_ranges(data, last):
    """Some updates after an id: mostly each goes on where the one before ended."""
    ranges = []
    for _ in range(data.draw(st.integers(1, 4))):
        first = last + 1 + data.draw(st.sampled_from([0, 0, 0, 0, 3, -2]))
        last = max(last, first + data.draw(st.integers(0, 5)))
        ranges.append((first, last))
    return ranges


@given(st.data())
def test_each_snapshot_stands_before_the_first_update_beyond_it_and_nothing_is_lost(data):
    world = World(bytes_max=data.draw(st.sampled_from([10**9, 900])))
    last, written, under_way = 10, [], None
    for _ in range(data.draw(st.integers(1, 40))):
        match data.draw(st.integers(0, 7)):
            case 0 | 1 | 2 if under_way is None:
                ranges = draw_ranges(data, last)
                last = ranges[-1][1]
                world.parse(*ranges[: data.draw(st.integers(0, 1))])  # and the parser crashes
                under_way = world.parse(*ranges)
            case 3 | 4 if under_way is not None:
                world.put(under_way)
                under_way = None
            case 5:
                world.withhold()
            case 6:
                number = data.draw(st.integers(1, last + 5))
                written += [number] * world.insert(number)
            case 7:
                world.now += data.draw(st.floats(0, 12))
                world.flush()
        world.check()
    if under_way is not None:
        world.put(under_way)
    world.continuity.let_go()
    world.flush()
    world.check()
    judge(world, written)


def judge(world, written):
    told = [item for item in world.told() if isinstance(item, int)]
    assert [-item for item in told if item < 0] == written
    for place, item in enumerate(told):
        assert item > 0 or all(before <= -item for before in told[:place] if before > 0)
    updates = [item for item in told if item > 0]
    assert updates == sorted(updates)
    assert world.came == len(told) + world.dropped
    assert world.continuity.size_bytes == 0
