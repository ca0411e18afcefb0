"""What can be made to happen in the market: ids that begin again, halts, listings, old and new schemas, dead pairs."""

import itertools
import json
import logging

import pytest
import trio
from simulator_support import Listener, advance, by_stream, client_of, make_market, quiet, record_market, write_numbered

from ingest_actors.errors import SettingsError
from ingest_actors.simulator import invent_symbols, open_exchange
from ingest_actors.simulator.market.extended import extend
from ingest_actors.simulator.market.lag import LagWatch
from ingest_actors.simulator.market.symbol_names import refused_names
from ingest_actors.simulator.recording import Recording

KINDS = (
    "trade", "aggTrade", "blockTrade", "bookTicker", "depth@100ms", "depth", "depth5@100ms", "kline_1m", "kline_1s",
    "ticker", "miniTicker", "ticker_1h", "avgPrice", "referencePrice",
)  # fmt: skip


def listen(source, *symbols, kinds=KINDS):
    return Listener(source, *(f"{symbol.lower()}@{kind}" for symbol in symbols for kind in kinds))


async def test_after_a_reset_every_id_begins_again_lower_at_later_times():
    source = make_market(orders_per_block=50)
    listener = listen(source, "BTCUSDT", "ETHUSDT")
    advance(source, 10)
    before = by_stream(listener.messages())
    source.reset_ids("BTCUSDT")
    advance(source, 10)
    after = by_stream(listener.messages())
    for stream, key in (
        ("trade", "t"),
        ("aggTrade", "a"),
        ("depth@100ms", "u"),
        ("bookTicker", "u"),
        ("blockTrade", "t"),
    ):
        old, new = before[f"btcusdt@{stream}"], after[f"btcusdt@{stream}"]
        assert new[0][key] < old[-1][key], stream
        assert new[0][key] < 10_000
        if "E" in new[0]:
            assert new[0]["E"] >= old[-1]["E"]
        ids = [event[key] for event in new]
        assert ids == sorted(ids)
    for earlier, later in itertools.pairwise(after["btcusdt@depth@100ms"]):
        assert later["U"] == earlier["u"] + 1
    assert after["ethusdt@trade"][0]["t"] == before["ethusdt@trade"][-1]["t"] + 1
    assert after["btcusdt@kline_1m"]
    assert after["btcusdt@ticker"][-1]["F"] == after["btcusdt@trade"][0]["t"]


async def test_after_a_reset_rest_knows_only_the_new_ids_and_a_book_that_fits_the_stream():
    source = make_market(symbols=("BTCUSDT",))
    listener = listen(source, "BTCUSDT", kinds=("depth@100ms", "trade"))
    advance(source, 10)
    source.reset_ids()
    assert source.rest.trades("BTCUSDT", from_id=None, limit=10, lagging=False) == []
    listener.messages()
    advance(source, 5)
    snapshots = [json.loads(source.rest.depth("BTCUSDT", 100)) for _ in range(10)]  # a few are older than the stream
    snapshot = max(snapshots, key=lambda book: book["lastUpdateId"])
    streams = by_stream(listener.messages())
    told = source.rest.trades("BTCUSDT", from_id=0, limit=1000, lagging=False)
    assert [row.trade_id for row in told] == [trade["t"] for trade in streams["btcusdt@trade"]]
    updates = streams["btcusdt@depth@100ms"]
    assert updates[0]["U"] <= snapshot["lastUpdateId"] + 1 < 10_000
    assert source.rest.klines("BTCUSDT", "1m", start_us=None, end_us=None, limit=5)[-1].trades == len(told)


async def test_a_halted_symbol_falls_silent_on_every_stream_and_comes_back_without_a_gap():
    source = make_market()
    listener = listen(source, "BTCUSDT", "ETHUSDT")
    arrays = Listener(source, "!miniTicker@arr", number=2)
    advance(source, 10)
    source.set_status("BTCUSDT", "HALT")
    advance(source, 63)  # what happened before the halt is still published, and its minute closed
    before = by_stream(listener.messages())
    arrays.payloads()
    late = listen(source, "BTCUSDT")
    advance(source, 120)
    meanwhile = by_stream(listener.messages())
    assert {stream.partition("@")[0] for stream in meanwhile} == {"ethusdt"}
    assert {event["s"] for array in arrays.messages() for event in array["data"]} == {"ETHUSDT"}
    assert late.payloads() == []
    assert source.rest.symbol_info("BTCUSDT")["status"] == source.rest.status("BTCUSDT") == "HALT"
    source.set_status("btcusdt", "TRADING")
    advance(source, 10)
    after = by_stream(listener.messages())
    assert {stream for stream in after if stream.startswith("btc")} >= {
        f"btcusdt@{kind}" for kind in KINDS[:2] + KINDS[3:]
    }
    assert after["btcusdt@trade"][0]["t"] == before["btcusdt@trade"][-1]["t"] + 1
    assert after["btcusdt@depth@100ms"][0]["U"] == before["btcusdt@depth@100ms"][-1]["u"] + 1


async def test_a_halt_shorter_than_the_next_order_changes_nothing():
    halted, untouched = make_market(symbols=("ADAUSDT",)), make_market(symbols=("ADAUSDT",))
    ours, theirs = listen(halted, "ADAUSDT", kinds=("trade",)), listen(untouched, "ADAUSDT", kinds=("trade",))
    halted.set_status("ADAUSDT", "BREAK")
    halted.set_status("ADAUSDT", "TRADING")
    for source in (halted, untouched):
        advance(source, 30)
    assert ours.payloads() == theirs.payloads()


async def test_a_new_listing_is_in_exchange_info_and_flows_to_who_subscribed_before():
    source = make_market()
    early = listen(source, "NEWUSDT", kinds=("trade", "depth@100ms"))
    arrays = Listener(source, "!miniTicker@arr", number=2)
    gone = listen(source, "NEWUSDT", kinds=("trade",))
    source.detach(gone.session, "newusdt@trade")
    advance(source, 5)
    assert early.payloads() == []
    source.list_symbol("newusdt")
    source.list_symbol("NEWUSDT")
    assert source.rest.symbols()[-1] == "NEWUSDT"
    late = Listener(source, "newusdt@trade", number=3)
    advance(source, 60)
    assert set(by_stream(early.messages())) == {"newusdt@trade", "newusdt@depth@100ms"}
    assert late.payloads()
    assert gone.payloads() == []
    assert "NEWUSDT" in {event["s"] for array in arrays.messages() for event in array["data"]}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda source: source.set_status("NOSUCH", "HALT"), "'NOSUCH'"),
        (
            lambda source: source.set_status("BTCUSDT", "SLEEP"),
            "accepted: TRADING, END_OF_DAY, HALT, BREAK, CANCEL_ONLY",
        ),
        (lambda source: source.reset_ids("NOSUCH"), "'NOSUCH'"),
        (lambda source: source.list_symbol("x!"), "'x!'; accepted"),
    ],
)
async def test_events_that_cannot_be_are_refused_with_what_was_given(change, text):
    with pytest.raises(SettingsError, match=text.replace("'", ".")):
        change(make_market())


async def test_nothing_ever_happens_in_a_quiet_symbol_that_is_listed_as_trading():
    source = make_market(quiet=("DEADUSDT", "ÜUSDT"))
    listener = listen(source, "DEADUSDT", "ÜUSDT")
    arrays = Listener(source, "!miniTicker@arr", "!ticker_1h@arr", number=2)
    advance(source, 200)
    assert listener.payloads() == []
    assert all("DEADUSDT" not in json.dumps(message) for message in arrays.messages())
    assert source.rest.status("DEADUSDT") == "TRADING"
    ticker = source.rest.ticker("DEADUSDT", "1d", 86_400_000_000)
    assert (ticker.trades, ticker.base, ticker.first_id) == (0, "0.00000000", -1)
    assert json.loads(source.rest.depth("DEADUSDT", 5))["bids"]


async def test_books_in_which_nothing_happens_cost_nothing():
    names = tuple(f"DEAD{number}USDT" for number in range(100))
    source = make_market(symbols=("XUSDT",), activity=1e-9, quiet=names)
    listener = listen(source, *names, kinds=("depth@100ms", "depth5"))
    advance(source, 2)
    assert source.scheduler.next_us > source.scheduler.now_us + 10**9
    for name in names:
        source.detach(listener.session, f"{name.lower()}@depth5")
        source.attach(listener.session, f"{name.lower()}@depth5")
    advance(source, 2)
    assert max(len(market._sleepers) for market in source.markets.values()) == 2


async def test_the_old_trade_schema_has_order_ids_between_quantity_and_time():
    source = make_market(old_trade_schema=True)
    listener = listen(source, "BTCUSDT", kinds=("trade",))
    advance(source, 5)
    trades = [message["data"] for message in listener.messages()]
    assert {tuple(trade) for trade in trades} == {tuple("eEstpqbaTmM")}
    assert all(trade["b"] != trade["a"] for trade in trades)
    assert all((trade["b"] < trade["a"]) == trade["m"] for trade in trades)  # the taker's order is the younger one


async def test_extra_fields_are_in_every_event_and_nothing_else_changes():
    plain, extended = make_market(), make_market(extra_fields=True)
    names = [f"btcusdt@{kind}" for kind in KINDS] + ["!miniTicker@arr", "!ticker_1h@arr"]
    ours, theirs = Listener(extended, *names), Listener(plain, *names)
    for source in (plain, extended):
        advance(source, 10)
    for got, expected in zip(ours.messages(), theirs.messages(), strict=True):
        events = got["data"] if isinstance(got["data"], list) else [got["data"]]
        for event in events:
            assert event.pop("xN")["since"] == 2027
            assert event.pop("xF") is None
        assert got == expected


def test_a_single_element_and_many_are_extended_alike():
    assert [set(event) for event in json.loads(extend(b'[{"a":1},{"b":2},{"c":3}]'))] == [
        {name, "xN", "xF"} for name in "abc"
    ]
    assert set(json.loads(extend(b'[{"a":1}]'))[0]) == {"a", "xN", "xF"}


def test_invented_symbols_are_all_different_and_possible():
    names = invent_symbols(20_000)
    assert len(set(names)) == 20_000
    assert names[:5] == ("BTCUSDT", "ETHUSDT", "BNBUSDT", "ADAUSDT", "XRPUSDT")
    assert refused_names(names) == []
    assert all(name == name.upper() for name in names)


@pytest.mark.parametrize("name", ["X!", "", "A B", "A" * 51, "BTC/USDT", "A@B"])
def test_a_name_that_no_symbol_has_is_refused(name):
    assert len(refused_names([name])) == 1
    assert refused_names([]) == ["none given; at least one symbol is needed"]


async def test_a_market_of_impossible_symbols_is_refused():
    with pytest.raises(SettingsError, match="X!"):
        make_market(symbols=("BTCUSDT", "X!"))


async def test_thousands_of_symbols_are_there_at_once_and_only_busy_ones_cost():
    names = invent_symbols(5000)
    source = make_market(symbols=names)
    assert source.rest.symbols() == names
    assert sum(market._flow is not None for market in source.markets.values()) == 0
    listener = Listener(source, *(f"{name.lower()}@trade" for name in names))
    advance(source, 3)
    assert listener.payloads()
    assert json.loads(source.rest.depth(names[-1], 5))["bids"]


def test_a_market_that_lags_says_so_once_a_minute(caplog):
    watch = LagWatch(speed=2.0)
    with caplog.at_level(logging.WARNING):
        watch.look(1_900_000, 0.0)
        assert caplog.records == []
        watch.look(4_000_000, 1.0)
        watch.look(9_000_000, 60.9)
        watch.look(9_000_000, 61.0)
    assert [record.fields["lag_s"] for record in caplog.records] == [2.0, 4.5]
    assert {record.msg.event for record in caplog.records} == {"market_lags"}


async def test_the_market_on_a_clock_it_cannot_hold_says_so(caplog):
    with caplog.at_level(logging.WARNING):
        async with open_exchange(quiet(speed=1e6)):
            with trio.move_on_after(30):
                while not caplog.records:  # noqa: ASYNC110 - a log has no event
                    await trio.sleep(0.01)
    assert caplog.records[0].msg.event == "market_lags"


async def test_a_recording_can_halt_and_list_but_not_reset(autojump_clock, tmp_path):
    frames, _ = record_market(seconds=5)
    path = write_numbered(tmp_path / "r.txt", frames)
    names = [f"{symbol}@trade" for symbol in ("btcusdt", "ethusdt")]
    async with open_exchange(quiet(recording=(path,), start_when="first", tick_s=0.01)) as exchange:
        source = exchange.source
        assert source.events == {"set_status", "list_symbol"}
        with pytest.raises(SettingsError, match="as it is"):
            source.reset_ids()
        with pytest.raises(SettingsError, match="NOSUCH"):
            source.set_status("NOSUCH", "HALT")
        with pytest.raises(SettingsError, match="x!"):
            source.list_symbol("x!")
        source.list_symbol("newusdt")
        source.set_status("BTCUSDT", "HALT")
        assert source.rest.status("BTCUSDT") == "HALT"
        assert list(source.rest.symbols()) == ["BTCUSDT", "ETHUSDT", "NEWUSDT"]
        got = []
        async with client_of(exchange, "/stream?streams=" + "/".join(names)) as client:
            with trio.move_on_after(3):
                while True:
                    got.append(json.loads(await client.get_message())["stream"])
            assert set(got) == {"ethusdt@trade"}
            source.set_status("BTCUSDT", "TRADING")
            with trio.move_on_after(3):
                while True:
                    got.append(json.loads(await client.get_message())["stream"])
            assert set(got) == set(names)


async def test_a_recording_tells_prices_and_tickers_of_what_was_played(autojump_clock, tmp_path):
    frames, _ = record_market(seconds=5)
    path = write_numbered(tmp_path / "r.txt", frames)
    async with open_exchange(quiet(recording=(path,), speed=0, start_when="first")) as exchange:
        rest = exchange.source.rest
        assert rest.last_price("BTCUSDT") == "0.00000000"
        assert rest.average_price("BTCUSDT") == ("0.00000000", 0)
        assert rest.reference_price("BTCUSDT") is None
        assert rest.block_trades("BTCUSDT", from_id=0, limit=5) == []
        async with client_of(exchange, "/stream?streams=btcusdt@trade"):
            await exchange.source.finished.wait()
        trades = [json.loads(frame)["data"] for _, frame in frames if b'"btcusdt@trade"' in frame]
        ticker = rest.ticker("BTCUSDT", "1d", 86_400_000_000)
        assert (ticker.first_id, ticker.last_id, ticker.trades) == (trades[0]["t"], trades[-1]["t"], len(trades))
        assert (ticker.open, ticker.last) == (trades[0]["p"], trades[-1]["p"])
        assert rest.trading_day("BTCUSDT", 0)[:11] == ticker[:11]
        assert rest.last_price("BTCUSDT") == trades[-1]["p"]
        assert rest.average_price("BTCUSDT")[1] // 1000 == trades[-1]["T"]
        recording = Recording([path])
        assert recording.symbols == ("BTCUSDT", "ETHUSDT")
