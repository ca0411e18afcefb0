"""Streams that are watched, by a whole service on virtual time against the simulated exchange in memory."""

from dataclasses import replace
from itertools import pairwise

import pytest
import trio

from ingest_actors.actors.fleet import Wanted
from ingest_actors.binance.session import LIST_INTERVAL_S
from ingest_actors.simulator.faults import Fault, LoseSubscriptions, Mute, RefuseHandshake, RestError, SetStatus
from sinks import MemorySink
from test_service import Told, simulated, trade_ids

DAY_S = 86_400


def flowing(service):
    status = service.status()
    return status.streams_wanted, status.streams_listed, status.streams_flowing, status.streams_silent


def whole(ids):
    return all(after == before + 1 for before, after in pairwise(ids))


async def stop(service):
    service.stop()
    await service.wait_stopped()
    assert service.report.ledger.difference == 0
    assert service.report.ledger.in_flight == 0


async def test_streams_flow_as_soon_as_they_bring_something(autojump_clock, nursery):
    async with simulated(nursery) as world:
        service = world.service(MemorySink(), binance_symbols="BTCUSDT,ETHUSDT", binance_stream_types="trade,kline_1m")
        nursery.start_soon(service.run)
        await service.wait_ready()
        assert flowing(service) == (4, 4, 0, 0)
        await trio.sleep(10)
        assert flowing(service) == (4, 4, 4, 0)
        await stop(service)


@pytest.mark.long
async def test_a_dead_pair_raises_no_alarm_for_a_day(autojump_clock, nursery):
    async with simulated(nursery, activity=0.00001, tick_s=2) as world:
        service = world.service(
            MemorySink(),
            binance_symbols="BTCUSDT,ETHUSDT",
            binance_stream_types="trade,depth,kline_1m,bookTicker",
            monitor_interval_seconds=3600,
        )
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(DAY_S - 600)
        assert told.all("stream_silent") == []
        assert flowing(service)[3] == 0
        assert world.connections == 2  # the second takes its place before the exchange ends it
        await stop(service)


async def test_a_muted_stream_of_a_busy_pair_is_subscribed_again_then_moved_and_flows(autojump_clock, nursery):
    async with simulated(nursery) as world:
        sink = MemorySink()
        service = world.service(
            sink, binance_symbols="BTCUSDT,ETHUSDT", binance_stream_types="trade,depth@100ms,kline_1m"
        )
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(30)
        world.exchange.inflict(Fault(Mute(), streams="btcusdt@depth@100ms"))
        await trio.sleep(75)
        (first,) = told.all("stream_silent")
        assert first | {"silent_s": 0} == {
            "stream": "btcusdt@depth@100ms",
            "connection": "ws-1",
            "silent_s": 0,
            "limit_s": 60,
            "basis": "btcusdt@trade",
            "action": "subscribed_again",
            "attempt": 1,
        }
        assert 60 <= first["silent_s"] <= 70
        assert flowing(service) == (6, 6, 5, 1)
        assert service.status().unready() == []
        await trio.sleep(75)
        first, second = told.all("stream_silent")
        assert (second["action"], second["attempt"], second["connection"]) == ("moved", 2, "ws-1")
        await trio.sleep(5)
        (flows,) = told.all("stream_flowing")
        assert (flows["stream"], flows["connection"]) == ("btcusdt@depth@100ms", "ws-2")
        assert flows["silent_s"] >= 120
        assert flowing(service) == (6, 6, 6, 0)
        assert {c.name: c.streams for c in service.status().connections} == {"ws-1": 5, "ws-2": 1}
        assert service.get_metrics()["reconnect_count"] == 0
        await stop(service)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        ids = trade_ids(sink, symbol)
        assert len(ids) > 100
        assert whole(ids)


def serving(world, sink, *streams, **given):
    """A service that wants these streams, whatever the settings amount to."""
    service = world.service(sink, **given)
    wanted = Wanted(streams, symbols_listed=frozenset({"BTCUSDT", "ETHUSDT"}))

    async def resolve(announce):
        await trio.lowlevel.checkpoint()
        return wanted

    network = service._topology.sources.network
    service._topology.sources.network = replace(network, resolve=resolve)
    return service


async def test_streams_that_are_acknowledged_and_do_not_exist_are_silent_by_their_first_data_deadline(
    autojump_clock, nursery
):
    async with simulated(nursery) as world:
        service = serving(world, MemorySink(), "ETHUSDT@bookTicker", "btcusdt@trade", "nonsense@bookTicker")
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(180)
        first = {fields["stream"]: fields for fields in told.all("stream_silent") if fields["attempt"] == 1}
        assert first["ETHUSDT@bookTicker"]["basis"] == "ticker/24hr"
        assert first["nonsense@bookTicker"]["basis"] == "exchangeInfo"
        assert set(first) == {"ETHUSDT@bookTicker", "nonsense@bookTicker"}
        assert all(60 <= fields["silent_s"] <= 60 + 60 + 8 for fields in first.values())
        assert flowing(service) == (3, 3, 1, 2)
        await stop(service)


async def test_what_nothing_helps_against_is_told_ever_more_seldom_and_comes_to_rest_where_it_was(
    autojump_clock, nursery
):
    async with simulated(nursery, tick_s=5, activity=0.01) as world:
        service = serving(world, MemorySink(), "BTCUSDT@depth", "btcusdt@trade", "btcusdt@depth")
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(4 * 3600)
        actions = [fields["action"] for fields in told.all("stream_silent")]
        assert actions == ["subscribed_again", "moved", "moved_back"] + ["subscribed_again"] * (len(actions) - 3)
        assert 6 <= len(actions) <= 9
        waited = [fields["limit_s"] for fields in told.all("stream_silent")]
        assert waited[:6] == [60, 60, 120, 240, 480, 960]
        assert {c.name: c.streams for c in service.status().connections} == {"ws-1": 3}
        assert flowing(service) == (3, 3, 2, 1)
        assert service.status().connected
        await stop(service)


async def test_a_subscription_that_the_exchange_has_lost_is_found_and_subscribed_again(autojump_clock, nursery):
    async with simulated(nursery) as world:
        sink = MemorySink()
        service = world.service(
            sink,
            binance_symbols="BTCUSDT,ETHUSDT",
            binance_stream_types="trade,kline_1m",
            stream_silence_seconds=86_400,
        )
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(LIST_INTERVAL_S - 30)
        world.exchange.inflict(Fault(LoseSubscriptions(), streams="btcusdt@*"))
        await trio.sleep(28)
        assert flowing(service)[1] == 4
        await trio.sleep(12)
        ((lost),) = told.all("subscription_missing")
        assert (lost["connection"], sorted(lost["streams"]), lost["count"]) == (
            "ws-1",
            ["btcusdt@kline_1m", "btcusdt@trade"],
            2,
        )
        assert told.all("stream_silent") == []
        await trio.sleep(15)
        assert flowing(service) == (4, 4, 4, 0)
        await stop(service)
    assert whole(trade_ids(sink, "ETHUSDT"))
    assert whole(trade_ids(sink, "BTCUSDT"))  # what it cost was brought from REST


async def test_a_connection_that_pings_and_brings_nothing_is_opened_again_as_a_whole(autojump_clock, nursery):
    async with simulated(nursery) as world:
        sink = MemorySink()
        service = world.service(
            sink, binance_symbols="BTCUSDT,ETHUSDT", binance_stream_types="trade,depth@100ms,bookTicker", max_retries=1
        )
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(30)
        world.exchange.inflict(Fault(Mute()))
        await trio.sleep(135)
        silent = told.all("stream_silent")
        assert {fields["action"] for fields in silent} == {"reopened"}
        assert {fields["basis"] for fields in silent} == {"ticker/24hr"}
        (closed,) = told.all("connection_closed")
        assert (closed["connection"], closed["reason"]) == ("ws-1", "its streams are silent")
        await trio.sleep(5)
        assert len(told.all("connection_opened")) == 2
        assert len(told.all("stream_flowing")) == len(silent) == 4
        assert flowing(service) == (6, 6, 6, 0)
        assert service.get_metrics()["reconnect_count"] == 1
        assert service.status().tallies.reconnects == {"silent": 1}
        await stop(service)


@pytest.mark.parametrize("status", [404, 503])
async def test_without_statistics_the_limit_alone_decides_and_the_log_says_so(autojump_clock, nursery, status):
    async with simulated(nursery) as world:
        service = world.service(MemorySink(), binance_stream_types="bookTicker")
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(30)
        world.exchange.inflict(Fault(RestError(status), endpoints="ticker/24hr"))
        world.exchange.inflict(Fault(Mute()))
        await trio.sleep(60 + 3 * 60 + 5)
        assert [fields["basis"] for fields in told.all("stream_silent")][:1] == ["limit"]
        assert flowing(service)[3] == 1
        await stop(service)


async def test_a_pair_that_is_halted_raises_no_alarm(autojump_clock, nursery):
    async with simulated(nursery) as world:
        service = world.service(MemorySink(), binance_stream_types="trade,depth@100ms,kline_1m,bookTicker,ticker")
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(30)
        world.exchange.inflict(Fault(SetStatus("BTCUSDT", "HALT")))
        await trio.sleep(1200)
        assert told.all("stream_silent") == []
        world.exchange.inflict(Fault(SetStatus("BTCUSDT", "TRADING")))
        await trio.sleep(10)
        assert flowing(service) == (5, 5, 5, 0)
        await stop(service)


async def test_an_outage_of_ours_or_of_the_connection_is_no_silence_of_the_streams(autojump_clock, nursery):
    async with simulated(nursery) as world:
        sink = MemorySink(delay_s=0.01, room=200)
        service = world.service(
            sink,
            binance_stream_types="trade,bookTicker,kline_1m",
            buffer_max_bytes=2**20,
            ws_message_max_bytes=2**16,
            max_retries=0,
            shutdown_timeout_seconds=600,
        )
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(30)
        sink.pause()
        await trio.sleep(900)
        assert told.all("stream_silent") == []
        sink.resume()
        await trio.sleep(120)
        assert told.all("stream_silent") == []
        assert flowing(service) == (3, 3, 3, 0)
        await stop(service)


@pytest.mark.parametrize("sick", ["watch", "planner", "connection", "parser"])
async def test_the_watch_survives_crashes(autojump_clock, nursery, monkeypatch, sick):
    async with simulated(nursery) as world:
        service = world.service(MemorySink(), binance_stream_types="trade,depth@100ms")
        topology = service._topology
        crashes = []

        def crash_once(owner, name, *, after=0):
            whole = getattr(owner, name)

            def broken(*args, **given):
                crashes.append(trio.current_time())
                if len(crashes) == 1 + after:
                    raise ZeroDivisionError(sick)
                return whole(*args, **given)

            monkeypatch.setattr(owner, name, broken)

        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(30)
        world.exchange.inflict(Fault(Mute(), streams="btcusdt@depth@100ms", connections=frozenset({1, 2})))
        await trio.sleep(90)
        assert [fields["attempt"] for fields in told.all("stream_silent")] == [1]
        if sick == "watch":
            crash_once(topology.overview.streams, "look")
        elif sick == "planner":
            crash_once(topology.overview.fleet, "reconcile")
        elif sick == "connection":
            crash_once(topology._frames, "put_nowait")
        else:
            crash_once(topology._frames, "settle")
        await trio.sleep(75)
        assert crashes
        assert service.status().tallies.actor_restarts[sick] == 1
        alarms = [(fields["attempt"], fields["action"]) for fields in told.all("stream_silent")]
        if sick == "connection":  # it was opened again, which helps
            assert alarms == [(1, "subscribed_again")]
        else:
            assert alarms == [(1, "subscribed_again"), (2, "moved")]
            assert {c.name: c.streams for c in service.status().connections} == {"ws-1": 1, "ws-2": 1}
        assert len(told.all("stream_flowing")) == 1
        assert flowing(service) == (2, 2, 2, 0)
        await stop(service)


async def test_a_connection_that_a_move_needs_and_does_not_get_costs_neither_readiness_nor_the_service(
    autojump_clock, nursery
):
    async with simulated(nursery) as world:
        service = world.service(MemorySink(), binance_stream_types="trade,depth@100ms", max_retries=1)
        told = Told(service)
        nursery.start_soon(service.run)
        await service.wait_ready()
        await trio.sleep(10)
        world.exchange.inflict(Fault(Mute(), streams="btcusdt@depth@100ms"))
        world.exchange.inflict(Fault(RefuseHandshake(503)))
        for _ in range(200):
            await trio.sleep(1)
            assert service.status().unready() == []
            assert service.get_metrics()["connected"]
        assert [fields["action"] for fields in told.all("stream_silent")] == ["subscribed_again", "moved"]
        assert {fields["connection"] for fields in told.all("websocket_connection_failed")} == {"ws-2"}
        assert [c.name for c in service.status().connections] == ["ws-1", "ws-2"]
        await trio.sleep(60)
        assert {c.name: c.streams for c in service.status().connections} == {"ws-1": 2}
        assert service.status().connected
        assert service._topology.overview.fleet.retired == []
        await stop(service)
