"""A process that dies and is started again, as a seed says, over a Kafka that comes and goes.

Trades are numbered from 1. A process begins behind the mark that it finds: that of the state in Kafka, moved on by what
is in the spool - the rest comes from the exchange again, as it does by REST. It dies at any await, or inside the disk's
own steps, before or after a transaction; then the files are taken as they lie on the disk at that instant.
"""

import random
import shutil
from collections import deque
from contextlib import suppress
from unittest.mock import patch

import trio
from spool_rig import MIB, TOPICS, TRADE, Rig
from trio.testing import MockClock

from ingest_actors.binance.resume import Place, ResumeState
from ingest_actors.errors import SinkBroken
from ingest_actors.messages import EventBatch
from ingest_actors.protocols import Acknowledgement
from ingest_actors.spool.codec import BatchCodec
from ingest_actors.spool.disk import Disk
from ingest_actors.spool.file import SpoolFile
from ingest_actors.spool.opening import _look_through
from sinks import MemorySink

WHERE = Place("trade", "BTCUSDT")


class Killed(BaseException):
    """SIGKILL."""


class Kafka:
    """What outlives every process.

    Attributes:
        written: numbers of the trades, as a reader of committed records sees them.
        state: as a restart reads it.
        paused: an outage.
        unruly: commits may fail, with an outcome that only a reset tells.
    """

    def __init__(self):
        self.written = []
        self.dead = []
        self.state = ResumeState("i")
        self.paused = False
        self.unruly = True

    def take_state(self, state):
        change = state.change()
        for key, value in change.records:
            self.state.load(key, value)
        state.settle(change)


class TransactionalSink(MemorySink):
    """Commits what it has accepted every 100 ms, with the state; acknowledges a while later."""

    def __init__(self, kafka, rng):
        super().__init__()
        self.kafka = kafka
        self.rng = rng
        self.state = kafka.state.copy()
        self.open = deque()
        self.committed = deque()
        self.known = {}

    @property
    def waiting(self):
        return 0

    async def accept(self, batch):
        await trio.lowlevel.checkpoint()
        self._raise_if_broken()
        while len(self.open) > 20:
            await self._change()
            self._raise_if_broken()
        (self.open if self.known.pop(id(batch), None) is None else self.committed).append(batch)
        self.ring()

    async def acknowledged(self):
        while not self.committed:
            self._raise_if_broken()
            if not self.open or self.kafka.paused:
                with trio.move_on_after(0.1):
                    await self._change()
                continue
            await trio.sleep(0.1 * self.rng.random())
            if self.kafka.unruly and self.rng.random() < 0.05:
                self._commit_with_unknown_outcome()
            elif not self.kafka.paused:
                self._commit()
            await trio.sleep(0.1 * self.rng.random())
        await trio.lowlevel.checkpoint()
        return Acknowledgement(self.committed.popleft())

    def _commit(self):
        for batch in self.open:
            self.state.apply(batch)
            self.kafka.written += [event[2] for event in batch.events]
        self.kafka.take_state(self.state)
        self.committed += self.open
        self.open.clear()
        self.ring()

    def _commit_with_unknown_outcome(self):
        if self.rng.random() < 0.5:
            self._commit()
        self.break_now("nobody knows")
        if self.rng.random() < 0.5:
            self.kafka.paused = True
        raise SinkBroken(self.broken)

    async def reset(self):
        """Only Kafka can tell what became of the last commit."""
        await trio.sleep(0.1 * self.rng.random())
        while self.kafka.paused:  # noqa: ASYNC110 - a switch of the test's
            await trio.sleep(0.1)
        self.known |= {id(batch): batch for batch in self.committed}
        self.open.clear()
        self.committed.clear()
        self.broken = None
        self.resets += 1


class PlainSink(MemorySink):
    """Writes each batch at some time after accepting it; the state follows from time to time."""

    def __init__(self, kafka, rng):
        super().__init__(delay_s=rng.choice([0, 0.01, 0.2]))
        self.kafka = kafka
        self.rng = rng
        self.state = kafka.state.copy()

    def _write(self, batch):
        acknowledgement = super()._write(batch)
        self.kafka.written += [event[2] for event in self.written]
        self.written.clear()
        self.state.apply(batch)
        if self.rng.random() < 0.1:
            self.kafka.take_state(self.state)
        return acknowledgement

    async def acknowledged(self):
        self.paused = self.kafka.paused
        return await super().acknowledged()

    async def _change(self):
        with trio.move_on_after(0.05):
            await super()._change()
        self.paused = self.kafka.paused


class World:
    """All lives of one process."""

    def __init__(self, seed, directory, *, exactly_once):
        self.rng = random.Random(seed)
        self.directory = directory
        self.exactly_once = exactly_once
        self.kafka = Kafka()
        self.path = directory / "0" / "s"
        self.path.parent.mkdir()
        self.lives = 0
        self.made = 0
        self.happened = []

    async def live(self, *, last=False):
        """One life, from its start to its end."""
        self.lives += 1
        if not last:
            self.kafka.paused = self.rng.random() < 0.3
        else:
            self.kafka.paused = self.kafka.unruly = False
        sink = (TransactionalSink if self.exactly_once else PlainSink)(self.kafka, self.rng)
        marks = self.kafka.state.copy()
        file = SpoolFile(self.path, bytes_max=1024 * MIB)
        told = []
        await _look_through(
            Disk(file, BatchCodec(TOPICS), _at_once), self.kafka.state.spooled or 0, 0, marks=marks, progress=None,
            chunk_bytes=2000, announce=lambda name, **fields: told.append(name),
        )  # fmt: skip
        assert "spool_set_aside" not in told
        file.close()
        mark = marks.marks.get(WHERE)
        start = 1 if mark is None else mark.last + 1
        rig = Rig(
            self.path, sink, window=self.rng.choice([1500, 6000, MIB]), chunk=self.rng.choice([300, 2000]),
            last=self.kafka.state.spooled or 0, in_thread=self._disk_step, breaks_max=10**9,
        )  # fmt: skip
        self.death_in = None if last else self.rng.choice([None, None, self.rng.randrange(1, 60)])
        try:
            await self._run(rig, start, last=last)
            await rig.sink.aclose()
            self.happened.append("stopped")
        except Killed:
            self.happened.append("killed")
        except BaseExceptionGroup as group:
            killed, others = group.split(Killed)
            if others is not None:
                raise others from None
            assert killed is not None
            self.happened.append("killed in the disk")
        assert not rig.ledger.unbalanced()
        self._find_the_files(rig)
        return rig

    async def _run(self, rig, start, *, last):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._produce, rig)
            if last:
                await self._publish(rig, start, self.made + 20)
                await self._catch_up(rig)
            else:
                await self._misbehave(rig, start)
            rig.inbox.close()

    async def _produce(self, rig):
        """The producer, which dies at times, and is started again."""
        while True:
            with trio.move_on_after(self.rng.choice([0.05, 1, 1000])) as scope:
                await rig.run()
            if not scope.cancelled_caught:
                return
            rig.inbox.rewind(crashed=False)

    async def _misbehave(self, rig, start):
        upto = max(self.made, start - 1)
        start = await self._publish(rig, start, upto)
        for _ in range(self.rng.randrange(1, 12)):
            what = self.rng.random()
            if what < 0.2:
                self.kafka.paused = not self.kafka.paused
            elif what < 0.27:
                rig.inner.break_now()
            await trio.sleep(self.rng.choice([0, 0.01, 0.3, 3]))
            start = await self._publish(rig, start, start + self.rng.randrange(30))
            assert not rig.ledger.unbalanced()
        if self.rng.random() < 0.6:
            raise Killed

    async def _catch_up(self, rig):
        """Until the spool is empty, for which a stop does not wait: of some 800 trades each takes 0.2 s at worst."""
        with trio.fail_after(300):
            while (spool := rig.sink.status().spool).spooling or spool.events:  # noqa: ASYNC110 - it tells nobody
                await trio.sleep(1)

    async def _publish(self, rig, start, upto):
        """Trades from a number on; those that were published before come by REST."""
        while start <= upto:
            count = self.rng.randint(1, 5)
            numbers = range(start, min(start + count, upto + 1))
            events = [(b'{"t":%d}' % n, b"BTCUSDT", n, TRADE) for n in numbers]
            batch = EventBatch(events, received_at_ms=0)
            with trio.move_on_after(20):
                await rig.inbox.wait_for_room(batch)
                rig.put(batch)
                start = numbers[-1] + 1
                self.made = max(self.made, numbers[-1])
        return start

    async def _disk_step(self, job):
        await trio.lowlevel.checkpoint()
        if self.death_in is not None:
            self.death_in -= 1
            if self.death_in == 0 and self.rng.random() < 0.5:
                self._snapshot()
                raise Killed
        done = job()
        if self.death_in is not None and self.death_in <= 0:
            self._snapshot()
            raise Killed
        return done

    def _snapshot(self):
        """The files as they are now: what the next process finds."""
        found = self.directory / str(self.lives)
        found.mkdir()
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{self.path}{suffix}", found / f"s{suffix}")
        self.death_in = None
        self.next_path = found / "s"

    def _find_the_files(self, rig):
        if not hasattr(self, "next_path"):
            self._snapshot()
        rig.file.close()
        shutil.rmtree(self.path.parent)
        self.path = self.next_path
        del self.next_path


async def _at_once(job):
    return job()


def run(seed, directory, *, exactly_once, lives=8):
    """Some lives and a last one in which Kafka is there; what there is to judge. The same seed gives the same again."""

    async def main():
        world = World(seed, directory, exactly_once=exactly_once)
        for _ in range(lives):
            await world.live()
        await world.live(last=True)
        return world

    with (
        patch("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", new=True),
        patch("trio._core._run._r", random.Random(f"{seed}/tasks")),
    ):
        return trio.run(main, clock=MockClock(autojump_threshold=0))
