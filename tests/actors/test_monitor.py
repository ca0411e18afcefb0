"""The monitor's promises: rates over the last seconds, a line at each interval, and a look at every turn."""

from collections import Counter

import trio

from ingest_actors.actors.monitor import Rates, monitor


class Rig:
    def __init__(self, *, interval_s=30.0):
        self.received = Counter()
        self.rates = Rates(self.received)
        self.interval_s = interval_s
        self.lines = []
        self.looks = []

    async def run(self):
        await monitor(
            rates=self.rates,
            interval_s=self.interval_s,
            metrics=lambda: {"messages_received": self.received.total()},
            look=lambda: self.looks.append(trio.current_time()),
            announce=lambda name, **fields: self.lines.append((trio.current_time(), name, fields)),
        )


async def test_a_line_is_told_at_each_interval_and_not_before(autojump_clock):
    rig = Rig(interval_s=30)
    with trio.move_on_after(95):
        await rig.run()
    assert rig.lines == [(30 * n, "service_metrics", {"messages_received": 0}) for n in (1, 2, 3)]


async def test_it_looks_once_a_second(autojump_clock):
    rig = Rig()
    with trio.move_on_after(3.5):
        await rig.run()
    assert rig.looks == [1, 2, 3]


async def test_an_interval_that_is_no_whole_number_of_seconds_does_not_drift(autojump_clock):
    rig = Rig(interval_s=2.5)
    with trio.move_on_after(11):
        await rig.run()
    assert [time_s for time_s, _, _ in rig.lines] == [3, 5, 8, 10]


async def test_a_loop_that_stood_still_does_not_make_up_for_the_lines_it_missed(mock_clock, nursery):
    rig = Rig(interval_s=10)
    nursery.start_soon(rig.run)
    for _ in range(2):
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(100)
    for _ in range(12):
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(1)
    await trio.testing.wait_all_tasks_blocked()
    assert [time_s for time_s, _, _ in rig.lines] == [100, 200, 210]
    nursery.cancel_scope.cancel()


def test_there_is_no_rate_before_there_are_two_samples():
    rates = Rates(Counter(trade=5))
    assert rates.current() == {}
    rates.sample(0.0)
    assert rates.current() == {}


def test_rates_are_those_of_the_last_ten_seconds():
    received = Counter()
    rates = Rates(received)
    for second in range(31):
        rates.sample(float(second))
        received["trade"] += 100 if second < 20 else 10
        received["kline"] += 1
    assert rates.current() == {"kline": 1.0, "trade": 10.0}


def test_an_event_type_that_is_new_counts_from_nothing():
    received = Counter()
    rates = Rates(received)
    rates.sample(0.0)
    received["trade"] = 50
    rates.sample(5.0)
    assert rates.current() == {"trade": 10.0}


async def test_rates_outlive_the_monitors_lives(autojump_clock):
    rig = Rig()
    for _ in range(3):
        with trio.move_on_after(2.5):
            await rig.run()
        rig.received["trade"] += 25
    with trio.move_on_after(0.5):
        await rig.run()
    assert rig.rates.current() == {"trade": 10.0}
