"""The producer's promises: pipelined, settled in order, once each, whatever dies."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ingest_actors.actors.producer import Handover, producer
from ingest_actors.errors import SinkUnreachable
from ingest_actors.ledger import Ledger
from ingest_actors.messages import EventBatch, Route
from ingest_actors.protocols import Acknowledgement, Refusal
from ingest_actors.status import Tallies
from ingest_actors.supervision import Mailbox
from sinks import MemorySink

ROUTE = Route("trade", ("raw", "trades"))


def batch(*numbers):
    return EventBatch([(b"%d" % n, b"BTCUSDT", n, ROUTE) for n in numbers], received_at_ms=0)


def refused_event(event, reason, detail):
    headers = (("reason", reason.encode()), ("detail", detail.encode()))
    return (event[0], event[1], event[2], Route(event[3].event_type, ("dead",), headers=headers, dead_letter=True))


class Rig:
    def __init__(self, sink, breaks_max=3):
        self.sink = sink
        self.inbox = Mailbox("batches", events_max=1000, bytes_max=10**7, strikes_max=10**9)
        self.told = []
        self.ledger = Ledger()
        self.ledger.add_holder(lambda: (e[3] for b in self.inbox.held() for e in b.events))
        self.handover = Handover(
            self.inbox,
            sink,
            ledger=self.ledger,
            tallies=Tallies(),
            refused_event=refused_event,
            breaks_max=breaks_max,
            announce=self.announce,
            clock_ms=lambda: 777,
        )

    def announce(self, name, *, level="info", **fields):
        self.told.append((name, level, fields))

    def put(self, *batches):
        for one in batches:
            self.inbox.put_nowait(one)
            self.ledger.receive(one.routes())

    def numbers(self):
        return [event[2] for event in self.sink.written]


async def test_batches_are_handed_over_while_earlier_ones_are_unacknowledged(autojump_clock, nursery):
    rig = Rig(MemorySink(delay_s=1))
    rig.put(batch(1, 2), batch(3), batch(4))
    nursery.start_soon(producer, rig.handover)
    await wait_all_tasks_blocked()
    assert rig.sink.waiting == 4
    assert rig.ledger.total().in_flight == 4
    await trio.sleep(1.5)
    assert rig.numbers() == [1, 2, 3, 4]
    assert rig.ledger.total().delivered == 4
    assert rig.inbox.events == 0
    assert not rig.ledger.unbalanced()
    nursery.cancel_scope.cancel()


async def test_the_end_waits_for_every_acknowledgement(autojump_clock):
    rig = Rig(MemorySink(delay_s=2))
    rig.put(batch(1), batch(2))
    rig.inbox.close()
    await producer(rig.handover)
    assert trio.current_time() == 2
    assert rig.ledger.total().delivered == 2


async def test_only_the_refused_event_is_dead_lettered(autojump_clock):
    rig = Rig(MemorySink(refuse=lambda event: "too_large" if event[2] == 3 else None))
    rig.put(batch(1, 2, 3, 4), batch(5))
    rig.inbox.close()
    await producer(rig.handover)
    assert rig.numbers() == [1, 2, 4, 5, 3]
    dead = rig.sink.written[-1]
    assert dead[3].topics == ("dead",)
    assert dict(dead[3].headers)["reason"] == b"too_large"
    assert rig.ledger.total().delivered == 4
    assert rig.ledger.total().dead_lettered == 1
    assert not rig.ledger.unbalanced()


async def test_dead_letters_that_the_sink_has_written_itself_are_counted_and_not_offered_again(autojump_clock):
    sink = MemorySink(refuse=lambda event: "too_large" if event[2] == 3 else None)
    acknowledged = sink.acknowledged

    async def with_letters():
        done = await acknowledged()
        letters = [refused_event(done.batch.events[each.position], each.reason, each.detail) for each in done.refused]
        return done._replace(letters=EventBatch(letters, received_at_ms=0) if letters else None)

    sink.acknowledged = with_letters
    rig = Rig(sink)
    rig.put(batch(1, 2, 3, 4), batch(5))
    rig.inbox.close()
    await producer(rig.handover)
    assert rig.numbers() == [1, 2, 4, 5]
    assert (rig.ledger.total().delivered, rig.ledger.total().dead_lettered) == (4, 1)
    assert not rig.ledger.unbalanced()
    assert [name for name, *_ in rig.told] == ["dead_lettered"]


async def test_nothing_behind_a_refused_event_is_settled_before_it(autojump_clock, nursery):
    rig = Rig(MemorySink(delay_s=1, refuse=lambda event: "bad" if event[2] == 1 else None))
    rig.put(batch(1, 2), batch(3))
    nursery.start_soon(producer, rig.handover)
    await trio.sleep(1.5)
    assert rig.inbox.events == 3
    assert rig.ledger.total().in_flight == 3
    await trio.sleep(1)
    assert rig.inbox.events == 0
    assert not rig.ledger.unbalanced()
    nursery.cancel_scope.cancel()


async def test_a_producer_that_dies_hands_nothing_over_twice(autojump_clock):
    sink = MemorySink(delay_s=0.05, room=4, refuse=lambda event: "bad" if event[2] % 7 == 0 else None)
    rig = Rig(sink)
    rig.put(*(batch(n, n + 1) for n in range(1, 60, 2)))
    rig.inbox.close()
    for _ in range(10_000):
        with trio.move_on_after(0.007) as life:
            await producer(rig.handover)
        if not life.cancelled_caught:
            break
        rig.inbox.rewind(crashed=False)
    good = [n for n in range(1, 61) if n % 7]
    assert [n for n in rig.numbers() if n % 7] == good
    assert sorted(rig.numbers()) == list(range(1, 61))
    assert rig.ledger.total().dead_lettered == 8
    assert not rig.ledger.unbalanced()


async def test_a_broken_sink_gets_everything_unacknowledged_again_in_order(autojump_clock, nursery):
    rig = Rig(MemorySink(delay_s=1))
    rig.put(batch(1, 2), batch(3))
    nursery.start_soon(producer, rig.handover)
    await trio.sleep(0.5)
    rig.sink.break_now()
    await trio.sleep(3)
    assert rig.sink.resets == 1
    assert rig.numbers() == [1, 2, 3]
    assert rig.handover.breaks == 0
    assert not rig.ledger.unbalanced()
    nursery.cancel_scope.cancel()


async def test_a_sink_that_keeps_breaking_ends_with_an_error(autojump_clock):
    rig = Rig(MemorySink(delay_s=1), breaks_max=2)
    rig.put(batch(1))

    async def spoil():
        while True:
            await trio.sleep(0.5)
            rig.sink.break_now()

    with pytest.RaisesGroup(pytest.RaisesExc(SinkUnreachable, match="3 fatal producer errors in a row")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spoil)
            await producer(rig.handover)
    assert rig.ledger.total().in_flight == 1
    assert not rig.ledger.unbalanced()


def refusing_letters(sink, times):
    """Have the sink refuse each batch that has dead letters in it, so many times."""
    write = sink._write

    def stubborn(written):
        if times[0] and any(event[3].dead_letter for event in written.events):
            times[0] -= 1
            return Acknowledgement(
                written, [Refusal(i, "too_large", "no") for i, event in enumerate(written.events) if event[2] != 9]
            )
        return write(written)

    sink._write = stubborn
    return sink


async def test_a_dead_letter_that_is_refused_gets_one_more_try_with_the_time_of_now(autojump_clock):
    rig = Rig(refusing_letters(MemorySink(refuse=lambda event: "bad" if event[2] == 2 else None), [1]))
    rig.put(batch(1, 2), batch(3))
    rig.inbox.close()
    await producer(rig.handover)
    assert rig.numbers() == [1, 3, 777]
    assert (rig.ledger.total().delivered, rig.ledger.total().dead_lettered) == (2, 1)
    assert not rig.ledger.unbalanced()


async def test_a_parsers_dead_letter_that_is_refused_is_not_the_end_either(autojump_clock):
    rig = Rig(refusing_letters(MemorySink(), [1]))
    rig.put(EventBatch([refused_event(event, "malformed", "x") for event in batch(1, 2).events], received_at_ms=0))
    rig.inbox.close()
    await producer(rig.handover)
    assert sorted(rig.numbers()) == [1, 2]
    assert rig.ledger.total().dead_lettered == 2
    assert not rig.ledger.unbalanced()


async def test_a_dead_letter_that_is_refused_for_good_is_not_passed_over_in_silence(autojump_clock):
    rig = Rig(refusing_letters(MemorySink(refuse=lambda event: "bad"), [2]))
    rig.put(batch(1))
    with pytest.RaisesGroup(pytest.RaisesExc(SinkUnreachable, match="refuses a dead letter: no")):
        await producer(rig.handover)
    assert rig.ledger.total().in_flight == 1
    assert not rig.ledger.unbalanced()


async def test_every_dead_letter_is_told_with_its_headers_once_it_is_written(autojump_clock):
    rig = Rig(MemorySink(refuse=lambda event: "too_large" if event[2] == 3 else None))
    rig.put(batch(1, 3))
    rig.inbox.close()
    await producer(rig.handover)
    assert rig.told == [("dead_lettered", "warning", {"reason": "too_large", "detail": "too_large says the test"})]


async def test_a_flood_of_dead_letters_does_not_become_a_flood_of_log_lines(autojump_clock, nursery):
    rig = Rig(MemorySink(refuse=lambda event: "bad"))
    nursery.start_soon(producer, rig.handover)
    rig.put(batch(*range(100)), batch(*range(100)))
    await trio.sleep(10)
    assert len(rig.told) == 10
    rig.put(batch(1))
    await trio.sleep(1)
    assert rig.told[10][2]["untold_before"] == 190
    assert rig.ledger.total().dead_lettered == 201
    nursery.cancel_scope.cancel()


async def test_a_reset_of_the_sink_is_told_with_what_it_had_not_acknowledged(autojump_clock, nursery):
    rig = Rig(MemorySink(delay_s=1))
    rig.put(batch(1, 2), batch(3))
    nursery.start_soon(producer, rig.handover)
    await trio.sleep(0.5)
    rig.sink.break_now("fenced")
    await trio.sleep(3)
    assert rig.told == [("sink_reset", "warning", {"cause": "fenced", "breaks": 1, "unacknowledged": 3})]
    nursery.cancel_scope.cancel()
