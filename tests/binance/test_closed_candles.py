"""One closed candle an interval: what of them did not come is in the journal, once, and nothing else is."""

import json

import pytest

from ingest_actors.binance.continuity import Continuity
from ingest_actors.binance.journal import Journal
from ingest_actors.binance.parser import EventParser
from ingest_actors.binance.resume import Mark, Place, ResumeState
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.messages import EventBatch, FrameBatch

MINUTE = 60_000
START = 1_790_000_040_000


def frame(open_ms, *, closed=True, symbol="BTCUSDT", interval="1m", offset="", spaced=False):
    stream = f"{symbol.lower()}@kline_{interval}{offset}"
    candle = {
        "t": open_ms, "T": open_ms + MINUTE - 1, "s": symbol, "i": interval, "f": 1, "L": 2, "o": "1.0", "c": "1.0",
        "h": "1.0", "l": "1.0", "v": "1.0", "n": 2, "x": closed, "q": "1.0", "V": "1.0", "Q": "1.0", "B": "0",
    }  # fmt: skip
    event = {"e": "kline", "E": open_ms + MINUTE + 100, "s": symbol, "k": candle}
    separators = (", ", ": ") if spaced else (",", ":")
    return json.dumps({"stream": stream, "data": event}, separators=separators).encode()


class World:
    def __init__(self, *, fast=True):
        self.now_ms = START + 3650 * 86_400_000
        self.told = []
        self.continuity = Continuity(
            hold_s=lambda kind: None,
            late=lambda event: event,
            journal=Journal("gaps").record,
            held_max=10,
            bytes_max=10**9,
            clock=lambda: 0.0,
            clock_ms=lambda: self.now_ms,
        )
        self.continuity.gap_book.on_journal = lambda gap, state: self.told.append((str(state), gap.size, gap.lost))
        self.parser = EventParser(StreamTable(), fast=fast, continuity=self.continuity)

    def parse(self, *frames):
        return self.parser.parse(FrameBatch(list(frames), received_at_ms=self.now_ms, connection="ws-1"))

    def batch(self, *frames):
        parsed = self.parse(*frames)
        assert len(parsed.events) == len(frames)
        self.continuity.commit(parsed.odd)

    def journal(self):
        records = [json.loads(event[0]) for event in self.continuity.next_ready(1000)]
        self.continuity.took(len(records))
        return [
            (gap["stream"], (gap["first_id"] - START) // MINUTE, (gap["last_id"] - START) // MINUTE, gap["state"])
            for gap in records
        ]


STREAM = "btcusdt@kline_1m"


@pytest.mark.parametrize("fast", [True, False])
def test_a_closed_candle_that_did_not_come_is_journalled_as_lost(fast):
    world = World(fast=fast)
    world.batch(frame(START, closed=False), frame(START), frame(START + MINUTE, closed=False))
    world.batch(frame(START + MINUTE), frame(START + 2 * MINUTE))
    assert world.journal() == []
    world.batch(frame(START + 5 * MINUTE, closed=False))
    assert world.journal() == [], "it may still come"
    world.batch(frame(START + 5 * MINUTE))
    (opened,) = [json.loads(event[0]) for event in world.continuity.next_ready(1)]
    assert (opened["event_type"], opened["symbol"], opened["reason"]) == ("kline", "BTCUSDT", "disconnected")
    assert world.journal() == [(STREAM, 3, 4, "open"), (STREAM, 3, 4, "lost")]
    assert world.told == [("open", 2, 2), ("lost", 2, 2)]
    world.batch(frame(START + 6 * MINUTE))
    assert (world.journal(), world.continuity.gaps) == ([], {})


def test_candles_that_come_again_or_late_are_no_gap():
    world = World()
    world.batch(frame(START), frame(START + MINUTE), frame(START + MINUTE), frame(START), frame(START + 2 * MINUTE))
    assert world.journal() == []


def test_a_batch_that_is_parsed_again_meets_the_same_state():
    world = World()
    world.batch(frame(START))
    world.parse(frame(START + 2 * MINUTE))
    world.batch(frame(START + MINUTE), frame(START + 2 * MINUTE))
    assert world.journal() == []


def test_each_interval_and_symbol_has_candles_of_its_own():
    world = World()
    world.batch(frame(START), frame(START, symbol="ETHUSDT"), frame(START, interval="5m"))
    world.batch(frame(START + 2 * MINUTE, symbol="ETHUSDT"), frame(START + 5 * MINUTE, interval="5m"))
    assert world.journal() == [("ethusdt@kline_1m", 1, 1, "open"), ("ethusdt@kline_1m", 1, 1, "lost")]


def test_months_are_as_long_as_they_are():
    january, march, april = 1_704_067_200_000, 1_709_251_200_000, 1_711_929_600_000
    world = World()
    world.batch(frame(january, interval="1M"), frame(march, interval="1M"), frame(april, interval="1M"))
    assert [(state, count) for state, count, _ in world.told] == [("open", 1), ("lost", 1)]
    (gap, _) = [json.loads(event[0]) for event in world.continuity.next_ready(2)]
    assert gap["first_id"] == gap["last_id"] == 1_706_745_600_000


@pytest.mark.parametrize("interval", ["7x", "1"])
def test_an_interval_that_nobody_knows_is_no_gap(interval):
    world = World()
    world.batch(frame(START, interval=interval), frame(START + 9 * MINUTE, interval=interval))
    assert world.journal() == []


def test_a_candle_of_the_far_future_is_not_believed():
    world = World()
    world.batch(frame(START), frame(world.now_ms + 3650 * 86_400_000), frame(START + MINUTE))
    assert world.journal() == []


def test_what_has_blanks_in_it_counts_too():
    world = World()
    world.batch(frame(START))
    world.batch(frame(START + MINUTE, spaced=True))
    world.batch(frame(START + 2 * MINUTE))
    assert world.journal() == []


@pytest.mark.parametrize("offset", ["", "@+08:00"])
def test_candles_that_closed_while_the_service_was_away_are_lost_for_that_reason(offset):
    before, state = World(), ResumeState("me")
    parsed = before.parse(frame(START, offset=offset), frame(START + MINUTE, closed=False, offset=offset))
    state.apply(EventBatch(parsed.events, received_at_ms=0))
    assert dict(state.marks) == {Place(f"kline_1m{offset}", "BTCUSDT"): Mark(START, START + MINUTE + 100)}
    world = World()
    world.continuity.resume(state.marks, StreamTable())
    world.batch(frame(START + 3 * MINUTE, closed=False, offset=offset), frame(START + 3 * MINUTE, offset=offset))
    (opened,) = [json.loads(event[0]) for event in world.continuity.next_ready(1)]
    assert opened["reason"] == "restarted"
    assert world.journal() == [(STREAM + offset, 1, 2, "open"), (STREAM + offset, 1, 2, "lost")]
    world.batch(frame(START + 5 * MINUTE, offset=offset))
    (opened,) = [json.loads(event[0]) for event in world.continuity.next_ready(1)]
    assert opened["reason"] == "disconnected"


def test_a_candle_that_closes_after_a_restart_is_no_gap_when_it_is_the_next():
    world = World()
    world.continuity.resume({Place("kline_1m", "BTCUSDT"): Mark(START, START)}, StreamTable())
    world.batch(frame(START), frame(START + MINUTE))
    assert world.journal() == []
