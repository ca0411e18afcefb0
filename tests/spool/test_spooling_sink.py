"""The spool's promises: in order, once, counted; nothing of it costs anything while Kafka takes what comes."""

from functools import partial

import pytest
import trio
import trio.lowlevel
from spool_rig import MIB, Rig, batch

from ingest_actors.errors import SinkUnreachable
from ingest_actors.protocols import Acknowledgement, Refusal
from ingest_actors.spool.sink import STALL_S
from sinks import MemorySink


async def test_without_an_outage_nothing_touches_the_disk(tmp_path, autojump_clock, nursery):
    rig = Rig(tmp_path / "s", MemorySink(delay_s=1))
    nursery.start_soon(rig.run)
    for n in range(1, 20):
        rig.put(batch(n))
        await trio.sleep(0.5)
    await trio.sleep(2)
    assert rig.numbers() == list(range(1, 20))
    assert rig.figures() == (19, 0, 19, 0, 0, 0)
    assert rig.told == []
    assert rig.file.last == 0
    nursery.cancel_scope.cancel()


async def test_an_outage_goes_to_the_disk_and_from_there_out_in_order(tmp_path, autojump_clock, nursery):
    rig = Rig(tmp_path / "s")
    nursery.start_soon(rig.run)
    rig.put(batch(1), batch(2, 3))
    await trio.sleep(1)
    rig.inner.pause()
    rig.put(batch(4), batch(5))
    await trio.sleep(STALL_S / 2)
    assert rig.figures() == (5, 0, 3, 0, 0, 2)
    await trio.sleep(STALL_S)
    assert rig.figures() == (5, 0, 3, 0, 2, 0)
    rig.put(*(batch(n) for n in range(6, 100)))
    await trio.sleep(60)
    assert rig.figures() == (99, 0, 3, 0, 96, 0)
    assert rig.sink.status().reachable
    assert rig.sink.status().spool.events == 96
    rig.inner.resume()
    await trio.sleep(1)
    assert rig.numbers() == list(range(1, 100))
    assert rig.figures() == (99, 96, 99, 0, 96, 0)
    assert rig.sink.status().spool.events == 0
    assert rig.names() == ["spool_started", "spool_drained"]
    assert rig.told[0][2]["unacknowledged"] == 2
    assert rig.told[1][2]["events"] == 96
    rig.put(batch(100))
    await trio.sleep(1)
    assert rig.figures() == (100, 96, 100, 0, 96, 0)
    nursery.cancel_scope.cancel()


async def test_what_comes_while_it_drains_goes_behind_what_is_there(tmp_path, autojump_clock, nursery):
    rig = Rig(tmp_path / "s", window=4096, chunk=1024)
    nursery.start_soon(rig.run)
    rig.inner.pause()
    await rig.put_all(*(batch(n) for n in range(500)))
    await trio.sleep(10)
    rig.inner.delay_s = 0.02
    rig.inner.resume()
    for n in range(500, 1500):
        await rig.put_all(batch(n))
        await trio.sleep(0.002)
    await trio.sleep(20)
    assert rig.numbers() == list(range(1500))
    assert rig.names() == ["spool_started", "spool_drained"]
    received, recovered, delivered, _, spooled, in_flight = rig.figures()
    assert (received, delivered, in_flight) == (1500, 1500, 0)
    assert 500 < spooled == recovered
    nursery.cancel_scope.cancel()


async def test_the_end_does_not_wait_for_kafka_and_the_next_start_sends_what_is_left_first(tmp_path, autojump_clock):
    first = Rig(tmp_path / "s")
    first.inner.pause()
    first.put(*(batch(n) for n in range(1, 30)))
    first.inbox.close()
    await first.run()
    await first.sink.aclose()
    assert trio.current_time() < STALL_S + 1
    assert first.figures() == (29, 0, 0, 0, 29, 0)
    assert first.names() == ["spool_started", "spool_left"]

    second = Rig(tmp_path / "s")
    second.put(batch(30), batch(31))
    second.inbox.close()
    await second.run()
    await second.sink.aclose()
    assert second.numbers() == list(range(1, 32))
    assert second.figures() == (2, 29, 31, 0, 0, 0)


async def test_a_stop_while_it_drains_counts_exactly_what_kafka_has(tmp_path, autojump_clock):
    first = Rig(tmp_path / "s", MemorySink(delay_s=0.1), window=8192, chunk=1024)
    first.inner.pause()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.run)
        await first.put_all(*(batch(n) for n in range(1000)))
        await trio.sleep(5)
        first.inner.resume()
        await trio.sleep(0.25)
        first.inbox.close()
    await first.sink.aclose()
    written = len(first.inner.written)
    assert 0 < written < 1000
    assert first.figures() == (1000, written, written, 0, 1000, 0)
    second = Rig(tmp_path / "s")
    second.inbox.close()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(second.sink.drive)
        nursery.start_soon(second.handover.settle)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert first.numbers() + second.numbers() == list(range(1000))


async def test_a_sink_that_breaks_gets_from_the_disk_what_it_had_not_written(tmp_path, autojump_clock, nursery):
    rig = Rig(tmp_path / "s", window=8192, chunk=1024)
    nursery.start_soon(rig.run)
    rig.inner.pause()
    await rig.put_all(*(batch(n) for n in range(100)))
    await trio.sleep(5)
    rig.inner.break_now()
    await trio.sleep(5)
    rig.put(batch(100))
    rig.inner.resume()
    await trio.sleep(5)
    assert rig.inner.resets == 1
    assert rig.numbers() == list(range(101))
    assert rig.figures()[2:] == (101, 0, 101, 0)
    nursery.cancel_scope.cancel()


async def test_what_kafka_refuses_of_the_spool_becomes_dead_letters(tmp_path, autojump_clock, nursery):
    rig = Rig(tmp_path / "s", MemorySink(refuse=lambda event: "too_large" if event[2] % 10 == 3 else None))
    nursery.start_soon(rig.run)
    rig.inner.pause()
    rig.put(*(batch(2 * n, 2 * n + 1) for n in range(25)))
    await trio.sleep(5)
    rig.inner.resume()
    await trio.sleep(5)
    assert sorted(rig.numbers()) == list(range(50))
    dead = [event for event in rig.inner.written if event[3].dead_letter]
    assert [event[2] for event in dead] == [3, 13, 23, 33, 43]
    assert {event[3].topics for event in dead} == {("dead",)}
    assert dict(dead[0][3].headers)["reason"] == b"too_large"
    assert rig.figures() == (50, 55, 45, 5, 55, 0)
    assert rig.names().count("dead_lettered") == 5
    nursery.cancel_scope.cancel()


async def test_a_full_spool_holds_up_what_comes_and_loses_nothing(tmp_path, autojump_clock, nursery):
    rig = Rig(tmp_path / "s", bytes_max=MIB, chunk=16 * 1024, window=64 * 1024, room=40)
    nursery.start_soon(rig.run)
    rig.inner.pause()
    nursery.start_soon(partial(rig.put_all, *(batch(n, filling=1000) for n in range(3000))))
    await trio.sleep(60)
    assert 40 < rig.figures()[0] < 3000
    assert rig.names() == ["spool_started", "spool_full"]
    assert rig.file.used_bytes <= MIB
    assert not rig.sink.status()._replace(reachable=False).reachable
    assert "SPOOL_MAX_BYTES" in rig.sink.status().spool.detail
    assert rig.sink.status().spool.held_up_ms == 777
    rig.inner.resume()
    await trio.sleep(60)
    assert rig.numbers() == list(range(3000))
    assert rig.figures()[2] == 3000
    assert rig.names() == ["spool_started", "spool_full", "spool_writes_again", "spool_drained"]
    nursery.cancel_scope.cancel()


async def test_numbers_rise_with_every_batch_and_go_on_after_a_restart(tmp_path, autojump_clock):
    seen = []
    for life in range(3):
        rig = Rig(tmp_path / "s", last=100 if life == 0 else 0)
        accept = rig.inner.accept

        async def note(one, accept=accept):
            await accept(one)
            seen.append(one.spooled)

        rig.inner.accept = note
        rig.inner.pause()
        rig.put(batch(1), batch(2), batch(3))
        rig.inbox.close()
        await rig.run()
        await rig.sink.aclose()
    assert seen[:3] == [101, 102, 103]
    assert sorted(set(seen)) == list(range(101, 110))
    assert seen[-1] == 109


async def test_memory_stays_bounded_while_the_spool_fills_and_drains(tmp_path, autojump_clock, nursery):
    window = 64 * 1024
    rig = Rig(tmp_path / "s", window=window, chunk=8192)
    nursery.start_soon(rig.run)
    rig.inner.pause()
    held = []

    async def look():
        while True:
            queue = rig.sink._queue
            held.append(queue.lent_bytes + sum(slot.batch.size_bytes for slot in (*queue.next, *queue.pending)))
            await trio.sleep(0.01)

    nursery.start_soon(look)
    await rig.put_all(*(batch(n) for n in range(5000)))
    await trio.sleep(5)
    rig.inner.resume()
    await trio.sleep(30)
    assert rig.numbers() == list(range(5000))
    assert max(held) <= window + 2 * 8192
    nursery.cancel_scope.cancel()


async def test_the_producer_may_die_at_any_time(tmp_path, autojump_clock):
    rig = Rig(tmp_path / "s", MemorySink(delay_s=0.05, refuse=lambda event: "bad" if event[2] % 7 == 0 else None))
    rig.put(*(batch(n, n + 1) for n in range(1, 60, 2)))
    for life in range(10_000):
        if life == 10:
            rig.inner.pause()
        if life == 500:
            rig.put(*(batch(n, n + 1) for n in range(61, 120, 2)))
        if life == 2000:
            rig.inner.resume()
        if life == 4000:
            rig.inbox.close()
        with trio.move_on_after(0.007 if life % 100 else 0.3) as scope:
            await rig.run()
        if not scope.cancelled_caught:
            break
        rig.inbox.rewind(crashed=False)
    assert life == 4000
    assert sorted(rig.numbers()) == list(range(1, 121))
    assert [n for n in rig.numbers() if n % 7] == [n for n in range(1, 121) if n % 7]
    assert rig.figures()[2:4] == (120 - 17, 17)
    assert rig.names().count("spool_started") == 1


class NotingSink(MemorySink):
    """Notes each batch, with its number, when it has accepted it; and each that it was interrupted at."""

    def __init__(self, **options):
        super().__init__(**options)
        self.accepted = []
        self.interrupted = []

    async def accept(self, one):
        try:
            await super().accept(one)
        except trio.Cancelled:
            self.interrupted.append(one)
            raise
        self.accepted.append((one, one.spooled))


async def test_a_batch_that_was_half_handed_over_is_offered_again_as_the_same_object(tmp_path, autojump_clock, nursery):
    sink = NotingSink(room=2)
    rig = Rig(tmp_path / "s", sink)
    nursery.start_soon(rig.run)
    sink.pause()
    rig.put(batch(1), batch(2), batch(3), batch(4))
    await trio.sleep(STALL_S + 1)
    assert [one.events[0][2] for one in sink.interrupted] == [3]
    assert rig.figures() == (4, 0, 0, 0, 4, 0)
    sink.resume()
    await trio.sleep(5)
    assert rig.numbers() == [1, 2, 3, 4]
    assert sink.interrupted[0] in [one for one, _ in sink.accepted]
    nursery.cancel_scope.cancel()


async def test_numbers_rise_in_the_order_of_acceptance_also_when_a_batch_was_interrupted(tmp_path, autojump_clock):
    sink = NotingSink(room=1)
    rig = Rig(tmp_path / "s", sink)
    first, interrupted, letters = batch(1), batch(2), batch(3)
    await rig.sink.accept(first)
    with trio.move_on_after(1):
        await rig.sink.accept(interrupted)
    await rig.sink.acknowledged()
    await rig.sink.accept(letters)
    await rig.sink.acknowledged()
    await rig.sink.accept(interrupted)
    assert [one for one, _ in sink.accepted] == [first, letters, interrupted]
    assert [number for _, number in sink.accepted] == [1, 3, 4]


async def test_an_unreachable_sink_is_an_outage_at_once_not_only_when_it_is_silent_for_long(
    tmp_path, autojump_clock, nursery
):
    rig = Rig(tmp_path / "s")
    nursery.start_soon(rig.run)
    rig.inner.pause()
    status = rig.inner.status
    rig.inner.status = lambda: status()._replace(reachable=False, detail="no broker answers")
    rig.put(batch(1))
    await trio.sleep(0.3)
    assert rig.figures() == (1, 0, 0, 0, 1, 0)
    assert rig.told[0][2]["cause"] == "no broker answers"
    assert rig.sink.status().reachable, "the spool accepts"
    nursery.cancel_scope.cancel()


async def test_a_sink_that_breaks_again_and_again_ends_the_service_although_the_disk_takes_everything(
    tmp_path, autojump_clock
):
    rig = Rig(tmp_path / "s", breaks_max=2)
    rig.inner.pause()

    async def spoil():
        for n in range(100):
            await rig.put_all(batch(n))
            await trio.sleep(5)
            rig.inner.break_now()

    with pytest.RaisesGroup(pytest.RaisesExc(SinkUnreachable, match="3 fatal producer errors in a row")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spoil)
            await rig.run()


async def test_dead_letters_that_are_refused_for_good_stop_the_drain_and_nothing_is_lost(tmp_path, autojump_clock):
    rig = Rig(tmp_path / "s")
    rig.inner.pause()
    rig.put(batch(1, 2))
    rig.inbox.close()
    await rig.run()
    await rig.sink.aclose()
    for _ in range(2):
        sink = MemorySink()
        sink._write = lambda one: Acknowledgement(one, [Refusal(at, "bad", "no") for at in range(len(one))])
        rig = Rig(tmp_path / "s", sink)
        with pytest.RaisesGroup(pytest.RaisesExc(SinkUnreachable, match="refuses a dead letter: no")):
            await rig.run()
        await rig.sink.aclose()
        assert rig.file.events == 2
    rig = Rig(tmp_path / "s")
    with trio.move_on_after(5):
        await rig.run()
    assert [(event[2], event[3].dead_letter) for event in rig.inner.written] == [(1, False), (2, False)]


async def test_dead_letters_from_the_spool_outlive_a_restart(tmp_path, autojump_clock):
    first = Rig(tmp_path / "s", MemorySink(refuse=lambda event: "too_large" if event[2] == 2 else None))
    first.inner.pause()
    first.put(batch(1, 2, 3))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.run)
        await trio.sleep(3)
        first.inner.resume()
        while not first.inner.written:
            await trio.testing.wait_all_tasks_blocked()
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    await first.sink.aclose()
    second = Rig(tmp_path / "s")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(second.run)
        await trio.sleep(3)
        nursery.cancel_scope.cancel()
    dead = [event for event in (*first.inner.written, *second.inner.written) if event[3].dead_letter]
    assert [event[2] for event in dead][:1] == [2]


async def test_a_sink_that_cannot_start_afresh_before_the_outage_ends_does_not_hold_up_the_spool(
    tmp_path, autojump_clock, nursery
):
    """As with transactions: one that outlived its timeout breaks, and a new producer needs the brokers."""
    rig = Rig(tmp_path / "s")
    reset, kafka_is_back = rig.inner.reset, trio.Event()

    async def slow_reset():
        await kafka_is_back.wait()
        await reset()

    rig.inner.reset = slow_reset
    nursery.start_soon(rig.run)
    rig.inner.pause()
    await rig.put_all(*(batch(n) for n in range(100)))
    await trio.sleep(5)
    rig.inner.break_now("the transaction is too old")
    await rig.put_all(*(batch(n) for n in range(100, 20_000)))
    await trio.sleep(60)
    assert rig.figures() == (20_000, 0, 0, 0, 20_000, 0)
    assert rig.sink.status().reachable
    kafka_is_back.set()
    rig.inner.resume()
    await trio.sleep(60)
    assert rig.numbers() == list(range(20_000))
    assert rig.figures() == (20_000, 20_000, 20_000, 0, 20_000, 0)
    assert rig.names() == ["spool_started", "sink_reset", "spool_drained"]
    nursery.cancel_scope.cancel()


async def test_a_sink_that_breaks_and_mends_at_once_does_not_touch_the_disk(tmp_path, autojump_clock, nursery):
    rig = Rig(tmp_path / "s", MemorySink(delay_s=1))
    nursery.start_soon(rig.run)
    rig.put(batch(1), batch(2))
    await trio.sleep(0.6)
    rig.inner.break_now()
    await trio.sleep(0.1)
    rig.put(batch(3))
    await trio.sleep(5)
    assert rig.numbers() == [1, 2, 3]
    assert rig.figures() == (3, 0, 3, 0, 0, 0)
    assert rig.names() == ["sink_reset"]
    nursery.cancel_scope.cancel()


async def test_a_batch_that_is_offered_again_after_a_reset_keeps_its_number(tmp_path, autojump_clock, nursery):
    """It may be written already, with this number in the state."""
    sink = NotingSink(delay_s=1)
    rig = Rig(tmp_path / "s", sink)
    nursery.start_soon(rig.run)
    rig.put(batch(1), batch(2))
    await trio.sleep(0.5)
    sink.break_now()
    await trio.sleep(5)
    rig.put(batch(3))
    await trio.sleep(5)
    assert [(one.events[0][2], number) for one, number in sink.accepted] == [(1, 1), (2, 2), (1, 1), (2, 2), (3, 3)]
    nursery.cancel_scope.cancel()
