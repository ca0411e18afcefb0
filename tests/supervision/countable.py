"""A parcel of plain numbers, sized so that every sum can be done in the head: ten bytes an item."""

from __future__ import annotations

from ingest_actors.supervision import Mailbox

ITEM_BYTES = 10


class Numbers:
    __slots__ = ("items",)

    def __init__(self, *items: int) -> None:
        self.items = items

    @property
    def size_bytes(self) -> int:
        return ITEM_BYTES * len(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"Numbers{self.items}"

    def split(self, count: int) -> tuple[Numbers, Numbers]:
        assert 0 < count < len(self.items)
        return Numbers(*self.items[:count]), Numbers(*self.items[count:])


def mailbox(events_max: int = 10, bytes_max: int = 1000, strikes_max: int = 3, name: str = "box") -> Mailbox[Numbers]:
    return Mailbox(name, events_max=events_max, bytes_max=bytes_max, strikes_max=strikes_max)


def contents(box: Mailbox[Numbers]) -> list[tuple[int, ...]]:
    """What it holds, parcel by parcel; checks on the way that its counts are those of what it holds."""
    held = list(box.held())
    assert box.events == sum(len(parcel) for parcel in held)
    assert box.bytes == sum(parcel.size_bytes for parcel in held)
    return [parcel.items for parcel in held]
