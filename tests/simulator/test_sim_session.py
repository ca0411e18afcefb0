"""Parts of a connection by themselves: what waits to be sent, the heartbeat, the slow line, the limiter's advice."""

import math

import pytest
import trio

from ingest_actors.simulator.config import Limits
from ingest_actors.simulator.control import ControlState
from ingest_actors.simulator.fault_actions import Slow
from ingest_actors.simulator.handshake import HandshakeLimiter
from ingest_actors.simulator.heartbeat import Heartbeat
from ingest_actors.simulator.http_errors import default_body, media_type
from ingest_actors.simulator.session import Session
from ingest_actors.simulator.slow_line import SlowLine
from ingest_actors.simulator.wire import text_frame

BTC = text_frame(b'{"stream":"btcusdt@trade","data":{}}')
ETH = text_frame(b'{"stream":"ethusdt@trade","data":{}}')


async def test_frames_that_wait_are_taken_apart_when_somebody_begins_to_count_them():
    session = Session(1, ControlState(combined=True))
    session.push(BTC + ETH)
    session.watch_frames(wanted=True)
    session.push(BTC, "btcusdt@trade")
    streams = ["btcusdt@trade", "ethusdt@trade", "btcusdt@trade"]
    assert await session.take() == ([], [BTC, ETH, BTC], streams)


async def test_streams_are_not_kept_when_nobody_counts_any_more():
    session = Session(1, ControlState(combined=True))
    session.watch_frames(wanted=True)
    session.push(BTC, "btcusdt@trade")
    session.watch_frames(wanted=False)
    session.push(ETH, "ethusdt@trade")
    assert await session.take() == ([], [BTC, ETH], [])


async def test_a_session_can_be_woken_with_nothing(autojump_clock, nursery):
    session = Session(1, ControlState(combined=True))
    nursery.start_soon(trio.sleep, 0)
    session.wake()
    assert await session.take() == ([], [], [])
    with trio.move_on_after(5) as patience:
        await session.take()
    assert patience.cancelled_caught


def test_a_pong_answers_its_ping_and_those_before_it_and_no_later_one():
    heartbeat = Heartbeat(Limits(), 0.0)
    for second in (20, 40, 60):
        assert heartbeat.next_s == second
        assert heartbeat.due(second) == "ping"
        heartbeat.pinged(b"%d" % second, second)
    heartbeat.pong(b"40")
    heartbeat.skip_ping()
    heartbeat.skip_ping()
    assert heartbeat.next_s == 120
    assert heartbeat.due(119) is None
    assert heartbeat.due(120) == "pong timeout"
    heartbeat.pong(b"nothing")
    assert heartbeat.due(120) == "pong timeout"
    heartbeat.pong(b"60")
    assert heartbeat.due(120) == "ping"


def test_old_age_comes_before_everything_else():
    heartbeat = Heartbeat(Limits(lifetime_s=80), 0.0)
    heartbeat.pinged(b"20", 20)
    assert heartbeat.due(80) == "too old"


def test_an_address_is_told_when_its_next_attempt_succeeds():
    limiter = HandshakeLimiter(2, 300)
    assert limiter.retry_after_s("a", 0) == 0
    assert [limiter.attempt("a", second) for second in (0, 100, 200.5)] == [None, None, 429]
    assert limiter.retry_after_s("a", 201) == 199
    assert limiter.attempt("a", 201 + 199) is None


async def test_who_sends_more_than_a_slow_line_holds_waits(autojump_clock, nursery, monkeypatch):
    monkeypatch.setattr("ingest_actors.simulator.slow_line.IN_FLIGHT_BYTES_MAX", 10)
    line, arrived = SlowLine("seed"), []

    async def arrive(step):
        arrived.append((step, trio.current_time()))

    nursery.start_soon(line.run, arrive)
    for number in range(4):
        await line.put(bytes([number]) * 8, Slow(latency_s=5))
    assert trio.current_time() == pytest.approx(5)
    await line.wait_empty()
    assert [step[0] for step, _ in arrived] == [0, 1, 2, 3]
    assert [math.floor(second) for _, second in arrived] == [5, 5, 10, 10]
    assert not line
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("status", "start", "kind"),
    [
        (429, '{"code":-1003,', "application/json;charset=UTF-8"),
        (403, "<html><body><h2>403 Forbidden", "text/html"),
        (599, "<html><body><h2>599 <", "text/html"),
    ],
)
def test_a_status_has_the_body_that_comes_with_it(status, start, kind):
    assert default_body(status).startswith(start)
    assert media_type(default_body(status)) == kind
