"""What a connection did not bring comes from REST: in order, within the time that a gap may hold up; late after it."""

import json
from collections import Counter

import pytest
from fault_world import epochs, judge, judge_trades, run, states

from ingest_actors.simulator.faults import (
    Cut,
    Drop,
    Duplicate,
    Fault,
    FaultScript,
    RefuseHandshake,
    ResetIds,
    RestError,
    RestLag,
    SetStatus,
)

AWAY = Fault(Cut(), at_s=20.0), Fault(RefuseHandshake(503), at_s=19.0, for_s=5.0)
"""The exchange is not there for some seconds."""


def live(*faults, monkeypatch, **options):
    world = run(
        FaultScript(faults), seed=7, lasting_s=120.0, monkeypatch=monkeypatch, config={"activity": 0.1}, **options
    )
    judge(world)
    return world


def journal(world):
    return [json.loads(value) for value, _, _, route in world.sink.everything if route.event_type == "gap"]


def trades_brought(world):
    backfilled = world.service._topology.overview.ledger.backfilled
    return backfilled["trade"] + backfilled["aggregate_trade"]


def late(world, event_type="trade", field=b"t"):
    return sum(len(part[1]) for parts in epochs(world, event_type, field).values() for part in parts)


def test_what_was_missed_while_disconnected_is_brought_in_order_and_the_journal_says_so(monkeypatch):
    world = live(*AWAY, monkeypatch=monkeypatch)
    judge_trades(world)
    assert trades_brought(world) > 50
    assert late(world) == 0
    repaired = [gap for gap in journal(world) if gap["event_type"] in ("trade", "aggregate_trade")]
    assert {gap["state"] for gap in repaired} == {"open", "closed"}
    closed = [gap for gap in repaired if gap["state"] == "closed"]
    assert {(gap["reason"], gap["resolved_by"]) for gap in closed} == {("disconnected", "rest_backfill")}
    assert sum(gap["recovered"] for gap in closed) == trades_brought(world)
    assert all(gap["recovered"] == gap["last_id"] - gap["first_id"] + 1 for gap in closed)
    assert all(gap["resolved_at"] - gap["detected_at"] < 2000 for gap in closed)
    assert world.status.gaps_open == 0


def test_what_rest_brings_has_the_streams_fields_and_its_own_source(monkeypatch):
    world = live(*AWAY, monkeypatch=monkeypatch)
    brought = [
        value
        for value, *_, route in world.sink.written
        if b'"source":"binance_rest_backfill"' in value and route.event_type != "depth_snapshot"
    ]
    streamed = {}
    for value, *_, route in world.sink.written:
        if route.event_type in ("trade", "aggregate_trade") and b'"binance_websocket"' in value:
            streamed.setdefault(route.event_type, list(json.loads(value)))
    for value in brought:
        event = json.loads(value)
        assert list(event) == [key for key in streamed[event["event_type"]] if key != "E"]
    assert Counter(json.loads(value)["event_type"] for value in brought).keys() == {"trade", "aggregate_trade"}


def test_a_hole_in_the_books_updates_is_told_as_lost(monkeypatch):
    world = live(*AWAY, monkeypatch=monkeypatch)
    depth = [gap for gap in journal(world) if gap["event_type"] == "depth_update"]
    told = {name: states for (name, _), states in states(world).items() if "@depth" in name}
    assert len(told) == 3
    assert all(tells == ["open", "lost"] for tells in told.values())
    assert all(gap["recovered"] == 0 for gap in depth)


@pytest.mark.parametrize("lag_s", [2.0, 8.0])
def test_a_database_that_lags_behind_the_stream_is_waited_for(lag_s, monkeypatch):
    world = live(*AWAY, Fault(RestLag(lag_s), at_s=0.0, for_s=100.0), monkeypatch=monkeypatch)
    judge_trades(world)
    assert late(world) == 0
    assert world.status.gaps_open == 0


@pytest.mark.parametrize("status", [503, 429])
def test_while_rest_is_away_the_stream_goes_on_and_what_comes_later_says_that_it_is_late(status, monkeypatch):
    world = live(*AWAY, Fault(RestError(status, retry_after_s=3), at_s=15.0, for_s=40.0), monkeypatch=monkeypatch)
    judge_trades(world)
    assert late(world) > 10
    assert set(map(tuple, states(world).values())) <= {("open", "closed"), ("open", "lost")}
    assert world.status.gaps_open == 0


def test_single_events_that_the_exchange_left_out_are_brought(monkeypatch):
    world = live(Fault(Drop(3), every_s=5.0, until_s=90.0, streams="*@trade"), monkeypatch=monkeypatch)
    judge_trades(world)
    assert trades_brought(world) > 10
    assert {gap["state"] for gap in journal(world)} == {"open", "closed"}


def test_what_the_exchange_sends_twice_is_written_once(monkeypatch):
    world = live(Fault(Duplicate(5), every_s=5.0, until_s=90.0, streams="*@*rade"), monkeypatch=monkeypatch)
    judge_trades(world)
    assert world.service.report.ledger.duplicates > 10
    assert journal(world) == []


def test_ids_that_begin_again_are_a_new_beginning(monkeypatch):
    world = live(Fault(ResetIds(), at_s=30.0), monkeypatch=monkeypatch)
    judge_trades(world)
    reset = [gap for gap in journal(world) if gap["reason"] == "exchange_reset" and gap["event_type"] == "trade"]
    assert Counter(gap["state"] for gap in reset) == {"open": 3, "lost": 3}
    for parts in epochs(world, "trade", b"t").values():
        (before, _), (after, _) = parts
        assert len(after) > 50
        assert after[0] < before[0]
        assert after == list(range(after[0], after[0] + len(after)))


def test_with_backfill_off_a_gap_is_told_and_nothing_waits(monkeypatch):
    world = live(*AWAY, monkeypatch=monkeypatch, backfill="off")
    judge_trades(world)
    assert trades_brought(world) == 0
    assert {tuple(told) for told in states(world).values()} == {("open", "lost")}


def test_no_more_is_held_than_may_be(monkeypatch):
    world = live(
        *AWAY, Fault(RestError(503), at_s=15.0, for_s=30.0), monkeypatch=monkeypatch, gap_hold_seconds=3600.0,
        gap_hold_max_events=5,
    )  # fmt: skip
    judge_trades(world)
    assert late(world) > 10


def test_a_stop_waits_for_no_repair_and_leaves_the_gap_open_in_the_journal(monkeypatch):
    world = live(*AWAY, Fault(RestError(503), at_s=15.0, for_s=200.0), monkeypatch=monkeypatch, gap_hold_seconds=3600.0)
    assert {tuple(told) for told in states(world).values()} >= {("open",)}
    assert world.service.report.ledger.in_flight == 0


def test_what_was_missed_of_a_symbol_that_is_not_traded_any_more_is_brought_too(monkeypatch):
    halted = Fault(SetStatus("ADAUSDT"), at_s=22.0)
    world = live(*AWAY, halted, monkeypatch=monkeypatch)
    judge_trades(world)
    there = {symbol: parts[0][0] for symbol, parts in epochs(world, "trade", b"t").items()}
    published = world.published["ADAUSDT"]
    assert there["ADAUSDT"] == published[published.index(there["ADAUSDT"][0]) :]
    ends = [gap for gap in journal(world) if gap["symbol"] == "ADAUSDT" and gap["event_type"] == "trade"]
    assert [(gap["state"], gap["last_id"]) for gap in ends] == [("open", published[-1]), ("closed", published[-1])]
    assert late(world) == 0
    assert world.status.gaps_open == 0
