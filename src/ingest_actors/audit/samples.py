"""Series whose ids may skip: samples, book snapshots, and events that nothing tells apart."""

from __future__ import annotations

from typing import Any

from ingest_actors.audit.digests import Digest
from ingest_actors.audit.records import SeriesName
from ingest_actors.audit.sequences import Overlapping, Sequence


class Rising(Sequence):
    """Ids or times that grow and may skip: samples. Nothing is ever missing of them."""

    __slots__ = ("_recent",)

    RECENT_MAX = 1024
    """How many ids back a repetition is told from something out of order."""

    def __init__(self, name: SeriesName, *, resets: int = 0, digest: Digest | None = None) -> None:
        super().__init__(name, resets=resets, digest=digest)
        self._recent: list[Any] = []

    def take(self, event: Any, offset: int, value: bytes, time: int) -> bool:
        """See `Sequence.take`."""
        self.records += 1
        number = event.id
        if number is None:
            return True
        if self.digest is not None:
            self.digest.add(number, hash(value), offset)
        return self.step(number, number, time)

    def step(self, order: Any, number: int, time: int) -> bool:
        """Take one.

        Args:
            order: what must grow.
            number: what it is called in the report.
            time: its record's, ms.
        """
        recent = self._recent
        if not recent or order > recent[-1] or self._begins_again(time):
            if self.first is None or (recent and order <= recent[-1]):
                self.first = number
            self.last = number
            self.last_time = time
            recent.append(order)
            if len(recent) > 2 * self.RECENT_MAX:
                del recent[: self.RECENT_MAX]
            return True
        if order in recent:
            self.duplicates.again(number)
            return False
        assert self.last is not None
        self.out_of_order.add((number, self.last))
        return True


class Snapshots(Rising):
    """Book snapshots: the same id may come again in a quiet market; the same bytes may not."""

    __slots__ = ("book",)

    def __init__(
        self, name: SeriesName, *, book: Overlapping | None, resets: int = 0, digest: Digest | None = None
    ) -> None:
        super().__init__(name, resets=resets, digest=digest)
        self.book = book

    def take(self, event: Any, offset: int, value: bytes, time: int) -> bool:
        """See `Sequence.take`."""
        number: int = event.id
        self.records += 1
        if self.digest is not None:
            self.digest.add(number, hash(value), offset)
        print_ = hash(value)
        if print_ in self._recent:
            self.duplicates.again(number)
            return False
        self._recent.append(print_)
        del self._recent[: -self.RECENT_MAX]
        beyond = self.book.snapshot(number) if self.book is not None else None
        if beyond is not None:
            self.out_of_order.add((number, beyond))
        self.first = number if self.first is None else self.first
        self.last = number
        self.last_time = time
        return True


class Counted(Sequence):
    """Events that nothing tells apart."""

    __slots__ = ()

    def take(self, event: Any, offset: int, value: bytes, time: int) -> bool:  # noqa: ARG002 - see Sequence
        """See `Sequence.take`."""
        self.records += 1
        return True
