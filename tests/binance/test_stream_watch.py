"""The watch over streams, without input or output: what is an alarm, what is none, and what is done."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_actors.binance.findings import Carried
from ingest_actors.binance.stream_table import KINDS, StreamTable
from ingest_actors.binance.stream_watch import (
    ASK_FAILURES_MAX,
    ASK_INTERVAL_S,
    REOPEN_INTERVAL_S,
    SINGLE_ACTIONS_MAX,
    SUSPENDED_S,
    StreamWatch,
)
from ingest_actors.binance.watched_stream import (
    ALARM_INTERVAL_MAX_S,
    FORGIVEN_AFTER_S,
    MISSING_INTERVAL_S,
    Activity,
)

TRADE, DEPTH, KLINE, TICKER = "btcusdt@trade", "btcusdt@depth", "btcusdt@kline_1m", "btcusdt@ticker"
BOOK = "btcusdt@bookTicker"
OTHER = "ethusdt@trade"


class World:
    """Connections, a market and a clock for one watch; a second passes with each look."""

    def __init__(self, *streams, **options):
        self.watch = StreamWatch(StreamTable(), **options)
        self.streams = {"ws-1": list(streams)}
        self.life = {"ws-1": 1}
        self.open = {"ws-1"}
        self.blocked = set()
        self.missing = set()
        self.held = False
        self.now = 1000.0
        self.mark = -math.inf
        self.marks = {}
        self.flows = set()  # streams that bring something every second
        self.answer = None
        self.asked = []
        self.silent = []
        self.flowing = []
        self.lost = []
        self.reopened = []

    def look(self, elapsed_s=1.0):
        self.now += elapsed_s
        self.marks |= dict.fromkeys(self.flows, self.mark)
        watch = self.watch
        watch.begin_look(self.now, held=self.held)
        self.mark = self.now
        for name, streams in self.streams.items():
            acknowledged = frozenset(streams if name in self.open else ())
            seen = Carried(name, self.life[name], acknowledged, frozenset(self.missing), name not in self.blocked)
            findings = watch.look(seen, lambda stream: self.marks.get(stream, -math.inf))
            self.silent += [(self.now, verdict) for verdict in findings.silent]
            self.flowing += findings.flowing
            self.lost += findings.missing
            self.reopened += [name] * findings.reopen
            for verdict in findings.silent:
                self.life[name] += verdict.action == "reopened"
        watch.end_look()
        watch.keep({stream for streams in self.streams.values() for stream in streams})
        question = watch.question(self.now)
        if question is not None:
            self.asked.append((self.now, question))
            if self.answer is not LATER:
                watch.answer(self.now, self.answer(self.now) if callable(self.answer) else self.answer)

    def run(self, seconds, *flows):
        self.flows = set(flows)
        for _ in range(seconds):
            self.look()

    def alarms(self):
        return [(verdict.stream, verdict.basis, verdict.action) for _, verdict in self.silent]


def test_a_stream_beside_one_that_implies_it_is_silent_after_its_limit():
    world = World(TRADE, DEPTH)
    world.run(10, TRADE, DEPTH)
    world.run(59, TRADE)
    assert world.silent == []
    world.run(1, TRADE)
    ((at, verdict),) = world.silent
    assert verdict.stream == DEPTH
    assert (verdict.basis, verdict.action, verdict.attempt) == (TRADE, "subscribed_again", 1)
    assert (verdict.silent_s, verdict.limit_s) == (at - 1010, 60)
    assert (world.watch.flowing, world.watch.silent) == (1, 1)


@pytest.mark.parametrize(
    ("flows", "silent", "alarm"),
    [
        ("btcusdt@trade", "btcusdt@aggTrade", True),
        ("btcusdt@aggTrade", "btcusdt@kline_1d@+08:00", True),
        ("btcusdt@trade", "btcusdt@ticker_4h", True),
        ("btcusdt@trade", "btcusdt@depth5@100ms", True),
        ("btcusdt@bookTicker", "btcusdt@depth@100ms", True),
        ("btcusdt@miniTicker", "btcusdt@ticker", True),
        ("btcusdt@trade", "!miniTicker@arr", True),
        ("btcusdt@depth", "btcusdt@trade", False),
        ("btcusdt@depth", "btcusdt@bookTicker", False),
        ("btcusdt@bookTicker", "btcusdt@trade", False),
        ("btcusdt@kline_1m", "btcusdt@trade", False),
        ("btcusdt@ticker", "btcusdt@miniTicker", False),
        ("btcusdt@trade", "btcusdt@blockTrade", False),
        ("btcusdt@trade", "btcusdt@referencePrice", False),
        ("ethusdt@trade", "btcusdt@trade", False),
    ],
)
def test_only_streams_that_imply_another_speak_against_it(flows, silent, alarm):
    world = World(flows, silent)
    world.answer = {"BTCUSDT": Activity(7, ("1", "2", "3", "4"))}
    world.run(900, flows)
    assert {stream for stream, _, _ in world.alarms()} == ({silent} if alarm else set())


def test_a_cousin_that_comes_a_little_later_is_no_evidence():
    world = World(TRADE, KLINE)
    world.answer = {"BTCUSDT": Activity(7)}
    for _ in range(50):  # a trade every 40 s, its kline 3 s after it
        world.run(1, TRADE)
        world.run(2)
        world.run(1, KLINE)
        world.run(36)
    world.run(1, TRADE)
    world.run(2)
    world.run(1, KLINE)
    world.run(1000)
    assert world.silent == []


def test_a_dead_pair_is_asked_about_once_a_limit_and_is_no_alarm_for_a_day():
    world = World(TRADE, DEPTH)
    world.answer = {"BTCUSDT": Activity(7, ("1", "2", "3", "4"))}
    world.run(86_400)
    assert world.silent == []
    assert (world.watch.flowing, world.watch.silent) == (0, 0)
    times = [at for at, _ in world.asked]
    assert len(times) <= 86_400 / ASK_INTERVAL_S
    assert {question for _, question in world.asked} == {(("BTCUSDT",), True)}


def test_a_pair_that_trades_by_the_statistics_and_brings_nothing_is_silent():
    world = World(TRADE)
    world.answer = lambda now: {"BTCUSDT": Activity(int(now))}
    world.run(1)
    world.run(420)
    ((at, verdict),) = world.silent
    assert (verdict.basis, verdict.attempt) == ("ticker/24hr", 1)
    assert 300 <= at - 1000 <= 300 + ASK_INTERVAL_S + 32
    assert world.asked[0][1] == (("BTCUSDT",), False)


def test_the_first_answer_and_one_without_change_prove_nothing_and_ids_that_go_back_neither():
    world = World(TRADE)
    answers = iter([100, 100, -1, -1, 3])
    world.answer = lambda _: {"BTCUSDT": Activity(next(answers))}
    while len(world.asked) < 4:
        world.run(1)
    world.run(60)
    assert world.silent == []
    world.run(300)
    assert world.alarms() == [(TRADE, "ticker/24hr", "subscribed_again")]


def test_the_top_of_the_book_speaks_against_streams_of_the_book_alone():
    world = World(DEPTH, TRADE)
    world.answer = lambda now: {"BTCUSDT": Activity(7, (str(now), "1", "2", "3"))}
    world.run(700)
    assert {stream for stream, _, _ in world.alarms()} == {DEPTH}


def test_what_flowed_between_two_answers_is_not_compared_across():
    world = World(TRADE)
    world.answer = lambda now: {"BTCUSDT": Activity(int(now) // 200)}
    for _ in range(20):  # quiet for 200 s, then a trade: each is in the statistics, none is missing
        world.run(200)
        world.run(1, TRADE)
    assert world.silent == []


def test_a_symbol_that_the_exchange_does_not_know_is_told_and_one_that_it_merely_leaves_out_is_not():
    world = World("nonsense@depth", "btcusdt@depth")
    world.watch.listed = frozenset({"BTCUSDT"})
    world.answer = {}
    world.run(100)
    assert world.alarms() == [("nonsense@depth", "exchangeInfo", "subscribed_again")]


def test_without_answers_the_limit_alone_decides_after_some_failures():
    world = World(DEPTH)
    world.run(1, DEPTH)
    world.run(30 + int(ASK_INTERVAL_S) * (ASK_FAILURES_MAX - 1))
    assert world.silent == []
    world.run(int(ASK_INTERVAL_S))
    assert world.alarms() == [(DEPTH, "limit", "subscribed_again")]


def test_one_question_without_an_answer_is_no_alarm():
    world = World(DEPTH)
    answers = iter([None, None, {"BTCUSDT": Activity(7)}])
    world.answer = lambda _: next(answers, {"BTCUSDT": Activity(7)})
    world.run(3600)
    assert world.silent == []


def test_where_nobody_can_be_asked_a_stream_is_measured_by_its_own_gaps():
    world = World(DEPTH, askable=False)
    for _ in range(12):
        world.run(1, DEPTH)
        world.run(49)
    world.run(400)
    assert world.silent == []
    world.run(100)
    assert world.alarms() == [(DEPTH, "limit", "subscribed_again")]
    assert world.asked == []


def test_a_halted_symbol_is_no_alarm_by_the_limit_alone():
    world = World(DEPTH, askable=False)
    world.watch.halted = frozenset({"BTCUSDT"})
    world.run(3600)
    assert world.silent == []


def test_one_limit_for_all_types_that_have_one():
    world = World(TRADE, DEPTH, "btcusdt@blockTrade", silence_s=20)
    world.run(10, TRADE)
    world.run(30, TRADE)
    assert [(stream, verdict.limit_s) for (_, verdict) in world.silent for stream in [verdict.stream]] == [(DEPTH, 20)]


# Time that does not count


def test_nothing_is_silent_while_its_connection_is_not_open_and_the_clock_begins_with_the_acknowledgement():
    world = World(TRADE, DEPTH)
    world.streams["ws-2"], world.life["ws-2"] = [DEPTH], 1
    world.streams["ws-1"] = [TRADE]
    world.open = {"ws-1"}
    world.run(500, TRADE)
    assert world.silent == []
    world.open = {"ws-1", "ws-2"}
    world.run(59, TRADE)
    assert world.silent == []
    world.run(10, TRADE)
    assert [stream for stream, _, _ in world.alarms()] == [DEPTH]


@pytest.mark.parametrize("how", ["blocked", "held", "suspended"])
def test_time_in_which_we_did_not_read_is_no_silence(how):
    world = World(TRADE, DEPTH)
    world.streams["ws-2"], world.life["ws-2"], world.open = [DEPTH], 1, {"ws-1", "ws-2"}
    world.streams["ws-1"] = [TRADE]
    world.run(50, TRADE, DEPTH)
    world.run(40, TRADE)
    if how == "blocked":
        world.blocked = {"ws-2"}
        world.run(600, TRADE)
    elif how == "held":
        world.held = True
        world.run(600)
    else:
        world.look(SUSPENDED_S + 600)
    world.blocked, world.held = set(), False
    world.run(19, TRADE)
    assert world.silent == []
    world.run(10, TRADE)
    assert [stream for stream, _, _ in world.alarms()] == [DEPTH]


def test_a_reconnection_begins_anew():
    world = World(TRADE, DEPTH)
    for _ in range(20):
        world.life["ws-1"] += 1
        world.run(55, TRADE)
    assert world.silent == []


# What is done


def test_it_is_subscribed_again_then_moved_then_moved_back_then_told_ever_more_seldom():
    world = World(TRADE, DEPTH)
    world.run(20 * 3600, TRADE)
    assert [action for _, _, action in world.alarms()][:3] == ["subscribed_again", "moved", "moved_back"]
    assert {action for _, _, action in world.alarms()[3:]} == {"subscribed_again"}
    assert [verdict.attempt for _, verdict in world.silent] == list(range(1, len(world.silent) + 1))
    gaps = [later - sooner for (sooner, _), (later, _) in zip(world.silent, world.silent[1:], strict=False)]
    assert gaps == sorted(gaps)
    assert gaps[0] == pytest.approx(60, abs=10)
    assert max(gaps) <= ALARM_INTERVAL_MAX_S + 2


def test_flow_again_is_told_with_how_long_it_was_silent():
    world = World(TRADE, DEPTH)
    world.run(10, TRADE, DEPTH)
    world.run(100, TRADE)
    world.run(1, TRADE, DEPTH)
    (flowing,) = world.flowing
    assert flowing == (DEPTH, "ws-1", pytest.approx(101))
    assert (world.watch.flowing, world.watch.silent) == (2, 0)


@pytest.mark.parametrize(("flowed_s", "attempt"), [(100, 2), (FORGIVEN_AFTER_S + 1, 1)])
def test_only_a_stream_that_has_flowed_for_a_while_begins_afresh(flowed_s, attempt):
    world = World(TRADE, DEPTH)
    world.run(70, TRADE)
    world.run(int(flowed_s), TRADE, DEPTH)
    world.run(70, TRADE)
    assert [verdict.attempt for _, verdict in world.silent] == [1, attempt]


def test_a_connection_that_is_silent_as_a_whole_is_opened_again_and_nothing_else():
    symbols = [f"s{number}usdt" for number in range(200)]
    world = World(*[f"{symbol}@{kind}" for symbol in symbols for kind in ("depth", "trade")])
    world.answer = lambda now: {symbol.upper(): Activity(int(now)) for symbol in symbols}
    world.run(100)
    assert world.reopened == ["ws-1"]
    assert {action for _, _, action in world.alarms()} == {"reopened"}
    world.run(200)
    assert world.reopened == ["ws-1"]  # it did not help: from now on one by one
    assert {action for _, _, action in world.alarms()} == {"reopened", "moved"}
    times = [at for at, verdict in world.silent if verdict.action == "moved"]
    assert max(times.count(at) for at in times) <= SINGLE_ACTIONS_MAX
    world.run(int(REOPEN_INTERVAL_S))
    assert world.reopened == ["ws-1", "ws-1"]


def test_one_silent_stream_among_dead_pairs_is_looked_after_by_itself():
    world = World(DEPTH, "xusdt@depth", "yusdt@depth")
    world.answer = lambda now: {"BTCUSDT": Activity(int(now)), "XUSDT": Activity(1), "YUSDT": Activity(-1)}
    world.run(300)
    assert world.reopened == []
    assert [action for _, _, action in world.alarms()][:2] == ["subscribed_again", "moved"]


# What the exchange lists


def test_a_stream_that_the_exchange_does_not_list_is_subscribed_again_unless_it_flows():
    world = World(TRADE, DEPTH)
    world.missing = {TRADE, DEPTH}
    world.run(30, TRADE)
    assert world.lost == [DEPTH]
    world.run(int(MISSING_INTERVAL_S) - 30)
    assert world.lost.count(TRADE) == 1


def test_a_stream_that_may_be_silent_for_ever_is_subscribed_again_when_it_is_not_listed():
    world = World("btcusdt@blockTrade")
    world.missing = {"btcusdt@blockTrade"}
    world.run(int(MISSING_INTERVAL_S) + 20)
    assert world.lost == ["btcusdt@blockTrade"] * 2
    assert world.silent == []


def test_streams_that_are_gone_are_forgotten():
    world = World(TRADE, DEPTH)
    world.run(70, TRADE)
    assert world.watch.silent == 1
    world.streams["ws-1"] = [TRADE]
    world.run(2, TRADE)
    assert (world.watch.flowing, world.watch.silent) == (1, 0)


def test_evidence_must_stand_for_a_while():
    world = World(TRADE, DEPTH)
    world.answer = {"BTCUSDT": Activity(7)}
    world.run(10, TRADE, DEPTH)
    world.run(300)
    world.run(1, TRADE)
    world.run(5)
    assert world.silent == []
    world.run(2)
    assert world.alarms() == [(DEPTH, TRADE, "subscribed_again")]


LATER = object()
"""Not answered yet."""
QUIET = {"BTCUSDT": Activity(7, ("1", "2", "3", "4"))}


def test_what_comes_just_after_a_streams_own_event_may_be_of_the_same_trade():
    world = World(TRADE, KLINE)
    world.answer = QUIET
    world.run(1, TRADE, KLINE)
    world.run(2, TRADE)
    world.run(1000)
    assert world.silent == []


def test_evidence_from_before_a_standstill_is_void_after_it():
    world = World(TRADE)
    world.streams["ws-2"], world.life["ws-2"], world.open = [DEPTH], 1, {"ws-1", "ws-2"}
    world.answer = QUIET
    world.run(40, TRADE)
    world.blocked = {"ws-2"}
    world.run(100)
    world.blocked = set()
    world.run(600)
    assert world.silent == []


def test_an_answer_to_a_question_that_was_overtaken_by_an_event_proves_nothing():
    world = World(DEPTH)
    world.answer = LATER
    world.run(31)
    assert len(world.asked) == 1
    world.run(1, DEPTH)
    world.watch.answer(world.now, {})
    world.answer = QUIET
    world.run(600)
    assert world.silent == []


def test_statistics_that_lag_behind_the_stream_prove_nothing():
    world = World(TRADE, silence_s=2)
    last_trade_at = world.now + 1
    world.answer = lambda now: {"BTCUSDT": Activity(1 if now < last_trade_at + 8 else 2)}
    world.run(1, TRADE)
    world.run(600)
    assert len(world.asked) > 5
    assert world.silent == []


# Whatever happens

NAMES = [f"{symbol}@{kind}" for symbol in ("a", "b") for kind in ("trade", "depth", "kline_1m", "blockTrade")]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["run", "block", "reconnect", "halt"]),
        st.integers(1, 90),
        st.frozensets(st.sampled_from(NAMES)),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, traded=st.booleans())
def test_no_alarm_without_a_whole_limit_of_silence_and_never_for_streams_that_flow(steps, traded):
    world = World(*NAMES)
    world.answer = lambda now: {"A": Activity(int(now) if traded else 1), "B": Activity(1)}
    heard = dict.fromkeys(NAMES, 0.0)
    for what, seconds, flows in steps:
        world.blocked = {"ws-1"} if what == "block" else set()
        world.held = what == "halt"
        world.life["ws-1"] += what == "reconnect"
        before = len(world.silent)
        for _ in range(seconds):
            world.run(1, *flows)
            heard |= dict.fromkeys(flows, world.now)
        alarms = world.silent[before:]
        assert not {verdict.stream for _, verdict in alarms} & flows
        assert not alarms or what in ("run", "reconnect")
        for at, verdict in alarms:
            assert at - heard[verdict.stream] >= verdict.limit_s
            assert not verdict.stream.endswith("blockTrade")
        assert 0 <= world.watch.flowing + world.watch.silent <= len(NAMES)


def test_every_kind_that_may_not_be_silent_for_ever_has_something_that_speaks_against_it():
    names = {kind.event_type for kind in KINDS}
    for kind in KINDS:
        assert set(kind.implied_by) <= names
        assert (kind.silence_s is None) == (not kind.implied_by)


def test_the_quietest_are_the_silent_ones_and_then_those_that_brought_nothing_for_the_longest():
    world = World(TRADE, KLINE, DEPTH, TICKER, OTHER, "btcusdt@blockTrade", silence_s=20)
    world.run(5, TRADE, KLINE, DEPTH, TICKER)
    world.run(40, TRADE, DEPTH, TICKER)  # KLINE is silent although there are trades; of OTHER nobody knows
    world.run(3, TRADE, DEPTH)
    found = list(world.watch.quietest(3))
    assert [(quiet.stream, quiet.silent) for quiet in found] == [(KLINE, True), (OTHER, False), (TICKER, False)]
    assert found[1].quiet_s > found[0].quiet_s > found[2].quiet_s
    assert len(list(world.watch.quietest(10))) == 5  # a block trade may be silent for ever
