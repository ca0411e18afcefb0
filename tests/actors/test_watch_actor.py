"""The watch's promises: what is decided is done and told, within bounds; one connection does not wait for another."""

import math
from contextlib import asynccontextmanager

import pytest
import trio

from ingest_actors.actors.fleet import Fleet, Wanted
from ingest_actors.actors.watch import LINES_MAX, Backlog, watch
from ingest_actors.binance.planning import assign
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.binance.stream_watch import StreamWatch
from ingest_actors.binance.watched_stream import Activity
from ingest_actors.messages import FrameBatch
from ingest_actors.supervision import Mailbox


class Hearing:
    """A parser whose streams `flows` always bring something."""

    def __init__(self):
        self.mark = -math.inf
        self.flows = set()

    def heard(self, stream):
        return self.mark if stream in self.flows else -math.inf


class Subscriber:
    def __init__(self, streams):
        self.acknowledged = frozenset(streams)
        self.missing = frozenset()
        self.renewed = []

    def carry(self, streams):
        self.acknowledged = frozenset(streams)

    def renew(self, streams):
        self.renewed.append(tuple(streams))


class Rig:
    def __init__(self, *streams, answer=None, silence_s=None):
        self.fleet = Fleet()
        self.fleet.want(Wanted(streams, symbols_listed=frozenset({"BTCUSDT"})))
        self.fleet.reconcile(assign, lambda connection: None)
        self.connection = self.fleet.connections["ws-1"]
        self.subscriber = Subscriber(streams)
        self.connection.begin(self.subscriber)
        self.hearing = Hearing()
        self.mailbox = Mailbox("frames", events_max=100, bytes_max=10**6)
        self.streams = StreamWatch(StreamTable(), silence_s=silence_s, askable=answer is not None)
        self.answer = answer
        self.asked = []
        self.closed = False
        self.told = []

    def announce(self, name, *, level="info", **fields):
        self.told.append((name, level, fields))

    def all(self, name):
        return [fields for told, _, fields in self.told if told == name]

    @asynccontextmanager
    async def statistics(self):
        try:
            yield self.ask
        finally:
            self.closed = True

    async def ask(self, question):
        self.asked.append(question)
        await trio.sleep(10)
        return self.answer

    async def run(self):
        await watch(
            self.fleet,
            streams=self.streams,
            hearing=self.hearing,
            backlog=Backlog(self.mailbox),
            statistics=self.statistics if self.answer is not None else None,
            announce=self.announce,
        )

    async def run_for(self, seconds):
        with trio.move_on_after(seconds):
            await self.run()


async def test_a_thousand_silent_streams_are_told_in_a_few_lines_and_subscribed_again_by_one_call(autojump_clock):
    depths = [f"s{number}usdt@depth" for number in range(500)]
    trades = [f"s{number}usdt@trade" for number in range(500)]
    rig = Rig(*depths, *trades)
    rig.hearing.flows = set(trades)
    await rig.run_for(60.5)
    assert len(rig.all("stream_silent")) == LINES_MAX
    assert rig.all("streams_silent") == [{"more": 500 - LINES_MAX, "silent": 500}]
    assert {level for name, level, _ in rig.told} == {"warning"}
    assert [set(renewed) for renewed in rig.subscriber.renewed] == [set(depths)]


async def test_a_move_is_asked_of_the_fleet_and_what_cannot_be_moved_back_is_subscribed_again(autojump_clock):
    rig = Rig("btcusdt@trade", "btcusdt@depth")
    rig.hearing.flows = {"btcusdt@trade"}
    await rig.run_for(60.5)
    assert rig.subscriber.renewed == [("btcusdt@depth",)]
    await rig.run_for(62)
    assert [fields["action"] for fields in rig.all("stream_silent")] == ["subscribed_again", "moved"]
    with trio.fail_after(1):
        await rig.fleet.wait_changed()
    await rig.run_for(125)
    assert rig.all("stream_silent")[2]["action"] == "subscribed_again"
    rig.fleet.reconcile(assign, lambda connection: None)
    assert {name: c.streams for name, c in rig.fleet.connections.items()} == {
        "ws-1": ("btcusdt@trade",),
        "ws-2": ("btcusdt@depth",),
    }


async def test_looks_go_on_while_the_exchange_is_asked_and_whoever_asks_is_closed_at_the_end(autojump_clock):
    rig = Rig("btcusdt@trade", "btcusdt@depth", answer={"BTCUSDT": Activity(1)})
    await rig.run_for(35)
    assert len(rig.asked) == 1
    assert rig.hearing.mark >= trio.current_time() - 1
    assert rig.closed


async def test_a_connection_that_is_silent_as_a_whole_is_told_to_open_again(autojump_clock):
    rig = Rig("btcusdt@depth", "ethusdt@depth", "btcusdt@blockTrade", silence_s=30)
    await rig.run_for(31.5)
    assert rig.connection.told_to_reopen.is_set()
    assert rig.subscriber.renewed == []
    assert {fields["action"] for fields in rig.all("stream_silent")} == {"reopened"}


async def test_streams_that_the_exchange_has_lost_are_told_together(autojump_clock):
    rig = Rig(*[f"s{number}usdt@blockTrade" for number in range(7)])
    rig.subscriber.missing = rig.subscriber.acknowledged
    await rig.run_for(30)
    ((name, level, fields),) = rig.told
    assert (name, level, fields["connection"], fields["count"], len(fields["streams"])) == (
        "subscription_missing",
        "warning",
        "ws-1",
        7,
        5,
    )
    assert [set(renewed) for renewed in rig.subscriber.renewed] == [rig.subscriber.acknowledged]


async def test_nothing_is_silent_while_the_parser_does_not_keep_up(autojump_clock, nursery):
    rig = Rig("btcusdt@trade", "btcusdt@depth")
    await rig.mailbox.put(FrameBatch([b"{}"], received_at_ms=0, connection="ws-1"))
    nursery.start_soon(rig.run)
    await trio.sleep(300)
    assert rig.told == []
    await rig.mailbox.take()
    rig.mailbox.settle(1)
    await trio.sleep(65)
    assert rig.all("stream_silent")
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("settled", "lasts"), [(0, True), (1, True), (2, False)])
async def test_a_backlog_is_what_was_there_at_the_last_look_and_still_is(settled, lasts):
    mailbox = Mailbox("frames", events_max=100, bytes_max=10**6)
    backlog = Backlog(mailbox)
    assert not backlog.lasts()
    await mailbox.put(FrameBatch([b"1", b"2"], received_at_ms=0, connection="ws-1"))
    assert not backlog.lasts()
    await mailbox.take()
    if settled:
        mailbox.settle(settled)
    await mailbox.put(FrameBatch([b"3"], received_at_ms=0, connection="ws-1"))
    assert backlog.lasts() is lasts
