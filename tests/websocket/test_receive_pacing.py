"""When receiving waits for more."""

from __future__ import annotations

import pytest
import trio
from raw_server import URL, RawServer, text

from ingest_actors.websocket.feed import open_feed
from ingest_actors.websocket.pacing import READ_ENOUGH_BYTES, ReceivePacer

MESSAGE_BYTES = 340


def pauses(pacer: ReceivePacer, reads: list[tuple[float, int]]) -> list[float]:
    """Pauses after reads given as (seconds since the one before, messages)."""
    now, found = 100.0, []
    for elapsed_s, messages in reads:
        now += elapsed_s
        found.append(pacer.pause_s(now, messages * MESSAGE_BYTES, messages))
    return found


def test_a_quiet_flow_is_never_delayed():
    assert set(pauses(ReceivePacer(0.001), [(0.02, 1)] * 200)) == {0.0}


def test_a_first_message_after_silence_is_never_delayed():
    pacer = ReceivePacer(0.001)
    steady = pauses(pacer, [(0.00005, 1)] * 100)
    assert steady[-1] == 0.001
    assert pacer.pause_s(200.0, MESSAGE_BYTES, 1) == 0.0


def test_a_steady_flow_of_small_reads_is_paused_by_the_maximum():
    assert pauses(ReceivePacer(0.001), [(0.00005, 1)] * 100)[-1] == 0.001


def test_a_paused_flow_stays_paused():
    assert set(pauses(ReceivePacer(0.001), [(0.00005, 1)] * 100 + [(0.0011, 22)] * 100)[100:]) == {0.001}


def test_large_reads_are_not_delayed():
    assert set(pauses(ReceivePacer(0.001), [(0.001, READ_ENOUGH_BYTES // MESSAGE_BYTES + 1)] * 100)) == {0.0}


def test_a_pause_is_no_longer_than_filling_a_read_takes():
    pause_s = pauses(ReceivePacer(0.1), [(0.00005, 1)] * 200)[-1]
    assert pause_s == pytest.approx(READ_ENOUGH_BYTES / (MESSAGE_BYTES / 0.00005), rel=0.1)


def test_a_short_burst_is_not_delayed():
    assert set(pauses(ReceivePacer(0.001), [(0.1, 1), *[(0.00005, 1)] * 20] * 20)) == {0.0}


@pytest.mark.parametrize("pause_max_s", [0, 0.0005])
def test_less_than_a_millisecond_means_never(pause_max_s):
    assert set(pauses(ReceivePacer(pause_max_s), [(0.00005, 1)] * 100)) == {0.0}


def test_a_clock_that_stands_still_does_no_harm():
    assert set(pauses(ReceivePacer(0.001), [(0.0, 1)] * 1000)) == {0.0, 0.001}


async def reads_of(pause_max_s: float) -> int:
    """How many reads 400 messages took that came one every 50 us, on virtual time."""
    server, reads = RawServer(), 0

    async def serve() -> None:
        await server.shake_hands()
        for _ in range(400):
            await server.send(text("x" * MESSAGE_BYTES))
            await trio.sleep(0.00005)

    async def count() -> None:
        nonlocal reads
        reads += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with open_feed(
            URL, name="c", connect=server.connect, receive_pause_max_s=pause_max_s, close_timeout_s=0
        ) as feed:
            server.client_end.receive_stream.receive_some_hook = count
            received = 0
            while received < 400:
                received += len(await feed.receive())
    return reads


async def test_under_a_steady_flow_many_messages_are_found_by_one_read(autojump_clock):
    assert await reads_of(0) >= 400
    assert await reads_of(0.001) <= 60
