"""Every stream on two connections, by a whole service on virtual time against the simulated exchange."""

import pytest
import trio

from ingest_actors.simulator.faults import Cut, Drop, Fault, Mute, RefuseHandshake, RestHang, Slow
from sinks import MemorySink
from test_rotation import EVERY_TYPE, Looks, assert_in_order, assert_whole, series_of, stop
from test_service import Told, settings, simulated

TWO = {"binance_symbols": "BTCUSDT,ETHUSDT", "binance_stream_types": EVERY_TYPE, "connections_per_stream": 2}


async def test_everything_comes_twice_and_is_written_once(autojump_clock, nursery):
    async with simulated(nursery) as world:
        sink = MemorySink()
        service = world.service(sink, **TWO)
        nursery.start_soon(service.run)
        await service.wait_ready()
        assert [(c.name, c.streams) for c in service.status().connections] == [("ws-1", 23), ("ws-1b", 23)]
        await trio.sleep(30)
        assert service.status().streams_flowing == service.status().streams_wanted == 23
        total = await stop(service)
    assert total.delivered <= 1.05 * total.received / 2  # one of the two was there a moment earlier
    assert len(assert_whole(sink)) == 2 * 12


@pytest.mark.parametrize("number", [1, 2])
async def test_one_that_is_cut_again_and_again_is_not_seen_in_the_record(autojump_clock, nursery, number):
    async with simulated(nursery) as world:
        sink = MemorySink()
        service = world.service(sink, **TWO, reconnect_interval=0.5, max_retries=0)
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        for _ in range(12):
            await trio.sleep(4)
            for victim in world.exchange.server.connections.keys() - {3 - number}:
                world.exchange.inflict(Fault(Cut(), connections={victim}))
            await trio.sleep(1)
        await trio.sleep(10)
        assert len({fields["connection"] for fields in told.all("connection_closed")}) == 1
        assert service.get_metrics()["reconnect_count"] > 5
        await stop(service)
    found = assert_whole(sink)
    assert len(found) == 2 * 12


async def test_the_two_are_on_different_endpoints_whatever_happens(autojump_clock, nursery):
    async with simulated(nursery, activity=0.3) as world:
        sink = MemorySink()
        given = TWO | {"binance_ws_url": "ws://one,ws://two", "ws_rotate_after_seconds": 60}
        service = world.service(sink, **given, reconnect_interval=0.5, max_retries=0)
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        for _ in range(8):
            await service.wait_ready()
            await trio.sleep(1)
            assert {c.url for c in service.status().connections} == {"ws://one/stream", "ws://two/stream"}
            world.exchange.inflict(Fault(Cut(), connections={min(world.exchange.server.connections)}))
            await trio.sleep(20)
        assert len(told.all("connection_closed")) == 8
        await trio.sleep(70)
        assert len(told.all("connection_replaced")) >= 2
        assert {c.url for c in service.status().connections} == {"ws://one/stream", "ws://two/stream"}
        await stop(service)
    assert_whole(sink)


async def test_both_are_replaced_and_nothing_is_seen_of_it(autojump_clock, nursery):
    async with simulated(nursery) as world:
        sink = MemorySink()
        service = world.service(sink, **TWO, ws_rotate_after_seconds=60)
        told, looks = Told(service), Looks(service)
        nursery.start_soon(service.run)
        nursery.start_soon(looks.run)
        await service.wait_ready()
        await trio.sleep(100)
        replaced = {(fields["connection"], fields["by"]) for fields in told.all("connection_replaced")}
        assert replaced == {("ws-1", "ws-1.2"), ("ws-1b", "ws-1b.2")}
        assert service.get_metrics()["reconnect_count"] == 0
        assert service.get_metrics()["connections_planned"] == 2
        assert looks.unready == []
        await stop(service)
    assert_whole(sink)


async def test_a_hole_in_one_is_filled_by_the_other_though_that_is_slower(autojump_clock, nursery):
    async with simulated(nursery) as world:
        sink = MemorySink()
        service = world.service(sink, **TWO)
        nursery.start_soon(service.run)
        await service.wait_ready()
        world.exchange.inflict(Fault(Slow(latency_s=0.06), connections={1}))
        world.exchange.inflict(Fault(Drop(), connections={2}, probability=0.05))
        await trio.sleep(60)
        assert len(world.exchange.fired) > 50
        await stop(service)
    assert_whole(sink)


async def test_a_gap_that_the_other_closes_says_so(autojump_clock, nursery):
    async with simulated(nursery) as world:
        sink = MemorySink()
        service = world.service(sink, **TWO | {"binance_stream_types": "trade,depth@100ms"}, gap_hold_seconds=20)
        nursery.start_soon(service.run)
        await service.wait_ready()
        world.exchange.inflict(Fault(RestHang()))
        world.exchange.inflict(Fault(Slow(latency_s=2), connections={1}))
        await trio.sleep(5)
        world.exchange.inflict(Fault(Drop(), connections={2}, streams="btcusdt@trade", probability=0.5, times=1))
        await trio.sleep(20)
        await stop(service)
    found = series_of(sink)
    assert_in_order(found, "trade")
    told = [(gap["stream"], gap["state"], gap["resolved_by"]) for gap in found["gap", b"BTCUSDT", "btcusdt@trade"]]
    assert told == [("btcusdt@trade", "open", None), ("btcusdt@trade", "closed", "other_connection")]


async def test_one_that_brings_nothing_while_the_other_does_is_opened_again(autojump_clock, nursery):
    async with simulated(nursery, activity=0.3) as world:
        sink = MemorySink()
        service = world.service(sink, **TWO)
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(10)
        world.exchange.inflict(Fault(Mute(), connections={1}))
        await trio.sleep(80)
        (closed,) = told.all("connection_closed")
        assert closed["reason"] == "it is silent, and another connection with the same streams is not"
        assert service.status().connected
        assert told.all("stream_silent") == []
        await stop(service)
    assert_whole(sink)


async def test_streams_are_counted_once_and_move_over_on_both(autojump_clock, nursery):
    async with simulated(nursery) as world:
        sink = MemorySink()
        given = {"binance_stream_types": "trade,bookTicker", "connections_per_stream": 2}
        service = world.service(sink, binance_symbols="BTCUSDT", **given)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(5)
        assert (service.status().streams_wanted, service.status().streams_flowing) == (2, 2)
        await service.reload(settings(binance_symbols="BTCUSDT,ETHUSDT", **given))
        await trio.sleep(5)
        assert (service.status().streams_wanted, service.status().streams_flowing) == (4, 4)
        assert [c.streams for c in service.status().connections] == [4, 4]
        await stop(service)
    assert_whole(sink)


async def test_an_endpoint_that_is_gone_ends_the_service_only_when_the_other_is_gone_too(autojump_clock, nursery):
    async with simulated(nursery, activity=0.1) as world:
        sink = MemorySink()
        given = TWO | {"binance_ws_url": "ws://one,ws://two"}
        service = world.service(sink, **given, reconnect_interval=0.5, max_retries=3)
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(5)
        world.exchange.inflict(Fault(RefuseHandshake(), for_s=60))
        world.exchange.inflict(Fault(Cut(), connections={1}))
        await trio.sleep(55)
        assert len(told.all("websocket_connection_failed")) > 5
        await trio.sleep(100)
        assert service.status().connected
        await stop(service)
    assert_whole(sink)
