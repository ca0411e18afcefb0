"""Sinks that keep what they get in memory, and can be told to misbehave."""

from collections import deque

import trio

from ingest_actors.errors import SinkBroken
from ingest_actors.protocols import Acknowledgement, Refusal, SinkStatus


class MemorySink:
    """Acknowledges in order, after `delay_s`.

    `written` is what a reader of the topics would see of the exchange's events; `everything` has the journal as well.
    """

    away_s = None

    def __init__(self, *, delay_s=0.0, room=10**9, refuse=lambda event: None):
        self.delay_s = delay_s
        self.room = room
        self.refuse = refuse
        self.written = []
        self.everything = []
        self.resets = 0
        self.closed = False
        self.paused = False
        self.broken = None
        self._accepted = deque()
        self._wake = trio.Event()

    @property
    def waiting(self):
        return sum(len(batch) for batch, _ in self._accepted)

    async def accept(self, batch):
        await trio.lowlevel.checkpoint()
        while self.waiting and self.waiting + len(batch) > self.room:
            self._raise_if_broken()
            await self._change()
        self._raise_if_broken()
        self._accepted.append((batch, trio.current_time()))
        self.ring()

    async def acknowledged(self):
        while True:
            self._raise_if_broken()
            if self._accepted and not self.paused:
                batch, since = self._accepted[0]
                wait_s = since + self.delay_s - trio.current_time()
                if wait_s <= 0:
                    await trio.lowlevel.checkpoint()
                    if self.broken is None and not self.paused and self._accepted and self._accepted[0][0] is batch:
                        self._accepted.popleft()
                        self.ring()
                        return self._write(batch)
                    continue
                with trio.move_on_after(wait_s):
                    await self._change()
            else:
                await self._change()

    async def reset(self):
        await trio.sleep(self.delay_s)
        self._accepted.clear()
        self.broken = None
        self.resets += 1

    def status(self):
        return SinkStatus(self.broken is None, self.waiting, 0, self.resets, {})

    async def aclose(self):
        self.closed = True

    def break_now(self, cause="broken by the test"):
        """Nothing accepted so far will be acknowledged, though part of it may be written."""
        self.broken = cause
        self.ring()

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False
        self.ring()

    def ring(self):
        self._wake.set()
        self._wake = trio.Event()

    async def _change(self):
        await self._wake.wait()

    def _raise_if_broken(self):
        if self.broken is not None:
            raise SinkBroken(self.broken)

    def _write(self, batch):
        refused = []
        for position, event in enumerate(batch.events):
            reason = None if event[3].dead_letter else self.refuse(event)
            if reason:
                refused.append(Refusal(position, reason, f"{reason} says the test"))
            else:
                self.everything.append(event)
                if event[3].counted:
                    self.written.append(event)
        return Acknowledgement(batch, refused, 0.001)
