"""What one topic says of one series, its partitions taken together."""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest_actors.audit.aggregates import Differing
from ingest_actors.audit.digests import Block, Digest
from ingest_actors.audit.oddities import Stray
from ingest_actors.audit.records import Role, SeriesName
from ingest_actors.audit.sequences import Aggregates, Consecutive, Overlapping, Sequence
from ingest_actors.audit.spans import Span, Spans
from ingest_actors.audit.topic import TopicAudit

_AGAIN_MAX = 1000
"""Ids that are told one by one where two partitions hold the same."""


@dataclass
class View:
    """The findings of one series in one topic."""

    role: Role
    partitions: tuple[int, ...]
    records: int = 0
    first: int | None = None
    last: int | None = None
    last_time: int = 0
    """The Kafka timestamp of the last record in order, ms."""
    missing: Spans = field(default_factory=Spans)
    covered: Spans = field(default_factory=Spans)
    duplicates: dict[int, int] = field(default_factory=dict)
    out_of_order: list[tuple[int, int]] = field(default_factory=list)
    late: list[tuple[int, int]] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    stray_ids: Spans = field(default_factory=Spans)
    chain: list[tuple[int, int, int]] = field(default_factory=list)
    without_snapshot: list[Span] = field(default_factory=list)
    differing: list[Differing] = field(default_factory=list)
    compared: int = 0
    not_compared: int = 0
    splices: int = 0
    epochs: int = 1
    cut_short: bool = False
    """Whether there was more of anything than is told one by one."""
    digests: dict[int, Digest] = field(default_factory=dict)
    """By partition."""

    @property
    def span(self) -> Span | None:
        """From the lowest id to the highest, those under wrong keys aside."""
        return None if self.first is None or self.last is None else (self.first, self.last)


def view_of(topic: TopicAudit, name: SeriesName) -> View | None:
    """Gather what a topic knows of a series; None when there is nothing of it."""
    sequences = {number: one for number, one in topic.series.get(name, {}).items() if one.records}
    strays = topic.strays.get(name)
    if not sequences and strays is None:
        return None
    view = View(topic.role, tuple(sorted(sequences)))
    for number, sequence in sequences.items():
        _add(view, number, sequence)
    if len(sequences) > 1 and all(isinstance(sequence, Consecutive) for sequence in sequences.values()):
        _join(view, list(sequences.values()))
    if strays is not None:
        view.strays = list(strays.found)
        view.stray_ids = strays.covered
        view.records += strays.found.total
        view.cut_short |= strays.found.total > len(strays.found)
        view.missing = view.missing.minus(strays.covered)
    if name.event_type == "aggregate_trade" and name.symbol in topic.pairings:
        pairing = topic.pairings[name.symbol]
        view.compared = pairing.compared
        view.differing = list(pairing.differing)
        view.not_compared = max(view.records - pairing.compared, 0)
    return view


def _add(view: View, number: int, sequence: Sequence) -> None:
    view.records += sequence.records
    view.last_time = max(view.last_time, sequence.last_time)
    for (first, last), holes in sequence.numberings():
        view.first = first if view.first is None else min(view.first, first)
        view.last = last if view.last is None else max(view.last, last)
        view.missing.update(holes)
    view.covered.update(sequence.covered)
    view.epochs = max(view.epochs, len(sequence.epochs) + 1)
    for id_, times in sequence.duplicates:
        view.duplicates[id_] = max(view.duplicates.get(id_, 0), times)
    view.out_of_order += sequence.out_of_order
    view.late += sequence.late
    view.cut_short |= sequence.coarse or any(
        found.total > len(found) for found in (sequence.out_of_order, sequence.late)
    )
    if sequence.digest is not None:
        view.digests[number] = sequence.digest
    if isinstance(sequence, Aggregates):
        view.chain += sequence.chain
    if isinstance(sequence, Overlapping):
        view.without_snapshot += sequence.without_snapshot
        view.splices += sequence.splices


def _join(view: View, sequences: list[Sequence]) -> None:
    """A series in several partitions: they complete each other, and what two of them hold is there twice."""
    together = Spans()
    for sequence in sequences:
        for first, last in sequence.covered.common(together):
            view.cut_short |= last - first >= _AGAIN_MAX
            for number in range(first, min(last + 1, first + _AGAIN_MAX)):
                view.duplicates[number] = view.duplicates.get(number, 1) + 1
        together.update(sequence.covered)
    if view.first is not None and view.last is not None:
        view.missing = Spans([(view.first, view.last)]).minus(together)


def blocks_of(view: View, shift: int) -> dict[int, tuple[int, int, dict[int, Block]]]:
    """The blocks of all partitions: by number, the records, the sum, and where they lie.

    Args:
        view: of one topic.
        shift: of the block size; at least that of every digest.
    """
    blocks: dict[int, tuple[int, int, dict[int, Block]]] = {}
    for partition, digest in view.digests.items():
        digest.coarsen(shift)
        for index, block in digest.blocks.items():
            records, total, where = blocks.get(index, (0, 0, {}))
            blocks[index] = (records + block.records, total + block.total, where | {partition: block})
    return blocks
