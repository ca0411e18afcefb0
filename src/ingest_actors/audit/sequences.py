"""One series in one partition: what follows what. Sans-IO, one class for each rule of continuity.

The way that almost every record takes, the id that was expected, is a comparison and an addition; everything else is
looked at with care and takes longer.
"""

from __future__ import annotations

from typing import Any

from ingest_actors.audit.digests import Digest
from ingest_actors.audit.findings import Findings, Tally
from ingest_actors.audit.records import SeriesName
from ingest_actors.audit.spans import Span, Spans

HOLES_MAX = 10_000
"""Spans of missing ids that one series keeps apart; further ones are told as one."""


class Sequence:
    """What all rules have in common.

    Attributes:
        name: the series.
        records: how many were seen.
        first, last: the lowest id in order, and the highest; None until there is one.
        duplicates: ids that came again.
        out_of_order: id, and the highest id before it.
        late: id, and the highest id before it, of what was marked as repaired late.
        holes: ids that are missing so far.
        epochs: spans of ids of former numberings, and what is missing of each.
        coarse: whether there were too many holes to keep them apart.
        digest: sums of the values, to compare with another topic; None = not wanted.
    """

    __slots__ = (
        "begun", "coarse", "digest", "duplicates", "ended", "epochs", "first", "holes", "last", "last_time", "late",
        "name", "out_of_order", "records", "resets",
    )  # fmt: skip

    def __init__(self, name: SeriesName, *, resets: int = 0, digest: Digest | None = None) -> None:
        self.name = name
        self.resets = resets
        self.digest = digest
        self.records = 0
        self.first: int | None = None
        self.last: int | None = None
        self.last_time = 0
        self.holes = Spans()
        self.coarse = False
        self.duplicates = Tally()
        self.out_of_order: Findings[tuple[int, int]] = Findings()
        self.late: Findings[tuple[int, int]] = Findings()
        self.epochs: list[tuple[Span, Spans]] = []
        self.begun = self.ended = False

    def take(self, event: Any, offset: int, value: bytes, time: int) -> bool:
        """The next event of the series.

        Args:
            event: decoded, of the form that belongs to the event type.
            offset: of its record.
            value: its record's.
            time: its record's, ms.

        Returns:
            Whether it is the first of its id.
        """
        raise NotImplementedError

    @property
    def covered(self) -> Spans:
        """All ids that are there."""
        spans = Spans()
        for (first, last), holes in self.numberings():
            spans.update(Spans([(first, last)]).minus(holes))
        return spans

    def numberings(self) -> list[tuple[Span, Spans]]:
        """The epochs, the present one included: from which id to which, and what is missing between."""
        if self.first is None or self.last is None:
            return list(self.epochs)
        return [*self.epochs, ((self.first, self.last), self.holes)]

    def _hole(self, first: int, last: int) -> None:
        if len(self.holes) >= HOLES_MAX:
            self.coarse = True
            (*_, (_, end)) = self.holes
            first = end + 1
        self.holes.add(first, last)

    def _begins_again(self, time: int) -> bool:
        """Whether ids that went back are a new numbering: the journal must have said so, and time must have gone on."""
        if not self.resets or time <= self.last_time or self.first is None or self.last is None:
            return False
        self.resets -= 1
        self.epochs.append(((self.first, self.last), self.holes))
        self.holes = Spans()
        return True


class Consecutive(Sequence):
    """Ids that grow by one: trades, and closed candles by their number."""

    __slots__ = ("next",)

    def __init__(self, name: SeriesName, *, resets: int = 0, digest: Digest | None = None) -> None:
        super().__init__(name, resets=resets, digest=digest)
        self.next = -1

    def take(self, event: Any, offset: int, value: bytes, time: int) -> bool:
        """See `Sequence.take`."""
        number: int = event.id
        self.records += 1
        if self.digest is not None:
            self.digest.add(number, hash(value), offset)
        if number == self.next and not event.late:
            self.next = number + 1
            self.last = number
            self.last_time = time
            return True
        return self.odd(number, number, late=event.late, time=time)

    def odd(self, first: int, number: int, *, late: bool, time: int) -> bool:
        """Take ids that are not the next one, or are marked late.

        Args:
            first: with `number` the span of ids that it stands for.
            number: its id.
            late: whether it is marked so.
            time: its record's, ms.

        Returns:
            Whether it is the first of its id.
        """
        if self.last is None or self.first is None:
            if late:  # a repair of something before the first record that is seen here
                self.late.add((number, number))
                return True
            self.first = first
        elif number <= self.last and (late or not self._begins_again(time)):
            return self._back(first, number, late=late)
        elif number <= self.last:
            self.first = first
        elif first > self.next:
            self._hole(self.next, first - 1)
        if late and self.last is not None:
            self.late.add((number, self.last))
        self.last = number
        self.next = number + 1
        self.last_time = time
        return True

    def _back(self, first: int, number: int, *, late: bool) -> bool:
        assert self.first is not None
        assert self.last is not None
        before = number < self.first
        if not before and not self.holes.overlaps(first, number):
            self.duplicates.again(number)
            return False
        (self.late if late else self.out_of_order).add((number, self.last))
        if not before:
            self.holes.discard(first, number)
        elif not late and number == self.first - 1:
            self.first = first
        return True


class Aggregates(Consecutive):
    """Aggregate trades: besides, the first trade of each follows the last one of the one before.

    Attributes:
        chain: id, its first trade, and the one expected, where it does not.
    """

    __slots__ = ("_next_trade", "chain")

    def __init__(self, name: SeriesName, *, resets: int = 0, digest: Digest | None = None) -> None:
        super().__init__(name, resets=resets, digest=digest)
        self.chain: Findings[tuple[int, int, int]] = Findings()
        self._next_trade = -1

    def take(self, event: Any, offset: int, value: bytes, time: int) -> bool:
        """See `Sequence.take`."""
        expected = self.next
        fresh = super().take(event, offset, value, time)
        if fresh and event.id == self.last:
            if event.id == expected and event.first != self._next_trade:
                self.chain.add((event.id, event.first, self._next_trade))
            self._next_trade = event.last + 1
        return fresh


class Overlapping(Consecutive):
    """Spans of ids that follow each other, as of diffs of a book; where they overlap they are spliced.

    Attributes:
        splices: events that overlap the one before.
        without_snapshot: holes after which no book snapshot has come that a reader could go on from.
    """

    __slots__ = ("_snapshot", "splices", "without_snapshot")

    def __init__(self, name: SeriesName, *, resets: int = 0, digest: Digest | None = None) -> None:
        super().__init__(name, resets=resets, digest=digest)
        self.splices = 0
        self.without_snapshot: list[Span] = []
        self._snapshot = -1

    def take(self, event: Any, offset: int, value: bytes, time: int) -> bool:
        """See `Sequence.take`."""
        number: int = event.id
        first: int = event.first
        self.records += 1
        if self.digest is not None:
            self.digest.add(number, hash(value), offset)
        if first == self.next and number >= first and not event.late:
            self.next = number + 1
            self.last = number
            self.last_time = time
            return True
        if self.last is not None and first <= self.last < number:
            self.splices += 1
        before = self.last
        fresh = self.odd(min(first, number), number, late=event.late, time=time)
        if before is not None and first > before + 1 and self._snapshot < first - 1:
            self.without_snapshot.append((before + 1, first - 1))
            del self.without_snapshot[HOLES_MAX:]
        return fresh

    def snapshot(self, number: int) -> int | None:
        """A book snapshot stands here.

        Returns:
            The last id before it, if that is already beyond the snapshot, which so is of no use to readers.
        """
        self._snapshot = max(self._snapshot, number)
        self.without_snapshot = [hole for hole in self.without_snapshot if hole[1] > number]
        return self.last if self.last is not None and self.last > number else None

    def _begins_again(self, time: int) -> bool:
        """See `Sequence`; snapshots of the former numbering are of no use any more."""
        again = super()._begins_again(time)
        if again:
            self._snapshot = -1
        return again
