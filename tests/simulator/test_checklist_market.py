"""The protocol's checklist for simulators (section 20), lines 8 to 11, 13, and the market's half of 12, from outside.

Every test is a client: a WebSocket or HTTP connection to an exchange that runs in virtual time.
"""

import itertools
import json
import re
import statistics
from collections import Counter
from contextlib import asynccontextmanager
from urllib.parse import quote

import httpx
import pytest
import trio
from simulator_support import START_MS, by_stream, client_of, quiet

from ingest_actors.simulator import Limits, open_exchange

BTC = ("trade", "aggTrade", "bookTicker", "depth@100ms")


@asynccontextmanager
async def exchange_with_rest(**changes):
    """An exchange in virtual time, and an HTTP client of it."""
    async with open_exchange(quiet(**changes)) as exchange:
        transport = httpx.ASGITransport(exchange.rest_app)
        async with httpx.AsyncClient(transport=transport, base_url="http://exchange/api/v3/") as http:
            yield exchange, http


async def receive(client, seconds):
    """Frames of so many seconds, as they came."""
    frames = []
    with trio.move_on_after(seconds):
        while True:
            frames.append(await client.get_message())
    return frames


async def watch(seconds, *streams, **changes):
    """What a combined connection gets in so many seconds, by stream, and in its order."""
    path = "/stream?streams=" + quote("/".join(streams), safe="/@!")
    async with open_exchange(quiet(**changes)) as exchange:  # noqa: SIM117 - the second needs the first
        async with client_of(exchange, path) as client:
            messages = [json.loads(frame) for frame in await receive(client, seconds)]
    return by_stream(messages), messages


async def watch_btc(seconds, *kinds, **changes):
    streams, messages = await watch(seconds, *(f"btcusdt@{kind}" for kind in kinds), symbols=("BTCUSDT",), **changes)
    return [streams.get(f"btcusdt@{kind}", []) for kind in kinds], messages


async def test_line_8_trade_ids_rise_by_one(autojump_clock):
    (trades,), _ = await watch_btc(20, "trade")
    ids = [trade["t"] for trade in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len(ids) > 200


async def test_line_8_aggregate_ids_rise_by_one_with_a_chain_of_trades(autojump_clock):
    (aggregates, trades), _ = await watch_btc(20, "aggTrade", "trade")
    by_id = {trade["t"]: trade for trade in trades}
    for before, after in itertools.pairwise(aggregates):
        assert (after["a"], after["f"]) == (before["a"] + 1, before["l"] + 1)
    for aggregate in aggregates:
        parts = [by_id[number] for number in range(aggregate["f"], aggregate["l"] + 1)]
        assert {(part["p"], part["T"], part["m"]) for part in parts} == {tuple(aggregate[key] for key in "pTm")}
        assert sum(float(part["q"]) for part in parts) == pytest.approx(float(aggregate["q"]))
    assert Counter(aggregate["l"] - aggregate["f"] + 1 for aggregate in aggregates).most_common(1)[0][0] == 1


async def test_line_8_sweeps_share_a_time_and_different_orders_can_agree_in_all_but_the_id(autojump_clock):
    (aggregates,), _ = await watch_btc(90, "aggTrade")
    neighbours = list(itertools.pairwise(aggregates))
    sweeps = [(a, b) for a, b in neighbours if a["T"] == b["T"] and a["p"] != b["p"] and a["m"] == b["m"]]
    twins = [(a, b) for a, b in neighbours if all(a[key] == b[key] for key in "Tpm")]
    assert len(sweeps) > 0.05 * len(neighbours)
    assert len(twins) > 3


async def test_line_8_a_diff_begins_where_the_one_before_ended(autojump_clock):
    (fast, slow), _ = await watch_btc(20, "depth@100ms", "depth")
    for updates in (fast, slow):
        for before, after in itertools.pairwise(updates):
            assert after["U"] == before["u"] + 1 <= after["u"]
    assert len(fast) > 150
    assert 15 < len(slow) <= 20


async def test_line_8_best_prices_have_ids_of_the_books_sequence(autojump_clock):
    (tickers, updates), _ = await watch_btc(20, "bookTicker", "depth@100ms")
    ids = [ticker["u"] for ticker in tickers]
    assert ids == sorted(set(ids))
    inside = [number for number in ids if updates[0]["U"] <= number <= updates[-1]["u"]]
    assert len(inside) > 0.9 * len(ids)
    assert len(ids) < inside[-1] - inside[0]  # it skips
    levels = {update["u"]: update for update in updates}
    assert any(ticker["u"] in levels for ticker in tickers)


async def test_line_8_diffs_lie_on_a_grid_whose_phase_is_the_connections_own(autojump_clock):
    phases = []
    async with open_exchange(quiet(symbols=("BTCUSDT",))) as exchange:
        for _ in range(4):
            async with client_of(exchange, "/ws/btcusdt@depth@100ms") as client:
                updates = [json.loads(frame) for frame in await receive(client, 5)]
            times = [update["E"] for update in updates]
            assert all((after - before) % 100 == 0 for before, after in itertools.pairwise(times))
            phases.append(times[0] % 100)
    assert len(set(phases)) > 2


async def test_line_8_an_interval_without_change_is_silent(autojump_clock):
    streams, _ = await watch(60, "slowusdt@depth@100ms", symbols=("SLOWUSDT",), activity=0.05)
    times = [update["E"] for update in streams["slowusdt@depth@100ms"]]
    steps = [after - before for before, after in itertools.pairwise(times)]
    assert max(steps) > 1000
    assert all(step % 100 == 0 for step in steps)


async def test_line_8_levels_come_best_first(autojump_clock):
    (updates, partials), _ = await watch_btc(20, "depth@100ms", "depth20@100ms")
    for book in [*updates, *partials]:
        bids = [float(price) for price, _ in book.get("b", book.get("bids"))]
        asks = [float(price) for price, _ in book.get("a", book.get("asks"))]
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)


async def test_line_8_levels_that_a_snapshot_did_not_have_are_removed(autojump_clock):
    async with exchange_with_rest(symbols=("BTCUSDT",)) as (exchange, http):  # noqa: SIM117 - the second needs it
        async with client_of(exchange, "/ws/btcusdt@depth@100ms") as client:
            await receive(client, 2)
            snapshot = (await http.get("depth?symbol=BTCUSDT&limit=50")).json()
            updates = [json.loads(frame) for frame in await receive(client, 60)]
    known = {price for price, _ in snapshot["bids"] + snapshot["asks"]}
    unknown = 0
    for update in updates:
        for price, quantity in update["b"] + update["a"]:
            unknown += float(quantity) == 0 and price not in known
            known.add(price)
    assert unknown > 10


async def test_line_9_streams_are_in_disorder_among_each_other(autojump_clock):
    kinds = (*BTC, "kline_1m")
    streams, messages = await watch(
        60, *(f"{symbol}@{kind}" for symbol in ("btcusdt", "ethusdt") for kind in kinds), activity=0.5
    )
    times = [message["data"]["E"] for message in messages if "E" in message["data"]]
    falls = sum(after < before for before, after in itertools.pairwise(times))
    assert 0 < falls < 0.01 * len(times)
    for events in streams.values():
        own = [event["E"] for event in events if "E" in event]
        assert own == sorted(own)


async def test_line_9_events_follow_their_trades_with_a_tail_of_some_200_ms(autojump_clock):
    (trades,), _ = await watch_btc(60, "trade", seed=2)
    delays = sorted(trade["E"] - trade["T"] for trade in trades)
    assert delays[0] >= 0
    assert statistics.median(delays) <= 2
    assert 100 < delays[-1] <= 220


async def test_line_9_bursts_put_hundreds_of_trades_into_one_millisecond(autojump_clock):
    (trades,), _ = await watch_btc(180, "trade", seed=1)
    assert max(Counter((trade["T"], trade["m"]) for trade in trades).values()) > 100


async def test_line_10_snapshots_fall_mostly_on_the_border_of_an_event_sometimes_inside_or_before(autojump_clock):
    border = inside = old = 0
    async with exchange_with_rest(
        symbols=("BTCUSDT",), limits=Limits(handshakes_max=1000, weight_per_minute=10**6)
    ) as (
        exchange,
        http,
    ):
        for _ in range(120):
            async with client_of(exchange, "/ws/btcusdt@depth@100ms") as client:
                updates = [json.loads(frame) for frame in await receive(client, 0.33)]
                last_id = (await http.get("depth?symbol=BTCUSDT")).json()["lastUpdateId"]
                updates += [json.loads(frame) for frame in await receive(client, 0.3)]
            if last_id < updates[0]["U"] - 1:
                old += 1
                continue
            first = next(update for update in updates if update["u"] > last_id)
            assert first["U"] <= last_id + 1 <= first["u"]
            border += first["U"] == last_id + 1
            inside += first["U"] <= last_id
    assert border > 80
    assert inside > 0
    assert old > 0


async def test_line_10_depth_has_100_levels_unless_told_and_weighs_by_them(autojump_clock):
    async with exchange_with_rest(symbols=("BTCUSDT",), book_levels=1500) as (_, http):
        used = 0
        for limit, levels, weight in [
            (None, 100, 5), (1, 1, 5), (100, 100, 5), (101, 101, 25), (500, 500, 25), (501, 501, 50), (1000, 1000, 50),
            (1001, 1001, 250), (5000, None, 250), (99_999, None, 250),
        ]:  # fmt: skip
            answer = await http.get("depth?symbol=BTCUSDT" + ("" if limit is None else f"&limit={limit}"))
            now_used = int(answer.headers["x-mbx-used-weight-1m"])
            assert now_used - used == weight, limit
            assert levels is None or len(answer.json()["bids"]) == len(answer.json()["asks"]) == levels
            used = now_used


async def test_line_11_weight_is_counted_by_the_minute_of_the_clock_and_told_in_a_header(autojump_clock):
    async with exchange_with_rest() as (_, http):
        for used in (20, 40, 60):
            assert (await http.get("exchangeInfo")).headers["X-MBX-USED-WEIGHT-1M"] == str(used)
        assert (await http.get("depth?symbol=NOSUCH")).headers["X-MBX-USED-WEIGHT-1M"] == "65"  # mistakes cost too
        await trio.sleep(60 - START_MS / 1000 % 60 - 0.5)
        assert (await http.get("ping")).headers["X-MBX-USED-WEIGHT-1M"] == "66"
        await trio.sleep(1)
        assert (await http.get("ping")).headers["X-MBX-USED-WEIGHT-1M"] == "1"


async def test_line_11_too_much_weight_is_429_until_the_minute_ends_and_then_418(autojump_clock):
    async with exchange_with_rest(limits=Limits(weight_per_minute=45)) as (_, http):
        assert [(await http.get("exchangeInfo")).status_code for _ in range(2)] == [200, 200]
        refused = await http.get("exchangeInfo")
        assert (refused.status_code, refused.json()["code"]) == (429, -1003)
        assert "Too much request weight used" in refused.json()["msg"]
        await trio.sleep(int(refused.headers["retry-after"]))
        assert (await http.get("ping")).status_code == 200
        statuses = [(await http.get("exchangeInfo")).status_code for _ in range(20)]
        assert statuses[:2] + statuses[-1:] == [200, 200, 418]
        banned = await http.get("ping")
        assert (banned.status_code, banned.json()["code"]) == (418, -1003)
        until_ms = int(re.search(r"IP banned until (\d+)\.", banned.json()["msg"])[1])
        await trio.sleep(int(banned.headers["retry-after"]))
        assert (await http.get("time")).json()["serverTime"] >= until_ms


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("nosuch", 404, None), ("depth", 400, -1102), ("klines?symbol=BTCUSDT", 400, -1102),
        ("depth?symbol=NOSUCH", 400, -1121), ("depth?symbol=btcusdt", 400, -1100),
        ("aggTrades?symbol=BTCUSDT&fromId=-1", 400, -1100), ("depth?symbol=BTCUSDT&symbol=ETHUSDT", 400, -1101),
        ("depth?symbol=BTCUSDT&x=1", 400, -1104), ("time?x=1", 400, -1101), ("depth?symbol=BTCUSDT&limit=", 400, -1105),
        ("klines?symbol=BTCUSDT&interval=2m", 400, -1120),
        ("aggTrades?symbol=BTCUSDT&fromId=5&endTime=1790000000000", 400, -1128),
        ("ticker?symbol=BTCUSDT&windowSize=8d", 400, -1130),
        ('ticker/price?symbols=["BTCUSDT","BTCUSDT"]', 400, -1151), ("depth?symbol=BTCUSDT&symbolStatus=X", 400, -1122),
        ("depth?symbol=BTCUSDT&symbolStatus=HALT", 400, -1220), ("referencePrice?symbol=QUIETUSDT", 400, -2043),
    ],
)  # fmt: skip
async def test_line_11_each_mistake_has_its_status_and_code(autojump_clock, path, status, code):
    async with exchange_with_rest(quiet=("QUIETUSDT",)) as (_, http):
        answer = await http.get(path)
        assert answer.status_code == status
        if code is None:
            assert answer.text == "<html><body><h2>404 Not found</h2></body></html>"
        else:
            assert answer.json()["code"] == code


@pytest.mark.parametrize("lag_s", [0, 1, 4])
async def test_line_11_the_database_lags_behind_the_stream_by_as_much_as_is_told(autojump_clock, lag_s):
    async with exchange_with_rest(rest_lag_s=lag_s, symbols=("BTCUSDT",)) as (exchange, http):
        async with client_of(exchange, "/ws/btcusdt@aggTrade") as client:
            sent = [json.loads(frame) for frame in await receive(client, 20)]
            newest = (await http.get("aggTrades?symbol=BTCUSDT&limit=1")).json()[0]
        edge_ms = exchange.now_ms() - lag_s * 1000
        published_ms = next(event["E"] for event in sent if event["a"] == newest["a"])
        assert edge_ms - 400 < published_ms <= edge_ms
        if lag_s:
            assert newest["a"] < sent[-1]["a"]
            beyond = await http.get(f"aggTrades?symbol=BTCUSDT&fromId={sent[-1]['a']}")
            assert beyond.json() == []
            await trio.sleep(lag_s + 0.2)
        page = (await http.get(f"aggTrades?symbol=BTCUSDT&fromId={sent[-1]['a']}")).json()
        assert page[0] == {key: value for key, value in sent[-1].items() if key not in "eEs"}


async def test_line_11_pages_begin_with_the_id_asked_for_and_have_1000_rows_at_most(autojump_clock):
    async with exchange_with_rest(symbols=("BTCUSDT",), activity=3) as (exchange, http):
        async with client_of(exchange, "/ws/btcusdt@aggTrade/btcusdt@trade") as client:
            events = [json.loads(frame) for frame in await receive(client, 45)]
        for endpoint, kind, key, row_key in (
            ("aggTrades", "aggTrade", "a", "a"),
            ("historicalTrades", "trade", "t", "id"),
        ):
            ids = [event[key] for event in events if event["e"] == kind]
            assert len(ids) > 1000
            page = (await http.get(f"{endpoint}?symbol=BTCUSDT&fromId={ids[5]}&limit=5000")).json()
            assert [row[row_key] for row in page] == list(range(ids[5], ids[5] + 1000))
            assert len((await http.get(f"{endpoint}?symbol=BTCUSDT")).json()) == 500


async def test_line_12_ids_begin_again_on_demand_lower_and_later(autojump_clock):
    async with exchange_with_rest(symbols=("BTCUSDT", "ETHUSDT")) as (exchange, http):
        path = "/stream?streams=btcusdt@trade/btcusdt@aggTrade/btcusdt@depth@100ms/ethusdt@trade"
        async with client_of(exchange, path) as client:
            before = by_stream([json.loads(frame) for frame in await receive(client, 10)])
            exchange.source.reset_ids("BTCUSDT")
            after = by_stream([json.loads(frame) for frame in await receive(client, 10)])
        for kind, key in (("trade", "t"), ("aggTrade", "a"), ("depth@100ms", "U")):
            old, new = before[f"btcusdt@{kind}"], after[f"btcusdt@{kind}"]
            assert new[0][key] < old[0][key]
            assert new[0]["E"] > old[-1]["E"]
        first = (await http.get("historicalTrades?symbol=BTCUSDT&fromId=0")).json()[0]
        assert first["id"] == after["btcusdt@trade"][0]["t"]
        assert after["ethusdt@trade"][0]["t"] == before["ethusdt@trade"][-1]["t"] + 1


async def test_line_12_a_symbols_status_changes_on_demand_and_its_streams_fall_silent(autojump_clock):
    async with exchange_with_rest(symbols=("BTCUSDT", "ETHUSDT")) as (exchange, http):
        path = "/stream?streams=" + "/".join(f"btcusdt@{kind}" for kind in BTC) + "/ethusdt@trade"
        async with client_of(exchange, path) as client:
            assert await receive(client, 5)
            exchange.source.set_status("BTCUSDT", "BREAK")
            await receive(client, 1)
            frames = await receive(client, 60)
            assert {json.loads(frame)["stream"] for frame in frames} == {"ethusdt@trade"}
            info = (await http.get("exchangeInfo?symbol=BTCUSDT")).json()["symbols"][0]
            assert info["status"] == "BREAK"
            exchange.source.set_status("BTCUSDT", "TRADING")
            assert len({json.loads(frame)["stream"] for frame in await receive(client, 5)}) == 5


async def test_line_12_a_new_symbol_is_listed_on_demand(autojump_clock):
    async with exchange_with_rest() as (exchange, http):
        async with client_of(exchange, "/ws/newusdt@depth@100ms") as client:
            assert await receive(client, 5) == []
            exchange.source.list_symbol("NEWUSDT")
            assert await receive(client, 30)
        symbols = (await http.get("exchangeInfo")).json()["symbols"]
        assert [symbol["symbol"] for symbol in symbols] == ["BTCUSDT", "ETHUSDT", "NEWUSDT"]


async def test_line_12_events_can_have_keys_that_nobody_knows(autojump_clock):
    streams, _ = await watch(5, *(f"btcusdt@{kind}" for kind in BTC), "!miniTicker@arr", extra_fields=True)
    for stream, events in streams.items():
        for event in events[0] if isinstance(events[0], list) else events:
            assert {"xN", "xF"} <= event.keys(), stream


async def test_line_12_symbols_can_be_of_any_script(autojump_clock):
    streams, _ = await watch(20, "币安人生usdt@trade", "!miniTicker@arr", symbols=("币安人生USDT",))
    assert {event["s"] for event in streams["币安人生usdt@trade"]} == {"币安人生USDT"}
    assert streams["!miniTicker@arr"][0][0]["s"] == "币安人生USDT"
    async with exchange_with_rest(symbols=("币安人生USDT",)) as (_, http):
        assert len((await http.get("depth", params={"symbol": "币安人生USDT", "limit": 5})).json()["bids"]) == 5


async def test_line_12_trades_can_have_the_old_schema(autojump_clock):
    (trades,), _ = await watch_btc(5, "trade", old_trade_schema=True)
    assert {tuple(trade) for trade in trades} == {tuple("eEstpqbaTmM")}
    assert all(isinstance(trade[key], int) for trade in trades for key in "ba")


async def test_line_13_decimals_have_eight_places(autojump_clock):
    kinds = (*BTC, "depth5", "kline_1m", "miniTicker", "avgPrice", "referencePrice")
    async with exchange_with_rest(symbols=("BTCUSDT",)) as (exchange, http):
        path = "/ws/" + "/".join(f"btcusdt@{kind}" for kind in kinds)
        async with client_of(exchange, path) as client:
            frames = await receive(client, 10)
        paths = [f"{name}?symbol=BTCUSDT" for name in ("depth", "trades", "aggTrades", "avgPrice", "ticker/price")]
        texts = [*frames, *[(await http.get(path)).text for path in paths]]
    for text in texts:
        for number in re.findall(r'"(-?\d[\d.]*)"', text.replace('"B":"0"}', "}")):
            assert re.fullmatch(r"-?\d+\.\d{8}", number), text


async def test_line_13_ids_are_integers_beyond_32_bits(autojump_clock):
    (trades, aggregates, tickers, updates), _ = await watch_btc(5, *BTC)
    for events, keys in ((trades, "t"), (aggregates, "afl"), (tickers, "u"), (updates, "Uu")):
        for event in events:
            assert all(isinstance(event[key], int) and event[key] > 2**32 for key in keys)
    assert updates[0]["U"] > 5 * 10**10


async def test_line_13_json_is_compact(autojump_clock):
    async with exchange_with_rest(symbols=("BTCUSDT",)) as (exchange, http):
        path = "/stream?streams=" + "/".join(f"btcusdt@{kind}" for kind in (*BTC, "kline_1m", "ticker", "depth20"))
        async with client_of(exchange, path) as client:
            texts = await receive(client, 5)
        texts += [(await http.get(name)).text for name in ("exchangeInfo", "trades?symbol=BTCUSDT", "ticker/24hr")]
    for text in texts:
        assert json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False) == text
