"""The connection's promises: opened again as the settings say, nothing that was read is lost, and the truth is told."""

import random
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ingest_actors.actors.connection import connection
from ingest_actors.actors.connection_state import Connection
from ingest_actors.announce import Announcer
from ingest_actors.errors import ExchangeUnreachable, FeedClosed
from ingest_actors.messages import FrameBatch
from ingest_actors.status import Tallies
from ingest_actors.supervision import Backoff, Mailbox

CUT = FeedClosed(1006, "cut")
REFUSED = ExchangeUnreachable("ws://a", "connection refused", hint="check the port")


def frames(*numbers):
    return FrameBatch([b"%d" % number for number in numbers], received_at_ms=0, connection="ws-1")


class ScriptedFeed:
    """Plays what the script says: seconds to wait, batches to hand out, and the error that ends it."""

    def __init__(self, script, ahead=()):
        self.script = list(script)
        self.ahead = list(ahead)
        self.ready_s = None

    async def receive(self):
        await trio.lowlevel.checkpoint()
        while True:
            step = self.script[0] if self.script else 1e9
            if isinstance(step, int | float):
                if self.ready_s is None:
                    self.ready_s = trio.current_time() + step
                await trio.sleep_until(self.ready_s)
                self.ready_s = None
                self.script.pop(0)
            elif isinstance(step, Exception):
                raise step
            else:
                return self.script.pop(0)

    def unread(self):
        ahead, self.ahead = self.ahead, []
        return ahead


class DirectScriptedFeed(ScriptedFeed):
    """One that hands on in the step that reads, as far as it is let."""

    offer = None

    def hand_to(self, offer):
        self.offer = offer

    async def send(self, message):
        raise NotImplementedError

    async def aclose(self, code=1000, reason=""):
        raise NotImplementedError


class Acknowledging:
    """A subscriber whose subscriptions are acknowledged at once, or refused."""

    refusal = None

    missing = frozenset()

    def __init__(self, streams):
        self.streams = streams
        self.acknowledged = frozenset(streams)

    def intercept(self, messages):
        return messages

    async def subscribe(self, feed):
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        yield len(self.streams)


class Rig:
    """A connection whose attempts are answered by a script: an error, or what a feed plays."""

    def __init__(self, *attempts, failures_max=5, events_max=1000, jitter=0.0, endpoints=("ws://a",)):
        self.attempts = list(attempts)
        self.opened = []
        self.outbox = Mailbox("frames", events_max=events_max, bytes_max=10**7)
        self.state = Connection("ws-1", ("btcusdt@trade",))
        self.tallies = Tallies()
        self.announcer = Announcer("test", lambda: 0)
        self.told = []
        self.readied = 0
        self.subscriber = Acknowledging
        self.ended = trio.Event()
        rng = random.Random(7)
        self.run = partial(
            connection,
            self.outbox,
            state=self.state,
            endpoint=partial(next, cycle(endpoints)),
            attempt=trio.lowlevel.checkpoint,
            open_feed=self.open_feed,
            subscriber=self.make_subscriber,
            backoff=Backoff(5, 300, jitter=jitter, rng=rng),
            failures_max=failures_max,
            on_open=self.on_open,
            announce=self.announce,
            tallies=self.tallies,
            clock_ms=lambda: 1234,
        )

    def make_subscriber(self, streams):
        return self.subscriber(streams)

    def on_open(self):
        self.readied += 1

    def announce(self, name, *, level="info", **fields):
        self.told.append((name, level, fields))
        if name == "connection_closed":
            self.ended.set()

    def last(self, name):
        return next(fields for told, _, fields in reversed(self.told) if told == name)

    @asynccontextmanager
    async def open_feed(self, url, *, name, intercept):
        self.opened.append((trio.current_time(), url))
        attempt = self.attempts.pop(0) if self.attempts else []
        await trio.lowlevel.checkpoint()
        if isinstance(attempt, Exception):
            raise attempt
        yield attempt if isinstance(attempt, ScriptedFeed) else ScriptedFeed(attempt)

    def times(self):
        return [time for time, _ in self.opened]

    async def numbers(self, count):
        """What comes out of the mailbox next."""
        numbers = []
        while len(numbers) < count:
            batch = await self.outbox.take()
            numbers += [int(frame) for frame in batch.frames]
            self.outbox.settle(len(batch))
        return numbers


async def run_for(rig, seconds):
    with trio.move_on_after(seconds):
        await rig.run()


async def test_delays_double_from_the_interval_to_five_minutes(autojump_clock):
    rig = Rig(*[REFUSED] * 10, failures_max=0)
    await run_for(rig, 3600)
    gaps = [after - before for before, after in zip(rig.times(), rig.times()[1:], strict=False)]
    assert gaps == [5, 10, 20, 40, 80, 160, 300, 300, 300, 300]


async def test_delays_are_spread_downward_by_a_fifth_at_most(autojump_clock):
    rig = Rig(*[REFUSED] * 9, failures_max=0, jitter=0.2)
    await run_for(rig, 3600)
    gaps = [after - before for before, after in zip(rig.times(), rig.times()[1:], strict=False)]
    full = [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert all(0.8 * most <= gap < most for gap, most in zip(gaps, full, strict=True))
    assert len({gap / most for gap, most in zip(gaps, full, strict=True)}) == 9


async def test_it_gives_up_after_so_many_failures_in_a_row_and_says_why(autojump_clock):
    rig = Rig(REFUSED, [CUT], REFUSED, failures_max=3)
    with pytest.raises(ExchangeUnreachable) as raised:
        await rig.run()
    assert str(raised.value) == (
        "cannot reach ws://a: connection refused (3 failures in a row, MAX_RETRIES); check the port"
    )
    assert rig.times() == [0, 5, 15]
    assert rig.state.status().state == "closed"
    assert dict(rig.tallies.reconnects) == {"unreachable": 1, "closed": 1}


async def test_a_cut_is_what_it_gives_up_of_too(autojump_clock):
    rig = Rig([CUT], failures_max=1)
    with pytest.raises(
        ExchangeUnreachable, match=r"closed with code 1006 \(cut\) \(1 failures in a row, MAX_RETRIES\)"
    ):
        await rig.run()


async def test_whoever_is_stopped_in_the_instant_of_the_last_failure_has_not_failed(autojump_clock):
    rig = Rig(failures_max=1)
    rig.subscriber = type("CutAtTheEnd", (Acknowledging,), {"subscribe": cut_when_cancelled})
    with trio.move_on_after(5) as host:
        await rig.run()
    assert host.cancelled_caught
    assert rig.state.failures == 0


async def cut_when_cancelled(self, feed):
    yield 0
    try:
        await trio.sleep_forever()
    finally:
        raise FeedClosed(1006, "cut")


async def test_with_zero_it_never_gives_up(autojump_clock):
    rig = Rig(*[REFUSED] * 500, failures_max=0)
    await run_for(rig, 500 * 300)
    assert rig.state.failures > 490


@pytest.mark.parametrize(("data_s", "failures"), [(59.9, 3), (60, 1)])
async def test_a_success_is_a_minute_of_data(autojump_clock, data_s, failures):
    rig = Rig(REFUSED, REFUSED, [100, frames(1), data_s, frames(2), 100, CUT], failures_max=0)
    await run_for(rig, 15 + 200 + data_s + 1)
    assert rig.state.failures == failures
    assert rig.last("reconnecting")["delay_s"] == (5 if failures == 1 else 20)


async def test_failures_are_forgotten_as_soon_as_it_is_a_success(autojump_clock):
    rig = Rig(REFUSED, [frames(1), 60, frames(2)], failures_max=2)
    await run_for(rig, 5 + 59)
    assert rig.state.status().failures == 1
    rig = Rig(REFUSED, [frames(1), 60, frames(2)], failures_max=2)
    await run_for(rig, 5 + 61)
    assert rig.state.status().failures == 0


async def test_handshakes_without_data_are_no_success(autojump_clock):
    rig = Rig(*[[1000, CUT]] * 4, failures_max=4)
    with pytest.raises(ExchangeUnreachable):
        await rig.run()


async def test_several_endpoints_are_used_in_turn(autojump_clock):
    rig = Rig(*[REFUSED] * 5, failures_max=5, endpoints=("ws://a", "ws://b", "ws://c"))
    with pytest.raises(ExchangeUnreachable):
        await rig.run()
    assert [url for _, url in rig.opened] == ["ws://a", "ws://b", "ws://c", "ws://a", "ws://b"]


async def test_an_end_that_was_announced_is_followed_by_a_new_attempt_at_once_and_is_no_failure(
    autojump_clock, nursery
):
    rig = Rig(*[[10, CUT]] * 3, failures_max=1)
    nursery.start_soon(rig.run)
    for _ in range(3):
        await trio.sleep(5)
        rig.state.ending_expected = True
        await trio.sleep(5)
    await wait_all_tasks_blocked()
    assert rig.times() == [0, 10, 20, 30]
    assert rig.state.failures == 0
    assert not rig.tallies.reconnects
    assert rig.last("connection_closed")["expected"] is True
    assert not rig.state.ending_expected
    nursery.cancel_scope.cancel()


async def test_an_announced_end_excuses_no_failure_to_open(autojump_clock):
    rig = Rig(REFUSED, failures_max=1)
    rig.state.ending_expected = True
    with pytest.raises(ExchangeUnreachable):
        await rig.run()


async def test_retry_after_is_heeded(autojump_clock):
    banned = ExchangeUnreachable("ws://a", "HTTP 418", status=418, retry_after_s=1800.0)
    rig = Rig(banned, banned, failures_max=0)
    await run_for(rig, 4000)
    assert rig.times() == [0, 1800, 3600]


async def test_each_attempt_is_counted_by_the_budget(autojump_clock):
    rig = Rig(REFUSED, [CUT], [10, CUT], failures_max=0)
    spent = []

    async def spend():
        spent.append(trio.current_time())
        await trio.sleep(1)

    rig.run = partial(rig.run, attempt=spend)
    await run_for(rig, 60)
    assert [time + 1 for time in spent] == rig.times()
    assert len(spent) == 4


async def test_it_is_open_once_every_stream_is_acknowledged_and_tells(autojump_clock, nursery):
    rig = Rig([frames(1), 10, CUT])
    assert rig.state.status().state == "connecting"
    nursery.start_soon(rig.run)
    await wait_all_tasks_blocked()
    status = rig.state.status()
    assert (status.state, status.acknowledged, status.opened_at_ms, status.url) == ("open", 1, 1234, "ws://a")
    assert rig.readied == 1
    await trio.sleep(12)
    status = rig.state.status()
    assert (status.state, status.acknowledged, status.opened_at_ms, status.failures) == ("waiting", 0, None, 1)
    nursery.cancel_scope.cancel()
    await wait_all_tasks_blocked()


async def test_whoever_is_gone_is_not_open(autojump_clock):
    rig = Rig([frames(1)])
    await run_for(rig, 1)
    assert rig.state.status().state == "closed"
    crashing = Rig([frames(1), RuntimeError("a bug")])
    with pytest.raises(RuntimeError, match="a bug"):
        await crashing.run()
    assert crashing.state.status().state == "closed"


async def test_a_refused_subscription_is_a_failure(autojump_clock):
    rig = Rig([frames(1)], failures_max=1)
    rig.subscriber = type("Refusing", (Acknowledging,), {"refusal": FeedClosed(1002, "the exchange refused")})
    with pytest.raises(ExchangeUnreachable, match="the exchange refused"):
        await rig.run()


async def test_what_was_read_ahead_when_it_ended_comes_first_in_the_next_life(autojump_clock, nursery):
    rig = Rig(ScriptedFeed([frames(1), CUT], ahead=[frames(2), frames(3, 4)]), [frames(5)])
    nursery.start_soon(rig.run)
    assert await rig.numbers(5) == [1, 2, 3, 4, 5]
    nursery.cancel_scope.cancel()


async def test_cancelled_it_keeps_what_it_had_read_and_not_put_in_order(autojump_clock, nursery):
    rig = Rig(ScriptedFeed([frames(1, 2), frames(3, 4)], ahead=[frames(5), frames(6)]), events_max=2)
    await run_for(rig, 1)
    assert [batch.frames for batch in rig.outbox.held()] == [[b"1", b"2"]]
    assert [batch.frames for batch in rig.state.carry] == [[b"3", b"4"], [b"5"], [b"6"]]


async def test_nothing_is_lost_or_doubled_wherever_it_is_cancelled(autojump_clock):
    """Cancelled at each of its waits in turn and run again over the same feed."""
    feed = ScriptedFeed([step for number in range(1, 60, 2) for step in (0.01, frames(number, number + 1))])
    rig = Rig(*[feed] * 1000, events_max=2, failures_max=0)
    out = []

    async def consume():
        while len(out) < 60:
            out.extend(await rig.numbers(2))
            await trio.sleep(0.004)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        while len(out) < 60:
            await run_for(rig, 0.013)
    assert out == list(range(1, 61))


async def full(rig, seconds):
    """Let nothing out of the mailbox for so long; then everything."""
    await trio.sleep(seconds)
    while True:
        batch = await rig.outbox.take()
        rig.outbox.settle(len(batch))


async def test_a_reader_that_is_cut_for_not_reading_never_gives_up_however_often(autojump_clock, nursery):
    """The sink takes one batch every 100 s; the exchange cuts whoever has not read for 10."""
    rig = Rig(*[[frames(1, 2), 1, frames(3, 4), CUT]] * 50, failures_max=1, events_max=2)
    nursery.start_soon(rig.run)
    for _ in range(50):
        await trio.sleep(100)
        assert (await rig.outbox.take()).frames
        rig.outbox.settle(2)
    assert len(rig.opened) > 20
    assert rig.state.failures == 0
    assert rig.tallies.reconnects["blocked"] == len(rig.opened) - 1
    assert rig.last("connection_closed")["hint"].startswith("the exchange cuts readers that stop")
    assert rig.last("connection_closed")["blocked_s"] > 50
    assert rig.last("reconnecting")["because"] == "blocked"
    nursery.cancel_scope.cancel()


async def test_it_does_not_connect_again_before_there_is_room_and_then_soon(autojump_clock, nursery):
    rig = Rig(ScriptedFeed([frames(1, 2), frames(3, 4)]), events_max=2, failures_max=1)
    rig.subscriber = type("CutLater", (Acknowledging,), {"subscribe": cut_after(30)})
    nursery.start_soon(rig.run)
    await trio.sleep(3600)
    assert rig.times() == [0]
    assert rig.state.status().state == "waiting"
    nursery.start_soon(full, rig, 0)
    await trio.sleep(6)
    assert len(rig.opened) == 2
    assert rig.times()[1] <= 3605
    nursery.cancel_scope.cancel()


def cut_after(seconds):
    async def subscribe(self, feed):
        yield 0
        await trio.sleep(seconds)
        raise FeedClosed(1006, "cut")

    return subscribe


@pytest.mark.parametrize(("flows_s", "reason"), [(59, "blocked"), (61, "closed")])
async def test_a_standstill_long_past_is_not_why_it_ended(autojump_clock, nursery, flows_s, reason):
    rig = Rig([frames(1, 2), frames(3, 4), flows_s, CUT], events_max=2, failures_max=0)
    nursery.start_soon(rig.run)
    nursery.start_soon(full, rig, 10)
    await trio.sleep(10 + flows_s + 1)
    assert dict(rig.tallies.reconnects) == {reason: 1}
    nursery.cancel_scope.cancel()


async def test_waiting_for_ones_turn_is_no_standstill(monkeypatch, nursery):
    """On the real clock, with a mailbox that always has room."""
    monkeypatch.setattr("ingest_actors.actors.connection_life.BLOCKED_NOTICE_S", 1e-9)
    rig = Rig([*(frames(number) for number in range(1000)), CUT], events_max=2000, failures_max=0)
    nursery.start_soon(rig.run)
    await rig.ended.wait()
    assert "blocked_s" not in rig.last("connection_closed")
    nursery.cancel_scope.cancel()


async def test_what_is_read_is_put_in_the_step_that_reads_it(autojump_clock, nursery):
    feed = DirectScriptedFeed([])
    rig = Rig(feed)
    nursery.start_soon(rig.run)
    await wait_all_tasks_blocked()
    assert feed.offer(frames(1, 2))
    assert [batch.frames for batch in rig.outbox.held()] == [[b"1", b"2"]]
    assert rig.state.heard_at_s == trio.current_time()
    nursery.cancel_scope.cancel()


async def test_what_finds_no_room_is_left_to_be_received_and_nothing_overtakes_it(autojump_clock, nursery):
    feed = DirectScriptedFeed([1, frames(2, 3), 1, frames(4)])
    rig = Rig(feed, events_max=2)
    nursery.start_soon(rig.run)
    await wait_all_tasks_blocked()
    assert feed.offer(frames(1))
    assert not feed.offer(frames(2, 3))
    await trio.sleep(1.5)
    assert await rig.outbox.take() is not None
    assert rig.state.carry
    assert not feed.offer(frames(4)), "2 and 3 wait before it, though there is room for one"
    rig.outbox.settle(1)
    assert await rig.numbers(3) == [2, 3, 4]
    nursery.cancel_scope.cancel()


async def test_a_closed_mailbox_is_no_fault_of_who_reads(autojump_clock, nursery):
    feed = DirectScriptedFeed([])
    rig = Rig(feed)
    nursery.start_soon(rig.run)
    await wait_all_tasks_blocked()
    rig.outbox.close()
    assert not feed.offer(frames(1))
    nursery.cancel_scope.cancel()


async def test_nothing_is_handed_on_any_more_once_the_connection_has_ended(autojump_clock, nursery):
    feed = DirectScriptedFeed([1, CUT])
    rig = Rig(feed)
    nursery.start_soon(rig.run)
    await wait_all_tasks_blocked()
    assert feed.offer is not None
    await rig.ended.wait()
    assert feed.offer is None
    nursery.cancel_scope.cancel()
