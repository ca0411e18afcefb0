"""What becomes of poison: an item that crashes an actor whenever it is handled has its dead letter put in its place.

Each is one synchronous step, once there is room: the letter is put, the books are written, the item is settled.
"""

from __future__ import annotations

from ingest_actors.binance.dead_letters import DeadLetters
from ingest_actors.ledger import Ledger
from ingest_actors.messages import EventBatch, FrameBatch
from ingest_actors.supervision import Mailbox


async def bury_frame(
    poison: FrameBatch,
    crash: Exception,
    *,
    letters: DeadLetters,
    frames: Mailbox[FrameBatch],
    events: Mailbox[EventBatch],
    ledger: Ledger,
) -> None:
    """One message crashes the parser. Cancelled: it stays where it is."""
    letter = letters.letter(poison.frames[0], "parser_crashed", repr(crash), received_at_ms=poison.received_at_ms)
    batch = EventBatch([letter], received_at_ms=poison.received_at_ms)
    await events.wait_for_room(batch)
    events.put_nowait(batch)
    ledger.receive(batch.routes())
    frames.settle(1)


async def bury_event(
    poison: EventBatch,
    crash: Exception,
    *,
    letters: DeadLetters,
    events: Mailbox[EventBatch],
    batches: Mailbox[EventBatch],
) -> None:
    """One event crashes the batcher. Cancelled: it stays where it is."""
    letter = letters.refused_event(poison.events[0], "batcher_crashed", repr(crash))
    batch = EventBatch([letter], received_at_ms=poison.received_at_ms)
    await batches.wait_for_room(batch)
    batches.put_nowait(batch)
    events.settle(1)
