"""REST that refuses, bans or is away for a minute, a clock that is set back an hour: no trade is lost."""

import pytest
from fault_world import judge, judge_trades, run, states

from ingest_actors.simulator.faults import (
    CloseWith,
    Cut,
    Fault,
    FaultScript,
    HalfOpen,
    RefuseHandshake,
    RestError,
    RestLag,
    ServerShutdown,
)

pytestmark = pytest.mark.long

HOUR_MS = 3_600_000
AWAY = Fault(Cut(), at_s=20.0), Fault(RefuseHandshake(503), at_s=19.0, for_s=5.0)
"""The exchange is not there for some seconds."""
REFUSED_THEN_BANNED = (
    Fault(RestError(429, retry_after_s=5), at_s=18.0, for_s=10.0),
    Fault(RestError(418, retry_after_s=30), at_s=28.0, for_s=20.0),
)
DOWN_FOR_A_MINUTE = (Fault(RestError(503), at_s=18.0, for_s=60.0),)
LAGGING = (Fault(RestLag(2.0), at_s=0.0, for_s=150.0),)
HALF_OPEN = (Fault(HalfOpen(), at_s=50.0),)
TOLD = Fault(ServerShutdown(lead_s=2.0), at_s=35.0), Fault(CloseWith(1008, "Pong timeout"), at_s=42.0)
FAULTS = {
    "429 then 418": (*AWAY, *REFUSED_THEN_BANNED),
    "REST down for a minute": (*AWAY, *DOWN_FOR_A_MINUTE),
    "REST lagging two seconds": (*AWAY, *LAGGING),
    "half-open": HALF_OPEN,
    "serverShutdown and 1008": TOLD,
    "all of them": (*AWAY, *REFUSED_THEN_BANNED, *LAGGING, *HALF_OPEN, *TOLD),
}


def stepping(*, at_s, by_ms):
    """A clock that is set once; between, it goes as the exchange's does."""

    def clock(exchange):
        began_ms = exchange.now_ms()

        def now_ms():
            now = exchange.now_ms()
            return now + by_ms if now >= began_ms + at_s * 1000 else now

        return now_ms

    return clock


CLOCKS = {
    "right clock": lambda exchange: exchange.now_ms,
    "an hour back": stepping(at_s=22.0, by_ms=-HOUR_MS),
    "an hour ahead": stepping(at_s=22.0, by_ms=HOUR_MS),
}


@pytest.mark.parametrize(
    ("name", "clock"), [(name, "right clock") for name in FAULTS] + [("all of them", clock) for clock in CLOCKS][1:]
)
def test_every_trade_is_there_once_whatever_the_clock_says(name, clock, monkeypatch):
    faults = FaultScript(FAULTS[name])
    world = run(faults, seed=7, lasting_s=180.0, monkeypatch=monkeypatch, config={"activity": 0.1}, clock=CLOCKS[clock])
    judge(world)
    judge_trades(world)
    assert {fired.fault for fired in world.fired} == set(faults.faults), "each of them struck"
    assert world.service.report.ledger.backfilled > 0
    assert world.status.gaps_open == 0
    told = [entries for (gap, _), entries in states(world).items() if "@depth" not in gap and "@kline" not in gap]
    assert told
    assert all(entries == ["open", "closed"] for entries in told), "no trade is lost"


@pytest.mark.parametrize("by_ms", [-HOUR_MS, HOUR_MS])
def test_a_clock_that_is_set_alone_shows_in_nothing_but_the_times_of_receipt(by_ms, monkeypatch):
    world = run(
        FaultScript(()), seed=7, lasting_s=60.0, monkeypatch=monkeypatch, clock=stepping(at_s=20.0, by_ms=by_ms)
    )
    judge(world)
    judge_trades(world)
    assert states(world) == {}
    assert world.service.report.ledger.duplicates == 0
    assert world.service.report.ledger.dead_lettered == 0
