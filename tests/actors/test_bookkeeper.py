"""The bookkeeper: book after book as the budget allows, again until an answer has a place, never a storm."""

from types import SimpleNamespace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ingest_actors.actors.bookkeeper import (
    AGAIN_FIRST_S,
    AWAY_FIRST_S,
    AWAY_MAX_S,
    READY_MAX,
    RETRY_FIRST_S,
    RETRY_MAX_S,
    WORKERS,
    bookkeeper,
)
from ingest_actors.errors import ExchangeUnreachable, IngestError
from ingest_actors.ledger import Ledger
from ingest_actors.messages import Route
from ingest_actors.supervision import Backoff

ROUTE = Route("depth_snapshot", ("raw", "depth"))
WITHHOLD_S = 10.0


class Shelf:
    """Books that are due, and what becomes of them."""

    def __init__(self, *symbols):
        self.due = [(0.0, symbol) for symbol in symbols]
        self.least = {}
        self.withheld = {}
        self.written = []
        self.put_off_for = []
        self.waiting = 0
        self.changed = trio.Event()

    def want(self, symbol, *, first=False):
        self.due.insert(0 if first else len(self.due), (trio.current_time(), symbol))
        self.ring()

    def ring(self):
        self.changed.set()
        self.changed = trio.Event()

    def take(self):
        for place, (at, symbol) in enumerate(self.due):
            if at <= trio.current_time():
                del self.due[place]
                return SimpleNamespace(symbol=symbol)
        return None

    def next_due(self):
        return min((at for at, _ in self.due), default=None)

    async def wait_changed(self):
        await self.changed.wait()

    def crowded(self):
        return self.waiting

    def withhold(self, book):
        return self.withheld.setdefault(book.symbol, trio.current_time() + WITHHOLD_S)

    def waits(self, book):
        return self.withheld.get(book.symbol, -1.0) > trio.current_time()

    def insert(self, book, number, event):
        if not self.waits(book) or number < self.least.get(book.symbol, 0):
            return False
        self.written.append((trio.current_time(), book.symbol, number))
        return True

    def done(self, book):
        del self.withheld[book.symbol]

    def put_off(self, book, seconds):
        self.withheld.pop(book.symbol, None)
        self.put_off_for.append((book.symbol, seconds))
        self.due.append((trio.current_time() + seconds, book.symbol))
        self.ring()


class Exchange:
    """Its book's id is ten times the seconds, less what it lags; a question takes a while."""

    def __init__(self, *answers, turn_s=0.0, takes_s=0.1, lag_s=0.0):
        self.answers = list(answers)
        self.turn_s = turn_s
        self.takes_s = takes_s
        self.lag_s = lag_s
        self.asked = []
        self.under_way = self.most = 0

    async def turn(self):
        await trio.sleep(self.turn_s)

    async def __call__(self, symbol, *, sent):
        await trio.lowlevel.checkpoint()
        self.asked.append((trio.current_time(), symbol))
        sent()
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await trio.sleep(self.takes_s)
        finally:
            self.under_way -= 1
        if self.answers and (answer := self.answers.pop(0)) is not None:
            raise answer
        return round(10 * (trio.current_time() - self.lag_s)), (b"{}", symbol.encode(), 0, ROUTE)


class Rig:
    def __init__(self, shelf, exchange):
        self.shelf = shelf
        self.exchange = exchange
        self.ledger = Ledger()
        self.told = []

    async def run(self, seconds=None):
        await bookkeeper(
            self.shelf,
            fetch=self.exchange,
            ledger=self.ledger,
            backoff=lambda first_s, max_s: Backoff(first_s, max_s, jitter=0),
            announce=lambda name, **fields: self.told.append((name, fields)),
        )


async def run(nursery, shelf, exchange, seconds):
    rig = Rig(shelf, exchange)
    nursery.start_soon(rig.run)
    await trio.sleep(seconds)
    await wait_all_tasks_blocked()
    return rig


async def test_every_book_that_is_due_is_written_and_counted(autojump_clock, nursery):
    rig = await run(nursery, Shelf("A", "B"), Exchange(), 1)
    assert sorted(symbol for _, symbol, _ in rig.shelf.written) == ["A", "B"]
    assert rig.ledger.backfilled == {"depth_snapshot": 2}
    assert (rig.shelf.withheld, rig.told) == ({}, [])


async def test_no_more_books_are_asked_for_at_once_than_may(autojump_clock, nursery):
    rig = await run(nursery, Shelf(*map(str, range(40))), Exchange(takes_s=1.0), 60)
    assert (len(rig.shelf.written), rig.exchange.most) == (40, WORKERS)


async def test_while_a_book_waits_for_its_turn_another_that_is_more_urgent_goes_first(autojump_clock, nursery):
    shelf = Shelf("A", "B", "C")
    rig = Rig(shelf, Exchange(turn_s=10.0, takes_s=0.0))
    nursery.start_soon(rig.run)
    await trio.sleep(15)
    shelf.want("URGENT", first=True)
    assert shelf.withheld == {}, "nothing waits for its turn with its updates withheld"
    await trio.sleep(60)
    assert [symbol for _, symbol, _ in shelf.written] == ["A", "URGENT", "B", "C"]


async def test_a_book_that_lags_behind_its_stream_is_asked_for_again_while_its_updates_wait(autojump_clock, nursery):
    shelf, exchange = Shelf("A"), Exchange(lag_s=2.0)
    start = trio.current_time()
    shelf.least["A"] = round(10 * start)
    rig = await run(nursery, shelf, exchange, 30)
    ((at, _, number),) = shelf.written
    assert number >= shelf.least["A"]
    assert at - start < WITHHOLD_S
    assert len(exchange.asked) < 6
    assert (rig.told, shelf.put_off_for) == ([], [])


async def test_a_book_that_lags_for_longer_lets_its_updates_go_and_is_asked_for_more_and_more_seldom(
    autojump_clock, nursery
):
    shelf, exchange = Shelf("A"), Exchange(lag_s=10**6)
    shelf.least["A"] = 0
    rig = await run(nursery, shelf, exchange, 3600)
    assert shelf.written == []
    delays = [seconds for _, seconds in shelf.put_off_for]
    assert delays[0] == RETRY_FIRST_S
    assert delays[-1] == RETRY_MAX_S
    assert len(exchange.asked) < 120
    assert rig.told[0] == (
        "book_snapshot_failed",
        {
            "level": "warning",
            "symbol": "A",
            "cause": "no book as new as its stream came for as long as the updates may wait",
            "retry_in_s": RETRY_FIRST_S,
        },
    )


async def test_updates_that_no_longer_wait_are_not_waited_for(autojump_clock, nursery):
    shelf = Shelf("A")
    shelf.least["A"] = 10**9
    rig = Rig(shelf, Exchange())
    nursery.start_soon(rig.run)
    await trio.sleep(0.2)
    shelf.withheld["A"] = -1.0  # too many
    await trio.sleep(AGAIN_FIRST_S)
    await wait_all_tasks_blocked()
    assert shelf.put_off_for == [("A", RETRY_FIRST_S)]


async def test_an_exchange_that_does_not_answer_in_time_lets_the_updates_go(autojump_clock, nursery):
    rig = await run(nursery, Shelf("A"), Exchange(takes_s=60.0), WITHHOLD_S)
    assert rig.shelf.put_off_for == [("A", RETRY_FIRST_S)]


async def test_while_the_exchange_is_away_nobody_asks_for_any_book(autojump_clock, nursery):
    away = [ExchangeUnreachable("https://api", "down") for _ in range(10**4)]
    shelf, exchange = Shelf(*map(str, range(1000))), Exchange(*away, takes_s=0.0)
    rig = await run(nursery, shelf, exchange, 600)
    assert shelf.written == []
    assert shelf.withheld == {}
    assert len(exchange.asked) < 70
    assert {fields["retry_in_s"] for _, fields in rig.told} >= {AWAY_FIRST_S, AWAY_MAX_S}
    exchange.answers.clear()
    await trio.sleep(3 * AWAY_MAX_S)
    assert len(shelf.written) == 1000


async def test_the_exchange_is_left_alone_for_as_long_as_it_says(autojump_clock, nursery):
    banned = ExchangeUnreachable("https://api", "HTTP 418", status=418, retry_after_s=500.0)
    rig = await run(nursery, Shelf("A"), Exchange(banned), 499)
    assert len(rig.exchange.asked) == 1
    await trio.sleep(3)
    assert [symbol for _, symbol, _ in rig.shelf.written] == ["A"]


async def test_a_book_that_the_exchange_refuses_holds_up_no_other(autojump_clock, nursery):
    rig = await run(nursery, Shelf("A", "B"), Exchange(IngestError("no such symbol"), takes_s=0.0), 1)
    ((_, first, _),) = rig.shelf.written
    await trio.sleep(RETRY_FIRST_S)
    assert [symbol for _, symbol, _ in rig.shelf.written] == [first, "A" if first == "B" else "B"]


async def test_nothing_is_asked_while_too_much_waits_to_be_handed_on(autojump_clock, nursery):
    shelf = Shelf("A")
    shelf.waiting = READY_MAX + 1
    rig = await run(nursery, shelf, Exchange(), 10)
    assert rig.exchange.asked == []
    shelf.waiting = 0
    await trio.sleep(1)
    assert len(shelf.written) == 1


@pytest.mark.parametrize("at_s", [0.0, 0.05, 0.3])
async def test_when_it_is_cancelled_the_updates_go_on_and_the_book_is_due_at_once(at_s, autojump_clock):
    shelf, exchange = Shelf("A"), Exchange(takes_s=0.1)
    shelf.least["A"] = 10**9
    with trio.move_on_after(at_s):
        await Rig(shelf, exchange).run()
    assert (shelf.withheld, [symbol for _, symbol in shelf.due]) == ({}, ["A"])
    assert shelf.next_due() == trio.current_time() or at_s == 0.0


async def test_after_a_crash_the_next_life_goes_on(autojump_clock):
    shelf = Shelf("A", "B")
    with pytest.raises(ZeroDivisionError):
        await Rig(shelf, Exchange(None, ZeroDivisionError())).run()
    with trio.move_on_after(10):
        await Rig(shelf, Exchange()).run()
    assert sorted(symbol for _, symbol, _ in shelf.written) == ["A", "B"]
