"""Which book is written next: those with a hole, those never written, the others; each when it is due."""

from trio.testing import wait_all_tasks_blocked

from ingest_actors.binance.books import UNWANTED_LOOK_S, Books
from ingest_actors.binance.continuity import Continuity
from ingest_actors.binance.journal import Journal
from ingest_actors.binance.sequence import Hole
from ingest_actors.binance.series import Odd
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.messages import Route

UPDATE = Route("depth_update", ("raw", "depth"))
SNAPSHOT = Route("depth_snapshot", ("raw", "depth"))
INTERVAL_S = 3600.0


class World:
    """Books of symbols A, B, C..., each of which has begun."""

    def __init__(self, symbols="ABC"):
        self.now = 0.0
        self.unwanted = set()
        self.continuity = Continuity(
            hold_s=lambda kind: None,
            late=lambda event: event,
            journal=Journal("gaps").record,
            held_max=1000,
            bytes_max=10**9,
            clock=lambda: self.now,
            clock_ms=lambda: 0,
        )
        self.books = Books(
            self.continuity,
            interval_s=INTERVAL_S,
            wanted=lambda stream: stream not in self.unwanted,
            clock=lambda: self.now,
        )
        kind = StreamTable().kind("depth_update")
        self.series = {
            symbol: self.continuity.series(kind, f"{symbol.lower()}@depth", symbol, UPDATE) for symbol in symbols
        }
        for symbol in symbols:
            self.bring(symbol, 1, 10)

    def bring(self, symbol, first, last):
        self.continuity.begin()
        event = (b'{"U":%d,"u":%d}' % (first, last), symbol.encode(), 0, UPDATE)
        series = self.series[symbol]
        if series.unbegun:
            self.continuity.touch(series)
            series.staged = last + 1
            self.continuity.commit([])
        else:
            self.continuity.commit([Odd(series, first, last, event)])
            self.continuity.expire()

    def take(self):
        book = self.books.take()
        return book and book.symbol

    def write(self, book, number=10):
        self.books.withhold(book)
        written = self.books.insert(book, number, (b"{}", b"A", 0, SNAPSHOT))
        if written:
            self.books.done(book)
        return written

    def write_all(self):
        while book := self.books.take():
            assert self.write(book)


def test_books_are_due_when_they_begin_in_that_order_each_once():
    world = World()
    assert [world.take() for _ in range(4)] == ["A", "B", "C", None]
    assert world.books.next_due() is None


def test_a_book_is_due_again_when_the_interval_is_over():
    world = World("AB")
    world.write_all()
    assert world.books.next_due() == INTERVAL_S
    world.now = INTERVAL_S - 1
    assert world.take() is None
    world.now = INTERVAL_S
    assert [world.take(), world.take(), world.take()] == ["A", "B", None]


def test_a_book_with_a_hole_goes_before_all_others_and_is_not_written_twice_for_it():
    world = World("ABC")
    world.write_all()
    world.now = INTERVAL_S
    world.bring("B", 15, 20)
    assert world.books.next_due() == world.now
    assert [world.take() for _ in range(4)] == ["B", "A", "C", None]


def test_a_snapshot_that_does_not_reach_over_the_hole_is_of_no_use():
    world = World("A")
    book = world.books.take()
    world.books.withhold(book)
    world.bring("A", 15, 20)
    assert not world.write(book, 13)
    assert world.books.waits(book)
    assert world.write(book, 14)


def test_a_hole_that_is_found_while_a_book_is_asked_for_is_in_what_is_asked_for():
    world = World("A")
    book = world.books.take()
    world.books.withhold(book)
    world.bring("A", 15, 20)
    assert not world.write(book, 10)
    assert world.write(book, 20)
    assert world.take() is None
    assert world.books.next_due() == INTERVAL_S


def test_a_book_that_could_not_be_had_is_due_later_and_its_updates_go_on():
    world = World("A")
    book = world.books.take()
    world.books.withhold(book)
    assert world.books.waits(book)
    world.books.put_off(book, 7.0)
    assert not world.books.waits(book)
    assert (world.take(), world.books.next_due()) == (None, 7.0)
    world.now = 7.0
    assert world.take() == "A"


def test_a_hole_does_not_wait_for_the_end_of_a_delay():
    world = World("A")
    world.books.put_off(world.books.take(), 300.0)
    world.bring("A", 15, 20)
    assert world.take() == "A"
    world.now = 300.0
    assert world.take() is None


def test_a_new_sequence_is_asked_for_from_its_own_ids_on():
    world = World("A")
    world.write_all()
    world.bring("A", 15, 20)
    book = world.books.take()
    assert book.least == 14
    world.continuity.on_book_hole(world.series["A"], Hole(3, 3))
    assert book.least == 3


def test_a_book_whose_stream_is_not_wanted_is_left_alone_until_it_is():
    world = World("A")
    world.unwanted.add("a@depth")
    assert (world.take(), world.books.next_due()) == (None, UNWANTED_LOOK_S)
    world.unwanted.clear()
    world.now = UNWANTED_LOOK_S
    assert world.take() == "A"


async def test_whoever_waits_is_told_of_a_book_that_is_due(autojump_clock, nursery):
    world = World("")
    told = []

    async def wait():
        await world.books.wait_changed()
        told.append(world.take())

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    world.series["A"] = world.continuity.series(StreamTable().kind("depth_update"), "a@depth", "A", UPDATE)
    world.bring("A", 1, 10)
    await wait_all_tasks_blocked()
    assert told == ["A"]
