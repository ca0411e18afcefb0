"""At the start of a thousand symbols books are written as the weight allows; updates wait for no other book."""

import httpx
import trio

from ingest_actors.actors.bookkeeper import WORKERS, bookkeeper
from ingest_actors.binance.books import Books
from ingest_actors.binance.continuity import Continuity
from ingest_actors.binance.depth_snapshots import SnapshotFetcher
from ingest_actors.binance.journal import Journal
from ingest_actors.binance.outcome import Outcome
from ingest_actors.binance.rest import RestClient
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.binance.weight import URGENT_SHARE, WINDOW_S, WeightBudget
from ingest_actors.ledger import Ledger
from ingest_actors.messages import FrameBatch
from ingest_actors.supervision import Backoff

SYMBOLS = [f"S{number}USDT" for number in range(1000)]
HOLE = "S900USDT"
WEIGHT = 25


class Market:
    """Every symbol has an update a second; REST has them at once, and takes a quarter of a second to say so."""

    def __init__(self):
        self.table = StreamTable()
        self.ids = dict.fromkeys(SYMBOLS, 0)
        self.asked = []
        self.most_withheld = 0
        self.longest_s = 0.0
        self.written = {symbol: [] for symbol in SYMBOLS}
        self.snapshots = {}
        self.continuity = Continuity(
            hold_s=lambda kind: None,
            late=lambda event: event,
            journal=Journal("gaps").record,
            held_max=50_000,
            bytes_max=4 * 1024**2,
            clock=trio.current_time,
            clock_ms=lambda: 0,
        )
        kind = self.table.kind("depth_update")
        self.route = self.table.route(kind)
        self.series = [
            self.continuity.series(kind, f"{symbol.lower()}@depth@100ms", symbol, self.route) for symbol in SYMBOLS
        ]

    async def answer(self, request):
        symbol = request.url.params["symbol"]
        self.asked.append((trio.current_time(), symbol))
        await trio.sleep(0.25)
        return httpx.Response(200, content=b'{"lastUpdateId":%d,"bids":[],"asks":[]}' % self.ids[symbol])

    async def run(self, seconds):
        """What the parser and its hand do, once a second."""
        for second in range(seconds):
            self.continuity.begin()
            outcome = Outcome(FrameBatch([], received_at_ms=second, connection="ws-1"), self.continuity)
            for series in self.series:
                lost = 5 if series.symbol == HOLE and second == 60 else 0
                number = self.ids[series.symbol] = self.ids[series.symbol] + 1 + lost
                value = b'{"U":%d,"u":%d,"at":%d}' % (number, number, trio.current_time())
                outcome.offer(series, number, number, (value, series.symbol.encode(), second, self.route))
            self.take(outcome.events)
            self.continuity.commit(outcome.odd)
            for _ in range(4):
                self.continuity.expire()
                while events := self.continuity.next_ready(500):
                    self.take(events)
                    self.continuity.took(len(events))
                self.most_withheld = max(self.most_withheld, sum(s.withheld is not None for s in self.series))
                await trio.sleep(0.25)

    def take(self, events):
        now = trio.current_time()
        for value, key, _, route in events:
            if route is self.route:
                self.longest_s = max(self.longest_s, now - int(value.partition(b'"at":')[2][:-1]))
                self.written[key.decode()].append(int(value[5 : value.index(b",")]))
            elif route.counted:
                self.snapshots.setdefault(key.decode(), []).append(now)


async def test_books_of_a_thousand_symbols_are_written_as_the_weight_allows_and_no_other_updates_wait(
    autojump_clock, nursery
):
    market, budget = Market(), WeightBudget(3000)
    rest = RestClient(["https://api.example"], transport=httpx.MockTransport(market.answer), budget=budget)
    ledger = Ledger()
    books = Books(market.continuity, interval_s=3600.0, wanted=lambda _: True)
    fetch = SnapshotFetcher(rest, market.table, 500, lambda: 0)
    nursery.start_soon(
        lambda: bookkeeper(books, fetch=fetch, ledger=ledger, backoff=Backoff, announce=lambda *_, **__: None)
    )
    took_s = -(-len(SYMBOLS) * WEIGHT // round(3000 * (1 - URGENT_SHARE))) * int(WINDOW_S)
    await market.run(took_s)
    written = [symbol for symbol in SYMBOLS if symbol in market.snapshots]
    assert written == SYMBOLS
    assert ledger.backfilled["depth_snapshot"] == len(SYMBOLS) + len(market.snapshots[HOLE]) - 1
    assert market.most_withheld <= WORKERS
    assert market.longest_s < 2.0
    for symbol in SYMBOLS:
        ids = market.written[symbol]
        assert ids == sorted(set(ids))
    times = [at for at, _ in market.asked]
    for start, at in enumerate(times):
        in_a_minute = sum(at <= later < at + WINDOW_S for later in times[start:])
        assert in_a_minute * WEIGHT <= 3000 * (1 - URGENT_SHARE)
    next_minute = next(at for at, symbol in market.asked if symbol == HOLE)
    assert next_minute <= 120.0 + 2.0, "a hole goes before the books that are still to begin"
