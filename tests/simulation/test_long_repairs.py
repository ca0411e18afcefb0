"""A repair that lasts says how far it is, in the log and in the picture of the service, and stops when it is over."""

from fault_world import judge, judge_trades, run

from ingest_actors.simulator.faults import Cut, Fault, FaultScript, RefuseHandshake, RestError
from ingest_actors.summary import get_metrics

AWAY = Fault(Cut(), at_s=20.0), Fault(RefuseHandshake(503), at_s=19.0, for_s=5.0)
"""The exchange is not there for some seconds."""


def live(*faults, lasting_s, monkeypatch, **options):
    world = run(
        FaultScript((*AWAY, *faults)), seed=7, lasting_s=lasting_s, monkeypatch=monkeypatch,
        binance_stream_types="aggTrade,trade", **options,
    )  # fmt: skip
    judge(world)
    judge_trades(world)
    return world


def test_a_repair_that_the_budget_of_weight_draws_out_tells_each_minute_how_far_it_is(monkeypatch):
    world = live(lasting_s=300.0, monkeypatch=monkeypatch, rest_weight_per_minute=30)
    opened, told = world.all("gap_opened"), world.all("backfill_progress")
    backfilled = world.service._topology.overview.ledger.backfilled
    missed = sum(gap.fields["missing"] for gap in opened)
    assert [(line.at_ms - opened[0].at_ms) // 60_000 for line in told] == [0, 1]
    assert told[1].at_ms - told[0].at_ms == 60_000
    assert {line.fields["ids_fetched"] + line.fields["ids_missing"] for line in told} == {missed}
    assert backfilled["trade"] + backfilled["aggregate_trade"] == missed
    assert [line.fields["gaps"] for line in told] == [4, 2]
    assert (world.status.gaps_open, world.status.backfill) == (0, None)


def test_while_rest_is_away_the_lines_say_that_nothing_comes_and_the_picture_says_the_same(monkeypatch):
    world = live(Fault(RestError(503), at_s=15.0, for_s=300.0), lasting_s=160.0, monkeypatch=monkeypatch)
    told = [line.fields for line in world.all("backfill_progress")]
    missed = sum(gap.fields["missing"] for gap in world.all("gap_opened"))
    nothing = {"gaps": 6, "ids_fetched": 0, "ids_missing": missed, "ids_per_s": 0.0, "remaining_s": None}
    assert told == [nothing, nothing]
    assert get_metrics(world.status)["backfill"] == nothing


def test_a_repair_of_seconds_is_not_worth_a_line(monkeypatch):
    world = live(lasting_s=160.0, monkeypatch=monkeypatch)
    assert len(world.all("gap_closed")) == 6
    assert world.all("backfill_progress") == []
