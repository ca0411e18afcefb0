"""What a disconnection cost of events that are not fetched again: closed candles one by one, all samples in seconds."""

import json

from fault_world import SYMBOLS, judge, run

from ingest_actors.simulator.faults import Cut, Fault, FaultScript, RefuseHandshake

AWAY_S = 130.0
AWAY = Fault(Cut(), at_s=70.0), Fault(RefuseHandshake(503), at_s=69.0, for_s=AWAY_S)
"""The exchange is not there while candles of two minutes at least are closed."""


def live(*faults, monkeypatch, **options):
    world = run(FaultScript(faults), seed=7, lasting_s=500.0, monkeypatch=monkeypatch, **options)
    judge(world)
    return world


def candles(world):
    gaps = [json.loads(value) for value, _, _, route in world.sink.everything if route.event_type == "gap"]
    return [gap for gap in gaps if gap["event_type"] == "kline"]


def test_every_closed_candle_is_in_the_record_or_in_the_journal(monkeypatch):
    world = live(*AWAY, monkeypatch=monkeypatch, binance_stream_types="kline_1m,kline_1s,trade")
    told = candles(world)
    assert {gap["state"] for gap in told} == {"open", "lost"}
    for symbol in SYMBOLS:
        for interval, step_ms in (("1m", 60_000), ("1s", 1000)):
            closed = [
                event["k"]["t"]
                for event in (
                    json.loads(value) for value, *_, route in world.sink.written if route.event_type == "kline"
                )
                if (event["s"], event["k"]["i"], event["k"]["x"]) == (symbol, interval, True)
            ]
            missed = [
                at
                for gap in told
                if (gap["stream"], gap["state"]) == (f"{symbol.lower()}@kline_{interval}", "lost")
                for at in range(gap["first_id"], gap["last_id"] + 1, step_ms)
            ]
            assert len(missed) >= AWAY_S * 1000 // step_ms - 1
            assert sorted(closed + missed) == list(range(closed[0], closed[-1] + 1, step_ms))


def test_the_seconds_in_which_nobody_listened_to_samples_are_counted(monkeypatch):
    world = live(
        Fault(Cut(), at_s=70.0), Fault(RefuseHandshake(503), at_s=69.0, for_s=10.0), monkeypatch=monkeypatch,
        binance_stream_types="bookTicker,miniTicker,trade",
    )  # fmt: skip
    closed, opened = world.all("connection_closed"), world.all("connection_opened")
    assert (len(closed), len(opened)) == (1, 2)
    away_s = (opened[1].at_ms - closed[0].at_ms) / 1000
    (missed,) = world.all("samples_missed")
    assert missed.fields["streams"] == 6
    assert away_s <= missed.fields["longest_s"] <= away_s + 3
    seconds = world.status.samples_missed_s
    assert seconds.keys() == {"book_ticker", "mini_ticker"}
    assert all(3 * away_s <= each <= 3 * (away_s + 3) for each in seconds.values())


def test_without_a_fault_no_candle_is_missed(monkeypatch):
    assert candles(live(monkeypatch=monkeypatch, binance_stream_types="kline_1m,kline_1s")) == []
