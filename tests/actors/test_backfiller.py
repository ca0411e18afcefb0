"""The backfiller: brings what is missing and nothing else, waits when there is nothing yet, asks again when it must."""

import itertools
from types import SimpleNamespace

import pytest
import trio

from ingest_actors.actors.backfiller import READY_MAX, WORKERS, backfiller
from ingest_actors.errors import ExchangeUnreachable
from ingest_actors.ledger import Ledger
from ingest_actors.messages import Route
from ingest_actors.supervision import Backoff

ROUTE = Route("trade", ("raw", "trades"))


class Work:
    """Gaps by name, each with the ids that are missing."""

    def __init__(self, **gaps):
        self.gaps = {name: set(ids) for name, ids in gaps.items()}
        self.series = {}
        self.brought = []
        self.left_out = []
        self.waiting = 0
        self.changed = trio.Event()

    def open(self):
        return {name: name for name, ids in self.gaps.items() if ids}

    def missing(self, gap):
        ids = sorted(self.gaps[gap])
        if not ids:
            return None
        last = next((a for a, b in itertools.pairwise(ids) if b > a + 1), ids[-1])
        return SimpleNamespace(first=ids[0], last=last)

    def fill(self, gap, number, event):
        assert int(event[0]) == number
        wanted = number in self.gaps[gap]
        self.gaps[gap].discard(number)
        if wanted:
            self.brought.append((gap, number))
        return wanted

    def skipped(self, gap, first, last):
        self.left_out.append((gap, first, last))
        self.gaps[gap] -= set(range(first, last + 1))

    def ready(self):
        return self.waiting

    def doubts(self):
        return self.series

    def answer(self, doubt, newest):
        decided = newest >= doubt
        if decided:
            self.series.clear()
        return decided

    async def wait_changed(self):
        await self.changed.wait()

    def change(self):
        self.changed.set()
        self.changed = trio.Event()


class Exchange:
    """Has some ids, and answers questions in turn as it is told."""

    def __init__(self, ids, *, page=1000, answers=()):
        self.ids = sorted(ids)
        self.page = page
        self.answers = list(answers)
        self.asked = []
        self.under_way = self.most = 0

    async def __call__(self, gap, first):
        self.asked.append((trio.current_time(), gap, first))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await trio.sleep(0.1)
        self.under_way -= 1
        if self.answers and (answer := self.answers.pop(0)) is not None:
            if isinstance(answer, Exception):
                raise answer
            return answer
        return [(n, (b"%d" % n, b"BTCUSDT", 0, ROUTE)) for n in self.ids if n >= first][: self.page]

    async def newest(self, doubt):
        self.asked.append((trio.current_time(), "newest", doubt))
        await trio.lowlevel.checkpoint()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Rig:
    def __init__(self, work, exchange):
        self.work = work
        self.exchange = exchange
        self.ledger = Ledger()
        self.told = []

    async def run(self, seconds):
        with trio.move_on_after(seconds):
            await backfiller(
                self.work,
                fetch=self.exchange,
                ledger=self.ledger,
                backoff=lambda: Backoff(1.0, 8.0, jitter=0.0),
                announce=lambda name, *, level="info", **fields: self.told.append((name, level, fields)),
            )


async def test_what_is_missing_is_brought_page_by_page_and_counted(autojump_clock):
    rig = Rig(Work(gap=range(10, 35)), Exchange(range(100), page=10))
    await rig.run(10)
    assert rig.work.brought == [("gap", number) for number in range(10, 35)]
    assert [first for _, _, first in rig.exchange.asked] == [10, 20, 30]
    assert rig.ledger.backfilled == {"trade": 25}


async def test_ids_between_those_that_rest_has_were_left_out_by_the_exchange(autojump_clock):
    rig = Rig(Work(gap=range(10, 20)), Exchange({10, 11, 15, 30}))
    await rig.run(10)
    assert rig.work.brought == [("gap", 10), ("gap", 11), ("gap", 15)]
    assert rig.work.left_out == [("gap", 12, 14), ("gap", 16, 19)]


async def test_only_what_is_missing_is_taken_of_a_page(autojump_clock):
    rig = Rig(Work(gap=[10, 11, 15]), Exchange(range(100)))
    await rig.run(10)
    assert rig.work.brought == [("gap", 10), ("gap", 11), ("gap", 15)]
    assert rig.work.left_out == []


async def test_a_database_that_has_not_caught_up_is_asked_again_more_and_more_seldom(autojump_clock):
    rig = Rig(Work(gap=[10]), Exchange(range(20), answers=[[], [], []]))
    await rig.run(60)
    times = [round(at - rig.exchange.asked[0][0], 3) for at, _, _ in rig.exchange.asked]
    assert times == [0, 1.1, 3.2, 7.3]
    assert rig.work.brought == [("gap", 10)]


async def test_an_exchange_that_does_not_answer_is_asked_again_when_it_says_so_and_that_is_told(autojump_clock):
    failure = ExchangeUnreachable("https://rest", "HTTP 429", status=429, retry_after_s=20.0)
    rig = Rig(Work(gap=[10]), Exchange(range(20), answers=[failure, failure]))
    await rig.run(60)
    assert [round(at - rig.exchange.asked[0][0], 3) for at, _, _ in rig.exchange.asked] == [0, 20.1, 40.2]
    assert [(name, level, fields["gap"], fields["retry_in_s"]) for name, level, fields in rig.told] == [
        ("backfill_failed", "warning", "gap", 20.0)
    ] * 2
    assert rig.work.brought == [("gap", 10)]


async def test_several_gaps_are_repaired_at_once_and_none_twice(autojump_clock):
    work = Work(**{f"gap{index}": [index] for index in range(10)})
    rig = Rig(work, Exchange(range(20)))
    await rig.run(10)
    assert sorted(work.brought) == sorted((f"gap{index}", index) for index in range(10))
    assert rig.exchange.most == WORKERS
    assert len(rig.exchange.asked) == 10


async def test_a_gap_that_is_found_later_is_repaired_too(autojump_clock):
    rig = Rig(Work(), Exchange(range(20)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.run, 10)
        await trio.sleep(5)
        assert rig.exchange.asked == []
        rig.work.gaps["gap"] = {7}
        rig.work.change()
    assert rig.work.brought == [("gap", 7)]


async def test_nothing_is_fetched_while_too_much_waits_to_be_handed_on(autojump_clock):
    rig = Rig(Work(gap=[10]), Exchange(range(20)))
    rig.work.waiting = READY_MAX + 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.run, 10)
        await trio.sleep(5)
        assert rig.exchange.asked == []
        rig.work.waiting = READY_MAX
        rig.work.change()
    assert rig.work.brought == [("gap", 10)]


async def test_a_doubt_is_asked_about_until_it_is_decided(autojump_clock):
    work = Work()
    work.series = {"btcusdt@trade": 50}
    rig = Rig(work, Exchange((), answers=[40, ExchangeUnreachable("https://rest", "nobody there"), 49, 50]))
    await rig.run(60)
    assert [round(at - rig.exchange.asked[0][0], 3) for at, _, _ in rig.exchange.asked] == [0, 1, 3, 7]
    assert work.series == {}
    assert [name for name, _, _ in rig.told] == ["backfill_failed"]


async def test_a_crash_leaves_what_was_brought_and_the_next_life_goes_on(autojump_clock):
    rig = Rig(Work(gap=range(10, 30)), Exchange(range(100), page=10, answers=[None, ZeroDivisionError()]))
    with pytest.raises(ZeroDivisionError):
        await rig.run(10)
    assert len(rig.work.brought) == 10
    await rig.run(10)
    assert rig.work.brought == [("gap", number) for number in range(10, 30)]
