"""A series full of holes: it goes on, its gaps are journalled, and no event costs more than a bounded share."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from exchange_frames import batch

from ingest_actors.binance.continuity import GAPS_HELD_MAX, Continuity
from ingest_actors.binance.journal import Journal, late
from ingest_actors.binance.parser import EventParser
from ingest_actors.binance.sequence import LATE_HOLES_MAX
from ingest_actors.binance.stream_table import StreamTable


class World:
    """The parser's work on one stream, event by event in batches; `left` has what went downstream, in order."""

    def __init__(self, *, wait_s: float = 0.0) -> None:
        self.now = 0.0
        self.continuity = Continuity(
            hold_s=lambda kind: 10.0 if kind.repairable else None,
            late=late,
            journal=Journal("gaps").record,
            held_max=50_000,
            bytes_max=10**9,
            clock=lambda: self.now,
            clock_ms=lambda: 1_000_000,
        )
        if wait_s:
            self.continuity.share_everything(wait_s)
        self.parser = EventParser(StreamTable(), continuity=self.continuity)
        self.left = []

    def receive(self, numbers):
        text = b'{"stream":"ethusdt@trade","data":{"e":"trade","s":"ETHUSDT","t":%d}}'
        parsed = self.parser.parse(batch(*[text % number for number in numbers]))
        self.left += parsed.events
        self.continuity.commit(parsed.odd)
        self.flush()

    def flush(self):
        self.continuity.expire()
        while events := self.continuity.next_ready(500):
            self.left += events
            self.continuity.took(len(events))
            self.continuity.expire()

    def numbers(self):
        return [json.loads(event[0])["t"] for event in self.left if event[3].counted]

    def journal(self):
        return [json.loads(event[0]) for event in self.left if not event[3].counted]


@pytest.mark.parametrize("wait_s", [0.0, 5.0], ids=["one connection", "two connections"])
def test_every_other_id_missing_holds_nothing_up_for_long_and_every_gap_is_told_once(wait_s):
    world = World(wait_s=wait_s)
    count = LATE_HOLES_MAX + GAPS_HELD_MAX + 50
    for start in range(0, count, 50):
        world.receive(range(2 * start, 2 * start + 100, 2))
        series = world.continuity._register.get("ethusdt@trade")
        assert world.continuity.gap_book.ahead(series) <= GAPS_HELD_MAX
        assert len(world.continuity.gaps) <= LATE_HOLES_MAX + 2 * GAPS_HELD_MAX
    world.continuity.let_go()
    world.flush()
    assert world.numbers() == list(range(0, 2 * count, 2))
    told = [(line["state"], line["first_id"]) for line in world.journal()]
    opened = [first for state, first in told if state == "open"]
    lost = [first for state, first in told if state == "lost"]
    assert opened == list(range(1, 2 * count - 1, 2))
    assert lost == opened[: len(lost)]
    assert len(lost) == len(opened) - LATE_HOLES_MAX
    assert all(one < other for one, other in pairwise(opened))


def test_as_many_gaps_as_may_be_are_held_for_their_repair():
    world = World()
    world.receive(range(0, 2 * GAPS_HELD_MAX + 2, 2))
    assert world.numbers() == [0]
    world.receive(range(1, 2 * GAPS_HELD_MAX, 2))
    assert world.numbers() == list(range(2 * GAPS_HELD_MAX + 1))
    assert not world.continuity.gaps
