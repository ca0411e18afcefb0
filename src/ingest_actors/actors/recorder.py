"""The recorder: messages are kept on tape as they came, and handed on to the parser."""

from __future__ import annotations

import trio

from ingest_actors.messages import FrameBatch
from ingest_actors.nursery import open_nursery
from ingest_actors.protocols import FrameTape
from ingest_actors.supervision import Mailbox


async def recorder(inbox: Mailbox[FrameBatch], outbox: Mailbox[FrameBatch], *, tape: FrameTape) -> None:
    """Keep and hand on until the inbox ends; then what was kept is written.

    A batch is kept in the step that hands it on and settles it: a crash before it leaves the batch on lease, a crash
    after it finds it kept. What is kept waits in the tape, which outlives the actor, to be written. While the tape has
    no room, nothing is taken, and so the connections are not read.

    Raises:
        IngestError: the tape cannot be written.
    """
    async with open_nursery() as nursery:
        nursery.start_soon(tape.run)
        while True:
            try:
                batch = await inbox.take()
            except trio.EndOfChannel:
                break
            await tape.wait_for_room()
            await outbox.wait_for_room(batch)
            outbox.put_nowait(batch)
            tape.keep(batch)
            inbox.settle(len(batch))
        nursery.cancel_scope.cancel()
    await tape.flush()
