"""What users of such systems suffer of their connections, and what ours does instead: a test for each."""

import json
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio

from exchanges import HandDriven, numbers, trade
from field_world import field, running
from ingest_actors.checks import start_problems
from ingest_actors.errors import ActorFailed, ExchangeUnreachable
from ingest_actors.service import Service
from ingest_actors.settings import Settings
from ingest_actors.simulator import invent_symbols
from ingest_actors.simulator.config import Limits
from ingest_actors.simulator.faults import CloseWith, Cut, CutMidFrame, Fault, Garbage, HalfOpen, Mute
from sinks import MemorySink

BUSY = {"activity": 1, "tick_s": 0.1}
"""Of the simulated exchange: enough happens that silence means something."""


@asynccontextmanager
async def served(world, *hosts, **given):
    """A service that is ready."""
    service = world.service(*(hosts or ("a",)), **given)
    async with running(service):
        with trio.fail_after(60):
            assert await service.wait_ready()
        yield service


async def until(true):
    """Look again and again; virtual time goes on meanwhile."""
    while not true():  # noqa: ASYNC110 - what is looked at tells nobody
        await trio.sleep(0.1)


def ids(sink, stream_type):
    """The ids of one symbol's trades, as they were written."""
    events = [json.loads(value) for value, *_ in sink.written]
    return [event["t"] for event in events if event["e"] == stream_type]


ENDS = {
    "cut": Cut(),
    "reset": Cut(reset=True),
    "cut in the middle of a message": CutMidFrame(),
    "1000": CloseWith(1000, "bye"),
    "1001": CloseWith(1001, "going away"),
    "1006 after a pause": HalfOpen(),
    "1008": CloseWith(1008, "Too many requests"),
    "4000": CloseWith(4000, "whatever"),
    "no frame at all": Garbage("bytes"),
    "no UTF-8": Garbage("invalid_utf8"),
}


@pytest.mark.parametrize("end", ENDS)
async def test_whatever_ends_a_connection_another_follows_with_all_its_streams(end, autojump_clock):
    """Seen: never reconnects after an abnormal close, for the streams stay registered with a discarded connection."""
    sink = MemorySink()
    config = BUSY | {"symbols": ("BTCUSDT", "ETHUSDT")}
    async with field(config) as world:
        given = {"binance_symbols": "BTCUSDT,ETHUSDT", "binance_stream_types": "trade,kline_1m"}
        async with served(world, sink=sink, **given) as service:
            for count in (1, 2):
                await trio.sleep(70)
                assert service.status().streams_flowing == 4
                world.exchange.inflict(Fault(ENDS[end]))
                await world.wait_for("connection_opened", count + 1)
                await service.wait_ready()
                assert service.status().streams_listed == 4
            await trio.sleep(10)
            assert service.status().streams_flowing == 4
        assert [opened["streams"] for opened in world.fields("connection_opened")] == [4, 4, 4]
        assert service.get_metrics()["reconnect_count"] == 2
    assert ids(sink, "trade")


async def test_an_acknowledged_stream_that_never_brings_anything_is_told_subscribed_again_and_moved(autojump_clock):
    """Seen: subscribe acknowledged, no data ever; an acknowledgement proves nothing."""
    async with field(BUSY) as world:
        world.exchange.inflict(Fault(Mute(), streams="btcusdt@depth@100ms", connections=frozenset({1}), after_s=0))
        given = {"binance_stream_types": "trade,depth@100ms"}
        async with served(world, **given) as service:
            assert service.status().unready() == [], "an acknowledgement is what readiness asks for"
            await trio.sleep(10)
            assert service.status().streams_flowing == 1
            await world.wait_for("stream_silent", 2)
            first, second = world.fields("stream_silent")[:2]
            assert first["stream"] == second["stream"] == "btcusdt@depth@100ms"
            assert (first["action"], second["action"]) == ("subscribed_again", "moved")
            await world.wait_for("stream_flowing")
            with trio.fail_after(10):
                await until(lambda: service.status().streams_flowing == 2)
            assert service.get_metrics()["reconnect_count"] == 0, "the stream that flowed was left alone"


async def test_pings_that_come_while_no_data_does_do_not_pass_for_life(autojump_clock):
    """Seen: pings fine, no data; the connection is alive, and nobody notices."""
    async with field(BUSY) as world, served(world, binance_stream_types="trade,depth@100ms") as service:
        await trio.sleep(30)
        world.exchange.inflict(Fault(Mute()))
        began = trio.current_time()
        await world.wait_for("stream_silent")
        assert trio.current_time() - began < 120
        await until(lambda: service.status().streams_flowing == 2)
        assert trio.current_time() - began < 900


async def test_a_source_that_keeps_the_connection_open_and_says_nothing_is_left(autojump_clock):
    """Seen: zombie source, zero received; the process lives, and that is all that is looked at."""
    async with field(BUSY) as world, served(world, binance_stream_types="trade") as service:
        await trio.sleep(100)
        world.exchange.inflict(Fault(HalfOpen()))
        began = trio.current_time()
        await world.wait_for("connection_closed")
        (closed,) = world.fields("connection_closed")
        assert (closed["code"], closed["reason"]) == (1006, "nothing was received for 60 s")
        assert trio.current_time() - began == pytest.approx(60, abs=1)
        await world.wait_for("connection_opened", 2)
        await trio.sleep(10)
        assert service.status().streams_flowing == 1


async def test_control_messages_are_paced_and_pongs_have_room_so_that_no_1008_storm_begins(autojump_clock):
    """Seen: 1008 disconnect storm; bursts of control messages, and pongs count too."""
    limits = Limits(messages_per_s=5, ping_interval_s=1.0)  # harsher than the exchange, which pings every 20 s
    symbols = invent_symbols(1100)
    config = {"symbols": symbols, "limits": limits, "tick_s": 1, "activity": 0.001}
    async with field(config) as world:
        types = "trade,aggTrade,kline_1m"
        given = {"binance_symbols": "*", "binance_stream_types": types, "ws_message_max_bytes": 4 * 1024**2}
        async with served(world, **given) as service:
            assert service.status().streams_wanted == 3300
            assert len(service.status().connections) == 4
            await trio.sleep(60)
        closed = [line for line in world.fields("connection_closed") if line["code"] != 1000]
        assert closed == []
        assert len(world.attempts) == 4
        gaps = [round(later - earlier, 3) for (earlier, _), (later, _) in pairwise(world.attempts)]
        assert min(gaps) >= 0.25


async def test_a_queue_that_is_full_never_ends_the_loop(autojump_clock, nursery):
    """Seen: "queue overflow", and the stream is dead from then on."""
    sent = []
    pinged = []

    async def play(line):
        while True:
            if len(sent) % 50 == 0:
                await line.ping(b"%d" % len(sent))
                pinged.append(b"%d" % len(sent))
                await trio.sleep(0.001)  # or no time would ever pass here while everything flows
            await line.send(trade(len(sent)))
            sent.append(trio.current_time())

    sink = MemorySink()
    exchange = HandDriven(nursery, play=play)
    settings = Settings(
        binance_symbols="BTCUSDT",
        binance_stream_types="trade",
        buffer_max_bytes=1024**2,
        ws_message_max_bytes=1024**2,
        max_retries=0,
    )
    service = Service(settings, sink=sink, network=exchange.network, clock_ms=exchange.clock_ms)
    nursery.start_soon(service.run)
    sink.pause()
    await service.wait_ready()
    await trio.sleep(60)
    held = len(sent)
    await trio.sleep(60)
    assert len(sent) == held
    assert 1000 < held < 10_000, "as much as fits, and no more"
    assert exchange.lines[0].pongs == pinged, "every ping that was read is answered although everything is full"
    sink.resume()
    await until(lambda: len(sink.written) >= 2 * held)
    service.stop()
    await service.wait_stopped()
    got = numbers(sink.written)
    assert got == list(range(len(got)))
    assert service.get_metrics()["reconnect_count"] == 0


async def test_what_cannot_be_reached_is_given_up_loudly_after_so_many_retries(autojump_clock):
    """Seen: alive but dead after ten retries."""
    async with field(a=OSError("nobody listens there")) as world:
        service = world.service("a", max_retries=10)
        with pytest.raises(ActorFailed, match=r"connection ws-1 failed .*10 failures in a row") as caught:
            await service.run()
        assert caught.value.exit_code == 75
        assert isinstance(caught.value.cause, ExchangeUnreachable)
        failures = [failed["failures"] for failed in world.fields("websocket_connection_failed")]
        assert failures == list(range(1, 11)), "each is told"
        assert service.report.reason == "failed"


async def test_an_exception_in_the_background_is_told_and_either_mended_or_the_end(autojump_clock, nursery):
    """Seen: a background task dies, and the rest lives on without it."""

    class Sick:
        """A subscriber that crashes; the first `crashes` times."""

        crashes = 3

        def __init__(self, streams):
            self.acknowledged, self.missing = frozenset(streams), frozenset()

        def intercept(self, frames):
            return frames

        async def subscribe(self, feed):
            await trio.sleep(1)
            if type(self).crashes:
                type(self).crashes -= 1
                raise RuntimeError("a defect in the background")
            yield len(self.acknowledged)

        def carry(self, streams):
            pass

        def renew(self, streams):
            pass

    def service():
        exchange = HandDriven(nursery)
        network = type(exchange.network)(exchange.network.endpoints, exchange.open_feed, Sick, exchange.resolve)
        settings = Settings(binance_symbols="BTCUSDT", binance_stream_types="trade")
        return Service(settings, sink=MemorySink(), network=network, clock_ms=exchange.clock_ms)

    mended = service()
    nursery.start_soon(mended.run)
    assert await mended.wait_ready()
    assert mended.status().tallies.actor_restarts == {"connection": 3}
    mended.stop()
    await mended.wait_stopped()

    Sick.crashes = 10**6
    doomed = service()
    with pytest.raises(ActorFailed, match=r"connection ws-1 failed after 10 restarts: .*a defect in the background"):
        await doomed.run()
    assert doomed.report.reason == "failed"


async def test_a_symbol_in_any_script_is_subscribed_and_written_as_utf_8(autojump_clock):
    """Seen: panic on a Chinese symbol, for ASCII was assumed."""
    sink = MemorySink()
    symbol = "币安人生USDT"
    async with field(BUSY | {"symbols": (symbol, "BTCUSDT")}) as world:
        given = {"binance_symbols": symbol, "binance_stream_types": "trade,bookTicker,depth5"}
        async with served(world, sink=sink, **given) as service:
            await trio.sleep(60)
            assert service.status().streams_flowing == 3
    events = sink.written
    assert {key for _, key, *_ in events} == {symbol.encode()}
    assert {event["event_type"] for event in (json.loads(value) for value, *_ in events)} == {
        "trade",
        "book_ticker",
        "partial_depth",
    }
    topics = {topic for _, _, _, route in events for topic in route.topics}
    assert all(topic.isascii() for topic in topics), "the symbol is only ever in key and value"


async def test_symbols_in_the_wrong_case_are_put_right_and_wrong_ones_are_never_subscribed(autojump_clock):
    """Seen: a wrong or uppercase stream is accepted in silence, for the exchange does not refuse it."""
    async with field(BUSY | {"symbols": ("BTCUSDT", "ETHUSDT")}) as world:
        given = {"binance_symbols": "btcUSDT,ETHUSTD", "binance_stream_types": "trade"}
        async with served(world, **given) as service:
            await trio.sleep(30)
            status = service.status()
            assert (status.streams_wanted, status.streams_listed, status.streams_flowing) == (2, 1, 1)
            (unlisted,) = world.fields("symbol_unlisted")
            assert unlisted == {"symbol": "ETHUSTD", "nearest": "ETHUSDT"}


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("Trade", "trade"), ("aggtrade", "aggTrade"), ("depth@100MS", "depth@100ms"), ("kline_1min", "kline_1m")],
)
def test_a_stream_type_that_the_exchange_would_be_silent_about_is_refused_at_start(given, nearest):
    (problem,) = start_problems(Settings(binance_stream_types=given))
    assert f"BINANCE_STREAM_TYPES={given}: the exchange has no such stream; did you mean {nearest}?" in problem


async def test_an_outage_of_what_takes_the_records_never_ends_the_connection_for_good(autojump_clock, nursery):
    """Seen: a sink that is away for long, the exchange cuts the reader that stops, and nobody connects again."""

    async def play(line):
        number = 0
        with trio.move_on_after(100):  # by then the exchange has had enough of a reader that stops
            while True:
                await line.send(trade(number))
                number += 1
                if number % 50 == 0:
                    await trio.sleep(0.001)  # or no time would ever pass here while everything flows
        await line.cut()

    sink = MemorySink()
    exchange = HandDriven(nursery, play=play)
    settings = Settings(
        binance_symbols="BTCUSDT", binance_stream_types="trade", buffer_max_bytes=1024**2, ws_message_max_bytes=1024**2,
        max_retries=2,
    )  # fmt: skip
    service = Service(settings, sink=sink, network=exchange.network, clock_ms=exchange.clock_ms)
    nursery.start_soon(service.run)
    await service.wait_ready()
    sink.pause()
    await trio.sleep(3600)
    sink.resume()
    lines = len(exchange.lines)
    await until(lambda: len(exchange.lines) > lines)
    assert service.report is None, "max_retries=2 is for the exchange's failures, not for ours"
    service.stop()
    await service.wait_stopped()
    assert service.report.reason == "stopped"
