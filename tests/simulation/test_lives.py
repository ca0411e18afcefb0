"""A service through all its lives: what it promises holds through sudden deaths, restarts, and all that can go wrong.

``INGEST_LIVES`` says how many schedules are drawn for each delivery mode. A failing seed is told with the command that
runs it again; ``tests/simulation/run_lives.py`` runs thousands.
"""

import os
from collections import Counter

import lives
import pytest
from judge import judge
from long_day import DAY_S, long_day
from memory_kafka import Entry
from run_lives import command_for
from schedule import draw

from ingest_actors.simulator.faults import ACTIONS

SCHEDULES = int(os.environ.get("INGEST_LIVES", "20"))
PER_TEST = 10
pytestmark = pytest.mark.long


def survive(schedule):
    try:
        world = lives.live(schedule)
        return world, judge(world)
    except BaseException as failure:
        failure.add_note(f"again: {command_for(schedule)}")
        raise


@pytest.mark.parametrize("first", range(0, SCHEDULES, PER_TEST), ids=lambda first: f"seeds_{first}_on")
def test_exactly_once_every_trade_is_there_once_and_in_order_whatever_dies_when(first):
    for seed in range(first, min(first + PER_TEST, SCHEDULES)):
        _, verdict = survive(draw(seed, mode="exactly_once"))
        assert verdict.doubles == Counter()


@pytest.mark.parametrize("first", range(0, SCHEDULES, PER_TEST), ids=lambda first: f"seeds_{first}_on")
def test_at_least_once_nothing_is_missing_and_only_what_a_death_left_behind_the_state_comes_twice(first):
    for seed in range(first, min(first + PER_TEST, SCHEDULES)):
        survive(draw(seed, mode="at_least_once"))


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_no_fault_of_the_exchange_spoils_the_record_of_any_mode(action):
    for seed in range(5000, 5100):  # a schedule may be drawn in which nothing comes to pass
        world, _ = survive(draw(seed, actions=(action,)))
        if any(action == fired.fault.action.DO for fired in world.fired):
            return
    pytest.fail(f"{action} never struck")


def test_a_day_of_market_time_with_every_fault_and_ten_lives_exactly_once():
    world, verdict = survive(long_day())
    assert world.seconds >= DAY_S
    assert {fired.fault.action.DO for fired in world.fired} == set(ACTIONS)
    assert Counter(lived.died for lived in world.lives)[True] >= 5
    assert sum(lived.too_old for lived in world.lives) == 1
    assert {reason for reason, _ in verdict.gaps} >= {"disconnected", "restarted", "too_old", "exchange_reset"}
    assert verdict.doubles == Counter()


def test_the_same_schedule_is_lived_the_same_way():
    one, other = lives.live(draw(2)), lives.live(draw(2))
    assert [entry.event[:3] for entry in one.kafka.entries] == [entry.event[:3] for entry in other.kafka.entries]
    assert one.crashes == other.crashes


# -- the judge is no rubber stamp


def whole_world():
    """Lived exactly once, with two lives, and trades that follow each other at the end."""
    for seed in range(1000):
        world = lives.live(draw(seed, mode="exactly_once"))
        if len(world.lives) > 1 and any(lived.died for lived in world.lives) and len(world.kafka.entries) > 200:
            judge(world)
            return world
    raise AssertionError("no such world")


@pytest.fixture(scope="module")
def world():
    return whole_world()


def trades(world):
    """Where the trades of one symbol lie that came from the stream, those of the second half."""
    entries = world.kafka.entries
    return [
        position
        for position in range(len(entries) // 2, len(entries))
        if entries[position].event[3].event_type == "trade"
        and entries[position].event[1] == b"BTCUSDT"
        and not entries[position].event[3].dead_letter
    ]


def leave_out(entries, position, _):
    del entries[position]


def write_twice(entries, position, _):
    entries.insert(position, entries[position])


def swap(entries, position, after):
    entries[position], entries[after] = entries[after], entries[position]


def alter(entries, position, _):
    entry = entries[position]
    value, key, time, route = entry.event
    entries[position] = entry._replace(event=(value.replace(b'"q":"', b'"q":"9', 1), key, time, route))


def write_to_one_topic_only(entries, position, _):
    entry = entries[position]
    entries[position] = Entry(entry.event, entry.life, entry.topics[:1], entry.acknowledged)


@pytest.mark.parametrize("spoil", [leave_out, write_twice, swap, alter, write_to_one_topic_only])
def test_the_judge_finds(spoil, world):
    entries = world.kafka.entries
    kept = list(entries)
    places = trades(world)
    try:
        spoil(entries, places[-4], places[-3])
        with pytest.raises(AssertionError):
            judge(world)
    finally:
        entries[:] = kept


def test_the_judge_finds_a_gap_that_the_journal_does_not_tell(world):
    entries = world.kafka.entries
    kept = list(entries)
    gaps = [one for one in entries if one.event[3].event_type == "gap" and b'"lost"' in one.event[0]]
    name = gaps[0].event[0].partition(b'"gap":"')[2].partition(b'"')[0]
    try:
        entries[:] = [one for one in entries if one.event[3].event_type != "gap" or name not in one.event[0]]
        with pytest.raises(AssertionError):
            judge(world)
    finally:
        entries[:] = kept
