"""Supervised actors for trio: mailboxes that lend, restarts that lose nothing, stops that let things arrive.

An actor is an async function that takes parcels - lists of items - from a `Mailbox`, does its work, and settles them
in the same synchronous step in which it hands on the result. `keep_alive` runs it again when it crashes: what it had
not settled is in its mailbox again, in order, and a parcel that crashes it again and again is taken apart until the
one offending item is found. A `Line` wires actors in data order and stops them from the source on.

    async def double(inbox: Mailbox[Numbers], outbox: Mailbox[Numbers]) -> None:
        async for numbers in inbox:
            result = numbers.doubled()
            await outbox.wait_for_room(result)
            outbox.put_nowait(result)
            inbox.settle(len(numbers))

    line = Line(drain_timeout_s=10)
    line.source("counter", partial(count, into=small), into=[small])
    line.stage("doubler", partial(keep_alive, partial(double, small, big), name="doubler", inbox=small),
               out_of=small, into=[big])
    line.stage("printer", partial(keep_alive, partial(show, big), name="printer", inbox=big), out_of=big)
    report = await line.run()

It knows nothing of what is carried, and needs nothing but trio.
"""

from ingest_actors.supervision.drain import DrainReport, Line
from ingest_actors.supervision.keep_alive import keep_alive
from ingest_actors.supervision.mailbox import Mailbox
from ingest_actors.supervision.parcels import Parcel
from ingest_actors.supervision.restart import Backoff, RestartWindow

__all__ = ["Backoff", "DrainReport", "Line", "Mailbox", "Parcel", "RestartWindow", "keep_alive"]
