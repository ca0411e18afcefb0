"""What the spool takes and gives: events a second onto the disk, back through it, and looked through at a start.

    python bench/spool.py
    python bench/spool.py --events 2000000 --directory /var/tmp

Batches of 100 events go through the real spooling sink onto a real disk, synced at every transaction. Then the sink
behind it acknowledges everything at once, so that nothing but the reading counts. No Kafka and no exchange take part.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from pathlib import Path

import trio

from harness import machine, print_table
from ingest_actors.binance.resume import ResumeState
from ingest_actors.binance.stream_table import TopicNames
from ingest_actors.messages import EventBatch, Route
from ingest_actors.protocols import Acknowledgement, SinkStatus
from ingest_actors.settings import Settings
from ingest_actors.spool import SpoolingSink, with_spool

BATCH = 100
VALUE_BYTES = 342
MIB = 1024 * 1024


class Switch:
    """A sink that takes everything and acknowledges it when it is on."""

    def __init__(self) -> None:
        self.on = False
        self.taken: list[EventBatch] = []
        self.settled = 0
        self._changed = trio.Event()

    async def accept(self, batch: EventBatch) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self.taken.append(batch)
        self._changed.set()

    async def acknowledged(self) -> Acknowledgement:
        while not (self.on and self.settled < len(self.taken)):
            self._changed = trio.Event()
            with trio.move_on_after(0.05):
                await self._changed.wait()
        await trio.lowlevel.checkpoint_if_cancelled()
        batch, self.taken[self.settled] = self.taken[self.settled], EventBatch([], received_at_ms=0)
        self.settled += 1
        return Acknowledgement(batch)

    async def reset(self) -> None:
        raise NotImplementedError

    def status(self) -> SinkStatus:
        return SinkStatus(reachable=self.on, queue_records=0, queue_bytes=0, errors=0, records={})

    async def aclose(self) -> None:
        pass


def batches(count: int) -> list[EventBatch]:
    """A few different ones, offered in turn as copies."""
    rng = random.Random(1)
    route = Route("trade", ("binance-raw-events", "binance-trades"))
    made = []
    for _ in range(count):
        events = [
            (b'{"e":"trade","s":"BTCUSDT","t":%d,"x":"%s"}' % (n, rng.randbytes(VALUE_BYTES // 2 - 20).hex().encode()),
             b"BTCUSDT", 1_700_000_000_000 + n, route)
            for n in range(BATCH)
        ]  # fmt: skip
        made.append(EventBatch(events, received_at_ms=0))
    return made


async def open_spool(directory: Path, sink: Switch, marks: ResumeState | None = None) -> SpoolingSink:
    opened = await with_spool(
        sink,
        Settings(spool_dir=directory, spool_max_bytes=1024 * 1024 * MIB),
        window_bytes=8 * MIB,
        topics=TopicNames()._asdict(),
        refused_event=lambda *_, **__: None,
        announce=lambda *_, **__: None,
        clock_ms=lambda: 0,
        marks=marks,
    )
    assert isinstance(opened, SpoolingSink)
    return opened


async def write(directory: Path, count: int) -> None:
    """An outage: everything goes to the disk, as fast as it takes it."""
    spool = await open_spool(directory, Switch())
    samples = batches(50)
    told = 0

    async def settle() -> None:
        nonlocal told
        while told < count:
            await spool.acknowledged()
            told += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(spool.drive)
        async with trio.open_nursery() as both:
            both.start_soon(settle)
            for number in range(count):
                sample = samples[number % 50]
                await spool.accept(EventBatch(sample.events, received_at_ms=0, size_bytes=sample.size_bytes))
        nursery.cancel_scope.cancel()
    await spool.aclose()


async def drain(directory: Path, count: int) -> None:
    """Kafka is back, and faster than anything."""
    sink = Switch()
    spool = await open_spool(directory, sink)
    sink.on = True
    began = begin()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spool.drive)
        for _ in range(count):
            await spool.acknowledged()
        nursery.cancel_scope.cancel()
    spent("drained", count * BATCH, began)
    await spool.aclose()


async def look_through(directory: Path, count: int) -> None:
    """What a start does with what is left, to know where each series ends."""
    marks = ResumeState("bench")
    began = begin()
    spool = await open_spool(directory, Switch(), marks)
    spent("looked through", count * BATCH, began)
    assert marks.spooled == count
    await spool.aclose()


ROWS: list[tuple[str, str, str, str]] = []


def begin() -> tuple[float, float]:
    return time.perf_counter(), cpu_s()


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def spent(what: str, events: int, began: tuple[float, float]) -> None:
    wall_s, cpu = time.perf_counter() - began[0], cpu_s() - began[1]
    ROWS.append((what, f"{events / wall_s:,.0f}", f"{cpu / events * 1e6:.2f}", f"{wall_s:.1f}"))


async def main(options: argparse.Namespace) -> None:
    count = options.events // BATCH
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="spool-bench-") as name:
        directory = Path(name)
        began = begin()
        await write(directory, count)
        spent("written", count * BATCH, began)
        size_mib = (directory / "binance-ingest.spool").stat().st_size / MIB
        await look_through(directory, count)
        await drain(directory, count)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(machine())
    print(f"{count * BATCH:,} events of {VALUE_BYTES} bytes: {size_mib:,.0f} MiB; {peak_mib:.0f} MiB resident at most")
    print_table(("", "events/s", "CPU us/event", "s"), ROWS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, default=None, help="on the disk to be measured")
    trio.run(main, parser.parse_args())
