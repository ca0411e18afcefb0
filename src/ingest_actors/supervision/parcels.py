"""What a mailbox carries, and what it remembers about each piece of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, Self, TypeVar


class Parcel(Protocol):
    """Several items that travel together, in order.

    A parcel is not changed any more once it was put into a mailbox.
    """

    @property
    def size_bytes(self) -> int:
        """What it is counted as in memory."""
        ...

    def __len__(self) -> int:
        """How many items it holds; at least one."""
        ...

    def split(self, count: int, /) -> tuple[Self, Self]:
        """The first `count` items (0 < count < len), and the others, in the same order."""
        ...


P = TypeVar("P", bound=Parcel)


class Entry(Generic[P]):
    """A parcel in a mailbox, or what is left of it.

    Attributes:
        items: how many those are.
        size_bytes: what they are counted as; of a parcel settled in part, its share by the number of items.
        strikes: how many lives ended with this parcel as the last one taken.
        isolated: whether it is a single item out of a parcel that was split for its strikes.
        poison: whether it is a single item that ended too many lives by itself.
    """

    __slots__ = ("_gone", "_parcel", "isolated", "items", "poison", "size_bytes", "strikes")

    def __init__(self, parcel: P, *, isolated: bool = False) -> None:
        self._parcel = parcel
        self._gone = 0
        self.items = len(parcel)
        self.size_bytes = parcel.size_bytes
        self.strikes = 0
        self.isolated = isolated
        self.poison = False

    @property
    def suspect(self) -> bool:
        """Whether it must be alone on lease, so that the next crash tells whose fault it was."""
        return self.isolated or self.strikes > 0

    @property
    def parcel(self) -> P:
        """The items that are not settled."""
        if self._gone:
            _, self._parcel = self._parcel.split(self._gone)
            self._gone = 0
        return self._parcel

    def drop_front(self, count: int) -> int:
        """Forget the first `count` items (less than all); returns the bytes that this gives back.

        The parcel is split when somebody asks for it, which is seldom: mostly the rest is settled soon as well, and a
        parcel that is settled in seven parts would be copied six times.
        """
        freed_bytes = self.size_bytes * count // self.items
        self._gone += count
        self.items -= count
        self.size_bytes -= freed_bytes
        return freed_bytes

    def strike(self, strikes_max: int) -> list[Entry[P]]:
        """Note that it ended a life; returns what stands in its place: itself, or its items one by one."""
        self.strikes += 1
        if self.strikes < strikes_max:
            return [self]
        if self.isolated:
            self.poison = True
            return [self]
        return [Entry(single, isolated=True) for single in single_items(self.parcel)]


def single_items(parcel: P) -> Iterator[P]:
    """The items of a parcel as parcels of one; halves it again and again, so that n items cost n log n."""
    count = len(parcel)
    if count == 1:
        yield parcel
        return
    front, rest = parcel.split(count // 2)
    yield from single_items(front)
    yield from single_items(rest)
