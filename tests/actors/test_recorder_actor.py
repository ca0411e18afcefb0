"""The recorder: kept and handed on in one step, bounded by the tape and by what comes after."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ingest_actors.actors.recorder import recorder
from ingest_actors.messages import FrameBatch
from ingest_actors.supervision import Mailbox


class ListTape:
    """Keeps in a list; has room for so many batches until `written` is called."""

    def __init__(self, room=10**9):
        self.kept = []
        self.room = room
        self.flushed = 0
        self.failure = None
        self._changed = trio.Event()

    async def wait_for_room(self):
        while len(self.kept) >= self.room:
            await self._changed.wait()

    def keep(self, batch):
        self.kept.append(batch)

    async def run(self):
        if self.failure is not None:
            raise self.failure
        await trio.sleep_forever()

    async def flush(self):
        self.flushed += 1

    def make_room(self):
        self.room = 10**9
        self._changed.set()


def batches(count):
    return [FrameBatch([b"%d" % number], received_at_ms=number, connection="ws-1") for number in range(count)]


def boxes(events_max=1000):
    return Mailbox("frames", events_max=1000, bytes_max=10**9), Mailbox(
        "recorded", events_max=events_max, bytes_max=10**9
    )


async def test_everything_is_kept_and_handed_on_in_order_and_written_at_the_end(nursery):
    inbox, outbox = boxes()
    sent = batches(20)
    for batch in sent:
        inbox.put_nowait(batch)
    inbox.close()
    tape = ListTape()
    await recorder(inbox, outbox, tape=tape)
    assert tape.kept == sent
    assert [outbox.take_nowait() for _ in sent] == sent
    assert (inbox.events, tape.flushed) == (0, 1)


@pytest.mark.parametrize(("room", "events_max"), [(3, 1000), (1000, 3)])
async def test_it_takes_no_more_than_the_tape_and_the_next_mailbox_have_room_for(nursery, room, events_max):
    inbox, outbox = boxes(events_max)
    for batch in batches(20):
        inbox.put_nowait(batch)
    tape = ListTape(room)
    nursery.start_soon(lambda: recorder(inbox, outbox, tape=tape))
    await wait_all_tasks_blocked()
    assert (len(tape.kept), outbox.events, inbox.events) == (3, 3, 17)
    tape.make_room()
    while outbox.events:
        outbox.settle(len(outbox.take_nowait()))
        await wait_all_tasks_blocked()
    assert len(tape.kept) == 20
    nursery.cancel_scope.cancel()


async def test_a_crash_neither_loses_nor_keeps_twice(nursery):
    inbox, outbox = boxes(events_max=2)
    sent = batches(5)
    for batch in sent:
        inbox.put_nowait(batch)
    tape = ListTape()
    with trio.move_on_after(0.01):
        await recorder(inbox, outbox, tape=tape)  # holds the third batch, and waits
    assert len(tape.kept) == 2
    inbox.rewind()
    inbox.close()
    nursery.start_soon(lambda: recorder(inbox, outbox, tape=tape))
    while len(tape.kept) < 5:
        outbox.settle(len(await outbox.take()))
        await wait_all_tasks_blocked()
    assert tape.kept == sent


async def test_a_tape_that_fails_ends_it():
    inbox, outbox = boxes()
    tape = ListTape()
    tape.failure = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await recorder(inbox, outbox, tape=tape)
