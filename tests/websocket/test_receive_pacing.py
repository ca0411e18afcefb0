"""When receiving waits for more, and for how long; all on virtual time."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from raw_server import URL, RawServer
from trio.testing import wait_all_tasks_blocked

from ingest_actors.websocket.feed import open_feed
from ingest_actors.websocket.pacing import WORTH_FROM_PER_S, ReceivePacer
from wire_frames import text

MESSAGE_BYTES = 340


def pauses(pacer: ReceivePacer, reads: list[tuple[float, int]]) -> list[float]:
    """Pauses after reads given as (seconds since the one before, messages)."""
    now, found = 100.0, []
    for elapsed_s, messages in reads:
        now += elapsed_s
        pacer.flow.note(now, messages, messages * MESSAGE_BYTES)
        found.append(pacer.pause_s())
    return found


def steady(per_s: float, seconds: float = 0.5) -> list[tuple[float, int]]:
    """Reads of one message each."""
    return [(1 / per_s, 1)] * round(per_s * seconds)


def test_a_quiet_flow_is_never_delayed():
    assert set(pauses(ReceivePacer(0.003), [(0.02, 1)] * 200)) == {0.0}


def test_a_thin_flow_is_never_delayed():
    assert set(pauses(ReceivePacer(0.003), steady(WORTH_FROM_PER_S * 0.99))) == {0.0}


def test_the_more_comes_the_longer_the_pause_up_to_the_maximum():
    found = [pauses(ReceivePacer(0.003), steady(per_s))[-1] for per_s in (2_100, 9_900, 15_000, 20_000, 100_000)]
    assert found == pytest.approx([0.001, 0.001, 0.002, 0.003, 0.003])


def test_no_pause_is_longer_than_it_may_be():
    found = {pauses(ReceivePacer(0.0005), steady(per_s))[-1] for per_s in (2_100, 15_000, 100_000)}
    assert found == {0.0005}


def test_a_first_message_after_silence_is_never_delayed():
    pacer = ReceivePacer(0.001)
    assert pauses(pacer, steady(50_000))[-1] == 0.001
    pacer.flow.note(200.0, 1, MESSAGE_BYTES)
    assert pacer.pause_s() == 0.0


def test_a_paused_flow_stays_paused():
    assert set(pauses(ReceivePacer(0.003), steady(25_000) + [(0.0032, 80)] * 100)[-100:]) == {0.003}


def test_a_short_burst_is_not_delayed():
    assert set(pauses(ReceivePacer(0.001), [(0.1, 1), *[(0.00005, 1)] * 20] * 20)) == {0.0}


@pytest.mark.parametrize("pause_max_s", [0, 0.0001])
def test_a_pause_that_is_not_worth_it_is_none(pause_max_s):
    assert set(pauses(ReceivePacer(pause_max_s), steady(50_000))) == {0.0}


def test_a_clock_that_stands_still_does_no_harm():
    assert set(pauses(ReceivePacer(0.001), [(0.0, 1)] * 1000)) == {0.0}


def test_the_flow_of_all_connections_together_counts():
    pacer = ReceivePacer(0.003)
    now = 100.0
    for _ in range(5000):
        now += 0.0005
        for _connection in range(10):
            pacer.flow.note(now, 1, MESSAGE_BYTES)
    assert pacer.pause_s() == pytest.approx(0.003)


async def test_connections_that_wait_together_go_on_together(autojump_clock):
    pacer = ReceivePacer(0.003)
    ended = []

    async def wait(name: str, seconds: float) -> None:
        await pacer.pause(partial(trio.sleep, seconds))
        ended.append((name, trio.current_time()))

    async with trio.open_nursery() as nursery:
        for name, seconds in (("first", 1), ("second", 5), ("third", 9)):
            nursery.start_soon(wait, name, seconds)
            await wait_all_tasks_blocked()
    assert sorted(ended) == [("first", 1), ("second", 1), ("third", 1)]


async def test_nobody_waits_on_for_a_connection_that_went(autojump_clock):
    pacer = ReceivePacer(0.003)
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def leading() -> None:
            with scope:
                await pacer.pause(trio.sleep_forever)

        nursery.start_soon(leading)
        await wait_all_tasks_blocked()
        nursery.start_soon(pacer.pause, trio.sleep_forever)
        await wait_all_tasks_blocked()
        scope.cancel()
    assert trio.current_time() == 0


async def reads_of(pause_max_s: float) -> int:
    """How many reads 4000 messages took that came one every 50 us, on virtual time."""
    server, reads = RawServer(), 0

    async def serve() -> None:
        await server.shake_hands()
        for _ in range(4000):
            await server.send(text("x" * MESSAGE_BYTES))
            await trio.sleep(0.00005)

    async def count() -> None:
        nonlocal reads
        reads += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with open_feed(
            URL, name="c", connect=server.connect, pacer=ReceivePacer(pause_max_s), close_timeout_s=0
        ) as feed:
            server.client_end.receive_stream.receive_some_hook = count
            received = 0
            while received < 4000:
                received += len(await feed.receive())
    return reads


async def test_under_a_steady_flow_many_messages_are_found_by_one_read(autojump_clock):
    assert await reads_of(0) >= 4000
    assert await reads_of(0.003) <= 4000 * 0.1 + 4000 / 50
