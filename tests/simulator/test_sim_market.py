"""The seeded market: ten minutes of it obey every law that recordings of the real exchange obey."""

import itertools
import json
import statistics
from bisect import bisect_left
from collections import defaultdict

import pytest
from simulator_support import START_MS, Listener, advance, by_stream, make_market

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "ADAUSDT", "XRPUSDT", "DOGEUSDT")
KINDS = ("trade", "aggTrade", "bookTicker", "depth@100ms", "depth", "depth5@100ms", "kline_1m", "kline_1s", "ticker")
SECONDS = 600


class Played:
    """What ten minutes sent, and the book as REST told it after one of them."""

    def __init__(self):
        self.source = make_market(symbols=SYMBOLS, seed=3, activity=0.3)
        names = [f"{symbol.lower()}@{kind}" for symbol in SYMBOLS for kind in KINDS]
        self.listener = Listener(self.source, *names, phase_us=37_000)
        self.messages = []
        self.snapshots = defaultdict(list)
        for second in range(SECONDS):
            advance(self.source, 1)
            self.messages += self.listener.messages()
            if second % 20 == 10:
                for symbol in SYMBOLS:
                    self.snapshots[symbol].append(json.loads(self.source.rest.depth(symbol, 5000)))
        self.streams = by_stream(self.messages)


_played = []


@pytest.fixture
async def played():
    if not _played:
        _played.append(Played())
    return _played[0]


async def test_trade_ids_rise_by_one(played):
    for symbol in SYMBOLS:
        ids = [trade["t"] for trade in played.streams[f"{symbol.lower()}@trade"]]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert len(ids) > 50


async def test_aggregate_ids_rise_by_one_and_chain_their_trades(played):
    for symbol in SYMBOLS:
        aggregates = played.streams[f"{symbol.lower()}@aggTrade"]
        assert [a["a"] for a in aggregates] == list(range(aggregates[0]["a"], aggregates[0]["a"] + len(aggregates)))
        for before, after in itertools.pairwise(aggregates):
            assert after["f"] == before["l"] + 1


async def test_an_aggregate_is_its_trades_exactly(played):
    for symbol in SYMBOLS:
        trades = {trade["t"]: trade for trade in played.streams[f"{symbol.lower()}@trade"]}
        for aggregate in played.streams[f"{symbol.lower()}@aggTrade"]:
            parts = [trades[number] for number in range(aggregate["f"], aggregate["l"] + 1)]
            assert {(part["p"], part["T"], part["m"]) for part in parts} == {
                (aggregate["p"], aggregate["T"], aggregate["m"])
            }
            assert sum(units(part["q"]) for part in parts) == units(aggregate["q"])


async def test_sweeps_share_their_time_and_different_orders_can_agree_in_everything_but_the_id(played):
    aggregates = played.streams["btcusdt@aggTrade"]
    neighbours = list(itertools.pairwise(aggregates))
    shared = sum(before["T"] == after["T"] for before, after in neighbours) / len(neighbours)
    assert 0.1 < shared < 0.6
    assert sum((b["T"], b["p"], b["m"]) == (a["T"], a["p"], a["m"]) for b, a in neighbours) >= 5


async def test_bursts_put_many_trades_into_one_millisecond(played):
    bursts = defaultdict(int)
    for trade in played.streams["btcusdt@trade"]:
        bursts[trade["T"]] += 1
    assert max(bursts.values()) > 50


async def test_events_follow_their_trades_by_a_millisecond_with_a_long_tail(played):
    delays = sorted(trade["E"] - trade["T"] for trade in played.streams["btcusdt@trade"])
    assert delays[0] >= 0
    assert delays[-1] <= 220
    assert statistics.median(delays) <= 3
    assert delays[int(0.99 * len(delays))] >= 15


async def test_event_times_never_fall_within_a_stream_but_do_across_streams(played):
    last, last_of_all, inversions = {}, 0, 0
    for message in played.messages:
        event_ms = message["data"].get("E")
        if event_ms is None:
            continue
        assert event_ms >= last.get(message["stream"], 0)
        last[message["stream"]] = event_ms
        inversions += event_ms < last_of_all
        last_of_all = max(last_of_all, event_ms)
    assert 0 < inversions < len(played.messages) / 100


async def test_depth_ids_join_without_a_gap_and_an_interval_without_change_is_silent(played):
    for symbol in SYMBOLS:
        for stream, step_ms in (("depth@100ms", 100), ("depth", 1000)):
            updates = played.streams[f"{symbol.lower()}@{stream}"]
            for before, after in itertools.pairwise(updates):
                assert after["U"] == before["u"] + 1
                assert after["E"] > before["E"]
                assert after["u"] >= after["U"]
                assert after["b"] or after["a"]
            assert {update["E"] % step_ms for update in updates} == {37}
    quiet = played.streams["dogeusdt@depth@100ms"]
    assert len(quiet) < SECONDS * 10 * 0.9


async def test_levels_come_best_first(played):
    for stream, updates in played.streams.items():
        if "@depth" in stream:
            for update in updates:
                bids = [float(price) for price, _ in update.get("b", update.get("bids"))]
                asks = [float(price) for price, _ in update.get("a", update.get("asks"))]
                assert bids == sorted(bids, reverse=True)
                assert asks == sorted(asks)


async def test_levels_that_nobody_had_are_removed_now_and_then(played):
    known, unknown = set(), 0
    for update in played.streams["btcusdt@depth@100ms"]:
        for price, quantity in update["b"] + update["a"]:
            unknown += quantity == "0.00000000" and price not in known
            known.add(price)
    assert unknown > 10


@pytest.mark.parametrize("stream", ["depth@100ms", "depth"])
async def test_the_book_from_a_snapshot_and_diffs_agrees_with_every_book_ticker(played, stream):
    for symbol in SYMBOLS:
        tickers = played.streams[f"{symbol.lower()}@bookTicker"]
        ticker_ids = [ticker["u"] for ticker in tickers]
        assert ticker_ids == sorted(set(ticker_ids))
        book, compared = None, 0
        for update in played.streams[f"{symbol.lower()}@{stream}"]:
            if book is None:
                book = start_book(played.snapshots[symbol][0], update)
                continue
            assert update["U"] == book.update_id + 1
            book.apply(update)
            found = bisect_left(ticker_ids, update["u"] + 1) - 1
            if found >= 0 and update["U"] <= ticker_ids[found]:
                top = book.top()
                assert top == tuple(tickers[found][key] for key in "bBaA")
                assert float(top[0]) < float(top[2])
                compared += 1
        assert compared > 20


async def test_every_later_snapshot_is_the_book_that_a_client_holds(played):
    for symbol in SYMBOLS:
        updates = played.streams[f"{symbol.lower()}@depth@100ms"]
        borders = {update["u"] for update in updates}
        book = None
        snapshots = {snapshot["lastUpdateId"]: snapshot for snapshot in played.snapshots[symbol][1:]}
        seen = 0
        for update in updates:
            if book is None:
                book = start_book(played.snapshots[symbol][0], update)
                continue
            book.apply(update)
            snapshot = snapshots.get(update["u"])
            if snapshot:
                assert [list(level) for level in book.side("b")] == snapshot["bids"]
                assert [list(level) for level in book.side("a")] == snapshot["asks"]
                seen += 1
        assert seen == len(borders & snapshots.keys()) >= len(snapshots) // 2


async def test_snapshots_fall_mostly_on_the_border_of_an_event_sometimes_inside_or_before(played):
    on_border = inside = 0
    for symbol in SYMBOLS[:3]:
        for stream in ("depth@100ms", "depth"):
            updates = played.streams[f"{symbol.lower()}@{stream}"]
            borders = {update["u"] for update in updates}
            ids = [snapshot["lastUpdateId"] for snapshot in played.snapshots[symbol]]
            on_border += sum(number in borders for number in ids)
            inside += sum(number not in borders for number in ids)
    assert on_border > inside > 0


async def test_partial_books_are_the_top_of_the_book(played):
    book, partials = None, {p["lastUpdateId"]: p for p in played.streams["btcusdt@depth5@100ms"]}
    compared = 0
    for update in played.streams["btcusdt@depth@100ms"]:
        if book is None:
            book = start_book(played.snapshots["BTCUSDT"][0], update)
            continue
        book.apply(update)
        partial = partials.get(update["u"])
        if partial:
            assert [list(level) for level in book.side("b")[:5]] == partial["bids"]
            assert [list(level) for level in book.side("a")[:5]] == partial["asks"]
            compared += 1
    assert compared > 1000


async def test_candles_are_their_trades_and_each_is_closed_once(played):
    for symbol in SYMBOLS:
        trades = played.streams[f"{symbol.lower()}@trade"]
        first_id = trades[0]["t"]
        for interval in ("1m", "1s"):
            frames = [kline["k"] for kline in played.streams[f"{symbol.lower()}@kline_{interval}"]]
            closed = [candle for candle in frames if candle["x"]]
            assert len({candle["t"] for candle in closed}) == len(closed)
            starts = [candle["t"] for candle in closed]
            step = 60_000 if interval == "1m" else 1000
            assert starts == list(range(starts[0], starts[0] + step * len(starts), step))
            last = None
            for candle in closed:
                if candle["n"]:
                    assert last is None or candle["f"] == last + 1
                    last = candle["L"]
                    check_candle(candle, trades[candle["f"] - first_id : candle["L"] + 1 - first_id])
                else:
                    assert (candle["f"], candle["L"], candle["v"]) == (-1, -1, "0.00000000")


async def test_open_candles_come_about_every_two_seconds_and_may_trail(played):
    frames = played.streams["btcusdt@kline_1m"]
    gaps = [b["E"] - a["E"] for a, b in itertools.pairwise(frames)]
    assert 2000 <= statistics.median(gaps) <= 2600
    closes = [kline["E"] - kline["k"]["T"] for kline in frames if kline["k"]["x"]]
    assert all(69 <= delay <= 2395 for delay in closes)
    last, trailing = 0, 0
    for message in played.messages:
        if message["stream"] == "btcusdt@trade":
            last = message["data"]["t"]
        elif message["stream"] == "btcusdt@kline_1m":
            assert message["data"]["k"]["L"] <= last
            trailing += message["data"]["k"]["L"] < last
    assert 0.05 < trailing / len(frames) < 0.5


async def test_tickers_are_the_day_so_far(played):
    for symbol in SYMBOLS[:3]:
        trades = played.streams[f"{symbol.lower()}@trade"]
        ticker = played.streams[f"{symbol.lower()}@ticker"][-1]
        part = trades[: ticker["L"] - trades[0]["t"] + 1]
        prices = [trade["p"] for trade in part]
        assert (ticker["F"], ticker["n"]) == (part[0]["t"], len(part))
        assert (ticker["o"], ticker["c"], ticker["Q"]) == (prices[0], prices[-1], part[-1]["q"])
        assert (ticker["h"], ticker["l"]) == (max(prices, key=float), min(prices, key=float))
        assert units(ticker["v"]) == sum(units(trade["q"]) for trade in part)
        assert units(ticker["p"]) == units(prices[-1]) - units(prices[0])


async def test_the_wire_is_compact_keeps_the_key_order_and_has_eight_decimals(played):
    orders = {
        "trade": "e E s t p q T m M", "aggTrade": "e E s a p q f l T m M", "bookTicker": "u s b B a A",
        "depth": "e E s U u b a", "depth5@100ms": "lastUpdateId bids asks", "kline_1m": "e E s k",
        "ticker": "e E s p P w x c Q b B a A o h l v q O C F L n",
    }  # fmt: skip
    for kind, order in orders.items():
        for event in played.streams[f"btcusdt@{kind}"][:200]:
            assert list(event) == order.split()
    assert list(played.streams["btcusdt@kline_1m"][0]["k"]) == list_of("t T s i f L o c h l v n x q V Q B")
    for trade in played.streams["ethusdt@trade"]:
        assert len(trade["p"].partition(".")[2]) == len(trade["q"].partition(".")[2]) == 8
        assert trade["t"] > 2**31
    listener = Listener(played.source, "btcusdt@trade", "!miniTicker@arr", "btcusdt@kline_1d@+08:00")
    advance(played.source, 30)
    for payload in listener.payloads():
        assert json.dumps(json.loads(payload), separators=(",", ":"), ensure_ascii=False).encode() == payload


async def test_the_same_seed_gives_the_same_bytes_and_another_another_market():
    def play(seed):
        source = make_market(seed=seed)
        listener = Listener(source, *(f"btcusdt@{kind}" for kind in KINDS))
        advance(source, 20)
        return listener.payloads()

    assert play(1) == play(1)
    assert play(1) != play(2)


async def test_what_happens_does_not_depend_on_who_listens():
    alone, crowded = make_market(), make_market()
    one = Listener(alone, "btcusdt@trade")
    other = Listener(crowded, "btcusdt@trade", number=2)
    Listener(crowded, *(f"ethusdt@{kind}" for kind in KINDS))
    for source in (alone, crowded):
        advance(source, 30)
    assert one.payloads() == other.payloads()


async def test_connections_cut_depth_where_their_own_phase_says():
    source = make_market()
    first = Listener(source, "btcusdt@depth@100ms", "btcusdt@trade", phase_us=10_000)
    second = Listener(source, "btcusdt@depth@100ms", "btcusdt@trade", number=2, phase_us=70_000)
    advance(source, 20)
    ours, theirs = by_stream(first.messages()), by_stream(second.messages())
    assert ours["btcusdt@trade"] == theirs["btcusdt@trade"]
    assert {update["E"] % 100 for update in ours["btcusdt@depth@100ms"]} == {10}
    assert {update["E"] % 100 for update in theirs["btcusdt@depth@100ms"]} == {70}
    assert [u["u"] for u in ours["btcusdt@depth@100ms"]] != [u["u"] for u in theirs["btcusdt@depth@100ms"]]


async def test_microseconds_apply_to_every_time():
    source = make_market()
    names = ["btcusdt@trade", "btcusdt@kline_1s", "btcusdt@ticker", "!miniTicker@arr"]
    micro = Listener(source, *names, microseconds=True)
    milli = Listener(source, *names, number=2)
    advance(source, 5)
    fine, coarse = by_stream(micro.messages()), by_stream(milli.messages())
    assert [t["T"] // 1000 for t in fine["btcusdt@trade"]] == [t["T"] for t in coarse["btcusdt@trade"]]
    assert [t["E"] // 1000 for t in fine["btcusdt@trade"]] == [t["E"] for t in coarse["btcusdt@trade"]]
    assert all(kline["k"]["T"] % 10**6 == 999_999 for kline in fine["btcusdt@kline_1s"])
    assert all(kline["k"]["T"] % 10**3 == 999 for kline in coarse["btcusdt@kline_1s"])
    assert fine["btcusdt@ticker"][0]["C"] // 1000 == coarse["btcusdt@ticker"][0]["C"]


async def test_arrays_hold_only_symbols_that_traded():
    source = make_market(symbols=(*SYMBOLS, *(f"COIN{n}USDT" for n in range(30))), activity=0.3)
    listener = Listener(source, "!miniTicker@arr", "!ticker_1h@arr", "btcusdt@trade")
    advance(source, 10)
    streams = by_stream(listener.messages())
    sizes = [len(array) for array in streams["!miniTicker@arr"]]
    assert min(sizes) > 0
    assert max(sizes[1:]) < 36
    assert {element["e"] for array in streams["!ticker_1h@arr"] for element in array} == {"1hTicker"}


@pytest.mark.parametrize(
    "name", ["BTCUSDT@trade", "btcusdt@Trade", "btcusdt@nosuch", "nosuch@trade", "!ticker@arr", "!bookTicker",
             "btcusdt@depth7", "btcusdt@depth@250ms", "btcusdt@kline_1x", "@trade", "btcusdt@ticker_2h"],
)  # fmt: skip
async def test_streams_that_do_not_exist_are_silent(name):
    source = make_market()
    listener = Listener(source, name)
    advance(source, 5)
    assert listener.payloads() == []
    source.detach(listener.session, name)


async def test_average_and_reference_price_and_rolling_windows_flow():
    source = make_market(symbols=("币USDT",))
    names = [
        f"币usdt@{kind}" for kind in ("avgPrice", "referencePrice", "ticker_4h", "miniTicker", "depth20", "kline_1M")
    ]
    listener = Listener(source, *names)
    advance(source, 30)
    streams = by_stream(listener.messages())
    assert set(streams) == set(names)
    assert list(streams["币usdt@avgPrice"][0]) == list_of("e E s i w T")
    assert list(streams["币usdt@referencePrice"][0]) == list_of("e s r t")
    assert list(streams["币usdt@ticker_4h"][0]) == list_of("e E s p P o h l c w v q O C F L n")
    assert list(streams["币usdt@miniTicker"][0]) == list_of("e E s c o h l v q")


async def test_a_stream_given_up_stops_and_comes_back_without_its_past():
    source = make_market()
    listener = Listener(source, "btcusdt@depth@100ms", "btcusdt@trade")
    advance(source, 2)
    assert listener.payloads()
    source.detach(listener.session, "btcusdt@depth@100ms")
    source.detach(listener.session, "btcusdt@trade")
    source.detach(listener.session, "btcusdt@trade")
    advance(source, 2)
    assert listener.payloads() == []
    book_id = source.markets["BTCUSDT"].book.update_id
    source.attach(listener.session, "btcusdt@depth@100ms")
    advance(source, 2)
    assert listener.messages()[0]["data"]["U"] == book_id + 1


async def test_windows_forget_what_is_too_old():
    source = make_market(symbols=("ADAUSDT",), activity=0.02)
    listener = Listener(source, "adausdt@trade", "adausdt@ticker_1h")
    advance(source, 3 * 3600)
    streams = by_stream(listener.messages())
    trades = {trade["t"]: trade for trade in streams["adausdt@trade"]}
    for ticker in streams["adausdt@ticker_1h"][::50]:
        if ticker["n"] and ticker["F"] > min(trades):
            part = [trades[number] for number in range(ticker["F"], ticker["L"] + 1)]
            assert ticker["O"] % 60_000 == 0
            assert 3_600_000 <= ticker["C"] - ticker["O"] < 3_660_000
            assert part[0]["T"] >= ticker["O"] > trades[ticker["F"] - 1]["T"]
            assert ticker["h"] == max((trade["p"] for trade in part), key=float)
            assert ticker["l"] == min((trade["p"] for trade in part), key=float)
            assert units(ticker["v"]) == sum(units(trade["q"]) for trade in part)
            assert ticker["n"] == len(part)


async def test_candles_of_every_interval_agree_with_the_trades_over_days():
    source = make_market(symbols=("ADAUSDT",), activity=0.002, history=100_000)
    advance(source, 3 * 86_400)
    trades = source.rest.trades("ADAUSDT", from_id=0, limit=100_000, lagging=False)
    for interval in ("1m", "15m", "1h", "6h", "1d", "1w", "1M"):
        rows = source.rest.klines("ADAUSDT", interval, start_us=0, end_us=None, limit=1000)
        newest = source.rest.klines("ADAUSDT", interval, start_us=None, end_us=None, limit=5)
        assert newest[-1].close_us >= source.scheduler.now_us
        for row, following in itertools.pairwise(rows):
            assert following.open_us == row.close_us + 1
        for row in rows[:200]:
            part = [trade for trade in trades if row.open_us <= trade.time_us <= row.close_us]
            assert row.trades == len(part)
            assert units(row.volumes[0]) == sum(units(trade.quantity) for trade in part)
            assert units(row.volumes[1]) == sum(units(trade.quote_quantity) for trade in part)
            if part:
                assert (row.prices[0], row.prices[3]) == (part[0].price, part[-1].price)


async def test_the_market_starts_when_it_is_told(mock_clock):
    source = make_market()
    assert source.now_ms() == START_MS


def list_of(names):
    return names.split()


def units(decimal):
    whole, _, fraction = decimal.partition(".")
    sign = -1 if whole.startswith("-") else 1
    return sign * (abs(int(whole)) * 10**8 + int(fraction.ljust(8, "0")))


def check_candle(candle, trades):
    assert candle["n"] == len(trades) == candle["L"] - candle["f"] + 1
    assert all(candle["t"] <= trade["T"] <= candle["T"] for trade in trades)
    prices = [trade["p"] for trade in trades]
    assert (candle["o"], candle["c"]) == (prices[0], prices[-1])
    assert (candle["h"], candle["l"]) == (max(prices, key=float), min(prices, key=float))
    taken = [trade for trade in trades if not trade["m"]]
    assert units(candle["v"]) == sum(units(trade["q"]) for trade in trades)
    assert units(candle["q"]) == sum(units(trade["p"]) * units(trade["q"]) // 10**8 for trade in trades)
    assert units(candle["V"]) == sum(units(trade["q"]) for trade in taken)
    assert units(candle["Q"]) == sum(units(trade["p"]) * units(trade["q"]) // 10**8 for trade in taken)


class Book:
    """A client's book."""

    def __init__(self, snapshot):
        self.update_id = snapshot["lastUpdateId"]
        self.levels = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}

    def apply(self, update):
        for name, side in self.levels.items():
            for price, quantity in update[name]:
                if quantity == "0.00000000":
                    side.pop(price, None)
                else:
                    side[price] = quantity
        self.update_id = update["u"]

    def side(self, name):
        return sorted(self.levels[name].items(), key=lambda level: float(level[0]), reverse=name == "b")

    def top(self):
        bid, ask = max(self.levels["b"], key=float), min(self.levels["a"], key=float)
        return bid, self.levels["b"][bid], ask, self.levels["a"][ask]


def start_book(snapshot, update):
    """The book after the first event that a snapshot allows; None before it."""
    if update["u"] <= snapshot["lastUpdateId"]:
        return None
    assert update["U"] <= snapshot["lastUpdateId"] + 1 <= update["u"]
    book = Book(snapshot)
    book.apply(update)
    return book
