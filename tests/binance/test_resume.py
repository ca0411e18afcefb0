"""Whenever a process ends, the next one goes on from what is written: nothing is missing, nothing comes twice."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_actors.binance.continuity import Continuity
from ingest_actors.binance.gaps import Gap, Reason, State
from ingest_actors.binance.journal import Journal, late
from ingest_actors.binance.resume import Mark, Place, ResumeState
from ingest_actors.binance.sequence import Hole
from ingest_actors.binance.series import Journalled, Odd
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.errors import JournalTooNew, StateUnreadable
from ingest_actors.messages import EventBatch, Route

TABLE = StreamTable()
TRADE = TABLE.kind("trade")
DEPTH = TABLE.kind("depth_update")
PLACE = Place("trade", "BTCUSDT")


def trade(number):
    return (b'{"t":%d}' % number, b"BTCUSDT", 1_000 + number, TABLE.route(TRADE))


def diff(first, last):
    return (b'{"U":%d,"u":%d}' % (first, last), b"BTCUSDT", 1_000 + last, TABLE.route(DEPTH))


class Topics:
    """What is written, and what a restart makes of it."""

    def __init__(self):
        self.records = []
        self.kept = {}
        self.state = ResumeState("me")

    def write(self, events):
        if not events:
            return
        self.records += [json.loads(value) for value, *_ in events]
        self.state.apply(EventBatch(list(events), received_at_ms=0))
        change = self.state.change()
        self.kept.update(change.records)
        self.state.settle(change)

    def read_again(self):
        self.state = ResumeState("me")
        for key, value in self.kept.items():
            assert self.state.load(key, value)
        return self.state.marks


class Life:
    """One process, from its marks to its end."""

    def __init__(self, topics, *, too_old=False, hold_s=10.0, kind=TRADE, stream="btcusdt@trade"):
        self.topics = topics
        self.now = 0.0
        self.continuity = Continuity(
            hold_s=lambda kind: hold_s if kind.repairable else None,
            late=late,
            journal=Journal("gaps").record,
            held_max=1000,
            bytes_max=10**9,
            clock=lambda: self.now,
            clock_ms=lambda: 5,
        )
        self.continuity.resume(topics.read_again(), TABLE, too_old=too_old)
        self.series = self.continuity.series(kind, stream, "BTCUSDT", TABLE.route(kind))

    def hear(self, *numbers):
        self.offer(*(Odd(self.series, number, number, trade(number)) for number in numbers))

    def offer(self, *items):
        straight = []
        self.continuity.begin()
        odd = []
        for item in items:
            if not self.series.touched:
                self.continuity.touch(self.series)
            if item.first == self.series.staged or self.series.unbegun:
                self.series.staged = item.last + 1
                straight.append(item.event)
            else:
                if self.series.staged is not None:
                    self.series.reached, self.series.staged = self.series.staged, None
                odd.append(item)
        self.topics.write(straight)
        self.continuity.commit(odd)

    def repair(self, number):
        for gap in list(self.continuity.gaps.values()):
            if gap.hole.first <= number <= gap.hole.last:
                self.continuity.fill(gap, number, number, trade(number))

    def repair_all(self):
        while missing := [hole for gap in self.continuity.gaps.values() if (hole := self.continuity.missing(gap))]:
            self.repair(missing[0].first)

    def write(self, count=10**6):
        events = self.continuity.next_ready(count)
        self.topics.write(events)
        self.continuity.took(len(events))

    def give_up(self):
        self.now += 20.0
        self.continuity.expire()


def ids(topics):
    return [record["t"] for record in topics.records if "t" in record]


def journal(topics):
    return [
        (record["first_id"], record["last_id"], record["state"], record["reason"], record["recovered"])
        for record in topics.records
        if "gap" in record
    ]


def test_a_restart_goes_on_behind_the_last_written_event():
    topics = Topics()
    life = Life(topics)
    life.hear(1, 2, 3)
    life = Life(topics)
    life.hear(3, 4)
    life.write()
    assert ids(topics) == [1, 2, 3, 4]
    assert journal(topics) == []


def test_what_was_missed_meanwhile_is_a_gap_that_says_so():
    topics = Topics()
    Life(topics).hear(1, 2, 3)
    life = Life(topics)
    life.hear(6, 7)
    life.repair_all()
    life.write()
    life.hear(8, 10)
    life.repair_all()
    life.write()
    assert ids(topics) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert journal(topics) == [
        (4, 5, "open", "restarted", 0),
        (4, 5, "closed", "restarted", 2),
        (9, 9, "open", "disconnected", 0),
        (9, 9, "closed", "disconnected", 1),
    ]


def test_what_was_missed_too_long_ago_is_lost_and_the_stream_goes_on():
    topics = Topics()
    Life(topics).hear(1, 2, 3)
    life = Life(topics, too_old=True)
    life.hear(100_000_000)
    life.hear(100_000_001)
    life.write()
    assert ids(topics) == [1, 2, 3, 100_000_000, 100_000_001]
    hole = (4, 99_999_999)
    assert journal(topics) == [(*hole, "open", "too_old", 0), (*hole, "lost", "too_old", 0)]
    assert life.continuity.gaps == {}


def test_a_gap_that_was_held_back_is_repaired_in_order_by_the_next_process():
    topics = Topics()
    life = Life(topics)
    life.hear(1, 2, 5)
    life.repair(3)
    life.write()
    assert topics.read_again()[PLACE].last == 3
    life = Life(topics)
    assert [gap.name for gap in life.continuity.gaps.values()] == ["btcusdt@trade:3-4"]
    life.hear(9)
    life.repair_all()
    life.write()
    assert ids(topics) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert journal(topics) == [
        (3, 4, "open", "disconnected", 0),
        (5, 8, "open", "restarted", 0),
        (3, 4, "closed", "disconnected", 2),
        (5, 8, "closed", "restarted", 4),
    ]
    assert not any("late" in record for record in topics.records)


def test_a_gap_that_was_given_up_is_repaired_late_by_the_next_process():
    topics = Topics()
    life = Life(topics)
    life.hear(1, 2, 5)
    life.give_up()
    life.repair(3)
    life.write()
    life = Life(topics)
    life.hear(6)
    life.repair_all()
    life.write()
    assert ids(topics) == [1, 2, 5, 3, 6, 4]
    assert [record["t"] for record in topics.records if record.get("late")] == [3, 4]
    assert journal(topics) == [(3, 4, "open", "disconnected", 0), (3, 4, "closed", "disconnected", 2)]


def test_a_gap_whose_last_event_was_written_is_closed_by_the_next_process():
    topics = Topics()
    life = Life(topics)
    life.hear(1, 3)
    life.give_up()
    life.repair(2)
    life.write(count=3)
    assert (ids(topics), journal(topics)) == ([1, 3, 2], [(2, 2, "open", "disconnected", 0)])
    life = Life(topics)
    life.write()
    assert journal(topics)[1:] == [(2, 2, "closed", "disconnected", 1)]
    assert topics.read_again()[PLACE] == Mark(last=3, at=1003)


def test_a_hole_in_a_book_across_a_restart_is_lost():
    topics = Topics()
    depth = {"kind": DEPTH, "stream": "btcusdt@depth"}
    life = Life(topics, **depth)
    life.offer(Odd(life.series, 1, 5, diff(1, 5)))
    life = Life(topics, **depth)
    life.offer(Odd(life.series, 9, 12, diff(9, 12)))
    life.continuity.expire()
    life.write()
    assert journal(topics) == [(6, 8, "open", "restarted", 0), (6, 8, "lost", "restarted", 0)]
    life = Life(topics, **depth)
    life.offer(Odd(life.series, 11, 14, diff(11, 14)))
    life.write()
    assert len(journal(topics)) == 2
    assert [record["u"] for record in topics.records if "u" in record] == [5, 12, 14]


def test_a_hole_in_a_book_that_was_journalled_open_is_lost_by_the_next_process():
    topics = Topics()
    depth = {"kind": DEPTH, "stream": "btcusdt@depth"}
    life = Life(topics, **depth)
    life.offer(Odd(life.series, 1, 5, diff(1, 5)), Odd(life.series, 8, 9, diff(8, 9)))
    life.write()
    assert journal(topics) == [(6, 7, "open", "disconnected", 0)]
    life = Life(topics, **depth)
    life.write()
    life.offer(Odd(life.series, 8, 12, diff(8, 12)))
    life.write()
    assert journal(topics)[1:] == [(6, 7, "lost", "disconnected", 0)]


def test_a_sequence_that_began_again_is_not_taken_for_a_gap():
    topics = Topics()
    life = Life(topics)
    life.hear(500, 501)
    gap = Gap("btcusdt@trade", "BTCUSDT", "trade", Hole(7, 501), Reason.EXCHANGE_RESET, 5)
    topics.write([Journal("gaps").record(Journalled(gap, State.OPEN, 5, gap.record(State.OPEN)))])
    assert topics.read_again()[PLACE].last == 6
    life = Life(topics)
    life.write()
    life.hear(7, 8)
    life.write()
    assert ids(topics) == [500, 501, 7, 8]
    assert journal(topics)[1:] == [(7, 501, "lost", "exchange_reset", 0)]
    assert topics.read_again()[PLACE] == Mark(8, 1_008)


def test_what_had_waited_between_two_gaps_is_missing_too():
    topics = Topics()
    life = Life(topics)
    life.hear(1, 3)
    life.hear(5)
    life.write(count=2)
    life = Life(topics)
    life.repair_all()
    life.write()
    life.hear(5)
    life.write()
    assert ids(topics) == [1, 2, 3, 4, 5]
    assert [entry[:4] for entry in journal(topics)[2:]] == [
        (3, 3, "open", "restarted"),
        (2, 2, "closed", "disconnected"),
        (4, 4, "closed", "disconnected"),
        (3, 3, "closed", "restarted"),
    ]


def told(change):
    sheets = [json.loads(value) for key, value in change.records if b"/changes/" in key]
    return {name: mark["last"] for sheet in sheets for name, mark in sheet["marks"].items()}


def test_only_what_changed_is_written():
    topics = Topics()
    state = topics.state
    state.apply(EventBatch([trade(1), diff(1, 4)], received_at_ms=0))
    change = state.change()
    assert told(change) == {"depth_update/BTCUSDT": 4, "trade/BTCUSDT": 1}
    state.apply(EventBatch([trade(2)], received_at_ms=0))
    state.settle(change)
    assert told(state.change()) == {"trade/BTCUSDT": 2}
    state.roll_back()
    assert state.marks[PLACE].last == 1
    assert state.change().records == []


def test_where_series_begin_is_told_once_before_they_do():
    state = ResumeState("me")
    letter = (b"?", b"BTCUSDT", 0, Route("trade", ("dead",), dead_letter=True))
    sample = (b"{}", b"BTCUSDT", 0, TABLE.route(TABLE.kind("ticker")))
    batch = EventBatch([letter, sample, trade(7), trade(8), diff(3, 9)], received_at_ms=0)
    begun = dict(state.begin(batch))
    assert {key: json.loads(value)["last"] for key, value in begun.items()} == {
        b"me/series/trade/BTCUSDT": 6,
        b"me/series/depth_update/BTCUSDT": 2,
    }
    assert state.begin(batch) == []
    assert state.begin(EventBatch([trade(9)], received_at_ms=0)) == []
    state.apply(batch)
    assert state.marks[PLACE].last == 8


def test_a_process_that_dies_before_its_first_state_leaves_a_beginning():
    topics = Topics()
    topics.kept.update(topics.state.begin(EventBatch([trade(7)], received_at_ms=0)))
    life = Life(topics)
    life.hear(12)
    assert [gap.name for gap in life.continuity.gaps.values()] == ["btcusdt@trade:7-11"]
    life.repair_all()
    life.write()
    assert ids(topics) == [7, 8, 9, 10, 11, 12]


def test_a_series_that_is_known_has_begun_already():
    state = ResumeState("me")
    state.load(b"me/series/trade/BTCUSDT", b'{"v":1,"last":4,"at":5}')
    assert state.begin(EventBatch([trade(9)], received_at_ms=0)) == []
    assert state.marks[PLACE].last == 4


def test_what_was_not_committed_is_forgotten():
    state = ResumeState("me")
    state.apply(EventBatch([trade(1)], received_at_ms=0, spooled=3))
    assert (state.marks[PLACE].last, state.spooled) == (1, 3)
    state.roll_back()
    assert (dict(state.marks), state.spooled, state.change().records) == ({}, None, [])


def test_what_was_taken_back_before_anybody_looked_is_forgotten_too():
    state = ResumeState("me")
    state.apply(EventBatch([trade(1)], received_at_ms=0))
    state.settle(state.change())
    state.apply(EventBatch([trade(2)], received_at_ms=0))
    state.roll_back()
    assert (state.marks[PLACE].last, state.change().records) == (1, [])


def test_a_copy_goes_its_own_way():
    state = ResumeState("me")
    state.apply(EventBatch([trade(1)], received_at_ms=0, spooled=1))
    state.settle(state.change())
    other = state.copy()
    other.apply(EventBatch([trade(2)], received_at_ms=0, spooled=2))
    assert (state.marks[PLACE].last, state.spooled, state.change().records) == (1, 1, [])
    assert (other.marks[PLACE].last, other.spooled, len(other.change().records)) == (2, 2, 2)


def test_everything_has_what_was_written_a_moment_ago():
    state = ResumeState("me")
    state.apply(EventBatch([trade(1)], received_at_ms=0, spooled=1))
    state.apply(EventBatch([trade(2)], received_at_ms=0, spooled=2))
    kept = ResumeState("me")
    for key, value in state.everything():
        kept.load(key, value)
    assert (kept.marks[PLACE].last, kept.spooled) == (2, 2)


def test_the_spool_s_place_survives():
    topics = Topics()
    topics.state.apply(EventBatch([trade(1)], received_at_ms=0, spooled=41))
    topics.kept.update(topics.state.change().records)
    topics.read_again()
    assert topics.state.spooled == 41


def test_others_records_are_left_alone():
    state = ResumeState("me")
    assert not state.load(b"other/series/trade/BTCUSDT", b"?")
    assert not state.load(b"me/owner", b"?")
    assert not state.load(b"\xff", None)
    assert dict(state.marks) == {}


def test_a_deleted_record_is_no_mark():
    state = ResumeState("me")
    state.load(b"me/series/trade/BTCUSDT", b'{"v":1,"last":4,"at":5}')
    assert state.marks[PLACE] == Mark(4, 5)
    state.load(b"me/series/trade/BTCUSDT", None)
    assert dict(state.marks) == {}


def test_a_newer_form_is_refused_by_name():
    with pytest.raises(JournalTooNew, match=r"me/series/trade/BTCUSDT.*version 3"):
        ResumeState("me").load(b"me/series/trade/BTCUSDT", b'{"v":3}')
    with pytest.raises(JournalTooNew, match=r"me/spool.*version 2"):
        ResumeState("me").load(b"me/spool", b'{"v":2,"drained":1}')


@pytest.mark.parametrize("value", [b"", b"{}", b'{"v":1}', b'{"v":1,"last":"4","at":1}', b"\xff"])
def test_what_cannot_be_read_is_told(value):
    with pytest.raises(StateUnreadable, match="me/series/trade/BTCUSDT"):
        ResumeState("me").load(b"me/series/trade/BTCUSDT", value)


@settings(deadline=None)
@given(st.data())
def test_wherever_processes_end_every_trade_is_there_once(data):
    topics = Topics()
    published = 0
    for _ in range(data.draw(st.integers(1, 5), label="lives")):
        published += data.draw(st.integers(0, 6), label="missed between")
        life = Life(topics)
        for _ in range(data.draw(st.integers(0, 8), label="steps")):
            match data.draw(st.integers(0, 4)):
                case 0 | 1:
                    published += data.draw(st.integers(0, 4), label="missed")
                    count = data.draw(st.integers(1, 4), label="heard")
                    life.hear(*range(published + 1, published + count + 1))
                    published += count
                case 2:
                    life.give_up()
                case 3 if life.continuity.gaps:
                    gap = data.draw(st.sampled_from(list(life.continuity.gaps.values())))
                    life.repair(data.draw(st.integers(gap.hole.first, gap.hole.last)))
                case _:
                    life.write(data.draw(st.integers(1, 6), label="written"))
    life = Life(topics)
    life.hear(published + 1)
    life.repair_all()
    life.write()
    began = ids(topics)[0]
    assert sorted(ids(topics)) == list(range(began, published + 2))
    in_order = [record["t"] for record in topics.records if "t" in record and not record.get("late")]
    assert in_order == sorted(in_order)
    opened = [record["gap"] for record in topics.records if record.get("state") == "open"]
    closed = [record["gap"] for record in topics.records if record.get("state") == "closed"]
    assert len(set(opened)) == len(opened)
    assert sorted(closed) == sorted(opened)
    assert topics.read_again()[PLACE] == Mark(published + 1, 1_000 + published + 1)
