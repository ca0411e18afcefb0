"""The service inside other programs, against a simulated exchange on real sockets."""

import asyncio
import logging
import signal
import socket
import threading
import time
from functools import partial, wraps

import anyio
import httpx
import pytest
import structlog
import trio

import ingest_actors
from ingest_actors import ActorFailed, AsyncIngest, ExchangeUnreachable, Ingest, IngestClient, IngestError, Settings
from ingest_actors.errors import HttpUnavailable, SettingsError
from ingest_actors.simulator import SimulatorConfig, open_exchange
from sinks import MemorySink

pytestmark = pytest.mark.usefixtures("time_limit")


@pytest.fixture
async def time_limit():
    with trio.fail_after(40):
        yield


@pytest.fixture
async def exchange():
    async with open_exchange(SimulatorConfig(symbols=("BTCUSDT", "ETHUSDT"), activity=3)) as running:
        yield running


@pytest.fixture
def settings(exchange):
    return partial(
        Settings,
        binance_symbols="BTCUSDT",
        binance_stream_types="trade,bookTicker",
        binance_ws_url=exchange.ws_url,
        binance_rest_url=exchange.rest_url,
        reconnect_interval=0.1,
    )


@pytest.fixture
def nowhere():
    """Settings of an exchange that nobody can reach."""
    return partial(
        Settings,
        binance_symbols="BTCUSDT",
        binance_stream_types="trade",
        binance_ws_url="ws://127.0.0.1:9",
        binance_rest_url="http://127.0.0.1:9",
        reconnect_interval=0.1,
    )


async def until(true):
    while not true():  # noqa: ASYNC110 - what changes it sets no event of ours
        await anyio.sleep(0.01)


async def delivered(ingest, count):
    await until(lambda: ingest.get_metrics()["messages_processed"] >= count)


def in_asyncio(main):
    """Run a coroutine function under asyncio, beside the exchange's loop."""
    return trio.to_thread.run_sync(asyncio.run, main())


# In a trio program


async def test_serve_hands_out_the_handle_once_subscribed_and_stop_drains(settings):
    sink = MemorySink(delay_s=0.01)
    async with trio.open_nursery() as nursery:
        ingest = await nursery.start(partial(ingest_actors.serve, settings(), sink=sink))
        assert isinstance(ingest, Ingest)
        assert ingest.get_metrics()["connected"]
        assert await ingest.wait_ready()
        await delivered(ingest, 50)
        assert not sink.closed
        await ingest.stop()
    metrics = ingest.get_metrics()
    assert metrics["messages_buffered"] == 0
    assert metrics["messages_received"] == metrics["messages_processed"] == len(sink.written) >= 50
    assert not metrics["connected"]
    assert sink.closed


async def test_stop_is_idempotent_and_may_come_from_any_task(settings, nursery):
    ingest = await nursery.start(partial(ingest_actors.serve, settings(), sink=MemorySink()))
    async with trio.open_nursery() as stoppers:
        for _ in range(3):
            stoppers.start_soon(ingest.stop)
        ingest.request_stop()
    await ingest.stop()
    assert not await ingest.wait_ready()


async def test_the_hosts_cancellation_stops_at_once_and_is_not_swallowed(settings):
    sink = MemorySink()
    sink.pause()
    with trio.CancelScope() as host:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(ingest_actors.serve, settings(), sink=sink))
            await trio.sleep(0.2)
            began_s = trio.current_time()
            host.cancel()
    assert host.cancelled_caught
    assert trio.current_time() - began_s < 2
    assert sink.closed


async def test_the_hosts_cancellation_does_not_wait_for_a_drain_under_way(settings):
    sink = MemorySink()
    sink.pause()
    with trio.CancelScope() as host:
        async with trio.open_nursery() as nursery:
            ingest = await nursery.start(partial(ingest_actors.serve, settings(shutdown_timeout_seconds=30), sink=sink))
            await trio.sleep(0.2)
            ingest.request_stop()
            await trio.sleep(0.1)
            began_s = trio.current_time()
            host.cancel()
    assert trio.current_time() - began_s < 2
    assert ingest.get_metrics()["messages_buffered"] > 0


async def test_the_host_may_give_up_waiting_for_the_start(nowhere):
    sink = MemorySink()
    with trio.move_on_after(0.3) as host:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(ingest_actors.serve, nowhere(max_retries=0), sink=sink))
    assert host.cancelled_caught
    assert sink.closed


async def test_an_interrupt_passes(settings):
    class Interrupting(MemorySink):
        async def accept(self, batch):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await ingest_actors.serve(settings(), sink=Interrupting())


async def test_a_failure_is_one_error_that_names_the_actor(nowhere):
    with pytest.raises(ActorFailed) as raised:
        await ingest_actors.serve(nowhere(max_retries=2), sink=MemorySink())
    assert raised.value.actor == "connection ws-1"
    assert raised.value.exit_code == 75
    assert isinstance(raised.value.cause, ExchangeUnreachable)
    assert raised.value.__cause__ is raised.value.cause


async def test_a_failure_after_the_start_reaches_the_hosts_nursery(exchange, settings):
    sink = MemorySink()
    with pytest.RaisesGroup(ActorFailed):
        async with trio.open_nursery() as nursery:
            ingest = await nursery.start(partial(ingest_actors.serve, settings(kafka_retries=0), sink=sink))
            await delivered(ingest, 1)
            sink.break_now("fenced for good")
            await trio.sleep_forever()
    assert sink.closed


async def test_settings_that_cannot_be_used_are_refused_before_anything_is_opened():
    with pytest.raises(ingest_actors.SettingsError):
        await ingest_actors.serve(Settings(binance_stream_types="no such stream"), sink=MemorySink())


async def test_http_answers_only_when_asked_for(settings, nursery):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/readyz"
    ingest = await nursery.start(partial(ingest_actors.serve, settings(http_port=port), sink=MemorySink()))
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(url)
        await ingest.stop()
        ingest = await nursery.start(
            partial(ingest_actors.serve, settings(http_port=port), sink=MemorySink(), http=True)
        )
        assert (await http.get(url)).status_code == 200
    await ingest.stop()


async def test_an_http_port_that_is_taken_is_one_error(settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(HttpUnavailable):
            await ingest_actors.serve(settings(http_port=taken.getsockname()[1]), sink=MemorySink(), http=True)


async def test_happenings_are_told_and_end_with_the_service(exchange, settings, nursery):
    ingest = await nursery.start(partial(ingest_actors.serve, settings(), sink=MemorySink()))
    names = []
    with ingest.events() as happenings:
        for connection in list(exchange.server.connections.values()):
            connection.close(1001, "going")
        while "connection_opened" not in names:
            names.append((await anext(happenings)).name)
        await ingest.stop()
        names += [happening.name async for happening in happenings]
    assert names[:2] == ["connection_closed", "reconnecting"]
    with ingest.events() as happenings:
        assert [happening async for happening in happenings] == []


async def test_ready_is_what_is_so_now(exchange, settings, nursery):
    ingest = await nursery.start(partial(ingest_actors.serve, settings(reconnect_interval=0.5), sink=MemorySink()))
    for connection in list(exchange.server.connections.values()):
        connection.close(1001, "going")
    await until(lambda: ingest.status().unready())
    assert await ingest.wait_ready()
    assert ingest.status().unready() == []
    await ingest.stop()


async def test_two_services_live_in_one_process_and_know_nothing_of_each_other(settings, nursery):
    sinks = MemorySink(), MemorySink()
    one, two = [
        await nursery.start(
            partial(ingest_actors.serve, settings(binance_symbols=symbol, instance_name=symbol), sink=sink)
        )
        for symbol, sink in zip(("BTCUSDT", "ETHUSDT"), sinks, strict=True)
    ]
    await delivered(one, 20)
    await delivered(two, 20)
    await one.stop()
    before = two.get_metrics()["messages_processed"]
    await delivered(two, before + 5)
    await two.stop()
    for ingest, sink, key in zip((one, two), sinks, (b"BTCUSDT", b"ETHUSDT"), strict=True):
        assert {event[1] for event in sink.written} == {key}
        assert ingest.get_metrics()["messages_processed"] == len(sink.written)


async def test_other_symbols_are_taken_over_while_it_runs(exchange, settings, nursery):
    sink = MemorySink()
    ingest = await nursery.start(partial(ingest_actors.serve, settings(), sink=sink))
    await ingest.reload(settings(binance_symbols="ETHUSDT", log_level="DEBUG"))
    (connection,) = exchange.server.connections.values()
    assert set(connection.session.control.streams) == {"ethusdt@trade", "ethusdt@bookTicker"}
    await until(lambda: {event[1] for event in sink.written} >= {b"ETHUSDT"})
    with pytest.raises(SettingsError, match="BATCH_SIZE='7': a change of it needs a restart"):
        await ingest.reload(settings(binance_symbols="BTCUSDT", batch_size=7))
    await ingest.stop()


def process_wide():
    """What a library leaves alone."""
    ours = logging.getLogger("ingest_actors")
    return (
        [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
        [(logger.level, logger.handlers.copy(), logger.propagate) for logger in (logging.getLogger(), ours)],
        structlog.is_configured(),
        threading.active_count(),
    )


async def test_the_hosts_logging_signals_and_threads_are_left_alone(settings, nursery):
    before = process_wide()
    ingest = await nursery.start(partial(ingest_actors.serve, settings(), sink=MemorySink()))
    assert process_wide() == before
    await ingest.stop()


# In a threaded program: each test is one, beside the exchange's loop


def threaded(test):
    """Run a test in a thread; the exchange has the main one."""

    @wraps(test)
    async def run(**fixtures):
        await trio.to_thread.run_sync(partial(test, **fixtures))

    return run


def eventually(true):
    deadline_s = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@threaded
def test_a_client_runs_in_a_thread_and_answers_from_any_other(settings):
    sink = MemorySink()
    client = IngestClient(settings(), sink=sink)
    thread = client.start_in_background()
    assert thread.daemon
    assert thread is not threading.current_thread()
    eventually(lambda: client.get_metrics()["messages_processed"] >= 50)
    assert client.status().connected
    assert client.wait_ready()
    client.stop(timeout_s=20)
    assert not thread.is_alive()
    client.stop()
    client.join()
    assert client.get_metrics()["messages_buffered"] == 0
    assert client.get_metrics()["messages_processed"] == len(sink.written) == client.status().total.received
    assert not client.wait_ready()


@threaded
def test_a_client_takes_over_other_symbols(settings):
    sink = MemorySink()
    client = IngestClient(settings(), sink=sink)
    with pytest.raises(RuntimeError, match="call start_in_background"):
        client.reload(settings())
    client.start_in_background()
    client.reload(settings(binance_symbols="ETHUSDT"))
    eventually(lambda: any(event[1] == b"ETHUSDT" for event in sink.written))
    with pytest.raises(SettingsError, match="needs a restart"):
        client.reload(settings(binance_symbols="ETHUSDT", batch_size=7))
    client.stop()
    with pytest.raises(RuntimeError, match="has ended"):
        client.reload(settings())


@threaded
def test_a_client_starts_once(settings):
    client = IngestClient(settings(), sink=MemorySink())
    client.stop()  # of what was never started: nothing to do
    client.join()
    for ask in (client.get_metrics, client.status, client.wait_ready):
        with pytest.raises(RuntimeError, match="not running"):
            ask()
    client.start_in_background()
    with pytest.raises(RuntimeError, match="starts once"):
        client.start_in_background()
    client.stop()


@threaded
def test_a_client_that_cannot_start_raises_the_one_error_again_and_again(nowhere):
    client = IngestClient(nowhere(max_retries=1), sink=MemorySink())
    for ask in (
        client.start_in_background, client.get_metrics, client.status, client.stop, client.join, client.wait_ready,
    ):  # fmt: skip
        with pytest.raises(ActorFailed, match="connection ws-1"):
            ask()


@threaded
def test_a_client_raises_what_the_service_failed_of_later(settings):
    sink = MemorySink()
    client = IngestClient(settings(kafka_retries=0), sink=sink)
    client.start_in_background()
    client.ask(lambda service: sink.break_now())
    with pytest.raises(ActorFailed, match="producer"):
        client.join()


@threaded
def test_a_client_can_be_stopped_while_it_starts(nowhere):
    client = IngestClient(nowhere(max_retries=0), sink=MemorySink())
    thread = client.begin()
    stopper = threading.Timer(0.3, client.stop)
    stopper.start()
    with pytest.raises(RuntimeError, match="stopped before it was ready"):
        client.wait_begun()
    thread.join(20)
    stopper.join(20)
    assert not thread.is_alive()
    assert client.get_metrics()["connected"] is False


@threaded
def test_a_client_can_be_stopped_before_its_thread_has_begun(nowhere, monkeypatch):
    client = IngestClient(nowhere(max_retries=0), sink=MemorySink())
    may_begin = threading.Event()
    main = client._main

    async def later():
        may_begin.wait(20)
        await main()

    client._main = later
    client.begin()
    with pytest.raises(TimeoutError):
        client.stop(timeout_s=0.1)
    may_begin.set()
    client.join()


@threaded
def test_a_client_whose_drain_takes_too_long_says_so_and_goes_on(settings):
    sink = MemorySink()
    client = IngestClient(settings(shutdown_timeout_seconds=1.5), sink=sink)
    client.start_in_background()
    client.ask(lambda service: sink.pause())
    eventually(lambda: client.get_metrics()["messages_buffered"] > 0)
    with pytest.raises(TimeoutError, match=r"within 0\.2 s"):
        client.stop(timeout_s=0.2)
    with pytest.raises(IngestError, match="the drain timed out: producer unfinished"):
        client.stop()


# In an asyncio program, and the same block under trio


async def test_a_block_runs_the_service_under_asyncio(settings):
    sink = MemorySink()

    async def main():
        async with ingest_actors.open_ingest(settings(), sink=sink) as ingest:
            assert isinstance(ingest, AsyncIngest)
            assert await ingest.wait_ready()
            assert ingest.status().connected
            await ingest.reload(settings(binance_symbols="BTCUSDT,ETHUSDT"))
            assert ingest.status().streams_wanted == 4
            with ingest.events() as happenings:
                await delivered(ingest, 50)
                await ingest.stop()
                names = [happening.name async for happening in happenings]
            with ingest.events() as happenings:
                assert [happening async for happening in happenings] == []
            return ingest, names

    ingest, names = await in_asyncio(main)
    assert ingest.get_metrics()["messages_processed"] == len(sink.written) >= 50
    assert set(names) <= {"service_metrics"}


async def test_a_block_runs_the_service_under_trio(settings):
    sink = MemorySink()
    async with ingest_actors.open_ingest(settings(), sink=sink) as ingest:
        assert isinstance(ingest, Ingest)
        await delivered(ingest, 50)
    assert ingest.get_metrics()["messages_processed"] == len(sink.written) >= 50
    assert sink.closed


class OfTheHost(Exception):
    pass


async def leave_by(settings, error, sink):
    async with ingest_actors.open_ingest(settings, sink=sink) as ingest:
        await delivered(ingest, 1)
        raise error


@pytest.mark.parametrize("error", [OfTheHost("x"), ExceptionGroup("mine", [OfTheHost("x"), ValueError("y")])], ids=repr)
@pytest.mark.parametrize("under", ["asyncio", "trio"])
async def test_an_exception_of_the_block_comes_out_as_it_is_after_a_drain(settings, under, error):
    sink = MemorySink(delay_s=0.05)
    main = partial(leave_by, settings(), error, sink)
    with pytest.raises(type(error)) as raised:
        await (in_asyncio(main) if under == "asyncio" else main())
    assert raised.value is error
    assert sink.closed
    assert sink.waiting == 0


async def test_a_cancellation_during_that_drain_hides_no_exception_of_the_block(settings):
    sink = MemorySink()

    async def body():
        async with ingest_actors.open_ingest(settings(shutdown_timeout_seconds=30), sink=sink) as ingest:
            await delivered(ingest, 1)
            sink.pause()
            await until(lambda: ingest.get_metrics()["messages_buffered"])
            raise OfTheHost("x")

    with trio.move_on_after(1.5), pytest.raises(OfTheHost):
        await body()
    assert sink.closed


@pytest.mark.parametrize("under", ["asyncio", "trio"])
async def test_what_the_block_raised_is_a_note_to_a_failure_of_the_service(settings, under):
    sink = MemorySink(delay_s=0.01)

    async def body():
        async with ingest_actors.open_ingest(settings(kafka_retries=0), sink=sink) as ingest:
            await delivered(ingest, 1)
            sink.delay_s = 1.0  # so that something waits for the sink when it breaks
            await until(lambda: ingest.get_metrics()["messages_buffered"])
            sink.broken = "fenced for good"
            raise OfTheHost("x")

    with pytest.raises(ActorFailed) as raised:
        await (in_asyncio(body) if under == "asyncio" else body())
    assert "and the block raised: OfTheHost('x')" in raised.value.__notes__


async def fail_in_the_block(settings, sink):
    async with ingest_actors.open_ingest(settings, sink=sink) as ingest:
        await delivered(ingest, 1)
        sink.broken = "fenced for good"
        await anyio.sleep(30)


@pytest.mark.parametrize("under", ["asyncio", "trio"])
async def test_a_failure_of_the_service_cancels_the_block_and_comes_out_bare(settings, under):
    main = partial(fail_in_the_block, settings(kafka_retries=0), MemorySink(delay_s=0.01))
    with pytest.raises(ActorFailed) as raised:
        await (in_asyncio(main) if under == "asyncio" else main())
    assert raised.value.actor == "producer"
    assert raised.value.__cause__ is raised.value.cause


async def start_in_vain(settings):
    async with ingest_actors.open_ingest(settings, sink=MemorySink()):
        raise AssertionError


@pytest.mark.parametrize("under", ["asyncio", "trio"])
async def test_a_block_that_cannot_begin_raises_the_one_error(nowhere, under):
    main = partial(start_in_vain, nowhere(max_retries=1))
    with pytest.raises(ActorFailed, match="connection ws-1"):
        await (in_asyncio(main) if under == "asyncio" else main())


async def test_an_asyncio_host_may_give_up_waiting_for_the_start(nowhere):
    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(start_in_vain(nowhere(max_retries=0)), 0.5)
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("ingest ")]

    began_s = time.monotonic()
    assert await in_asyncio(main) == []
    assert time.monotonic() - began_s < 10


async def test_an_asyncio_host_that_is_cancelled_in_the_block_drains_and_passes_it_on(settings):
    sink = MemorySink(delay_s=0.05)

    async def body():
        async with ingest_actors.open_ingest(settings(), sink=sink) as ingest:
            await delivered(ingest, 1)
            inside.set()
            await asyncio.sleep(30)

    async def main():
        task = asyncio.create_task(body())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    inside = asyncio.Event()
    await in_asyncio(main)
    assert sink.closed
    assert sink.waiting == 0


async def test_a_listener_on_asyncio_that_does_not_read_misses_what_is_too_much(settings, monkeypatch):
    monkeypatch.setattr("ingest_actors.embedding.block.EVENTS_WAITING_MAX", 3)

    async def main():
        async with ingest_actors.open_ingest(settings(), sink=MemorySink()) as ingest:
            with ingest.events() as happenings:
                for number in range(5):
                    ingest._client.ask(lambda service, number=number: service.announcer(f"event_{number}"))
                first = [(await anext(happenings)).name for _ in range(3)]
                ingest._client.ask(lambda service: service.announcer("event_5"))
                return [*first, (await anext(happenings)).name]

    assert await in_asyncio(main) == ["event_0", "event_1", "event_2", "event_5"]
