"""Two connections with the same streams, through the real parser: what is written is as if there were one that never
failed."""

import json
import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_actors.binance.continuity import Continuity
from ingest_actors.binance.journal import Journal, late
from ingest_actors.binance.leads import SILENT_S, Leads
from ingest_actors.binance.parser import EventParser
from ingest_actors.binance.resume import Mark, Place
from ingest_actors.binance.series import Odd
from ingest_actors.binance.sharing import Sharing
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.messages import FrameBatch

STREAMS = ("btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@ticker", "btcusdt@kline_1s", "btcusdt@bookTicker")
START_MS = 1_790_000_000_000


class World:
    """The parser and what stands behind it; what leaves is in `written`, in order."""

    def __init__(self, *, fast=True, wait_s=0.1, streams=STREAMS, leader=""):
        self.now = 0.0
        self.open = {"a", "b"}
        self.received = 0
        self.dropped = Counter()
        self.written = []
        table = StreamTable()
        self.continuity = Continuity(
            hold_s=lambda kind: 10.0 if kind.repairable else None,
            late=late,
            journal=Journal("gaps").record,
            held_max=10_000,
            bytes_max=10**9,
            clock=lambda: self.now,
            clock_ms=lambda: START_MS + int(self.now * 1000),
        )
        self.continuity.doubts.on_drop = self.dropped.update
        self.leads = Leads(table, self.open.__contains__)
        self.continuity.on_commit = self.leads.commit
        self.parser = EventParser(table, fast=fast, continuity=self.continuity, leads=self.leads)
        self.sharing = Sharing(self.continuity, self.leads)
        self.share(streams, wait_s, leader)

    def share(self, streams=STREAMS, wait_s=0.1, leader="", *, for_good=False):
        self.sharing.share(dict.fromkeys(streams, leader), wait_s, for_good=for_good)

    def bring(self, connection, *frames, crashes=False):
        """A batch comes; if the parser crashes, it comes again."""
        batch = FrameBatch(
            [frame if frame.startswith(b"{") else b"" for frame in frames],
            received_at_ms=START_MS + int(self.now * 1000),
            connection=connection,
        )
        self.parser.mark = self.now
        if crashes:
            self.parser.parse(batch)
        parsed = self.parser.parse(batch)
        self.written += parsed.events
        self.received += len(frames)
        self.dropped.update(parsed.dropped)
        self.continuity.commit(parsed.odd)

    def flush(self):
        self.continuity.expire()
        while events := self.continuity.next_ready(7):
            self.written += events
            self.continuity.took(len(events))

    def sleep(self, seconds):
        self.now += seconds
        self.flush()

    def check(self):
        counted = sum(route.counted for *_, route in self.written)
        waiting = sum(1 for _ in self.continuity.routes())
        assert self.received == counted + self.dropped.total() + waiting

    def events(self, event_type):
        return [json.loads(value) for value, _, _, route in self.written if route.event_type == event_type]


def frame(stream, **fields):
    return json.dumps({"stream": stream, "data": fields}, separators=(",", ":")).encode()


def trade(number, at=0):
    return frame("btcusdt@trade", e="trade", E=START_MS + at, s="BTCUSDT", t=number, p="1", q="1", T=START_MS + at)


def depth(first, last, at=0):
    return frame("btcusdt@depth@100ms", e="depthUpdate", E=START_MS + at, s="BTCUSDT", U=first, u=last, b=[], a=[])


def ticker(at):
    return frame("btcusdt@ticker", e="24hrTicker", E=START_MS + at, s="BTCUSDT", p="1")


def book_ticker(number):
    return frame("btcusdt@bookTicker", u=number, s="BTCUSDT", b="1", B="1", a="2", A="1")


def kline(at, *, opened, trades, closed=False):
    candle = {"t": START_MS + opened, "s": "BTCUSDT", "i": "1s", "L": trades, "n": trades, "x": closed}
    return frame("btcusdt@kline_1s", e="kline", E=START_MS + at, s="BTCUSDT", k=candle)


@pytest.fixture(params=[True, False], ids=["fast", "slow"])
def world(request):
    return World(fast=request.param)


# Samples


def test_one_connection_leads_and_the_others_samples_are_dropped(world):
    for at in (1000, 2000, 3000):
        world.bring("a", ticker(at))
        world.bring("b", ticker(at + 400))
    assert [event["E"] - START_MS for event in world.events("ticker")] == [1000, 2000, 3000]
    assert world.dropped.total() == 3
    world.check()


def test_when_the_leader_has_ended_another_goes_on_with_what_is_newer(world):
    world.bring("a", book_ticker(5), book_ticker(6))
    world.open.discard("a")
    world.bring("b", book_ticker(5), book_ticker(6), book_ticker(8))
    world.bring("a", book_ticker(7), book_ticker(8), book_ticker(9))
    assert [event["u"] for event in world.events("book_ticker")] == [5, 6, 8]
    world.check()


def test_a_leader_that_falls_silent_leads_no_more(world):
    world.bring("a", ticker(1000))
    world.sleep(SILENT_S)
    world.bring("b", ticker(1500))
    world.sleep(0.1)
    world.bring("b", ticker(1600))
    world.bring("a", ticker(1700), ticker(1550))
    assert [event["E"] - START_MS for event in world.events("ticker")] == [1000, 1600]


def test_a_closed_candle_is_taken_from_whoever_brings_it_first(world):
    world.bring("a", kline(900, opened=0, trades=5))
    world.bring("b", kline(950, opened=0, trades=6), kline(1010, opened=0, trades=7, closed=True))
    world.bring("a", kline(960, opened=0, trades=6), kline(1005, opened=0, trades=7, closed=True))
    world.bring("a", kline(1100, opened=1000, trades=8))
    told = [(event["k"]["t"] - START_MS, event["k"]["n"], event["k"]["x"]) for event in world.events("kline")]
    assert told == [(0, 5, False), (0, 7, True), (1000, 8, False)]


def test_a_parser_that_crashes_decides_the_same_again(world):
    world.bring("a", ticker(1000), crashes=True)
    world.open.discard("a")
    world.bring("b", ticker(2000), ticker(3000), crashes=True)
    world.bring("a", ticker(4000), crashes=True)
    assert [event["E"] - START_MS for event in world.events("ticker")] == [1000, 2000, 3000]
    world.check()


def test_whoever_brought_a_stream_alone_leads_when_another_comes_and_hands_over(world):
    world.share(())
    world.bring("a", ticker(1000), book_ticker(1))
    world.share(leader="a")
    world.bring("b", ticker(1100), book_ticker(1))
    world.bring("a", ticker(2000), book_ticker(2))
    world.sharing.hand_over("a", "b")
    world.bring("b", ticker(2100), book_ticker(2), book_ticker(3))
    world.bring("a", ticker(3000), book_ticker(3), book_ticker(4))
    assert [event["E"] - START_MS for event in world.events("ticker")] == [1000, 2000, 2100]
    assert [event["u"] for event in world.events("book_ticker")] == [1, 2, 3]
    world.share(())
    world.bring("b", ticker(4000), book_ticker(9))
    assert len(world.events("ticker")) == 4
    world.check()


def test_a_stream_that_nobody_wants_any_more_is_not_doubled_until_both_connections_have_left_it(world):
    world.bring("a", ticker(1000))
    world.share((), for_good=True)
    world.bring("b", ticker(1000))
    world.bring("a", ticker(2000))
    world.share(for_good=True)
    world.bring("b", ticker(2000))
    assert [event["E"] - START_MS for event in world.events("ticker")] == [1000, 2000]
    world.check()


def test_arrays_have_one_leader_and_an_order_for_each_symbol(world):
    stream = "!ticker_1h@arr"
    world.share((stream,))

    def tickers(**times):
        elements = [{"e": "1hTicker", "E": START_MS + at, "s": symbol} for symbol, at in times.items()]
        return json.dumps({"stream": stream, "data": elements}, separators=(",", ":")).encode()

    world.bring("a", tickers(BTCUSDT=1000, ETHUSDT=1000))
    world.bring("b", tickers(BTCUSDT=1500, ETHUSDT=1500))
    world.open.discard("a")
    world.bring("b", tickers(BTCUSDT=1000, ETHUSDT=2000))
    assert [(event["s"], event["E"] - START_MS) for event in world.events("rolling_ticker")] == [
        ("BTCUSDT", 1000), ("ETHUSDT", 1000), ("ETHUSDT", 2000),
    ]  # fmt: skip


def test_block_trades_are_taken_once_from_whoever_brings_them(world):
    stream = "btcusdt@blockTrade"
    world.share((stream,))

    def block(number):
        return frame(stream, e="blockTrade", E=START_MS, s="BTCUSDT", t=number, p="1", q="1", T=START_MS)

    world.bring("a", block(7), crashes=True)
    world.bring("b", block(7), block(9))
    world.bring("a", block(8), block(9))
    assert [event["t"] for event in world.events("block_trade")] == [7, 9, 8]
    assert world.dropped.total() == 2


# Ids


def test_a_hole_waits_for_the_other_connection_before_anybody_hears_of_it(world):
    world.bring("a", trade(1), trade(2))
    world.bring("b", trade(5), trade(6))
    world.sleep(0.09)
    assert world.continuity.gaps == {}
    world.bring("a", trade(3), trade(4), trade(5))
    world.sleep(1)
    assert [event["t"] for event in world.events("trade")] == [1, 2, 3, 4, 5, 6]
    assert world.events("gap") == []
    world.check()


def test_a_hole_that_neither_fills_in_time_is_a_gap_and_the_other_connection_may_close_it_still(world):
    world.bring("a", trade(1))
    world.bring("b", trade(5))
    world.sleep(0.1)
    assert list(world.continuity.gaps) == ["btcusdt@trade:2-4"]
    world.bring("a", trade(2), trade(3), trade(4))
    world.flush()
    assert [event["t"] for event in world.events("trade")] == [1, 2, 3, 4, 5]
    assert [(gap["state"], gap["resolved_by"]) for gap in world.events("gap")] == [
        ("open", None), ("closed", "other_connection"),
    ]  # fmt: skip
    world.check()


def test_whoever_waits_is_told_when_a_hole_becomes_a_gap(world):
    world.bring("a", trade(1))
    world.sleep(3)
    world.bring("b", trade(5))
    assert world.continuity.next_expiry() == 3.1


def test_books_that_are_cut_differently_are_taken_from_one_connection_without_overlap(world):
    world.bring("a", depth(1, 10))
    for first in range(11, 101, 10):
        world.bring("b", depth(first - 5, first + 4))
        world.bring("a", depth(first, first + 9))
        world.sleep(0.01)
    assert [(event["U"], event["u"]) for event in world.events("depth_update")] == [
        (n, n + 9) for n in range(1, 101, 10)
    ]
    world.check()


def test_a_book_goes_on_with_the_other_connection_without_a_hole_when_one_has_ended(world):
    world.bring("a", depth(1, 10), depth(11, 20))
    world.bring("b", depth(6, 15), depth(16, 25))
    world.sleep(0.05)
    world.bring("b", depth(26, 35))
    assert [event["u"] for event in world.events("depth_update")] == [10, 20]
    world.sleep(0.05)
    world.bring("b", depth(36, 45))
    world.flush()
    assert [event["u"] for event in world.events("depth_update")] == [10, 20, 25, 35, 45]
    assert world.events("gap") == []
    world.check()


def test_what_waits_for_another_connection_goes_on_when_there_is_none_any_more(world):
    world.bring("a", depth(1, 10))
    world.bring("b", depth(6, 15))
    world.bring("b", trade(1), trade(3))
    world.share(())
    world.flush()
    assert [event["u"] for event in world.events("depth_update")] == [10, 15]
    assert list(world.continuity.gaps) == ["btcusdt@trade:2-2"]
    world.check()


def test_a_stop_leaves_nothing_waiting(world):
    world.bring("a", depth(1, 10), trade(1))
    world.bring("b", depth(6, 15), trade(3), depth(16, 25))
    world.continuity.let_go()
    world.flush()
    assert [event["u"] for event in world.events("depth_update")] == [10, 15, 25]
    assert [event["t"] for event in world.events("trade")] == [1, 3]
    assert world.continuity.size_bytes == 0
    world.check()


def test_the_other_connections_copy_is_no_new_beginning_however_late_its_own_time_is(world):
    world.bring("a", trade(1, at=100))
    for _ in range(6):
        world.bring("b", trade(1, at=105))
    world.sleep(20)
    assert world.continuity.doubts.open == {}
    assert world.dropped.total() == 6
    world.check()


# All of it, at random


class Way:
    """What one connection brings: cut in its own way, delayed in its own way, with times in which it is down."""

    def __init__(self, rng, name, down):
        self.name = name
        self.frames = []
        at_s = 0.0
        phase = rng.randrange(10)
        lag_s = rng.choice([0.0, 0.02])
        book = 0
        for tick in range(400):  # of 10 ms
            now_s = tick / 100
            at_s = max(at_s, now_s + lag_s + rng.random() * 0.03)
            sent = [trade(tick + 1, tick * 10 + rng.randrange(3)), book_ticker(10 * tick + rng.randrange(3))]
            if tick % 10 == phase and tick:
                sent.append(depth(book + 1, tick * 7, tick * 10))
                book = tick * 7
            if tick % 100 == 0 and tick:
                sent.append(kline(tick * 10, opened=tick * 10 - 1000, trades=tick, closed=True))
            if tick % 10 == phase % 5:
                sent.append(ticker(tick * 10 + phase))
                opened = tick // 100 * 1000
                sent.append(kline(tick * 10 + phase, opened=opened, trades=tick, closed=False))
            if not any(start <= now_s < end for start, end in down):
                self.frames.append((at_s, name, sent))


@given(st.integers(0, 10**9), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_loss_of_either_is_not_seen_in_the_record(seed, fast):
    rng = random.Random(seed)
    world = World(fast=fast)
    down = {"a": [], "b": []}
    at_s = 0.5
    while at_s < 3.2:
        down[rng.choice("ab")].append((at_s, at_s + rng.random() * 0.3))
        at_s += 0.7
    ways = [frame for name in "ab" for frame in Way(rng, name, down[name]).frames]
    for at, name, sent in sorted(ways, key=lambda frame: frame[0]):
        while world.now < at:
            world.sleep(min(0.01, at - world.now))
        world.open.clear()
        world.open.update(other for other in "ab" if not any(s <= at < e for s, e in down[other]))
        world.open.add(name)
        world.bring(name, *sent, crashes=rng.random() < 0.1)
        world.check()
    world.sleep(1)
    world.check()
    assert world.events("gap") == []
    assert [event["t"] for event in world.events("trade")] == list(range(1, 401))
    books = [(event["U"], event["u"]) for event in world.events("depth_update")]
    assert all(first <= before + 1 <= last for (_, before), (first, last) in pairwise(books))
    assert books[-1][1] - books[0][1] > 2000
    for event_type, key in (
        ("ticker", lambda e: e["E"]),
        ("book_ticker", lambda e: e["u"]),
        ("kline", lambda e: (e["k"]["t"], e["k"]["x"], e["k"]["L"])),
    ):
        keys = [key(event) for event in world.events(event_type)]
        assert all(before < after for before, after in pairwise(keys)), event_type
    assert 20 <= len(world.events("ticker")) <= 40
    closed = [event["k"]["t"] - START_MS for event in world.events("kline") if event["k"]["x"]]
    assert closed == [0, 1000, 2000]


@pytest.mark.parametrize(
    ("event_type", "stream"), [("trade", "btcusdt@trade"), ("depth_update", "btcusdt@depth@100ms")]
)
def test_what_was_missed_too_long_ago_is_lost_before_the_other_connection_is_waited_for(event_type, stream):
    world = World()
    table = StreamTable()
    world.continuity.resume({Place(event_type, "BTCUSDT"): Mark(10, START_MS)}, table, too_old=True)
    series = world.continuity.series(table.kind(event_type), stream, "BTCUSDT", table.routes[event_type])
    world.continuity.begin()
    world.continuity.commit([Odd(series, 15, 15, (b"15", b"BTCUSDT", START_MS + 1, series.route))])
    assert series.sequence.held
    world.continuity.let_go()
    gaps = [json.loads(value) for value, *_ in world.continuity.next_ready(10) if value != b"15"]
    assert [(gap["first_id"], gap["last_id"], gap["state"]) for gap in gaps] == [(11, 14, "open"), (11, 14, "lost")]
    assert world.continuity.gaps == {}
