"""Other symbols and stream types while the service runs, on virtual time against the simulated exchange."""

import pytest
import trio

from ingest_actors.errors import SettingsError
from ingest_actors.simulator.faults import Fault, ListSymbol, RestError, SetStatus
from sinks import MemorySink
from test_rotation import assert_whole, series_of, stop
from test_service import Told, settings, simulated, trade_ids

BOTH = {"binance_symbols": "BTCUSDT,ETHUSDT", "binance_stream_types": "trade,depth@100ms,bookTicker"}


def subscribed(world):
    return sorted(
        stream
        for connection in world.exchange.server.connections.values()
        for stream in connection.session.control.streams
    )


async def test_symbols_come_and_go_and_what_stays_has_no_gap(autojump_clock, nursery):
    async with simulated(nursery, symbols=("BTCUSDT", "ETHUSDT", "BNBUSDT")) as world:
        sink = MemorySink()
        service = world.service(sink, **BOTH)
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(20)
        await service.reload(settings(**BOTH | {"binance_symbols": "BNBUSDT,BTCUSDT"}))
        kinds = ("bookTicker", "depth@100ms", "trade")
        assert subscribed(world) == sorted(f"{symbol}@{kind}" for symbol in ("bnbusdt", "btcusdt") for kind in kinds)
        assert service.status().unready() == []
        await trio.sleep(20)
        (changed,) = told.all("streams_changed")
        assert (changed["added"], changed["removed"]) == (3, 3)
        assert service.status().streams_wanted == 6
        assert world.connections == 1
        await service.reload(settings(**BOTH))  # one comes again: what it missed is brought, where it can be
        await trio.sleep(20)
        await stop(service)
    for symbol in ("BTCUSDT", "ETHUSDT", "BNBUSDT"):
        ids = trade_ids(sink, symbol)
        assert len(ids) > 20
        assert ids == list(range(ids[0], ids[0] + len(ids)))
    gaps = [gap for (kind, *_), events in series_of(sink).items() if kind == "gap" for gap in events]
    assert {(gap["stream"], gap["state"]) for gap in gaps} == {
        ("ethusdt@trade", "open"), ("ethusdt@trade", "closed"),
        ("ethusdt@depth@100ms", "open"), ("ethusdt@depth@100ms", "lost"),
    }  # fmt: skip


async def test_other_stream_types_move_over_too(autojump_clock, nursery):
    async with simulated(nursery) as world:
        sink = MemorySink()
        service = world.service(sink, **BOTH)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(10)
        await service.reload(settings(**BOTH | {"binance_stream_types": "trade,kline_1m", "log_level": "DEBUG"}))
        assert service.settings.log_level == "DEBUG"
        await trio.sleep(10)
        await stop(service)
    found = assert_whole(sink)
    assert {kind for kind, *_ in found} == {"trade", "depth_update", "book_ticker", "kline"}


async def test_what_needs_a_restart_is_refused_as_a_whole_and_named(autojump_clock, nursery):
    async with simulated(nursery) as world:
        service = world.service(MemorySink(), **BOTH)
        nursery.start_soon(service.run)
        await service.wait_ready()
        before = subscribed(world)
        other = {
            "binance_symbols": "BTCUSDT",
            "batch_size": 7,
            "http_token": "hunter2-swordfish",
            "buffer_max_bytes": "1GiB",
        }
        with pytest.raises(SettingsError) as refused:
            await service.reload(settings(**BOTH | other))
        accepted = (
            "a change of it needs a restart; accepted: changes of BINANCE_STREAM_TYPES, BINANCE_SYMBOLS, LOG_LEVEL"
        )
        assert refused.value.problems == [
            f"BATCH_SIZE='7': {accepted}", f"BUFFER_MAX_BYTES='1GiB': {accepted}", f"HTTP_TOKEN=***: {accepted}",
        ]  # fmt: skip
        with pytest.raises(SettingsError, match="the exchange lists none of these; near: ETHUSDT"):
            await service.reload(settings(**BOTH | {"binance_symbols": "ETHUSTD"}))
        with pytest.raises(SettingsError, match="did you mean"):
            await service.reload(settings(**BOTH | {"binance_stream_types": "trades"}))
        await trio.sleep(5)
        assert subscribed(world) == before
        assert service.settings == settings(**BOTH)
        await stop(service)


async def test_a_new_listing_under_a_pattern_is_found_and_a_delisted_symbol_is_left_and_a_halted_one_is_not(
    autojump_clock, nursery
):
    async with simulated(nursery, activity=0.1) as world:
        sink = MemorySink()
        service = world.service(sink, binance_symbols="*USDT", binance_stream_types="trade,bookTicker")
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        assert len(subscribed(world)) == 4
        await trio.sleep(30)
        world.exchange.inflict(Fault(ListSymbol("NEWUSDT")))
        world.exchange.inflict(Fault(SetStatus("ETHUSDT", "HALT")))
        await trio.sleep(300)
        assert subscribed(world) == sorted(
            f"{symbol}@{kind}" for symbol in ("btcusdt", "ethusdt", "newusdt") for kind in ("trade", "bookTicker")
        )
        assert [(fields["added"], fields["removed"]) for fields in told.all("listings_changed")] == [(2, 0)]
        assert told.all("listings_changed")[0]["streams_added"] == ["newusdt@trade", "newusdt@bookTicker"]
        assert service.status().unready() == []
        world.exchange.inflict(Fault(RestError(503), endpoints="exchangeInfo", for_s=310))
        await trio.sleep(310)
        assert len(told.all("listings_not_asked")) == 1
        assert len(subscribed(world)) == 6
        await stop(service)
    found = assert_whole(sink)
    assert ("trade", b"NEWUSDT", "") in found


async def test_a_pattern_that_comes_by_a_reload_finds_new_listings_too(autojump_clock, nursery):
    async with simulated(nursery, activity=0.1) as world:
        service = world.service(MemorySink(), binance_symbols="BTCUSDT", binance_stream_types="trade")
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(30)
        await service.reload(settings(binance_symbols="*USDT", binance_stream_types="trade"))
        assert subscribed(world) == ["btcusdt@trade", "ethusdt@trade"]
        world.exchange.inflict(Fault(ListSymbol("NEWUSDT")))
        await trio.sleep(301)
        assert subscribed(world) == ["btcusdt@trade", "ethusdt@trade", "newusdt@trade"]
        await service.reload(settings(binance_symbols="BTCUSDT,ETHUSDT", binance_stream_types="trade"))
        world.exchange.inflict(Fault(ListSymbol("LATEUSDT")))
        await trio.sleep(301)
        assert subscribed(world) == ["btcusdt@trade", "ethusdt@trade"]
        await stop(service)


async def test_settings_that_are_the_same_have_new_listings_looked_for_at_once(autojump_clock, nursery):
    async with simulated(nursery, activity=0.1) as world:
        given = {"binance_symbols": "*USDT", "binance_stream_types": "trade"}
        service = world.service(MemorySink(), **given)
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        world.exchange.inflict(Fault(ListSymbol("NEWUSDT")))
        await service.reload(settings(**given))
        await trio.sleep(2)
        assert told.all("listings_changed")[0]["streams_added"] == ["newusdt@trade"]
        assert "newusdt@trade" in subscribed(world)
        await stop(service)


async def test_a_symbol_that_is_halted_under_a_pattern_stays_through_a_reload_that_still_means_it(
    autojump_clock, nursery
):
    async with simulated(nursery, symbols=("BTCUSDT", "ETHUSDT", "BNBBTC"), activity=0.1) as world:
        service = world.service(MemorySink(), binance_symbols="*USDT", binance_stream_types="trade,bookTicker")
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        world.exchange.inflict(Fault(SetStatus("ETHUSDT", "HALT")))
        await service.reload(settings(binance_symbols="*USDT,BNBBTC", binance_stream_types="trade"))
        assert subscribed(world) == ["bnbbtc@trade", "btcusdt@trade", "ethusdt@trade"]
        assert told.all("streams_changed")[-1]["streams_removed"] == ["btcusdt@bookTicker", "ethusdt@bookTicker"]
        await service.reload(settings(binance_symbols="BTC*", binance_stream_types="trade"))
        await trio.sleep(2)  # to drop something takes a message more
        assert subscribed(world) == ["btcusdt@trade"]
        await stop(service)
