"""Killed writers and killed brokers: a reader of committed records sees each event once, in order, none missing."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from exactly_once import CountingProgress, exactly_once_on, read_committed
from kafka_support import expected_by_key, in_batches, numbered, numbers_by_key, route_for

from ingest_actors.kafka.dev_broker import dev_broker

pytestmark = pytest.mark.broker

HERE = Path(__file__).parent


async def committed(servers, topic, **options):
    return numbers_by_key(await trio.to_thread.run_sync(lambda: read_committed(servers, topic, **options)))


def live(servers, prefix, count):
    environ = os.environ | {"PYTHONPATH": str(HERE)}
    arguments = [sys.executable, str(HERE / "transactional_life.py"), servers, prefix, str(count)]
    return subprocess.Popen(arguments, env=environ, stdout=subprocess.PIPE, text=True)


async def test_writers_killed_in_the_middle_of_transactions_lose_and_double_nothing(broker, topic_prefix):
    count, rng, servers = 24_000, random.Random(7), broker.bootstrap_servers
    lives = 0
    acknowledged = -1

    async def kill_soon(process):
        await trio.sleep(rng.uniform(0.05, 0.8))
        process.kill()

    while acknowledged < count - 1:
        with live(servers, topic_prefix, count) as process:
            async with trio.open_nursery() as nursery:
                while line := await trio.to_thread.run_sync(process.stdout.readline):
                    if line.startswith("from"):
                        assert int(line.split()[1]) > acknowledged  # what was acknowledged is in the state
                        if lives < 4:
                            nursery.start_soon(kill_soon, process)
                    elif line != "done\n":
                        acknowledged = int(line)
        lives += 1
        assert lives < 10
    assert lives > 2, "or next to nobody was killed in the middle"
    for name in ("raw_events", "trades"):
        assert await committed(servers, topic_prefix + name) == {b"BTCUSDT": list(range(count))}
    # The broker holds more than that: parts of transactions that were never committed.
    everything = await committed(servers, topic_prefix + "raw_events", level="read_uncommitted")
    assert sum(map(len, everything.values())) > count


async def test_a_broker_that_is_killed_and_comes_back_again_and_again(topic_prefix):
    events = numbered(route_for(topic_prefix), range(40_000))
    progress = CountingProgress()
    with dev_broker() as own:
        async with exactly_once_on(
            own.bootstrap_servers, topic_prefix, progress=progress, kafka_commit_interval_ms=20
        ) as sink:

            async def trouble():
                for _ in range(4):
                    await trio.sleep(0.7)
                    await trio.to_thread.run_sync(own.kill)
                    await trio.to_thread.run_sync(own.restart)

            async def offer_slowly():
                for batch in in_batches(events):
                    await sink.accept(batch)
                    await trio.sleep(0.01)

            done = []
            with trio.fail_after(150):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trouble)
                    nursery.start_soon(offer_slowly)
                    while len(done) < 400:
                        done.append((await sink.acknowledged()).batch)
            assert [event for batch in done for event in batch.events] == events
            assert progress.settled == {key.decode(): max(n) for key, n in expected_by_key(events).items()}
        for name in ("raw_events", "trades"):
            assert await committed(own.bootstrap_servers, topic_prefix + name) == expected_by_key(events)
