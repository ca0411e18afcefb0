"""Random schedules of everything that one can do to a mailbox, against a model that is a plain list."""

from __future__ import annotations

import contextlib

import trio
from countable import ITEM_BYTES, Numbers, contents, mailbox
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

EVENTS_MAX = 12
BYTES_MAX = 9 * ITEM_BYTES + 5


class MailboxMachine(RuleBasedStateMachine):
    """The model: all numbers held, in order; how many of them are on lease; how many of those are pinned."""

    @initialize(strikes_max=st.sampled_from([1, 1, 2, 3]))
    def start(self, strikes_max):
        self.box = mailbox(EVENTS_MAX, BYTES_MAX, strikes_max)
        self.held = []
        self.leased = 0
        self.pinned = 0
        self.next_number = 0
        self.crashed = False

    # Most of what would change nothing is ruled out, or the schedules would consist of it.

    @precondition(lambda self: len(self.held) < 9 and not self.box.closed)
    @rule(size=st.one_of(st.integers(1, 3), st.integers(1, 15)))
    def put(self, size):
        numbers = range(self.next_number, self.next_number + size)
        fits = not self.held or (
            len(self.held) + size <= EVENTS_MAX and (len(self.held) + size) * ITEM_BYTES <= BYTES_MAX
        )
        try:
            self.box.put_nowait(Numbers(*numbers))
        except trio.WouldBlock:
            assert not fits
        else:
            assert fits
            self.held.extend(numbers)
            self.next_number += size

    @precondition(lambda self: self.leased < len(self.held) or self.box.closed)
    @rule(times=st.integers(1, 4))
    def take(self, times):
        for _ in range(times):
            self._take()

    def _take(self):
        try:
            parcel = self.box.take_nowait()
        except trio.EndOfChannel:
            assert self.box.closed
            assert self.leased == len(self.held)
        except trio.WouldBlock:
            # Without any crash so far, only for want of something to take.
            assert self.crashed or (self.leased == len(self.held) and not self.box.closed)
        else:
            expected = self.held[self.leased : self.leased + len(parcel)]
            assert list(parcel.items) == expected
            self.leased += len(parcel)

    @precondition(lambda self: self.leased)
    @rule(data=st.data())
    def settle(self, data):
        count = data.draw(st.integers(1, self.leased))
        self.box.settle(count)
        self._forget(count)

    def _forget(self, count):
        del self.held[:count]
        self.leased = max(0, self.leased - count)
        self.pinned = max(0, self.pinned - count)

    @precondition(lambda self: self.pinned < self.leased)
    @rule()
    def pin(self):
        self.box.pin()
        self.pinned = self.leased

    @precondition(lambda self: self.pinned)
    @rule()
    def unpin(self):
        self.box.unpin()
        self.pinned = 0

    @precondition(lambda self: self.pinned < self.leased)
    @rule()
    def crash(self):
        self.box.rewind()
        self.leased = self.pinned
        self.crashed = True

    @precondition(lambda self: self.pinned < self.leased)
    @rule()
    def rewind_without_fault(self):
        self.box.rewind(crashed=False)
        self.leased = self.pinned

    @precondition(lambda self: self.box.poisoned() is not None)
    @rule()
    def settle_poison(self):
        assert self.box.poisoned().items == (self.held[self.leased],)
        self.box.settle(self.leased + 1)
        self._forget(self.leased + 1)

    @precondition(lambda self: self.box.poisoned() is not None)
    @rule()
    def readmit(self):
        self.box.readmit(Numbers(-1))
        self.held[self.leased] = -1

    @precondition(lambda self: self.next_number >= 60)
    @rule()
    def close(self):
        self.box.close()

    @invariant()
    def it_holds_what_the_model_holds(self):
        assert [number for items in contents(self.box) for number in items] == self.held
        assert self.box.waiting == len(self.held) - self.leased

    def teardown(self):
        """Whatever state it is in, the next life gets everything, in order, once."""
        if not hasattr(self, "box"):
            return
        self.box.unpin()
        self.box.rewind(crashed=False)
        handled = []
        for _ in range(len(self.held)):
            if (item := self.box.poisoned()) is not None:
                handled.extend(item.items)
                self.box.settle(1)
            with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
                parcel = self.box.take_nowait()
                handled.extend(parcel.items)
                self.box.settle(len(parcel))
        assert handled == self.held
        assert (self.box.events, self.box.bytes, self.box.isolating) == (0, 0, False)


MailboxMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestEverySchedule = MailboxMachine.TestCase
