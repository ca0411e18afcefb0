"""A chain of four actors over plain numbers, with crashes at random await points, and a law to check at every step.

source -> doubtful (as a parser: one in, one out) -> gatherer (as a batcher: in as they come, out in fours) -> shipper
(as a producer: hands over to something that outlives it, and settles what that acknowledges).
"""

from __future__ import annotations

import random
from collections import deque
from functools import partial

import trio
from countable import Numbers, mailbox

from ingest_actors.supervision import Backoff, DrainReport, Line, RestartWindow, keep_alive

BATCH_SIZE = 4
CRASHES_MAX = 12
"""An actor is sabotaged at most this often: too seldom to convict anybody at random, with nine strikes a phase."""


class Sabotage(Exception):
    pass


class Poisoned(Exception):
    pass


class Carrier:
    """What the shipper hands over to: it outlives it, takes its time, and acknowledges in order."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.accepted: deque[Numbers] = deque()
        self.acknowledged: deque[Numbers] = deque()
        self.came = trio.Event()
        self.went = trio.Event()

    def accept(self, parcel: Numbers) -> None:
        self.accepted.append(parcel)
        self.came.set()

    async def run(self) -> None:
        while True:
            while self.accepted:
                await trio.sleep(self.rng.choice([0, 0, 0.01, 0.1, 1]))
                self.acknowledged.append(self.accepted.popleft())
                self.went.set()
            self.came = trio.Event()
            await self.came.wait()

    async def next_acknowledged(self) -> Numbers:
        while not self.acknowledged:
            self.went = trio.Event()
            await self.went.wait()
        return self.acknowledged.popleft()


class Saboteur(trio.abc.Instrument):
    """Cancels a life of an actor after so many of its steps, wherever that finds it."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.task = trio.lowlevel.current_task()
        self.scope = trio.CancelScope()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.steps -= 1
            if not self.steps:
                self.scope.cancel()


class Watch(trio.abc.Instrument):
    """Checks the law of conservation after every step of every task."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.broken: str | None = None

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.broken is None:
            self.broken = self.chain.imbalance(task.name)


class Chain:
    """One run; all that is random in it comes from the seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        rng = self.rng
        bounds = {"events_max": rng.choice([3, 8, 20]), "strikes_max": 9}
        self.boxes = [mailbox(name=name, **bounds) for name in ("raw", "good", "batches")]
        self.carrier = Carrier(rng)
        self.total = rng.randrange(20, 120)
        self.poison_first = set(rng.sample(range(self.total), rng.choice([0, 0, 1, 2])))
        self.poison_last = set(rng.sample(range(self.total), rng.choice([0, 0, 1, 2]))) - self.poison_first
        self.crashes_left = dict.fromkeys(["doubtful", "gatherer", "shipper"], CRASHES_MAX)
        self.crashes = 0
        self.accepted = 0
        self.delivered: list[int] = []
        self.line = Line(drain_timeout_s=rng.choice([0.5, 3600]))
        self.stop_at_s = rng.choice([None, None, 0, rng.uniform(0, 5), rng.uniform(0, 60)])

    def imbalance(self, where: str) -> str | None:
        held = sum(box.events for box in self.boxes)
        if self.accepted != len(self.delivered) + held:
            return f"after a step of {where}: {self.accepted} != {len(self.delivered)} + {held}"
        if any(box.events != sum(map(len, box.held())) or not 0 <= box.waiting <= box.events for box in self.boxes):
            return f"after a step of {where}: a mailbox miscounts"
        return None

    async def run(self) -> DrainReport:
        raw, good, batches = self.boxes
        self.line.source("source", self.source, into=[raw])
        self.line.stage("doubtful", self.supervised("doubtful", self.doubtful, raw, self.bury), out_of=raw, into=[good])
        self.line.stage("gatherer", self.supervised("gatherer", self.gatherer, good), out_of=good, into=[batches])
        self.line.stage("shipper", self.supervised("shipper", self.shipper, batches, self.mark), out_of=batches)
        self.line.attendant("carrier", self.carrier.run)
        self.line.attendant("stopper", self.stopper)
        watch = Watch(self)
        trio.lowlevel.add_instrument(watch)
        with trio.fail_after(3600):
            report = await self.line.run()
        assert watch.broken is None, watch.broken
        return report

    def supervised(self, name, actor, inbox, on_poison=None):
        return partial(
            keep_alive,
            partial(self.sabotaged, name, actor),
            name=name,
            inbox=inbox,
            window=RestartWindow(10_000),
            backoff=Backoff(0.01, 1, rng=self.rng),
            on_poison=on_poison,
        )

    async def sabotaged(self, name, actor) -> None:
        if not self.crashes_left[name]:
            await actor()
            return
        saboteur = Saboteur(self.rng.randrange(1, 60))
        trio.lowlevel.add_instrument(saboteur)
        try:
            with saboteur.scope:
                await actor()
        finally:
            trio.lowlevel.remove_instrument(saboteur)
        if saboteur.scope.cancelled_caught:
            self.crashes_left[name] -= 1
            self.crashes += 1
            raise Sabotage(name)

    async def stopper(self) -> None:
        if self.stop_at_s is not None:
            await trio.sleep(self.stop_at_s)
            self.line.stop()

    async def source(self) -> None:
        raw = self.boxes[0]
        while self.accepted < self.total:
            size = min(self.rng.randrange(1, 7), self.total - self.accepted)
            parcel = Numbers(*range(self.accepted, self.accepted + size))
            await raw.wait_for_room(parcel)
            raw.put_nowait(parcel)
            self.accepted += size
            await trio.sleep(self.rng.choice([0, 0, 0.01, 0.5]))

    async def doubtful(self) -> None:
        raw, good, _ = self.boxes
        async for parcel in raw:
            await trio.sleep(self.rng.choice([0, 0.01]))
            if self.poison_first.intersection(parcel.items):
                raise Poisoned
            await good.wait_for_room(parcel)
            good.put_nowait(parcel)
            raw.settle(len(parcel))

    async def bury(self, item: Numbers, crash: Exception) -> None:
        """Hands on a dead letter, a number below zero, and stumbles over its own feet now and then."""
        raw, good, _ = self.boxes
        letter = Numbers(-1 - item.items[0])
        await good.wait_for_room(letter)
        if self.rng.random() < 0.3:
            raise Sabotage("bury")
        good.put_nowait(letter)
        raw.settle(1)

    async def gatherer(self) -> None:
        _, good, batches = self.boxes
        gathered: list[int] = []
        ended = False
        while not ended or gathered:
            with trio.move_on_after(0.2):
                try:
                    while len(gathered) < BATCH_SIZE and not ended:
                        gathered.extend((await good.take()).items)
                except trio.EndOfChannel:
                    ended = True
            while gathered:
                batch = Numbers(*gathered[:BATCH_SIZE])
                await batches.wait_for_room(batch)
                batches.put_nowait(batch)
                good.settle(len(batch))
                del gathered[:BATCH_SIZE]

    async def shipper(self) -> None:
        batches = self.boxes[2]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.settle)
            async for parcel in batches:
                await trio.sleep(self.rng.choice([0, 0.01]))
                if self.poison_last.intersection(parcel.items):
                    raise Poisoned
                self.carrier.accept(parcel)
                batches.pin()
            while batches.events:  # noqa: ASYNC110 - a poll on virtual time costs nothing
                await trio.sleep(0.1)
            nursery.cancel_scope.cancel()

    async def settle(self) -> None:
        while True:
            parcel = await self.carrier.next_acknowledged()
            self.delivered.extend(parcel.items)
            self.boxes[2].settle(len(parcel))

    async def mark(self, item: Numbers, crash: Exception) -> None:
        """The carrier still has what went before, so the dead letter takes the item's place in the line."""
        await trio.lowlevel.checkpoint()
        self.boxes[2].readmit(Numbers(-1 - item.items[0]))
