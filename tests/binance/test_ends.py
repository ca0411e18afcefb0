"""Series that bring nothing after their connection has opened are compared with what the exchange has."""

import json

import trio

from ingest_actors.binance.continuity import Continuity
from ingest_actors.binance.ends import ASKED_MAX, QUIET_S, Ends
from ingest_actors.binance.journal import Journal, late
from ingest_actors.binance.resume import Mark, Place
from ingest_actors.binance.series import Odd
from ingest_actors.binance.stream_table import StreamTable

TABLE = StreamTable()


class World:
    def __init__(self, marks, *, too_old=False):
        self.continuity = Continuity(
            hold_s=lambda kind: 10.0 if kind.event_type == "trade" else None,
            late=late,
            journal=Journal("gaps").record,
            held_max=1000,
            bytes_max=10**9,
            clock=trio.current_time,
            clock_ms=lambda: 5,
        )
        self.continuity.resume(marks, TABLE, too_old=too_old)
        self.ends = Ends(self.continuity, TABLE)

    def hear(self, series, number):
        self.continuity.begin()
        self.continuity.commit([Odd(series, number, number, (b"{}", b"BTCUSDT", number, series.route))])

    def journal(self):
        events = self.continuity.next_ready(100)
        self.continuity.took(len(events))
        gaps = [json.loads(value) for value, *_ in events if value != b"{}"]
        return [(gap["first_id"], gap["last_id"], gap["state"], gap["reason"]) for gap in gaps]


BTC = {Place("trade", "BTCUSDT"): Mark(10, 10)}


async def test_a_series_that_brought_nothing_is_asked_about_after_a_while(autojump_clock):
    world = World(BTC)
    world.ends.opened(["btcusdt@trade", "ethusdt@trade", "btcusdt@aggTrade", "!miniTicker@arr", "btcusdt@nonsense"])
    since = trio.current_time()
    (series,) = await world.ends.wait_due()
    assert (series.stream, trio.current_time() - since) == ("btcusdt@trade", QUIET_S)
    assert await world.ends.wait_due() == [series]
    world.ends.answer(series, 12)
    assert world.journal() == [(11, 12, "open", "restarted")]
    with trio.move_on_after(1000) as scope:
        await world.ends.wait_due()
    assert scope.cancelled_caught


async def test_a_series_that_went_on_is_not_asked_about(autojump_clock):
    world = World(BTC)
    world.ends.opened(["btcusdt@trade"])
    (series,) = await world.ends.wait_due()
    world.hear(series, 11)
    world.ends.answer(series, 12)
    assert world.journal() == []
    world.ends.opened(["btcusdt@trade"])
    world.hear(series, 12)
    with trio.move_on_after(1000) as scope:
        await world.ends.wait_due()
    assert scope.cancelled_caught


async def test_a_series_that_ended_where_the_exchange_has_its_end_is_whole(autojump_clock):
    world = World(BTC)
    for newest in (10, 3, None):
        world.ends.opened(["btcusdt@trade"])
        (series,) = await world.ends.wait_due()
        world.ends.answer(series, newest)
    assert world.journal() == []


async def test_what_was_missed_too_long_ago_is_lost_at_once(autojump_clock):
    world = World(BTC, too_old=True)
    world.ends.opened(["btcusdt@trade"])
    (series,) = await world.ends.wait_due()
    world.ends.answer(series, 99_000_000)
    assert world.journal() == [(11, 99_000_000, "open", "too_old"), (11, 99_000_000, "lost", "too_old")]


async def test_a_gap_that_is_open_already_is_not_opened_twice(autojump_clock):
    world = World(BTC)
    world.ends.opened(["btcusdt@trade"])
    (series,) = await world.ends.wait_due()
    world.ends.answer(series, 12)
    world.ends.opened(["btcusdt@trade"])
    (series,) = await world.ends.wait_due()
    world.ends.answer(series, 15)
    assert world.journal() == [(11, 12, "open", "restarted"), (13, 15, "open", "restarted")]


async def test_while_the_exchange_does_not_answer_it_is_asked_again_later(autojump_clock):
    world = World(BTC)
    world.ends.opened(["btcusdt@trade"])
    (series,) = await world.ends.wait_due()
    world.ends.put_off(series, 30.0)
    since = trio.current_time()
    assert await world.ends.wait_due() == [series]
    assert trio.current_time() - since == 30.0


async def test_not_too_many_are_asked_about_together(autojump_clock):
    names = [f"A{n}USDT" for n in range(ASKED_MAX + 1)]
    world = World({Place("trade", name): Mark(1, 1) for name in names})
    world.ends.opened([f"{name.lower()}@trade" for name in names])
    due = await world.ends.wait_due()
    assert len(due) == ASKED_MAX
    for series in due:
        world.ends.answer(series, 1)
    assert [series.symbol for series in await world.ends.wait_due()] == names[-1:]


def parse_straight(world, series, *numbers):
    """What the parser does with events that go on where their series ended, before their batch goes downstream."""
    world.continuity.begin()
    world.continuity.touch(series)
    for number in numbers:
        if number != series.staged:
            return False
        series.staged = number + 1
    return True


async def test_nothing_is_asked_for_again_that_waits_to_go_downstream(autojump_clock):
    world = World(BTC)
    world.ends.opened(["btcusdt@trade"])
    (series,) = await world.ends.wait_due()
    world.hear(series, 11)
    world.journal()
    world.ends.opened(["btcusdt@trade"])
    assert await world.ends.wait_due() == [series]
    assert parse_straight(world, series, 12, 13)
    world.ends.answer(series, 15)
    assert (world.continuity.gaps, world.journal()) == ({}, [])
    world.continuity.commit([])
    assert series.sequence.next_id == 14
    with trio.move_on_after(1000) as scope:
        await world.ends.wait_due()
    assert scope.cancelled_caught


async def test_what_the_stream_brings_of_that_which_is_fetched_is_written_once(autojump_clock):
    world = World(BTC)
    world.ends.opened(["btcusdt@trade"])
    (series,) = await world.ends.wait_due()
    world.hear(series, 11)
    world.journal()
    world.ends.opened(["btcusdt@trade"])
    await world.ends.wait_due()
    world.ends.answer(series, 15)
    (gap,) = world.continuity.gaps.values()
    assert not parse_straight(world, series, 12)  # the one that goes on asks, as both may bring it
    assert world.continuity.fill(gap, 12, 12, (b"{}", b"BTCUSDT", 12, series.route))
    world.continuity.commit([Odd(series, 12, 12, (b"{}", b"BTCUSDT", 12, series.route))])
    assert [value for value, *_ in world.continuity.next_ready(10) if value == b"{}"] == [b"{}"]
