"""Two topics that should hold the same bytes: which blocks of ids differ, and, on a second reading, in what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from ingest_actors.audit.forms import FORMS, UNDECODABLE, event_type_of
from ingest_actors.audit.records import Role, SeriesName
from ingest_actors.audit.spans import Span, Spans
from ingest_actors.audit.view import View, blocks_of

SUSPECTS_MAX = 2_000
"""Blocks that are read again; where more differ, something is wrong with the whole, and the rest is told as spans."""

READING_MAX = 100_000
"""Records whose values are held at one time while they are compared: about 40 MB."""


class Suspect(NamedTuple):
    """Ids whose records differ between the raw topic and the copy."""

    name: SeriesName
    span: Span
    records: int
    """At most so many in either topic."""
    places: dict[Role, dict[int, Span]]
    """Offsets where they lie, the end not included: by topic, by partition."""

    @property
    def begins(self) -> int:
        """The offset in the raw topic at which they begin, or in the copy when they are not in the raw one."""
        places = self.places.get(Role.RAW) or next(iter(self.places.values()))
        return min(begin for begin, _ in places.values())


class Altered(NamedTuple):
    """An event that is not the same in both topics."""

    id: int
    fields: tuple[str, ...]
    """Names of the fields that differ; ``value`` when it is no JSON object."""


@dataclass
class Difference:
    """What a second reading found in one series."""

    altered: list[Altered] = field(default_factory=list)
    only_in: dict[Role, Spans] = field(default_factory=lambda: defaultdict(Spans))
    """Ids of events that the other topic does not have."""


def suspects(name: SeriesName, raw: View, copy: View, span: Span) -> list[Suspect]:
    """The blocks of a series that are not the same in both topics.

    Args:
        name: the series.
        raw: of the raw topic.
        copy: of the other one.
        span: the ids that both hold.
    """
    digests = [*raw.digests.values(), *copy.digests.values()]
    if not raw.digests or not copy.digests:
        return []
    shift = max(digest.shift for digest in digests)
    of_raw, of_copy = blocks_of(raw, shift), blocks_of(copy, shift)
    found = []
    for index in sorted(of_raw.keys() | of_copy.keys()):
        first, last = max(index << shift, span[0]), min(((index + 1) << shift) - 1, span[1])
        one, other = of_raw.get(index), of_copy.get(index)
        if first > last or (one and other and one[:2] == other[:2]):
            continue
        places = {
            role: {partition: (block.begin, block.end) for partition, block in there[2].items()}
            for role, there in ((raw.role, one), (copy.role, other))
            if there is not None
        }
        found.append(Suspect(name, (first, last), max(there[0] for there in (one, other) if there), places))
    return found


def readings(found: Sequence[Suspect]) -> Iterator[list[Suspect]]:
    """Parts of a list of suspects that can be read again at one time."""
    part: list[Suspect] = []
    records = 0
    for suspect in found[:SUSPECTS_MAX]:
        if part and records + suspect.records > READING_MAX:
            yield part
            part, records = [], 0
        part.append(suspect)
        records += suspect.records
    if part:
        yield part


class Reading:
    """A second reading of some suspects. First the copies are taken, then the raw topic.

    Args:
        part: see `readings`.

    Attributes:
        places: the offsets to be read: by topic, by partition.
    """

    def __init__(self, part: Sequence[Suspect]) -> None:
        self._wanted: dict[SeriesName, Spans] = defaultdict(Spans)
        self._copies: dict[tuple[SeriesName, int], list[tuple[Role, bytes]]] = defaultdict(list)
        self._raw: dict[tuple[SeriesName, int], list[bytes]] = defaultdict(list)
        self._matched: set[tuple[SeriesName, int]] = set()
        self.places: dict[Role, dict[int, Spans]] = defaultdict(lambda: defaultdict(Spans))
        for suspect in part:
            self._wanted[suspect.name].add(*suspect.span)
            for role, partitions in suspect.places.items():
                for partition, (begin, end) in partitions.items():
                    self.places[role][partition].add(begin, end - 1)

    def take(self, role: Role, value: bytes) -> None:
        """The next record."""
        form = FORMS.get(event_type_of(value))
        if form is None or not form.kind.copy:
            return
        try:
            event = form.decode(value)
        except UNDECODABLE:
            return  # it was told on the first reading
        name = SeriesName(event.symbol, form.kind.event_type)
        spans = self._wanted.get(name)
        if spans is None or event.id not in spans:
            return
        if role is not Role.RAW:
            self._copies[name, event.id].append((role, value))
            return
        there = self._copies.get((name, event.id), [])
        for index, (_, copy) in enumerate(there):
            if copy == value:
                del there[index]
                self._matched.add((name, event.id))
                return
        self._raw[name, event.id].append(value)

    def differences(self) -> dict[SeriesName, Difference]:
        """What is not the same, by series."""
        found: dict[SeriesName, Difference] = defaultdict(Difference)
        for name, number in sorted(self._raw.keys() | {place for place, left in self._copies.items() if left}):
            raw = self._raw.get((name, number), [])
            copies = self._copies.get((name, number), [])
            if raw and copies:
                found[name].altered.append(Altered(number, _differing(raw[0], copies[0][1])))
            elif (name, number) not in self._matched:
                found[name].only_in[Role.RAW if raw else copies[0][0]].add(number, number)
        return dict(found)


def _differing(one: bytes, other: bytes) -> tuple[str, ...]:
    decoded: list[dict[str, Any]] = []
    for value in (one, other):
        try:
            members = msgspec.json.decode(value)
        except UNDECODABLE:
            members = None
        if not isinstance(members, dict):
            return ("value",)
        decoded.append(members)
    first, second = decoded
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    return tuple(names) or ("value",)
