"""Seconds without samples are counted from the last that came until somebody listens again; of samples alone."""

from ingest_actors.binance.absences import Absence, Absences
from ingest_actors.binance.stream_table import StreamTable

WANTED = ("btcusdt@bookTicker", "btcusdt@kline_1m", "btcusdt@trade", "ethusdt@bookTicker")


class World:
    def __init__(self):
        self.at = 100.0
        self.wanted = WANTED
        self.heard = dict.fromkeys(WANTED, 100.0)
        self.absences = Absences(StreamTable())

    def look(self, *listening, after=1.0):
        self.at += after
        sets = [frozenset(streams) for streams in listening]
        return self.absences.look(self.at, self.wanted, sets, lambda stream: self.heard.get(stream, float("-inf")))


def test_as_long_as_somebody_listens_nothing_is_counted():
    world = World()
    for _ in range(5):
        assert world.look(WANTED) is None
    assert world.look(WANTED[:2], WANTED[1:]) is None
    assert world.absences.seconds == {}


def test_what_was_not_listened_to_yet_is_not_missed():
    world = World()
    world.look()
    world.look(WANTED[:1])
    world.look(WANTED)
    assert world.absences.seconds == {}


def test_it_counts_from_the_last_that_came_by_any_of_the_streams_that_were_lost():
    world = World()
    world.look(WANTED)
    world.at = 160.0
    world.heard["btcusdt@trade"] = 150.0
    assert world.look(after=0) is None
    assert world.absences.seconds == {"book_ticker": 20.0, "kline": 10.0}
    assert world.look(after=5) is None
    assert world.look(WANTED, after=5) == Absence(3, 20.0)
    assert world.absences.seconds == {"book_ticker": 40.0, "kline": 20.0}
    assert world.look(WANTED) is None


def test_streams_come_back_one_by_one():
    world = World()
    world.look(WANTED)
    world.look()
    assert world.look(WANTED[:2], after=8) == Absence(2, 10.0)
    assert world.look(WANTED[:2], WANTED[2:]) == Absence(1, 11.0)
    assert world.absences.seconds == {"book_ticker": 10.0 + 11.0, "kline": 10.0}


def test_what_is_not_wanted_any_more_is_not_missed():
    world = World()
    world.look(WANTED)
    world.wanted = WANTED[:1]
    assert world.look(WANTED[:1]) is None
    world.look()
    world.wanted = ("btcusdt@trade",)
    world.look()
    assert world.look(["btcusdt@trade"], after=100) is None
    assert world.absences.seconds == {"book_ticker": 3.0}


def test_a_stream_that_never_brought_anything_is_missed_from_when_that_is_seen():
    world = World()
    world.heard.clear()
    world.look(WANTED)
    world.look()
    world.look(after=2)
    assert world.absences.seconds == {"book_ticker": 4.0, "kline": 2.0}


def test_samples_that_are_expected_count_from_0_and_what_is_counted_stays():
    world = World()
    world.absences.seconds["book_ticker"] = 7.0
    world.absences.expect(["book_ticker", "kline", "trade", "depth_update", "nobody_knows"])
    assert world.absences.seconds == {"book_ticker": 7.0, "kline": 0.0}
