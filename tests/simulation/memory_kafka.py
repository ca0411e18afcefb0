"""A Kafka in memory that outlives the service's lives: its topics, its resume state, and what a sudden death leaves.

Two ways of writing, as the product has them:

- `exactly_once`: what was accepted since the last commit is committed at an interval, together with the resume state.
  A death loses the open transaction; a commit that was under way may have come to pass or not.
- `at_least_once`: each batch is there when it is acknowledged, and the resume state follows once a second. A death
  leaves the state as it was last written, and a part of what was under way may be in the topics unacknowledged.
"""

from collections import deque
from typing import NamedTuple

import trio

from ingest_actors.binance.resume import ResumeState
from ingest_actors.errors import SinkBroken
from ingest_actors.messages import Event, EventBatch
from ingest_actors.protocols import Acknowledgement, Refusal, SinkStatus

INSTANCE = "simulated"
STATE_EVERY_S = 1.0


class Entry(NamedTuple):
    """One event as it stands in the topics."""

    event: Event
    life: int
    """Of the service, counted from 0."""
    topics: tuple[str, ...]
    """Fewer than its route names, where it was never acknowledged."""
    acknowledged: bool


class MemoryKafka:
    """The brokers.

    Attributes:
        entries: everything that is written, in order.
        begins: for each life, how many entries the state that it began with covers.
        state: the state topic, compacted.
        stated_s: when that was written last, by trio's clock; None: never.
    """

    def __init__(self, rng, *, exactly_once, interval_s=0.1):
        self.rng = rng
        self.exactly_once = exactly_once
        self.interval_s = interval_s
        self.entries = []
        self.begins = []
        self.state = {}
        self.stated_s = None
        self.covered = 0

    def resumed(self):
        """What is read at a start."""
        state = ResumeState(INSTANCE)
        for key, value in self.state.items():
            state.load(key, value)
        return state

    def open(self, chaos, **options):
        """The sink of one more life."""
        self.begins.append(self.covered)
        return Writer(self, len(self.begins) - 1, chaos, **options)

    def put_state(self, change):
        self.state.update(change.records)
        self.stated_s = trio.current_time()
        self.covered = len(self.entries)


class Writer:
    """The sink of one life.

    Args:
        kafka: where it writes.
        life: which.
        chaos: crashes the producer at it.
        delay_s: from acceptance to acknowledgement; of a commit.
        room: events that it takes before it wants some acknowledged.
        refuse: says of an event why it is not taken; None: it is.

    Attributes:
        letter: makes the dead letter of an event that is refused, from a reason and a detail; to be set.
    """

    def __init__(self, kafka, life, chaos, *, delay_s=0.0, room=10**9, refuse=lambda event: None):
        self.kafka = kafka
        self.life = life
        self.chaos = chaos
        self.delay_s = delay_s
        self.room = room
        self.refuse = refuse
        self.letter = None
        self.progress = kafka.resumed()
        self.paused = False
        self.broken = None
        self.dead = False
        self.breaks = 0
        self._accepted = deque()
        self._ready = deque()
        self._opened_s = None
        self._committing = None
        self._state_due_s = None
        self._wake = trio.Event()

    # -- the Protocol

    async def accept(self, batch):
        await trio.lowlevel.checkpoint()
        self.chaos.pass_by("sink.accept")
        await self._check()
        while self.waiting and self.waiting + len(batch) > self.room:
            await self._wake.wait()
            await self._check()
        if self.dead:
            await trio.sleep_forever()
        if not self.kafka.exactly_once:
            self.kafka.state.update(self.progress.begin(batch))
        if self._opened_s is None:
            self._opened_s = trio.current_time()
        self._accepted.append((batch, trio.current_time()))
        self._ring()

    async def acknowledged(self):
        while True:
            self.chaos.pass_by("sink.acknowledged")
            await trio.lowlevel.checkpoint()
            if self.dead:
                await trio.sleep_forever()
            if self._ready:
                self._ring()
                return self._ready.popleft()
            await self._check()
            due_s = self._due_s()
            if due_s is not None and due_s <= trio.current_time():
                self._write()
                continue
            with trio.CancelScope(deadline=trio.current_time() + 1e9 if due_s is None else due_s):
                await self._wake.wait()

    async def reset(self):
        await trio.sleep(self.delay_s)
        self.broken = None
        self.breaks += 1
        self._accepted.clear()
        self._opened_s = self._committing = None
        self.progress.roll_back() if self.kafka.exactly_once else None

    def status(self):
        return SinkStatus(self.broken is None and not self.paused, self.waiting, 0, self.breaks, {})

    async def aclose(self):
        if not self.dead:
            self._put_state()
            self.dead = True

    # -- faults

    def break_now(self):
        """Nothing more of what was accepted is acknowledged, though some of it may be written."""
        if self.broken is None and not self.dead:
            self._leave_behind()
            self.broken = "broken by the test"
            self._ring()

    def pause(self):
        self.paused = True
        self._ring()

    def resume(self):
        self.paused = False
        self._ring()

    def die(self):
        """The process is gone, at this instant."""
        if not self.dead:
            self._state_tick()
            self._leave_behind()
            self.dead = True

    # --

    @property
    def waiting(self):
        return sum(len(batch) for batch, _ in self._accepted)

    def _ring(self):
        self._wake.set()
        self._wake = trio.Event()

    async def _check(self):
        """What is written is acknowledged first: nothing that can be acknowledged may be offered again."""
        while self.broken is not None:
            if not self._ready:
                raise SinkBroken(self.broken)
            await self._wake.wait()

    def _due_s(self):
        """When the next step of writing is due; None: not before something happens."""
        if self.paused or not self._accepted:
            return None
        if not self.kafka.exactly_once:
            return self._accepted[0][1] + self.delay_s
        if self._committing is not None:
            return self._committing[1]
        return self._opened_s + self.kafka.interval_s

    def _write(self):
        if not self.kafka.exactly_once:
            self._state_tick()
            self._put(1)
            if self._state_due_s is None:
                self._state_due_s = trio.current_time() + STATE_EVERY_S
        elif self._committing is None:
            self._committing = len(self._accepted), trio.current_time() + self.delay_s
        else:
            count, _ = self._committing
            self._committing = None
            self._put(count)
            self._put_state()
            self._opened_s = trio.current_time() if self._accepted else None
        self._ring()

    def _put(self, count):
        """The first batches are written."""
        for _ in range(count):
            batch, since_s = self._accepted.popleft()
            refused, letters = [], []
            for position, event in enumerate(batch.events):
                reason = self._refusal(event)
                if reason:
                    refused.append(Refusal(position, reason, f"{reason} says the test"))
                    letters.append(self.letter(event, *refused[-1][1:]))
                else:
                    self.kafka.entries.append(Entry(event, self.life, event[3].topics, acknowledged=True))
            self.kafka.entries += [Entry(letter, self.life, letter[3].topics, acknowledged=True) for letter in letters]
            self.progress.apply(batch)
            written = EventBatch(letters, received_at_ms=batch.received_at_ms) if letters else None
            self._ready.append(Acknowledgement(batch, refused, trio.current_time() - since_s, written))

    def _refusal(self, event):
        return None if event[3].dead_letter or not event[3].counted else self.refuse(event)

    def _put_state(self):
        change = self.progress.change()
        self.kafka.put_state(change)
        self.progress.settle(change)
        self._state_due_s = None

    def _state_tick(self):
        """The state that was due a while ago was written then: nothing has been acknowledged since."""
        if self._state_due_s is not None and trio.current_time() >= self._state_due_s:
            self._put_state()

    def _leave_behind(self):
        """What becomes of that which is under way when nobody asks for it any more."""
        if self.kafka.exactly_once:
            if self._committing is not None and self.kafka.rng.random() < 0.5:
                self._write()  # the brokers had it, and said so to nobody or just in time
            return
        events = [event for batch, _ in self._accepted for event in batch.events]
        reached = {}  # in each partition of each topic, what is written has no holes
        for position, event in enumerate(events):
            if not self._refusal(event):
                topics = []
                for name in event[3].topics:
                    partition = name, event[1]
                    if partition not in reached:
                        reached[partition] = self.kafka.rng.randrange(len(events) + 1)
                    if position < reached[partition]:
                        topics.append(name)
                if topics:
                    self.kafka.entries.append(Entry(event, self.life, tuple(topics), acknowledged=False))
