"""REST: endpoints, refusals, weights, and that it agrees with the streams at every instant."""

import json

import httpx
import pytest
from simulator_support import START_MS, Listener, advance, by_stream, make_market, quiet

from ingest_actors.simulator import Limits, invent_symbols, open_exchange
from ingest_actors.simulator.market.decimals import text
from ingest_actors.simulator.rest_server import make_rest_app
from ingest_actors.simulator.rest_weight import WeightBudget


class Rest:
    """A market that stands still between calls, and a client of its REST."""

    def __init__(self, *, weight_per_minute=10**9, raw_requests_max=300_000, **changes):
        self.source = make_market(**changes)
        self.source.clock.now_us = lambda: self.source.scheduler.now_us
        app = make_rest_app(self.source, weight_per_minute=weight_per_minute, raw_requests_max=raw_requests_max)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://exchange")

    async def get(self, path, **headers):
        return await self.http.get(f"/api/v3/{path}", headers=headers)

    async def json(self, path, **headers):
        answer = await self.get(path, **headers)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
async def rest():
    rest = Rest()
    advance(rest.source, 20)
    async with rest.http:
        yield rest


async def test_ping_and_time(rest):
    assert (await rest.get("ping")).content == b"{}"
    assert (await rest.get("time")).content == b'{"serverTime":%d}' % (START_MS + 20_000)
    assert await rest.json("time", **{"X-MBX-TIME-UNIT": "microsecond"}) == {"serverTime": (START_MS + 20_000) * 1000}


async def test_exchange_info_tells_symbols_and_limits(rest):
    info = await rest.json("exchangeInfo")
    assert list(info) == ["timezone", "serverTime", "rateLimits", "exchangeFilters", "symbols"]
    assert [symbol["symbol"] for symbol in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    assert info["symbols"][0]["baseAsset"] == "BTC"
    assert {f["filterType"] for f in info["symbols"][0]["filters"]} == {"PRICE_FILTER", "LOT_SIZE", "NOTIONAL"}
    one = await rest.json("exchangeInfo?symbol=ETHUSDT")
    assert [symbol["symbol"] for symbol in one["symbols"]] == ["ETHUSDT"]
    two = await rest.json('exchangeInfo?symbols=["ETHUSDT","BTCUSDT"]')
    assert [symbol["symbol"] for symbol in two["symbols"]] == ["ETHUSDT", "BTCUSDT"]
    assert (await rest.json("exchangeInfo?symbolStatus=HALT"))["symbols"] == []
    assert len((await rest.json("exchangeInfo?permissions=SPOT"))["symbols"]) == 2


async def test_depth_has_100_levels_unless_told(rest):
    answer = await rest.get("depth?symbol=BTCUSDT")
    book = answer.json()
    assert list(book) == ["lastUpdateId", "bids", "asks"]
    assert len(book["bids"]) == len(book["asks"]) == 100
    assert b" " not in answer.content
    assert len((await rest.json("depth?symbol=BTCUSDT&limit=7"))["bids"]) == 7
    assert len((await rest.json("depth?symbol=BTCUSDT&limit=99999"))["bids"]) > 300


async def test_trades_and_aggregates_are_what_the_streams_sent():
    rest = Rest()
    listener = Listener(rest.source, "btcusdt@trade", "btcusdt@aggTrade")
    advance(rest.source, 30)
    streams = by_stream(listener.messages())
    trades, aggregates = streams["btcusdt@trade"], streams["btcusdt@aggTrade"]
    first = trades[-600]["t"]
    page = await rest.json(f"historicalTrades?symbol=BTCUSDT&fromId={first}&limit=1000")
    assert [trade["id"] for trade in page] == [trade["t"] for trade in trades[-600:]]
    for told, sent in zip(page, trades[-600:], strict=True):
        assert list(told) == ["id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isBestMatch"]
        assert (told["price"], told["qty"], told["time"], told["isBuyerMaker"]) == tuple(sent[key] for key in "pqTm")
    assert await rest.json("trades?symbol=BTCUSDT&limit=5") == page[-5:]
    assert len(await rest.json("trades?symbol=BTCUSDT")) == 500
    first = aggregates[-300]["a"]
    told = await rest.json(f"aggTrades?symbol=BTCUSDT&fromId={first}")
    assert told == [{key: value for key, value in sent.items() if key not in "eEs"} for sent in aggregates[-300:]]
    assert await rest.json(f"aggTrades?symbol=BTCUSDT&fromId={aggregates[-1]['a'] + 1}") == []


async def test_aggregates_by_time_are_inclusive_at_both_ends(rest):
    everything = await rest.json("aggTrades?symbol=BTCUSDT&limit=1000")
    start, end = everything[20]["T"], everything[60]["T"]
    expected = [a for a in everything if start <= a["T"] <= end]
    assert await rest.json(f"aggTrades?symbol=BTCUSDT&startTime={start}&endTime={end}") == expected
    assert (
        await rest.json(f"aggTrades?symbol=BTCUSDT&startTime={start}&limit=3")
        == [a for a in everything if a["T"] >= start][:3]
    )
    until = [a for a in everything if a["T"] <= end]
    assert await rest.json(f"aggTrades?symbol=BTCUSDT&endTime={end}&limit=3") == until[-3:]
    fine = await rest.json(
        f"aggTrades?symbol=BTCUSDT&startTime={start * 1000}&limit=1", **{"X-MBX-TIME-UNIT": "MICROSECOND"}
    )
    assert fine[0]["T"] // 1000 == expected[0]["T"]


async def test_the_database_lags_behind_the_stream_when_told():
    rest = Rest(rest_lag_s=3)
    listener = Listener(rest.source, "btcusdt@trade", "btcusdt@aggTrade")
    advance(rest.source, 20)
    streams = by_stream(listener.messages())
    now_ms = rest.source.scheduler.now_us // 1000
    for path, stream, number in (("historicalTrades", "trade", "t"), ("aggTrades", "aggTrade", "a")):
        told = (await rest.json(f"{path}?symbol=BTCUSDT&limit=1000"))[-1]
        published = [event[number] for event in streams[f"btcusdt@{stream}"] if event["E"] <= now_ms - 3000]
        assert abs(told[{"t": "id", "a": "a"}[number]] - published[-1]) <= 1
    newest = (await rest.json("trades?symbol=BTCUSDT&limit=1"))[0]["id"]
    assert newest == streams["btcusdt@trade"][-1]["t"]


async def test_klines_agree_with_the_stream_and_count_from_their_start():
    rest = Rest()
    listener = Listener(rest.source, "btcusdt@kline_1m")
    advance(rest.source, 200)
    closed = {k["k"]["t"]: k["k"] for k in (m["data"] for m in listener.messages()) if k["k"]["x"]}
    rows = await rest.json("klines?symbol=BTCUSDT&interval=1m")
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    for row in rows[:-1]:
        candle = closed[row[0]]
        assert row == [candle[key] for key in "tohlcvTqnVQB"]
    assert await rest.json(f"klines?symbol=BTCUSDT&interval=1m&startTime={rows[1][0]}&limit=2") == rows[1:3]
    assert await rest.json(f"uiKlines?symbol=BTCUSDT&interval=1m&endTime={rows[1][0]}") == rows[:2]
    assert await rest.json(f"klines?symbol=BTCUSDT&interval=1m&startTime={rows[0][0] + 1}") == rows[1:]


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("depth", -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ("klines?interval=1m", -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ("klines?symbol=BTCUSDT", -1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed."),
        ("depth?symbol=NOSUCH", -1121, "Invalid symbol."),
        ("depth?symbol=btcusdt", -1100, r"Illegal characters found in parameter 'symbol'; legal range is '^[\w\-._&&[^a-z]]{1,50}$'."),  # noqa: E501
        ("depth?symbol=BTC%20USDT", -1100, None),
        ("depth?symbol=BTCUSDT&limit=-1", -1100, "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'."),  # noqa: E501
        ("depth?symbol=BTCUSDT&limit=0", -1130, "Data sent for parameter 'limit' is not valid."),
        ("aggTrades?symbol=BTCUSDT&fromId=-1", -1100, "Illegal characters found in parameter 'fromId'; legal range is '^[0-9]{1,20}$'."),  # noqa: E501
        ("depth?symbol=BTCUSDT&symbol=BTCUSDT", -1101, "Duplicate values for a parameter detected."),
        ("depth?symbol=BTCUSDT&limit=5&symbolStatus=TRADING&x=1", -1101, "Too many parameters; expected '3' and received '4'."),  # noqa: E501
        ("ping?x=1", -1101, "Too many parameters; expected '0' and received '1'."),
        ("depth?symbol=BTCUSDT&x=1", -1104, "Not all sent parameters were read; read '1' parameter(s) but was sent '2'."),  # noqa: E501
        ("depth?symbol=", -1105, "Parameter 'symbol' was empty."),
        ("klines?symbol=BTCUSDT&interval=7m", -1120, "Invalid interval."),
        ("aggTrades?symbol=BTCUSDT&fromId=1&startTime=5", -1128, "Combination of optional parameters invalid."),
        ('exchangeInfo?symbol=BTCUSDT&symbols=["BTCUSDT"]', -1128, "Combination of optional parameters invalid."),
        ("exchangeInfo?symbol=BTCUSDT&symbolStatus=TRADING", -1128, "Combination of optional parameters invalid."),
        ('exchangeInfo?symbols=["BTCUSDT","BTCUSDT"]', -1151, "Symbol is present multiple times in the list."),
        ("exchangeInfo?symbols=BTCUSDT", -1100, None),
        ("exchangeInfo?symbols=[]", -1100, None),
        ("depth?symbol=BTCUSDT&symbolStatus=NONE", -1122, "Invalid symbolStatus."),
        ("ticker/24hr?symbol=BTCUSDT&type=SHORT", -1130, "Data sent for parameter 'type' is not valid."),
        ('ticker/price?symbol=BTCUSDT&symbols=["ETHUSDT"]', -1128, "Combination of optional parameters invalid."),
        ('ticker/24hr?symbols=["BTCUSDT","BTCUSDT"]', -1151, "Symbol is present multiple times in the list."),
        ("executionRules?symbol=BTCUSDT&symbolStatus=TRADING", -1128, "Combination of optional parameters invalid."),
        ("ticker", -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ("ticker/tradingDay?timeZone=0", -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),  # noqa: E501
        ("ticker?symbol=BTCUSDT&windowSize=24h", -1130, "Data sent for parameter 'windowSize' is not valid."),
        ("ticker?symbol=BTCUSDT&windowSize=1d2h", -1130, "Data sent for parameter 'windowSize' is not valid."),
        ("historicalBlockTrades?symbol=BTCUSDT", -1102, "Mandatory parameter 'fromId' was not sent, was empty/null, or malformed."),  # noqa: E501
        ("historicalTrades?symbol=BTCUSDT&limit=5&x=1", -1104, "Not all sent parameters were read; read '2' parameter(s) but was sent '3'."),  # noqa: E501
        ("avgPrice?symbol=BTCUSDT&x=1", -1101, "Too many parameters; expected '1' and received '2'."),
    ],
)  # fmt: skip
async def test_each_mistake_has_its_error(rest, path, code, text):
    answer = await rest.get(path)
    assert answer.status_code == 400
    body = answer.json()
    assert body["code"] == code
    assert text in (None, body["msg"])


async def test_an_unknown_path_is_a_page(rest):
    answer = await rest.get("nosuch")
    assert (answer.status_code, answer.text) == (404, "<html><body><h2>404 Not found</h2></body></html>")


async def test_each_request_has_its_weight_and_mistakes_cost_too(rest):
    used = int((await rest.get("ping")).headers["x-mbx-used-weight-1m"])
    for path, weight in [
        ("ping", 1), ("time", 1), ("exchangeInfo", 20), ("depth?symbol=BTCUSDT", 5), ("depth?symbol=BTCUSDT&limit=101", 25),  # noqa: E501
        ("depth?symbol=BTCUSDT&limit=1000", 50), ("depth?symbol=BTCUSDT&limit=1001", 250), ("depth?symbol=BTCUSDT&limit=x", 5),  # noqa: E501
        ("trades?symbol=BTCUSDT", 25), ("historicalTrades?symbol=BTCUSDT", 25), ("aggTrades?symbol=BTCUSDT", 4),
        ("klines?symbol=BTCUSDT&interval=1m", 2), ("depth", 5),
    ]:  # fmt: skip
        answer = await rest.get(path)
        assert int(answer.headers["X-MBX-USED-WEIGHT-1M"]) - used == weight, path
        used += weight
    advance(rest.source, 60)
    assert (await rest.get("ping")).headers["x-mbx-used-weight-1m"] == "1"


async def test_who_uses_too_much_is_refused_until_the_minute_ends_then_banned():
    rest = Rest(weight_per_minute=50)
    assert (await rest.get("exchangeInfo")).status_code == 200
    assert (await rest.get("exchangeInfo")).status_code == 200
    refused = await rest.get("exchangeInfo")
    assert refused.status_code == 429
    seconds = 60 - START_MS // 1000 % 60
    assert refused.headers["retry-after"] == str(seconds)
    assert refused.json()["code"] == -1003
    assert "current limit is 50 request weight per 1 MINUTE" in refused.json()["msg"]
    for _ in range(9):
        assert (await rest.get("exchangeInfo")).status_code == 429
    banned = await rest.get("ping")
    assert (banned.status_code, banned.headers["retry-after"]) == (418, "120")
    assert f"IP banned until {START_MS + 120_000}." in banned.json()["msg"]
    advance(rest.source, 119)
    assert (await rest.get("ping")).status_code == 418
    advance(rest.source, 1)
    assert (await rest.get("ping")).status_code == 200


def test_bans_grow_and_addresses_are_told_apart():
    budget = WeightBudget(10)

    def provoke(now_ms):
        return [budget.charge("a", 11, now_ms) for _ in range(11)][-1]

    assert provoke(0).retry_after_s == 120
    assert provoke(120_000).retry_after_s == 240
    assert budget.charge("b", 10, 120_000).status is None


async def test_a_snapshot_serves_a_client_that_follows_the_rule_and_not_the_letter():
    """Buffered diffs, a snapshot, first event with U <= L+1 <= u: mostly on the border (U = L+1), seldom too old."""
    border = straddling = too_old = 0
    for seed in range(150):
        rest = Rest(seed=seed, symbols=("BTCUSDT",))
        listener = Listener(rest.source, "btcusdt@depth@100ms", phase_us=seed * 600)
        advance(rest.source, 0.555)
        last_id = (await rest.json("depth?symbol=BTCUSDT&limit=50"))["lastUpdateId"]
        advance(rest.source, 0.5)
        updates = [message["data"] for message in listener.messages()]
        if last_id < updates[0]["U"] - 1:
            too_old += 1
            continue
        first = next(update for update in updates if update["u"] > last_id)
        assert first["U"] <= last_id + 1 <= first["u"]
        border += first["U"] == last_id + 1
        straddling += first["U"] < last_id + 1
    assert border > 10 * straddling > 0
    assert 0 < too_old < 10


async def test_rest_runs_on_the_exchange_clock_in_virtual_time(autojump_clock):
    async with open_exchange(quiet(limits=Limits(weight_per_minute=10))) as exchange:
        transport = httpx.ASGITransport(exchange.rest_app)
        async with httpx.AsyncClient(transport=transport, base_url="http://exchange") as http:
            assert json.loads((await http.get("/api/v3/time")).content) == {"serverTime": START_MS}
            assert (await http.get("/api/v3/exchangeInfo")).status_code == 429


async def test_day_tickers_say_what_the_stream_says(rest):
    listener = Listener(rest.source, "btcusdt@ticker", "btcusdt@miniTicker")
    advance(rest.source, 1)
    streams = by_stream(listener.messages())
    full = await rest.json("ticker/24hr?symbol=BTCUSDT")
    sent = streams["btcusdt@ticker"][-1]
    assert list(full) == [
        "symbol", "priceChange", "priceChangePercent", "weightedAvgPrice", "prevClosePrice", "lastPrice", "lastQty",
        "bidPrice", "bidQty", "askPrice", "askQty", "openPrice", "highPrice", "lowPrice", "volume", "quoteVolume",
        "openTime", "closeTime", "firstId", "lastId", "count",
    ]  # fmt: skip
    assert list(full.values()) == [sent[key] for key in "spPwxcQbBaAohlvqOCFLn"]
    mini = await rest.json("ticker/24hr?symbol=BTCUSDT&type=MINI")
    assert list(mini) == [
        "symbol", "openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume",
        "openTime", "closeTime", "firstId", "lastId", "count",
    ]  # fmt: skip
    sent = streams["btcusdt@miniTicker"][-1]
    assert list(mini.values())[:7] == [sent[key] for key in "sohlcvq"]


async def test_tickers_come_for_one_symbol_for_several_or_for_all(rest):
    for path in ("ticker/24hr", "ticker/price", "ticker/bookTicker"):
        everything = await rest.json(path)
        assert [row["symbol"] for row in everything] == ["BTCUSDT", "ETHUSDT"]
        assert await rest.json(f'{path}?symbols=["ETHUSDT"]') == everything[1:]
        assert await rest.json(f"{path}?symbol=BTCUSDT") == everything[0]
    for path in ("ticker", "ticker/tradingDay"):
        both = await rest.json(f'{path}?symbols=["ETHUSDT","BTCUSDT"]')
        assert await rest.json(f"{path}?symbol=BTCUSDT") == both[1]


async def test_prices_are_those_of_the_last_trade_and_of_the_book(rest):
    last = (await rest.json("trades?symbol=BTCUSDT&limit=1"))[0]
    assert await rest.json("ticker/price?symbol=BTCUSDT") == {"symbol": "BTCUSDT", "price": last["price"]}
    top = await rest.json("ticker/bookTicker?symbol=BTCUSDT")
    book = rest.source.markets["BTCUSDT"].book
    assert top == {
        "symbol": "BTCUSDT", "bidPrice": text(book.best_bid[0]), "bidQty": text(book.best_bid[1]),
        "askPrice": text(book.best_ask[0]), "askQty": text(book.best_ask[1]),
    }  # fmt: skip


async def trades_of(rest, start_ms):
    rows = await rest.json("historicalTrades?symbol=ADAUSDT&limit=1000&fromId=0")
    assert len(rows) < 1000
    return [row for row in rows if row["time"] >= start_ms]


def check_ticker(ticker, trades):
    assert (ticker["firstId"], ticker["lastId"], ticker["count"]) == (trades[0]["id"], trades[-1]["id"], len(trades))
    prices = [row["price"] for row in trades]
    assert (ticker["openPrice"], ticker["lastPrice"]) == (prices[0], prices[-1])
    assert (ticker["highPrice"], ticker["lowPrice"]) == (max(prices, key=float), min(prices, key=float))
    assert float(ticker["volume"]) == pytest.approx(sum(float(row["qty"]) for row in trades))
    assert float(ticker["quoteVolume"]) == pytest.approx(sum(float(row["quoteQty"]) for row in trades))
    assert float(ticker["priceChange"]) == pytest.approx(float(prices[-1]) - float(prices[0]))
    assert float(ticker["weightedAvgPrice"]) == pytest.approx(float(ticker["quoteVolume"]) / float(ticker["volume"]))


async def test_a_rolling_window_of_any_length_is_its_trades_from_a_full_minute_on():
    rest = Rest(symbols=("ADAUSDT",), activity=0.0003)
    advance(rest.source, 30 * 3600)
    now_ms = rest.source.scheduler.now_us // 1000
    for window, length_min in (
        ("90m", 90),
        ("59m", 59),
        ("1h", 60),
        ("7h", 420),
        ("23h", 1380),
        ("1d", 1440),
        ("2d", 2880),
    ):
        if window == "90m":
            answer = await rest.get("ticker?symbol=ADAUSDT&windowSize=90m")
            assert answer.json()["code"] == -1130
            continue
        ticker = await rest.json(f"ticker?symbol=ADAUSDT&windowSize={window}")
        assert ticker["closeTime"] == now_ms
        assert ticker["openTime"] == (now_ms - 60_000 * length_min) // 60_000 * 60_000
        check_ticker(ticker, await trades_of(rest, ticker["openTime"]))
    assert await rest.json("ticker?symbol=ADAUSDT") == await rest.json("ticker?symbol=ADAUSDT&windowSize=1d")


@pytest.mark.parametrize(
    ("zone", "offset_min"), [("0", 0), ("8", 480), ("-1:00", -60), ("05:45", 345), ("-12:00", -720), ("14:00", 840)]
)
async def test_the_trading_day_and_candles_are_cut_in_the_time_zone_asked_for(zone, offset_min):
    rest = Rest(symbols=("ADAUSDT",), activity=0.0003)
    advance(rest.source, 30 * 3600)
    now_ms, day_ms = rest.source.scheduler.now_us // 1000, 86_400_000
    day = await rest.json(f"ticker/tradingDay?symbol=ADAUSDT&timeZone={zone}")
    start_ms = (now_ms + offset_min * 60_000) // day_ms * day_ms - offset_min * 60_000
    assert (day["openTime"], day["closeTime"]) == (start_ms, start_ms + day_ms - 1)
    trades = await trades_of(rest, start_ms)
    check_ticker(day, trades)
    today = (await rest.json(f"uiKlines?symbol=ADAUSDT&interval=1d&timeZone={zone}&limit=1"))[0]
    assert today[0] == start_ms
    assert today[1:5] == [day["openPrice"], day["highPrice"], day["lowPrice"], day["lastPrice"]]
    assert (today[5], today[7], today[8]) == (day["volume"], day["quoteVolume"], day["count"])
    fours = await rest.json(f"klines?symbol=ADAUSDT&interval=4h&timeZone={zone}")
    assert all((row[0] + offset_min * 60_000) % (4 * 3_600_000) == 0 for row in fours)
    assert sum(row[8] for row in fours) == len(await trades_of(rest, 0))
    mini = await rest.json(f"ticker/tradingDay?symbol=ADAUSDT&timeZone={zone}&type=MINI")
    assert mini == {key: day[key] for key in mini}
    assert "priceChange" not in mini


@pytest.mark.parametrize("zone", ["14:01", "-12:01", "15", "x", "8:60", "8:5", "+-1", "08:00:00"])
async def test_a_time_zone_that_there_is_not_is_refused(rest, zone):
    for path in ("klines?symbol=BTCUSDT&interval=1h", "ticker/tradingDay?symbol=BTCUSDT"):
        answer = await rest.get(f"{path}&timeZone={zone}")
        assert answer.json() == {"code": -1130, "msg": "Data sent for parameter 'timeZone' is not valid."}


async def test_the_average_price_is_that_of_the_last_five_minutes():
    rest = Rest(symbols=("ADAUSDT",), activity=0.03)
    advance(rest.source, 900)
    told = await rest.json("avgPrice?symbol=ADAUSDT")
    assert list(told) == ["mins", "price", "closeTime"]
    start_ms = rest.source.scheduler.now_us // 60_000_000 * 60_000 - 240_000
    trades = await trades_of(rest, start_ms)
    mean = sum(float(row["quoteQty"]) for row in trades) / sum(float(row["qty"]) for row in trades)
    assert told["mins"] == 5
    assert float(told["price"]) == pytest.approx(mean, abs=2e-8)
    assert told["closeTime"] == trades[-1]["time"]


async def test_the_reference_price_is_the_mean_of_the_trades_of_ten_seconds():
    rest = Rest(symbols=("ADAUSDT",), quiet=("DEADUSDT",), activity=0.05)
    assert (await rest.get("referencePrice?symbol=ADAUSDT")).json()["code"] == -2043
    listener = Listener(rest.source, "adausdt@referencePrice", "deadusdt@referencePrice")
    unset = 0
    for _ in range(60):
        advance(rest.source, 1)
        told = (await rest.get("referencePrice?symbol=ADAUSDT")).json()
        if "code" in told:
            continue
        now_ms = rest.source.scheduler.now_us // 1000
        assert told["timestamp"] == now_ms
        trades = await trades_of(rest, now_ms // 1000 * 1000 - 9000)
        unset += not trades
        mean = sum(units(row["price"]) for row in trades) // len(trades) if trades else None
        assert told["referencePrice"] == (None if mean is None else text(mean))
        sent = listener.messages()
        if sent:
            assert sent[-1]["data"]["r"] == told["referencePrice"]
    assert unset > 0
    calculation = await rest.json("referencePrice/calculation?symbol=ADAUSDT&symbolStatus=TRADING")
    assert calculation == {
        "symbol": "ADAUSDT", "calculationType": "ARITHMETIC_MEAN", "bucketCount": 10, "bucketWidthMs": 1000,
    }  # fmt: skip
    for path in ("referencePrice", "referencePrice/calculation"):
        answer = await rest.get(f"{path}?symbol=DEADUSDT")
        assert (answer.status_code, answer.json()["code"]) == (400, -2043)
    rules = (await rest.json("executionRules"))["symbolRules"]
    assert [(rule["symbol"], len(rule["rules"])) for rule in rules] == [("ADAUSDT", 1), ("DEADUSDT", 0)]
    assert rules[0]["rules"][0]["ruleType"] == "PRICE_RANGE"
    assert (await rest.json("executionRules?symbol=DEADUSDT"))["symbolRules"] == rules[1:]


async def test_block_trades_are_a_sequence_of_their_own_and_rest_agrees_with_the_stream():
    rest = Rest(orders_per_block=100)
    listener = Listener(rest.source, "btcusdt@blockTrade")
    advance(rest.source, 60)
    sent = [message["data"] for message in listener.messages()]
    assert len(sent) > 20
    assert [list(event) for event in sent] == [["e", "E", "s", "t", "p", "q", "T", "m"]] * len(sent)
    assert [event["t"] for event in sent] == list(range(sent[0]["t"], sent[0]["t"] + len(sent)))
    assert sent[0]["t"] < 1000
    assert not any(event[key].endswith("0") and "." in event[key] for event in sent for key in "pq")
    told = await rest.json(f"historicalBlockTrades?symbol=BTCUSDT&fromId={sent[3]['t']}&limit=10")
    assert [list(row) for row in told] == [["id", "price", "qty", "quoteQty", "time", "isBuyerMaker"]] * 10
    for row, event in zip(told, sent[3:13], strict=True):
        assert [row[key] for key in ("id", "price", "qty", "time", "isBuyerMaker")] == [event[key] for key in "tpqTm"]
        assert units(row["quoteQty"]) == units(row["price"]) * units(row["qty"]) // 10**8
    assert (await rest.get("historicalBlockTrades?symbol=BTCUSDT")).json()["code"] == -1102


async def test_block_trades_are_rare():
    rest = Rest(symbols=("BTCUSDT",))
    listener = Listener(rest.source, "btcusdt@blockTrade")
    advance(rest.source, 1200)
    assert 0 < len(listener.messages()) < 30


async def test_a_symbol_in_another_status_is_refused_or_left_out(rest):
    rest.source.set_status("ETHUSDT", "HALT")
    for path in (
        "depth",
        "ticker/24hr",
        "ticker/price",
        "ticker/bookTicker",
        "ticker",
        "ticker/tradingDay",
        "referencePrice/calculation",
    ):
        answer = await rest.get(f"{path}?symbol=ETHUSDT&symbolStatus=TRADING")
        assert (answer.status_code, answer.json()["code"]) == (400, -1220), path
        assert (await rest.get(f"{path}?symbol=ETHUSDT&symbolStatus=HALT")).status_code == 200
    for path in ("ticker/24hr", "ticker/price", "ticker/bookTicker"):
        assert [row["symbol"] for row in await rest.json(f"{path}?symbolStatus=TRADING")] == ["BTCUSDT"]
        assert await rest.json(f"{path}?symbolStatus=BREAK") == []
    assert await rest.json('ticker?symbols=["ETHUSDT"]&symbolStatus=TRADING') == []
    info = await rest.json("exchangeInfo?symbolStatus=HALT")
    assert [(symbol["symbol"], symbol["status"]) for symbol in info["symbols"]] == [("ETHUSDT", "HALT")]


async def test_exchange_info_leaves_out_what_is_not_wanted(rest):
    assert len((await rest.json('exchangeInfo?permissions=["SPOT","MARGIN"]'))["symbols"]) == 2
    assert (await rest.json("exchangeInfo?permissions=MARGIN"))["symbols"] == []
    info = await rest.json("exchangeInfo?showPermissionSets=false")
    assert [symbol["permissionSets"] for symbol in info["symbols"]] == [[], []]
    assert [(limit["rateLimitType"], limit["intervalNum"], limit["limit"]) for limit in info["rateLimits"]] == [
        ("REQUEST_WEIGHT", 1, 10**9), ("RAW_REQUESTS", 5, 300_000),
    ]  # fmt: skip


async def test_weights_grow_with_the_symbols_named_up_to_their_cap():
    names = invent_symbols(150)
    rest = Rest(symbols=names)
    used = 0
    for path, named, weight in [
        ("ticker/24hr", 1, 2), ("ticker/24hr", 20, 2), ("ticker/24hr", 21, 40), ("ticker/24hr", 100, 40),
        ("ticker/24hr", 101, 80), ("ticker/24hr", 0, 80), ("ticker/price", 1, 2), ("ticker/price", 2, 4),
        ("ticker/price", 0, 4), ("ticker/bookTicker", 1, 2), ("ticker/bookTicker", 0, 4), ("ticker", 1, 4),
        ("ticker", 2, 8), ("ticker", 50, 200), ("ticker", 51, 200), ("ticker", 100, 200), ("ticker/tradingDay", 3, 12),
        ("ticker/tradingDay", 100, 200), ("executionRules", 1, 2), ("executionRules", 7, 14),
        ("executionRules", 21, 40), ("executionRules", 0, 40), ("avgPrice", 1, 2), ("referencePrice", 1, 2),
        ("referencePrice/calculation", 1, 2), ("historicalBlockTrades", 1, 25),
    ]:  # fmt: skip
        query = f"?symbol={names[0]}" if named == 1 else f"?symbols={json.dumps(names[:named])}" if named else ""
        answer = await rest.get(path + query)
        now_used = int(answer.headers["x-mbx-used-weight-1m"])
        assert now_used - used == weight, (path, named)
        used = now_used
    answer = await rest.get(f"ticker?symbols={json.dumps(names[:101])}")
    assert answer.json() == {"code": -1130, "msg": "Data sent for parameter 'symbols' is not valid."}


async def test_the_number_of_requests_is_limited_beside_their_weight():
    rest = Rest(raw_requests_max=3)
    for _ in range(3):
        assert (await rest.get("ping")).status_code == 200
    refused = await rest.get("ping")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == str(300 - START_MS // 1000 % 300)
    assert refused.json()["msg"].startswith("Too many requests; current limit is 3 requests per 5 MINUTE.")
    advance(rest.source, 300 - START_MS // 1000 % 300)
    assert (await rest.get("ping")).status_code == 200


async def test_the_time_unit_asked_for_applies_to_every_time_of_every_answer(rest):
    fine = {"X-MBX-TIME-UNIT": "MICROSECOND"}
    for path, times in [
        ("time", lambda body: [body["serverTime"]]),
        ("exchangeInfo", lambda body: [body["serverTime"]]),
        ("trades?symbol=BTCUSDT", lambda body: [row["time"] for row in body]),
        ("historicalTrades?symbol=BTCUSDT", lambda body: [row["time"] for row in body]),
        ("aggTrades?symbol=BTCUSDT", lambda body: [row["T"] for row in body]),
        ("klines?symbol=BTCUSDT&interval=1s", lambda body: [time for row in body for time in (row[0], row[6])]),
        ("avgPrice?symbol=BTCUSDT", lambda body: [body["closeTime"]]),
        ("ticker/24hr?symbol=BTCUSDT", lambda body: [body["openTime"], body["closeTime"]]),
        ("ticker?symbol=BTCUSDT", lambda body: [body["openTime"], body["closeTime"]]),
        ("ticker/tradingDay?symbol=BTCUSDT", lambda body: [body["openTime"], body["closeTime"]]),
        ("referencePrice?symbol=BTCUSDT", lambda body: [body["timestamp"]]),
    ]:
        coarse = times(await rest.json(path))
        assert [time // 1000 for time in times(await rest.json(path, **fine))] == coarse, path
        assert coarse
    odd = {"X-MBX-TIME-UNIT": "Microsecond"}
    assert await rest.json("time", **odd) == await rest.json("time", **{"X-MBX-TIME-UNIT": "millisecond"})


def units(decimal):
    whole, _, fraction = decimal.partition(".")
    return int(whole) * 10**8 + int(fraction.ljust(8, "0"))
