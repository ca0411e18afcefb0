"""How far a long repair is: counted from its start, at the pace that the budget of weight really allows."""

from collections import Counter

import trio

from ingest_actors.binance.gaps import Gap, Reason
from ingest_actors.binance.repair_progress import LINE_INTERVAL_S, RATE_LINES, RepairProgress
from ingest_actors.binance.rest import ROWS_MAX, WEIGHTS
from ingest_actors.binance.sequence import Hole
from ingest_actors.binance.weight import WeightBudget

WEIGHT = {"aggregate_trade": WEIGHTS["aggTrades"], "trade": WEIGHTS["historicalTrades"]}


class Repair:
    """Gaps that are filled as fast as the budget lets questions through, one gap after the other, and the lines."""

    def __init__(self):
        self.gaps = {}
        self.backfilled = Counter()
        self.budget = WeightBudget(3000)
        self.progress = RepairProgress(self.open, self.backfilled)
        self.lines = []
        self.finished_at = None

    def open(self):
        return {name: gap for name, gap in self.gaps.items() if not gap.over}

    def miss(self, ids, event_type="trade"):
        gap = Gap("btcusdt@trade", "BTCUSDT", event_type, Hole(1, ids), Reason.RESTARTED, 0, repairable=True)
        self.gaps[f"{len(self.gaps)}"] = gap

    async def fetch(self):
        while there := self.open():
            gap = next(iter(there.values()))
            await self.budget.spend(WEIGHT[gap.event_type])
            page = min(ROWS_MAX, gap.hole.size - gap.recovered)
            gap.recovered += page
            self.backfilled[gap.event_type] += page
        self.finished_at = trio.current_time()

    async def watch(self):
        while True:
            if (line := self.progress.look(trio.current_time())) is not None:
                assert line == self.progress.current()
                self.lines.append((round(trio.current_time() - self.began_at), *line))
            await trio.sleep(1.0)

    async def run(self, seconds, *schedule):
        """Call each `function` of the schedule half a second after its second."""
        self.began_at = trio.current_time()
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.watch)
                for at_s, function in schedule:
                    await trio.sleep_until(self.began_at + at_s + 0.5)
                    function()
                    nursery.start_soon(self.fetch)


async def test_a_line_a_minute_says_what_is_fetched_and_missing_and_how_long_the_rest_takes(autojump_clock):
    repair = Repair()
    await repair.run(600, (0, lambda: repair.miss(600_000)))
    assert repair.lines == [
        (60, 1, 120_000, 480_000, 2000.0, 240),
        (120, 1, 240_000, 360_000, 2000.0, 180),
        (180, 1, 360_000, 240_000, 2000.0, 120),
        (240, 1, 480_000, 120_000, 2000.0, 60),
    ]
    assert repair.finished_at - repair.began_at == 240.5
    assert repair.progress.current() is None


async def test_that_trades_take_longer_than_aggregate_trades_is_known_before_they_are_begun(autojump_clock):
    repair = Repair()

    def missed():
        repair.miss(1_500_000, "aggregate_trade")
        repair.miss(360_000, "trade")

    await repair.run(600, (0, missed))
    assert repair.lines == [
        (60, 2, 750_000, 1_110_000, 12_500.0, 240),
        (120, 1, 1_500_000, 360_000, 12_500.0, 180),
        (180, 1, 1_620_000, 240_000, 9_000.0, 120),
        (240, 1, 1_740_000, 120_000, 7_250.0, 60),
    ]
    assert repair.finished_at - repair.began_at == 240.5


async def test_the_pace_of_one_repair_is_not_taken_for_that_of_the_next(autojump_clock):
    repair = Repair()
    await repair.run(600, (0, lambda: repair.miss(240_000)))
    assert len(repair.lines) == 1
    repair.miss(1000)
    assert repair.progress.current() is None


async def test_what_is_repaired_within_a_minute_has_no_line(autojump_clock):
    repair = Repair()
    await repair.run(600, *((at_s, lambda: repair.miss(1000)) for at_s in range(0, 300, 10)))
    assert repair.lines == []
    assert repair.progress.current() is None


async def test_each_repair_is_counted_from_its_own_start(autojump_clock):
    repair = Repair()
    await repair.run(600, (0, lambda: repair.miss(240_000)), (240, lambda: repair.miss(240_000)))
    line = (1, 120_000, 120_000, 2000.0, 60)
    assert [at_s for at_s, *_ in repair.lines] == [60, 300]
    assert [tuple(rest) for _, *rest in repair.lines] == [line, line]


async def test_gaps_that_are_closed_meanwhile_stay_counted(autojump_clock):
    repair = Repair()

    def missed():
        repair.miss(60_000)
        repair.miss(120_000)

    await repair.run(600, (0, missed))
    assert repair.lines == [(60, 1, 120_000, 60_000, 2000.0, 30)]


async def test_while_nothing_comes_nobody_claims_to_know_how_long_it_takes(autojump_clock):
    repair = Repair()
    repair.budget.hold_off(1000)
    await repair.run(130, (0, lambda: repair.miss(5000)))
    assert repair.lines == [(60, 1, 0, 5000, 0.0, None), (120, 1, 0, 5000, 0.0, None)]


async def test_the_rate_is_that_of_the_last_five_minutes(autojump_clock):
    repair = Repair()
    await repair.run(60, (0, lambda: repair.miss(2_400_000)))
    repair.budget.hold_off(300)
    await repair.run(1000, (0, lambda: None))
    assert RATE_LINES * LINE_INTERVAL_S == 300
    rates = [rate for *_, rate, _ in repair.lines]
    assert min(rates) == 0.0
    assert rates[-1] == 2000.0


async def test_between_two_lines_what_is_fetched_and_missing_is_of_the_moment(autojump_clock):
    repair = Repair()
    await repair.run(61, (0, lambda: repair.miss(600_000)))
    assert repair.lines == [(60, 1, 120_000, 480_000, 2000.0, 240)]
    assert repair.progress.current() == (1, 240_000, 360_000, 2000.0, 180)
