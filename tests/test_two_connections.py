"""Every stream on two connections, by a whole service on virtual time against the simulated exchange."""

import pytest
import trio

from ingest_actors.simulator.faults import Cut, Fault
from sinks import MemorySink
from test_rotation import EVERY_TYPE, assert_whole, stop
from test_service import Told, simulated

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
