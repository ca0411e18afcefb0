"""What a mailbox holds, and how much of it is on lease."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Generic

from ingest_actors.supervision.parcels import Entry, P


class Leases(Generic[P]):
    """All entries of a mailbox, oldest first: the first of them are on lease, and the first of those are pinned.

    Attributes:
        entries: all of them.
        count: how many entries are on lease.
        items: how many items those hold.
        isolated: how many entries, on lease or not, are single items of a parcel that was split.
    """

    __slots__ = ("_pinned", "count", "entries", "isolated", "items")

    def __init__(self) -> None:
        self.entries: deque[Entry[P]] = deque()
        self.count = 0
        self.items = 0
        self.isolated = 0
        self._pinned = 0

    @property
    def all_lent(self) -> bool:
        """Whether every entry is on lease."""
        return self.count == len(self.entries)

    def may_lend(self, entry: Entry[P]) -> bool:
        """Whether the first entry that is not on lease may go out now: poison never, suspects alone."""
        if entry.poison:
            return False
        return self.count == self._pinned or not (entry.suspect or self.entries[self.count - 1].suspect)

    def lend(self, entry: Entry[P]) -> None:
        """Note that the first entry that is not on lease goes out."""
        self.count += 1
        self.items += entry.items

    def settle(self, count: int) -> int:
        """Forget the oldest `count` items, which are on lease or the poison after that; returns the bytes freed."""
        freed_bytes = 0
        while count:
            entry = self.entries[0]
            settled = min(entry.items, count)
            count -= settled
            if self.count:
                self.items -= settled
            if settled < entry.items:
                freed_bytes += entry.drop_front(settled)
                break
            freed_bytes += entry.size_bytes
            self._forget_oldest()
        return freed_bytes

    def _forget_oldest(self) -> None:
        self.isolated -= self.entries.popleft().isolated
        if self.count:
            self.count -= 1
        if self._pinned:
            self._pinned -= 1

    def pin(self) -> None:
        """What is on lease now stays there through a rewind."""
        self._pinned = self.count

    def unpin(self) -> None:
        """Nothing stays on lease through a rewind."""
        self._pinned = 0

    def rewind(self) -> list[Entry[P]]:
        """End the leases that are not pinned; returns their entries, oldest first."""
        returned = list(islice(self.entries, self._pinned, self.count))
        self.items -= sum([entry.items for entry in returned])
        self.count = self._pinned
        return returned

    def replace(self, index: int, instead: list[Entry[P]]) -> int:
        """Put others in the place of an entry that is not on lease; returns the bytes that this frees."""
        old = self.entries[index]
        del self.entries[index]
        for entry in reversed(instead):
            self.entries.insert(index, entry)
        self.isolated += sum([entry.isolated for entry in instead]) - old.isolated
        return old.size_bytes - sum([entry.size_bytes for entry in instead])
