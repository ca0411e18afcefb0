"""Stopping a line from its source on."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from countable import Numbers, mailbox
from trio.testing import wait_all_tasks_blocked

from ingest_actors.supervision import DrainReport, Line, keep_alive


class Boom(Exception):
    pass


class Works:
    """source -> first -> middle -> second -> sink, each item as slow as one likes."""

    def __init__(self, *, drain_timeout_s=10, items=None, source_s=0.01, sink_s=0.0):
        self.first = mailbox(name="first", events_max=5)
        self.second = mailbox(name="second", events_max=5)
        self.line = Line(drain_timeout_s=drain_timeout_s)
        self.items, self.source_s, self.sink_s = items, source_s, sink_s
        self.accepted = 0
        self.delivered = []
        self.events = []
        self.line.source("source", self.source, into=[self.first])
        self.line.stage("middle", self.middle, out_of=self.first, into=[self.second])
        self.line.stage("sink", self.sink, out_of=self.second)
        self.line.attendant("watcher", self.watcher)

    async def source(self):
        try:
            while self.items is None or self.accepted < self.items:
                await trio.sleep(self.source_s)
                await self.first.put(Numbers(self.accepted))
                self.accepted += 1
        finally:
            self.events.append("source ended")

    async def middle(self):
        async for parcel in self.first:
            await self.second.wait_for_room(parcel)
            self.second.put_nowait(parcel)
            self.first.settle(1)
        self.events.append("middle ended")

    async def sink(self):
        async for parcel in self.second:
            await trio.sleep(self.sink_s)
            self.delivered.extend(parcel.items)
            self.second.settle(1)
        self.events.append("sink ended")

    async def watcher(self):
        try:
            await trio.sleep_forever()
        finally:
            self.events.append("watcher ended")

    async def run_and_stop_at(self, *times_s):
        async with trio.open_nursery() as nursery:
            for at_s in times_s:
                nursery.start_soon(self._stop_at, at_s)
            report = await self.line.run()
            nursery.cancel_scope.cancel()
        return report

    async def _stop_at(self, at_s):
        await trio.sleep(at_s)
        self.line.stop()


async def test_a_stop_delivers_all_that_was_accepted_and_ends_in_data_order(autojump_clock):
    works = Works(source_s=0.1, sink_s=0.7)
    report = await works.run_and_stop_at(100.05)
    assert works.delivered == list(range(works.accepted))
    assert works.accepted > 100
    assert works.events == ["source ended", "middle ended", "sink ended", "watcher ended"]
    assert report.clean
    assert report.unfinished == ()
    assert report.left == {}
    # What it held: five in each mailbox, the oldest of the second begun; less than eleven times 0.7 s.
    assert 0 < report.drained_s < 11 * 0.7


async def test_a_line_whose_sources_end_by_themselves_ends(autojump_clock):
    works = Works(items=20, sink_s=1)
    report = await works.line.run()
    assert works.delivered == list(range(20))
    assert report == DrainReport(unfinished=(), left={}, drained_s=None)
    assert trio.current_time() >= 20
    assert not works.line.draining


async def test_past_the_deadline_the_report_names_who_was_unfinished_and_what_was_left(autojump_clock):
    works = Works(drain_timeout_s=10, sink_s=4)
    report = await works.run_and_stop_at(1)
    # Both mailboxes are full at the stop; until the deadline, at 11, the sink delivers at about 4 and at about 8.
    assert works.accepted == 10
    assert works.delivered == [0, 1]
    assert report.unfinished == ("middle", "sink")
    assert list(report.left.items()) == [("first", 3), ("second", 5)]
    assert report.drained_s == 10
    assert not report.clean


async def test_a_straggling_source_is_named_too(autojump_clock):
    works = Works(drain_timeout_s=5)

    async def stubborn():
        with trio.CancelScope(shield=True):
            await trio.sleep(7)

    works.line.source("stubborn", stubborn, into=[works.first])
    report = await works.run_and_stop_at(1)
    assert report.unfinished == ("stubborn", "middle", "sink")
    assert report.left == {}


async def test_a_second_stop_cancels_at_once(autojump_clock):
    works = Works(drain_timeout_s=1000, sink_s=100)
    report = await works.run_and_stop_at(1, 3)
    assert trio.current_time() == 3
    assert report.drained_s == 2
    assert report.unfinished == ("middle", "sink")
    assert report.left == {"first": 5, "second": 5}
    assert works.delivered == []
    await trio.sleep(1)
    assert works.line.report() == report, "what it was at the end does not change any more"


async def test_draining_twice_is_draining_once(autojump_clock):
    works = Works(drain_timeout_s=4, sink_s=1000)

    async def drain_again():
        for _ in range(3):
            await trio.sleep(1)
            works.line.drain()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain_again)
        report = await works.line.run()
    assert trio.current_time() == 5
    assert report.drained_s == 4


async def test_a_stop_before_the_start_ends_it_with_nothing_accepted(autojump_clock):
    works = Works()
    works.line.stop()
    report = await works.line.run()
    assert report.clean
    assert works.accepted == 0


async def test_a_mailbox_is_closed_when_the_last_of_those_who_fill_it_has_ended(autojump_clock):
    works = Works(items=3)

    async def late():
        await trio.sleep(50)
        assert not works.first.closed
        await works.first.put(Numbers(99))

    works.line.source("late", late, into=[works.first, works.first])
    await works.line.run()
    assert works.delivered == [0, 1, 2, 99]
    assert works.second.closed


async def test_a_failing_stage_ends_the_line_and_is_raised_itself(autojump_clock):
    works = Works()
    boom = Boom("sink")

    async def failing():
        await trio.sleep(2)
        raise boom

    works.line.attendant("failing", failing)
    with pytest.raises(Boom) as raised:
        await works.line.run()
    assert raised.value is boom
    assert trio.current_time() == 2
    assert sorted(works.events) == ["source ended", "watcher ended"]
    assert works.line.report().unfinished == ("source", "middle", "sink")


async def test_what_was_received_is_delivered_though_a_source_fails(autojump_clock):
    works = Works(source_s=0.1, sink_s=0.5)
    boom = Boom("exchange gone")

    async def failing():
        await trio.sleep(20.05)
        raise boom

    works.line.source("failing", failing, into=[works.first])
    with pytest.raises(Boom) as raised:
        await works.line.run()
    assert raised.value is boom
    assert works.delivered == list(range(works.accepted))
    report = works.line.report()
    assert report.left == {}
    assert report.unfinished == ("failing",)
    assert works.events == ["source ended", "middle ended", "sink ended", "watcher ended"]


async def wait_and_open(gate):
    await trio.sleep(1)
    gate.set()


async def test_failures_that_come_together_are_one_with_notes(autojump_clock, nursery):
    works = Works()
    gate = trio.Event()

    async def failing(number):
        await gate.wait()
        raise Boom(number)

    for number in range(2):
        works.line.attendant(f"failing {number}", partial(failing, number))
    nursery.start_soon(wait_and_open, gate)
    with pytest.raises(Boom) as raised:
        await works.line.run()
    (note,) = raised.value.__notes__
    assert note == f"and then: Boom({1 - raised.value.args[0]})"


async def test_a_failure_while_being_cancelled_is_raised(autojump_clock):
    works = Works(drain_timeout_s=1, sink_s=100)

    async def stumble():
        try:
            await trio.sleep_forever()
        finally:
            raise Boom

    async def stumbling():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stumble)
            nursery.start_soon(trio.sleep_forever)

    works.line.attendant("stumbling", stumbling)
    works.line.drain()
    with pytest.raises(Boom):
        await works.line.run()


async def test_a_stage_that_ends_before_its_mailbox_is_an_error_not_a_standstill(autojump_clock):
    works = Works()
    third = mailbox(name="third")

    async def quitter():
        pass

    works.line.stage("quitter", quitter, out_of=third)
    with pytest.raises(RuntimeError, match="quitter ended before its mailbox third was closed"):
        await works.line.run()


async def test_the_cancellation_of_the_host_passes_and_the_report_can_still_be_had(autojump_clock):
    works = Works(sink_s=100)
    with trio.move_on_after(5) as scope:
        await works.line.run()
    assert scope.cancelled_caught
    report = works.line.report()
    assert report.unfinished == ("source", "middle", "sink")
    assert report.left == {"first": 5, "second": 5}
    assert report.drained_s is None


async def test_an_interrupt_in_a_member_is_not_held_up(autojump_clock):
    works = Works()

    async def interrupted():
        await trio.sleep(1)
        raise KeyboardInterrupt

    works.line.attendant("interrupted", interrupted)
    with pytest.raises(BaseExceptionGroup) as raised:
        await works.line.run()
    assert raised.value.split(KeyboardInterrupt)[1] is None


async def test_two_members_of_one_name_are_refused():
    works = Works()
    with pytest.raises(ValueError, match="two members of the line are called sink"):
        works.line.stage("sink", works.sink, out_of=works.second)


async def test_a_stage_that_crashes_during_the_drain_still_drains(autojump_clock):
    works = Works(source_s=0.1, sink_s=0.5)
    line = Line(drain_timeout_s=60)
    crashes = 0

    async def clumsy_sink():
        nonlocal crashes
        async for parcel in works.second:
            await trio.sleep(0.5)
            if line.draining and crashes < 3:
                crashes += 1
                raise Boom
            works.delivered.extend(parcel.items)
            works.second.settle(1)

    line.source("source", works.source, into=[works.first])
    line.stage("middle", works.middle, out_of=works.first, into=[works.second])
    line.stage("sink", partial(keep_alive, clumsy_sink, name="sink", inbox=works.second), out_of=works.second)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.run)
        await trio.sleep(20.02)
        line.stop()
    assert crashes == 3
    assert line.report().clean
    assert works.delivered == list(range(works.accepted))


async def test_a_full_line_holds_exactly_what_its_mailboxes_hold(nursery):
    works = Works(source_s=0, sink_s=1e9)
    nursery.start_soon(works.line.run)
    await wait_all_tasks_blocked()
    assert works.line.report().left == {"first": 5, "second": 5}
    assert works.accepted == 10
    works.line.cancel()


def holding(works, *, count=20, fails_at_s=None):
    """A source that has read more than it could put when it is stopped; what it has is put in its farewell."""
    held = [Numbers(1000 + number) for number in range(count)]

    async def reader():
        await trio.sleep(1e9 if fails_at_s is None else fails_at_s)
        raise Boom

    async def put_held():
        while held:
            await works.first.put(held[0])
            held.pop(0)

    works.line.source("reader", reader, into=[works.first], farewell=put_held)
    return held


@pytest.mark.parametrize("fails_at_s", [None, 2])
async def test_what_a_source_still_holds_is_put_when_it_is_stopped_and_when_it_fails(autojump_clock, fails_at_s):
    works = Works(items=0, sink_s=0.1)
    held = holding(works, fails_at_s=fails_at_s)
    try:
        await works.run_and_stop_at(*[] if fails_at_s else [3])
    except* Boom:
        assert fails_at_s
    assert works.delivered == list(range(1000, 1020))
    assert held == []
    assert works.line.report().left == {}


async def test_the_farewell_of_a_source_is_bounded_by_the_drains_deadline(autojump_clock):
    works = Works(items=0, sink_s=1e9, drain_timeout_s=10)
    held = holding(works)
    report = await works.run_and_stop_at(3)
    assert report.unfinished == ("reader", "middle", "sink")
    assert report.left == {"first": 5, "second": 5}
    assert len(held) == 10
    assert trio.current_time() == 13


async def test_the_cancellation_of_the_host_ends_a_farewell_at_once(autojump_clock):
    works = Works(items=0, sink_s=1e9, drain_timeout_s=10)
    holding(works)
    with trio.move_on_after(5) as host:
        await works.run_and_stop_at(3)
    assert host.cancelled_caught
    assert trio.current_time() == 5


async def test_a_source_that_is_added_to_a_line_that_was_stopped_does_not_begin(autojump_clock):
    works = Works()
    works.line.stop()
    ticks = []

    async def tick():
        while True:
            await trio.sleep(1)
            ticks.append(trio.current_time())

    works.line.source("late", tick, into=[works.first])
    report = await works.line.run()
    assert report.clean
    assert ticks == []
    assert trio.current_time() == 0
