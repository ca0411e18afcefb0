"""The same checks for recordings of the real exchange and for the seeded market; and the checks find every defect.

With ``INGEST_MARKET_HOURS`` the market is checked for so long, with ``INGEST_MARKET_SYMBOLS`` symbols at
``INGEST_MARKET_ACTIVITY``.
"""

import gzip
import json
import os
import time

import pytest
import trio
from invariants import Invariants
from market_run import MarketRun
from simulator_support import Listener, advance, make_market, record_market

from ingest_actors.recordings.lines import time_ns
from ingest_actors.simulator import invent_symbols
from ingest_actors.simulator.recording import Recording

LONG_KINDS = (
    "trade", "aggTrade", "blockTrade", "bookTicker", "depth@100ms", "kline_1m", "kline_1h", "ticker", "ticker_1h",
)  # fmt: skip
HOURS = float(os.environ.get("INGEST_MARKET_HOURS", "0"))

RECORDINGS = {
    "2021-04-04": ("spot_2021-04-04_3symbols.txt.gz",),
    "2021-04-17": ("spot_2021-04-17_ws.txt.gz", "spot_2021-04-17_http.txt.gz"),
    "2021-08-14": ("spot_2021-08-14_ws.txt.gz", "spot_2021-08-14_http.txt.gz"),
    "2021-10-11": ("spot_2021-10-11_ws.txt.gz", "spot_2021-10-11_http.txt.gz"),
    "2023-04-05": ("spot_btcusdt_20230405.dat.gz",),
    "2024-08-08": ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"),
}


def check_recording(paths):
    """All frames of a recording under the checks, REST's books where they were received."""
    recording, seen = Recording(paths), Invariants()
    answers = [answer for answer in recording.answers if answer.endpoint == "depth"]
    for _, block in recording.blocks():
        for at, frame, _ in block.frames:
            while answers and answers[0].time_ns <= time_ns(at):
                answer = answers.pop(0)
                seen.snapshot(answer.symbol, json.loads(answer.body))
            seen.frame(frame)
    seen.finish()
    return seen


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings_of_the_real_exchange_obey_the_laws(captures, name):
    seen = check_recording([captures / file for file in RECORDINGS[name]])
    assert seen.problems == []
    assert seen.counts["depthUpdate"] > 100
    compared = seen.counts["books compared"]
    assert compared - seen.counts["books agreed"] <= 0.001 * compared
    assert 0 <= seen.figures()["inversions of E across streams per 10000"] < 100


def test_the_book_of_the_long_recording_is_the_published_one_as_often_as_was_measured(captures):
    seen = check_recording([captures / file for file in RECORDINGS["2024-08-08"]])
    assert (seen.counts["books agreed"], seen.counts["books compared"]) == (5735, 5737)
    assert (seen.counts["trade"], seen.counts["bookTicker"], seen.counts["depthUpdate"]) == (19904, 73174, 6495)


@pytest.mark.parametrize(("sign", "breaks"), [("positive", 0), ("negative", 2)])
def test_breaks_that_others_put_into_recorded_trades_are_found(captures, sign, breaks):
    seen = Invariants()
    with gzip.open(captures / f"csv_{sign}_trade_stream_spot_trxusdt_2025-03-04.csv.gz", "rt") as file:
        header = file.readline().strip().split(",")
        for line in file:
            row = dict(zip(header, line.strip().split(","), strict=True))
            seen.event("trxusdt@trade", trade_of(row))
    assert sum("follows" in problem for problem in seen.problems) == breaks


def trade_of(row):
    return {
        "e": "trade", "E": int(row["EventTime"]), "s": "TRXUSDT", "t": int(row["TradeId"]), "p": row["Price"],
        "q": row["Quantity"], "T": int(row["TransactionTime"]), "m": row["IsBuyerMarketMaker"] == "1", "M": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seed", "activity", "seconds", "changes"),
    [
        (1, 1.0, 100, {}),
        (2, 0.2, 240, {"microseconds": True}),
        (3, 0.02, 1500, {"rest_lag_s": 2.0}),
        (4, 5.0, 15, {"orders_per_block": 200}),
    ],
)
async def test_the_seeded_market_obeys_the_laws(seed, activity, seconds, changes):
    run = MarketRun(symbols=invent_symbols(6), seed=seed, activity=activity, **changes)
    run.play(seconds)
    seen = run.finish()
    assert seen.problems == []
    counts = seen.counts
    assert counts["books agreed"] == counts["books compared"] > 100
    for kind in ("aggregates compared with trades", "candles chained", "REST trades compared",
                 "REST aggregates compared", "candles and tickers compared with trades"):  # fmt: skip
        assert counts[kind] > 20, kind
    assert counts["inversions"] > 0


async def test_the_seeded_market_is_as_lively_as_the_real_one():
    run = MarketRun(symbols=invent_symbols(8), seed=11, kinds=("trade", "aggTrade", "depth@100ms"))
    run.play(200)
    figures = run.finish().figures()
    assert 0.85 < figures["share of aggregates of one trade"] < 0.97
    assert 5 <= figures["longest aggregate"] <= 40
    assert 0.15 < figures["share of neighbours with equal T"] < 0.26
    assert figures["neighbours equal but for the id"] > 5
    assert 100 < figures["most trades at one T"] < 800
    assert figures["median delay ms"] in (1, 1.5)
    assert 26 <= figures["p99 delay ms"] <= 204
    assert figures["longest delay ms"] <= 220
    assert 0 < figures["inversions of E across streams per 10000"] < 100


async def test_each_connection_has_a_phase_of_its_own_and_cuts_its_books_there():
    source = make_market(symbols=("BTCUSDT",))
    seen = []
    listeners = [Listener(source, "btcusdt@depth@100ms", number=n, phase_us=p) for n, p in ((1, 12_000), (2, 71_000))]
    advance(source, 20)
    for listener in listeners:
        checks = Invariants()
        for payload in listener.payloads():
            checks.frame(payload)
        assert checks.problems == []
        seen.append(checks.phases["btcusdt@depth@100ms"])
    assert seen == [{12}, {71}]


def say(*words):
    print(*words, flush=True)  # noqa: T201 - whoever asks for hours wants to see them pass


@pytest.mark.skipif(not HOURS, reason="hours of market are asked for by INGEST_MARKET_HOURS")
async def test_hours_of_market_obey_the_laws():
    symbols = invent_symbols(int(os.environ.get("INGEST_MARKET_SYMBOLS", "50")))
    activity = float(os.environ.get("INGEST_MARKET_ACTIVITY", "0.05"))
    run = MarketRun(symbols=symbols, seed=24, activity=activity, rest_lag_s=1.0, kinds=LONG_KINDS)
    began = time.monotonic()
    for hour in range(round(HOURS)):
        run.play(3600, rest_every_s=600)
        say(hour + 1, "h of market in", round(time.monotonic() - began), "s:", run.seen.counts["frames"], "frames")
        assert run.seen.problems == []
    seen = run.finish()
    say(dict(seen.counts), seen.figures(), round(time.monotonic() - began, 1), "s")
    assert seen.problems == []
    assert seen.counts["books agreed"] == seen.counts["books compared"] > 1000


# what the checks find


def changed(stream, number, **values):
    """One event of a stream otherwise: its keys, or those of its kline, with other values."""

    def change(messages):
        event = [message["data"] for message in messages if message["stream"] == stream][number]
        for key, value in values.items():
            target = event["k"] if "k" in event and key != "E" else event
            target[key] = value(target[key]) if callable(value) else value
        return messages

    return change


def dropped(stream, number):
    def change(messages):
        found = [message for message in messages if message["stream"] == stream][number]
        return [message for message in messages if message is not found]

    return change


def doubled(stream, number):
    def change(messages):
        found = [message for message in messages if message["stream"] == stream][number]
        place = next(at for at, message in enumerate(messages) if message is found)
        return [*messages[: place + 1], found, *messages[place + 1 :]]

    return change


def up(decimal):
    return f"{float(decimal) + 1:.8f}"


def less(number):
    return number - 1


_AT_1, _AT_2, _FAR = ["1.00000000"] * 2, ["2.00000000"] * 2, ["99999999.00000000", "1.00000000"]

DEFECTS = {
    "a trade is missing": (dropped("btcusdt@trade", 40), "btcusdt@trade: t "),
    "a trade comes twice": (doubled("btcusdt@trade", 40), "btcusdt@trade: t "),
    "a trade has another price": (changed("btcusdt@trade", 40, p=up), "is not its trades"),
    "a trade has another quantity": (changed("btcusdt@trade", 40, q=up), "is not its trades"),
    "a trade has another side": (changed("btcusdt@trade", 40, m=lambda m: not m), "is not its trades"),
    "a trade has another time": (changed("btcusdt@trade", 40, T=lambda t: t - 5), "is not its trades"),
    "an aggregate is missing": (dropped("btcusdt@aggTrade", 30), "btcusdt@aggTrade: a "),
    "an aggregate begins elsewhere": (changed("btcusdt@aggTrade", 30, f=lambda f: f + 1), "f "),
    "an event is told before it happened": (changed("btcusdt@trade", 40, E=lambda e: e - 60_000), " before T "),
    "a stream's time falls": (changed("btcusdt@trade", 40, E=lambda e: e - 60_000), "E falls to"),
    "a diff is missing": (dropped("btcusdt@depth@100ms", 20), "btcusdt@depth@100ms: U "),
    "a diff is empty": (changed("btcusdt@depth@100ms", 20, b=[], a=[]), "nothing changed"),
    "levels come worst first": (changed("btcusdt@depth@100ms", 20, b=[_AT_1, _AT_2]), "not best first"),
    "ids of a diff are swapped": (changed("btcusdt@depth@100ms", 20, u=lambda u: u - 10**6), "below U"),
    "a diff is off the grid": (changed("btcusdt@depth@100ms", 20, E=lambda e: e + 31), "off the grid"),
    "the book is crossed": (changed("btcusdt@depth@100ms", 20, b=[_FAR]), "is not below best ask after"),
    "a best price is crossed": (changed("btcusdt@bookTicker", 20, b="99999999.00000000"), "is not below best ask at"),
    "best prices go back": (changed("btcusdt@bookTicker", 20, u=5), "btcusdt@bookTicker: u "),
    "a partial book is unordered": (changed("btcusdt@depth5@100ms", 9, asks=[_AT_2, _AT_1]), "not best first"),
    "a candle counts wrongly": (changed("btcusdt@kline_1s", 9, n=lambda n: n + 1), "btcusdt@kline_1s: n "),
    "a candle's volume is wrong": (changed("btcusdt@kline_1s", 9, v=up), "btcusdt@kline_1s: v "),
    "a candle's high is wrong": (changed("btcusdt@kline_1s", 9, h=up), "btcusdt@kline_1s: h "),
    "a candle's taker volume is wrong": (changed("btcusdt@kline_1s", 9, V=up), "btcusdt@kline_1s: V "),
    "a candle begins later": (changed("btcusdt@kline_1s", 9, f=lambda f: f + 1, n=less), "btcusdt@kline_1s: f "),
    "a candle is missing": (dropped("btcusdt@kline_1s", 9), "btcusdt@kline_1s: candle "),
    "a candle is closed twice": (doubled("btcusdt@kline_1s", 9), "goes on after it was closed"),
    "a candle is never closed": (changed("btcusdt@kline_1s", 9, x=False), "was never closed"),
    "a ticker's open is wrong": (changed("btcusdt@ticker", 9, o=up), "btcusdt@ticker: o "),
    "a ticker counts wrongly": (changed("btcusdt@ticker", 9, n=lambda n: n + 1), "btcusdt@ticker: n "),
    "a ticker's change is wrong": (changed("btcusdt@ticker", 9, p=up), "is not c - o"),
    "a block trade is missing": (dropped("btcusdt@blockTrade", 1), "btcusdt@blockTrade: t "),
    "a block trade has M": (changed("btcusdt@blockTrade", 1, M=True), "a block trade with M"),
    "seven decimals": (changed("btcusdt@trade", 40, p=lambda p: p[:-1]), "not eight decimals"),
    "no decimals": (changed("btcusdt@aggTrade", 30, q="3"), "not eight decimals"),
}  # fmt: skip


@pytest.fixture(scope="module")
def sent():
    """Twelve seconds of a sound market, as JSON texts."""

    async def record():
        kinds = ("trade", "aggTrade", "blockTrade", "bookTicker", "depth@100ms", "depth5@100ms", "kline_1s", "ticker")
        frames, snapshots = record_market(12, symbols=("BTCUSDT",), streams=kinds, seed=8, orders_per_block=100)
        return [payload for _, payload in frames], snapshots

    return trio.run(record)


def verify(payloads, snapshot):
    seen = Invariants()
    for number, payload in enumerate(payloads):
        if number == 60:
            seen.snapshot("BTCUSDT", snapshot)
        seen.frame(payload)
    seen.finish()
    return seen


@pytest.fixture
def snapshot(sent):
    """The book of the beginning, from the market itself."""

    async def take():
        return record_market(0.5, symbols=("BTCUSDT",), seed=8, orders_per_block=100)[1]["BTCUSDT"][1]

    return json.loads(trio.run(take))


def test_the_sound_events_have_no_defect(sent, snapshot):
    seen = verify(sent[0], snapshot)
    assert seen.problems == []
    assert seen.counts["books compared"] > 50


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_found(sent, snapshot, defect):
    change, text = DEFECTS[defect]
    messages = change([json.loads(payload) for payload in sent[0]])
    payloads = [json.dumps(message, separators=(",", ":")).encode() for message in messages]
    assert any(text in problem for problem in verify(payloads, snapshot).problems)


def test_a_book_that_differs_from_the_published_one_is_counted(sent, snapshot):
    broken = json.loads(json.dumps(snapshot))
    broken["bids"][0][1] = "12345.00000000"
    broken["bids"].insert(0, [f"{float(snapshot['asks'][0][0]) - 0.001:.8f}", "1.00000000"])
    seen = verify(sent[0], broken)
    assert seen.counts["books agreed"] < seen.counts["books compared"]


def test_spaces_are_found(sent):
    seen = Invariants()
    seen.frame(json.dumps(json.loads(sent[0][0])).encode())
    assert seen.problems[0].startswith("not compact")


async def test_rest_that_differs_from_the_streams_is_found():
    run = MarketRun(symbols=("BTCUSDT",), seed=9)
    run.play(130, rest_every_s=1000)
    trades = run.rest("historicalTrades", symbol="BTCUSDT", limit=50)
    aggregates = run.rest("aggTrades", symbol="BTCUSDT", limit=50)
    klines = run.rest("klines", symbol="BTCUSDT", interval="1m")[1:-1]
    book = run.rest("depth", symbol="BTCUSDT", limit=20)
    run.seen.rest_trades("BTCUSDT", trades)
    run.seen.rest_aggregates("BTCUSDT", aggregates)
    run.seen.rest_klines("BTCUSDT", klines)
    assert run.seen.problems == []
    trades[7]["qty"] = up(trades[7]["qty"])
    del trades[20]
    aggregates[7]["q"] = up(aggregates[7]["q"])
    klines[0][5] = up(klines[0][5])
    run.seen.rest_trades("BTCUSDT", trades)
    run.seen.rest_aggregates("BTCUSDT", aggregates)
    run.seen.rest_klines("BTCUSDT", klines)
    klines[0][8] += 1
    run.seen.rest_klines("BTCUSDT", klines)
    run.seen.snapshot("BTCUSDT", {**book, "bids": book["bids"][::-1]})
    said = [problem.partition(": ")[2].partition(" ")[0] for problem in run.seen.problems]
    assert said[:5] == ["REST", "REST", "REST", "REST's", "REST's"]
    assert set(said[5:]) == {"snapshot"}
