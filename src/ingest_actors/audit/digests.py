"""Sums of what a series holds in one topic, so that two topics can be compared without keeping either.

Ids are cut into blocks of a power of two. Of each block the number of records and the sum of their values' hashes are
kept: equal sums mean equal contents, in whatever order they came; only blocks that differ are read again. When there
are too many blocks, two neighbours each become one: memory is bounded, however long the topics are.
"""

from __future__ import annotations

BLOCKS_MAX = 200_000
"""Blocks that are kept in all, some 300 bytes each: 800 million records before any are joined, with 4096 ids each."""

ID_MAX = 2**63
"""No id of the exchange reaches it."""


class Block:
    """One block of ids in one partition.

    Attributes:
        records: how many there are.
        total: of their hashes.
        begin, end: offsets between which they lie, the end not included.
    """

    __slots__ = ("begin", "end", "records", "total")

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self.end = begin
        self.records = 0
        self.total = 0

    def join(self, other: Block) -> None:
        """Take in another one of the same partition."""
        self.begin = min(self.begin, other.begin)
        self.end = max(self.end, other.end)
        self.records += other.records
        self.total += other.total


class Budget:
    """How many blocks there are in all, over all digests.

    Args:
        blocks_max: beyond it, blocks are joined.
    """

    def __init__(self, blocks_max: int = BLOCKS_MAX) -> None:
        self.blocks_max = blocks_max
        self.blocks = 0
        self._digests: list[Digest] = []

    def digest(self, shift: int, *, first: int = -ID_MAX, last: int = ID_MAX) -> Digest:
        """A new digest; see there."""
        digest = Digest(self, shift, first=first, last=last)
        self._digests.append(digest)
        return digest

    def spent(self) -> None:
        """One more block; joins blocks when that is too many."""
        self.blocks += 1
        if self.blocks > max(self.blocks_max, 2 * len(self._digests)):
            for digest in self._digests:
                digest.coarsen(digest.shift + 1)
            self.blocks = sum(len(digest.blocks) for digest in self._digests)


class Digest:
    """The blocks of one series in one partition of one topic. Made by `Budget.digest`.

    Args:
        budget: counts the blocks.
        shift: a block has ``2 ** shift`` ids.
        first: ids below it do not count.
        last: ids above it do not count.
    """

    __slots__ = ("_block", "_budget", "_first", "_last", "_number", "blocks", "shift")

    def __init__(self, budget: Budget, shift: int, *, first: int, last: int) -> None:
        self._budget = budget
        self._first = first
        self._last = last
        self._number: int | None = None
        self._block = Block(0)
        self.shift = shift
        self.blocks: dict[int, Block] = {}

    def add(self, number: int, print_: int, offset: int) -> None:
        """One record.

        Args:
            number: its id.
            print_: a hash of its value.
            offset: where it lies.
        """
        if not self._first <= number <= self._last:
            return
        if number >> self.shift != self._number:
            self._turn(number, offset)
        block = self._block
        block.records += 1
        block.total += print_
        block.end = offset + 1

    def _turn(self, number: int, offset: int) -> None:
        if number >> self.shift not in self.blocks:
            self.blocks[number >> self.shift] = Block(offset)
            self._budget.spent()  # may join blocks, these too
        self._number = number >> self.shift
        self._block = self.blocks[self._number]

    def coarsen(self, shift: int) -> None:
        """Join blocks until each has ``2 ** shift`` ids."""
        more = shift - self.shift
        if more <= 0:
            return
        joined: dict[int, Block] = {}
        for index, block in self.blocks.items():
            there = joined.setdefault(index >> more, block)
            if there is not block:
                there.join(block)
        self.blocks = joined
        self.shift = shift
        self._number = None
