"""Thousands of random schedules of crashes, cuts, stalls, breaks and stops: what was read is delivered once, in order.

``INGEST_SIMULATION_SCHEDULES`` says how many; a failing seed is in the test's name and replays by itself.
"""

import os
import random

import pytest
import trio
from trio.testing import MockClock
from world import POISON, Chaos, ChaoticMailbox, ChaoticSink, Exchange, service_in

SCHEDULES = int(os.environ.get("INGEST_SIMULATION_SCHEDULES", "300"))
pytestmark = pytest.mark.long
PER_TEST = 25
CONVICTING = ("parse", "frames.take", "frames.taken", "events.wait_for_room", "events.room", "events.take",
              "events.taken", "batches.wait_for_room", "batches.room")  # fmt: skip


def run(seed, monkeypatch):
    """One schedule; the same for the same seed, trio's own order of tasks included."""
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)  # as hypothesis has it set
    monkeypatch.setattr("trio._core._run._r", random.Random(seed))
    return trio.run(live, seed, monkeypatch, clock=MockClock(autojump_threshold=0))


async def live(seed, monkeypatch):
    rng = random.Random(seed)
    chaos = Chaos(rng, probability=rng.choice([0, 0.005, 0.02, 0.06]), crashes_max=60)
    sink = ChaoticSink(
        chaos,
        delay_s=rng.choice([0, 0.001, 0.02, 0.3]),
        room=rng.choice([1, 50, 10**9]),
        refuse=(lambda event: "refused" if event[0].startswith(b"{") and b'7,"p"' in event[0] else None)
        if rng.random() < 0.3
        else lambda event: None,
    )
    monkeypatch.setattr("ingest_actors.supervisor.RESTARTS_MAX", 10_000)
    monkeypatch.setattr("ingest_actors.bounds.Mailbox", type("M", (ChaoticMailbox,), {"chaos": chaos}))
    async with trio.open_nursery() as nursery:
        exchange = Exchange(
            rng,
            nursery,
            messages=rng.choice([30, 120, 400]),
            poison_every=rng.choice([0, 0, 0, 53]),
            cut_probability=rng.choice([0, 0.05, 0.2]),
        )
        service = service_in(
            exchange,
            sink,
            rng,
            batch_size=rng.choice([1, 3, 100]),
            batch_timeout_seconds=rng.choice([0.01, 5]),
            batch_eager=rng.random() < 0.5,
            buffer_max_bytes=rng.choice([1 << 20, 1 << 24]),
            ws_message_max_bytes=1 << 16,
            kafka_retries=1000,
        )
        parse = service._topology._parser.parse

        def fragile_parse(batch):
            chaos.pass_by("parse")
            if any(POISON in frame for frame in batch.frames):
                raise RuntimeError("poison")
            return parse(batch)

        service._topology._parser.parse = fragile_parse
        nursery.start_soon(disturb, sink, rng, chaos, service)
        nursery.start_soon(stop_at_random, service, exchange, rng)
        with trio.fail_after(50_000):
            await service.run()
        chaos.on = False
        nursery.cancel_scope.cancel()
    return exchange, sink, service


async def disturb(sink, rng, chaos, service):
    """Stall and break the sink now and then; check the ledger at every step."""
    while True:
        await trio.sleep(rng.random() * 0.3)
        assert not service._topology.overview.ledger.unbalanced()
        if not chaos.on:
            return
        match rng.randrange(5):
            case 0:
                sink.pause()
                await trio.sleep(rng.random() * 5)
                sink.resume()
            case 1 if chaos.probability:
                sink.break_now()


async def stop_at_random(service, exchange, rng):
    """Stop in the middle of things, or when all was sent and a while has passed."""
    if rng.random() < 0.5:
        await trio.sleep(rng.random() * 2)
    else:
        await exchange.all_sent.wait()
        await trio.sleep(1)
    service.stop()


def number_of(value):
    return int(value.split(b'"t":', 1)[1].split(b",", 1)[0])


def judge(exchange, sink, service):
    read = [number_of(frame) for frame in exchange.read]
    poison = {number_of(frame) for frame in exchange.read if POISON in frame}
    good = [event for event in sink.written if event[3].counted and not event[3].dead_letter]
    dead = [event for event in sink.written if event[3].dead_letter]
    delivered = [number_of(event[0]) for event in good]
    unlucky = {number_of(event[0]) for event in dead if dict(event[3].headers)["reason"].endswith(b"_crashed")} - poison
    refused = {number_of(event[0]) for event in dead} - poison - unlucky
    assert poison == {number_of(event[0]) for event in dead if POISON in event[0]}
    assert all(sink.refuse(event) for event in dead if number_of(event[0]) in refused)
    # Chance alone may crash an actor on one message again and again: it takes three crashes to be alone, three more
    # to be convicted, and nobody is convicted for less.
    assert not unlucky or 3 + 3 * len(unlucky) <= sum(sink.chaos.crashes[where] for where in CONVICTING)
    assert len(dead) == len(poison) + len(refused) + len(unlucky)
    assert delivered == [number for number in read if number not in poison | refused | unlucky]
    total = service._topology.overview.ledger.total()
    assert not service._topology.overview.ledger.unbalanced()
    assert (total.received, total.in_flight) == (len(read), 0)
    assert (total.delivered, total.dead_lettered) == (len(good), len(dead))
    for frame, event in zip((f for f in exchange.read if number_of(f) in set(delivered)), good, strict=True):
        data = frame[len(b'{"stream":"btcusdt@trade","data":') : -1]
        assert event[0].startswith(data[:-1])


@pytest.mark.parametrize("first", range(0, SCHEDULES, PER_TEST), ids=lambda first: f"seeds_{first}_on")
def test_what_was_read_is_delivered_once_and_in_order_whatever_happens(first, monkeypatch):
    for seed in range(first, min(first + PER_TEST, SCHEDULES)):
        with monkeypatch.context() as patch:
            try:
                judge(*run(seed, patch))
            except BaseException as failure:
                failure.add_note(f"seed {seed}")
                raise
