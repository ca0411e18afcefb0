"""REST: endpoints, refusals, weights, and that it agrees with the streams at every instant."""

import json

import httpx
import pytest
from simulator_support import START_MS, Listener, advance, by_stream, make_market, quiet

from ingest_actors.simulator import Limits, open_exchange
from ingest_actors.simulator.rest_server import make_rest_app
from ingest_actors.simulator.rest_weight import WeightBudget


class Rest:
    """A market that stands still between calls, and a client of its REST."""

    def __init__(self, *, weight_per_minute=10**9, **changes):
        self.source = make_market(**changes)
        self.source.clock.now_us = lambda: self.source.scheduler.now_us
        app = make_rest_app(self.source, weight_per_minute=weight_per_minute)
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
