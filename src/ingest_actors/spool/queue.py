"""What the spool knows of each batch, without input or output: where it is, and who has been told what.

A batch comes by one of two ways. *Straight* to the inner sink; or, in an outage, onto the disk and from there, behind
all that lay there before, to the inner sink. Everything is numbered in the order in which it came, whichever way it
goes, and the inner sink gets it in that order:

    lent (the inner sink has it) | next (in memory, about to be lent) | on the disk, unread | pending (not on it yet)

What is on the disk stays there until the inner sink has acknowledged it. Nothing is put there before everything older
is there, or acknowledged: of what a killed process leaves behind, none may be missing in the middle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ingest_actors.messages import EventBatch
from ingest_actors.protocols import Acknowledgement, Settled


class Slot:
    """One batch.

    Attributes:
        batch: its events.
        on_disk: whether a committed transaction has it.
        told: whether whoever offered it believes it safe, or nobody waits for it.
        acked: whether the inner sink has acknowledged it.
        keep: whether the inner sink knows this very object, and must get no other.
        tries: how often its events were refused as dead letters.
        replaces: number of the batch whose refused events these are.
    """

    __slots__ = ("acked", "batch", "keep", "on_disk", "replaces", "told", "tries")

    def __init__(
        self,
        batch: EventBatch,
        *,
        on_disk: bool = False,
        told: bool = False,
        keep: bool = False,
        tries: int = 0,
        replaces: int | None = None,
    ) -> None:
        self.batch = batch
        self.on_disk = on_disk
        self.told = told
        self.acked = False
        self.keep = keep
        self.tries = tries
        self.replaces = replaces

    @property
    def number(self) -> int:
        """Its place in the order."""
        assert self.batch.spooled is not None
        return self.batch.spooled


class SpoolQueue:
    """All batches between being accepted and being acknowledged by the inner sink.

    Args:
        last: highest number ever used.
        left: highest number that an earlier process left on the disk; None: nothing.
        left_bytes: what that would be counted as in memory.

    Attributes:
        straight: whether what comes goes to the inner sink without touching the disk.
        lent, next, pending: see above; `writing` is on its way from pending to the disk.
        lent_bytes, pending_bytes, unread_bytes: what these are counted as in memory.
        unsaved: how many of lent and next are not on the disk.
        ready: acknowledgements that are to be handed out.
        again: those that a reset took back, by the batch's identity: it will be offered again.
        drained: highest number on the disk that is acknowledged.
        deleted: highest number that is taken out of the file.
        passed_by: whether anything was acknowledged that was never on the disk, since that was last kept in mind there.
    """

    def __init__(self, *, last: int, left: int | None = None, left_bytes: int = 0) -> None:
        self.last = last
        self.straight = left is None
        self.lent: deque[Slot] = deque()
        self.next: deque[Slot] = deque()
        self.pending: deque[Slot] = deque()
        self.writing: list[Slot] = []
        self.lent_bytes = self.pending_bytes = 0
        self.unread_bytes = left_bytes
        self.unsaved = 0
        self.passed_by = False
        self.ready: deque[Acknowledgement] = deque()
        self.again: dict[int, Acknowledgement] = {}
        self.drained = self.deleted = self.cursor = 0
        self._disk_last = 0 if left is None else left
        self._placed = self._disk_last
        self._kept: dict[int, EventBatch] = {}
        self._owed: list[int] = []

    @property
    def unread(self) -> bool:
        """Whether there is something on the disk that is not in memory."""
        return self._disk_last > self.cursor

    @property
    def deletable(self) -> int:
        """Up to which number nothing on the disk is needed any more."""
        return min(self.drained, min(self._owed) - 1) if self._owed else self.drained

    def number(self, batch: EventBatch) -> None:
        """Give a batch the next number.

        One that was offered before keeps its own, unless something else has got in before it: the inner sink may have
        written it, with that number in the state, and not be able to say so yet.
        """
        if batch.spooled is None or batch.spooled < self._placed:
            self.last += 1
            batch.spooled = self.last
        self._placed = batch.spooled

    # -- to the inner sink

    def lend(self, slot: Slot) -> None:
        """The inner sink has accepted a batch that came straight."""
        self.lent.append(slot)
        self.lent_bytes += slot.batch.size_bytes
        self.unsaved += 1

    def lend_next(self) -> None:
        """It has accepted the first of next."""
        slot = self.next.popleft()
        self.lent.append(slot)
        self.lent_bytes += slot.batch.size_bytes

    def load(self, slots: Iterable[Slot]) -> None:
        """The next batches were read from the disk; none: there are no more."""
        empty = True
        for slot in slots:
            empty = False
            slot.batch = self._kept.pop(slot.number, slot.batch)
            self.cursor = slot.number
            self.unread_bytes -= slot.batch.size_bytes
            self.next.append(slot)
        if empty:
            self.cursor, self.unread_bytes = self._disk_last, 0

    def go_straight(self) -> None:
        """All that is on the disk is with the inner sink: what is pending follows from memory, then what comes."""
        assert not self.unread
        assert not self.writing
        assert not self.next
        self.unsaved += len(self.pending)
        self.next, self.pending = self.pending, self.next
        self.pending_bytes = 0
        self.straight = True

    def take(self, acknowledgement: Acknowledgement, letters: EventBatch | None = None) -> None:
        """The inner sink has settled the oldest batch that it has; what is to be told of it becomes ready.

        Args:
            acknowledgement: its own.
            letters: the dead letters of what was refused of a batch that nobody waits for.
        """
        slot = self.lent.popleft()
        assert slot.batch is acknowledgement.batch
        slot.acked = True
        self.lent_bytes -= slot.batch.size_bytes
        if slot.on_disk:
            self.drained = slot.number
        else:
            self.unsaved -= 1
            self.passed_by = True
        if slot.told:
            if letters is None:
                self._safe(slot)
            else:
                self._owe(letters, slot)
            acknowledgement = acknowledgement._replace(settled=Settled.RECOVERED)
        self.ready.append(acknowledgement)

    # -- to the disk

    def put(self, batch: EventBatch, *, keep: bool) -> None:
        """A batch is to go by way of the disk."""
        self.number(batch)
        self._append(Slot(batch, keep=keep))

    def to_write(self, bytes_max: int) -> list[Slot]:
        """What is to be written next, in order, at least one batch if there is any."""
        older = [slot for slot in (*self.lent, *self.next) if not slot.on_disk] if self.unsaved else []
        chosen: list[Slot] = []
        taken = 0
        for slots in (older, self.pending):
            for slot in slots:
                taken += slot.batch.size_bytes
                if chosen and taken > bytes_max:
                    return chosen
                chosen.append(slot)
        return chosen

    def begin(self, slots: list[Slot]) -> None:
        """These are being written."""
        self.writing = slots
        chosen = {id(slot) for slot in slots}
        while self.pending and id(self.pending[0]) in chosen:
            self.pending_bytes -= self.pending.popleft().batch.size_bytes

    def undo(self) -> None:
        """They are not written."""
        resident = {id(slot) for slot in (*self.lent, *self.next)}
        for slot in reversed(self.writing):
            if not slot.acked and id(slot) not in resident:
                self.pending.appendleft(slot)
                self.pending_bytes += slot.batch.size_bytes
        self.writing = []

    def written(self) -> None:
        """They are on the disk; whoever offered them is told."""
        resident = {id(slot) for slot in (*self.lent, *self.next)}
        for slot in self.writing:
            slot.on_disk = True
            self._disk_last = slot.number
            if slot.acked:
                self.drained = self.cursor = max(self.drained, slot.number)
                continue
            if id(slot) in resident:
                self.cursor = slot.number
                self.unsaved -= 1
            else:
                self.unread_bytes += slot.batch.size_bytes
                if slot.keep:
                    self._kept[slot.number] = slot.batch
            self._safe(slot)
            if not slot.told:
                slot.told = True
                self.ready.append(Acknowledgement(slot.batch, settled=Settled.SPOOLED))
        self.writing = []

    # --

    def reset(self) -> list[EventBatch]:
        """The inner sink has forgotten everything: what is on the disk is lent again, the rest is offered again.

        Returns:
            Batches that it has had and that will be offered again: it may know what became of them.
        """
        had = [slot.batch for slot in self.lent if not slot.told]
        assert not self.writing
        recovered = deque(ready for ready in self.ready if ready.settled is Settled.RECOVERED)
        self.again |= {id(ready.batch): ready for ready in self.ready if ready.settled is not Settled.RECOVERED}
        self.ready = recovered
        self.next = deque(slot for slot in (*self.lent, *self.next) if slot.told)
        self.lent.clear()
        self.lent_bytes = 0
        self.pending = deque(slot for slot in self.pending if slot.told)
        self.pending_bytes = sum(slot.batch.size_bytes for slot in self.pending)
        self.unsaved = sum(not slot.on_disk for slot in self.next)
        self._placed = max([self._disk_last, *(slot.number for slot in (*self.next, *self.pending))])
        return had

    def _owe(self, letters: EventBatch, slot: Slot) -> None:
        """Dead letters come last; until they are safe, what they were made from stays on the disk."""
        source = slot.number if slot.on_disk or slot.replaces is None else slot.replaces
        if source not in self._owed:
            self._owed.append(source)
        self.number(letters)
        owed = Slot(letters, told=True, tries=slot.tries + 1, replaces=source)
        if self.straight:
            self.unsaved += 1
            self.next.append(owed)
        else:
            self._append(owed)

    def _append(self, slot: Slot) -> None:
        self.pending.append(slot)
        self.pending_bytes += slot.batch.size_bytes

    def _safe(self, slot: Slot) -> None:
        """If these are dead letters: what they were made from is not needed any more."""
        if slot.replaces is not None and slot.replaces in self._owed:
            self._owed.remove(slot.replaces)
