"""What an audit found, and how it is written down for machines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ingest_actors.audit.compare import Altered
from ingest_actors.audit.journal import Explanation
from ingest_actors.audit.oddities import Stray, Unreadable
from ingest_actors.audit.records import Role, SeriesName, Window
from ingest_actors.audit.spans import Spans
from ingest_actors.audit.view import View

_EXPLANATIONS_MAX = 10_000


@dataclass
class SeriesReport:
    """The findings of one series, over all topics that hold it."""

    name: SeriesName
    views: list[View]
    missing: Spans = field(default_factory=Spans)
    """Unexplained."""
    explained: Spans = field(default_factory=Spans)
    explanations: list[Explanation] = field(default_factory=list)
    duplicates: dict[int, int] = field(default_factory=dict)
    out_of_order: list[tuple[int, int]] = field(default_factory=list)
    late: Spans = field(default_factory=Spans)
    altered: list[Altered] = field(default_factory=list)
    not_examined: Spans = field(default_factory=Spans)
    """Ids whose blocks differ between the topics, beyond what is read again."""
    strays: list[Stray] = field(default_factory=list)
    only_in: dict[Role, Spans] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """In the topic that holds most of them."""
        return max(view.records for view in self.views)

    @property
    def first(self) -> int | None:
        """The lowest id in any topic."""
        return min((view.first for view in self.views if view.first is not None), default=None)

    @property
    def last(self) -> int | None:
        """The highest id in any topic."""
        return max((view.last for view in self.views if view.last is not None), default=None)

    @property
    def defects(self) -> dict[str, int]:
        """How many unexplained defects of each kind, those alone that there are."""
        counts = {
            "missing": self.missing.numbers if self.name.event_type != "kline" else len(self.missing),
            "duplicates": len(self.duplicates),
            "out_of_order": len(self.out_of_order),
            "altered": len(self.altered) + len(self.not_examined),
            "wrongly_keyed": len(self.strays),
            "only_in": sum(spans.numbers for spans in self.only_in.values()),
            "broken_chain": len({entry for view in self.views for entry in view.chain}),
            "aggregates": sum(len(view.differing) for view in self.views),
        }
        return {what: count for what, count in counts.items() if count}

    @property
    def ok(self) -> bool:
        """Whether it is whole, or all that is missing is explained."""
        return not self.defects

    def to_json(self) -> dict[str, Any]:
        """One element of ``series``."""
        told: dict[str, Any] = {
            "symbol": self.name.symbol,
            "event_type": self.name.event_type,
            "stream": self.name.stream or None,
            "ok": self.ok,
            "first_id": self.first,
            "last_id": self.last,
            "records": self.records,
            "missing": _pairs(self.missing),
            "missing_explained": _pairs(self.explained),
            "explanations": [one._asdict() for one in self.explanations[:_EXPLANATIONS_MAX]],
            "duplicates": [[id_, times] for id_, times in sorted(self.duplicates.items())],
            "out_of_order": [list(pair) for pair in self.out_of_order],
            "late": _pairs(self.late),
            "altered": [[one.id, list(one.fields)] for one in self.altered],
            "not_examined": _pairs(self.not_examined),
            "wrongly_keyed": [list(stray) for stray in self.strays],
            "only_in": {role.value: _pairs(spans) for role, spans in self.only_in.items() if len(spans)},
            "truncated": any(view.cut_short for view in self.views),
            "by_topic": {view.role.value: _view(view) for view in self.views},
        }
        told |= _extras(self.name, self.views)
        return told


@dataclass
class TopicReport:
    """The findings that belong to a topic and to no series."""

    role: Role
    name: str
    absent: bool = False
    partitions: int = 0
    records: int = 0
    from_the_start: bool = False
    """Whether nothing before the part that was read has been deleted."""
    first_time: int | None = None
    last_time: int | None = None
    unreadable: list[Unreadable] = field(default_factory=list)
    misplaced: list[Unreadable] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    """Of dead letters: how many there are of each."""

    @property
    def ok(self) -> bool:
        """Whether all that is in it belongs there. Dead letters may be anything."""
        return not self.unreadable and not self.misplaced

    def to_json(self) -> dict[str, Any]:
        """One value of ``topics``."""
        return {
            "name": self.name,
            "absent": self.absent,
            "partitions": self.partitions,
            "records": self.records,
            "from_the_start": self.from_the_start,
            "first_timestamp": self.first_time,
            "last_timestamp": self.last_time,
            "unreadable": [list(one) for one in self.unreadable],
            "misplaced": [list(one) for one in self.misplaced],
        } | ({"reasons": self.reasons} if self.role is Role.DEAD_LETTERS else {})


@dataclass
class Report:
    """What an audit found."""

    series: list[SeriesReport]
    topics: list[TopicReport]
    window: Window = field(default_factory=Window)
    records: int = 0
    """Read in all, those read again included."""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the record is whole, or itself says what is missing and why."""
        return all(one.ok for one in self.series) and all(topic.ok for topic in self.topics)

    @property
    def records_per_second(self) -> int:
        """How fast it went."""
        return round(self.records / self.seconds) if self.seconds else 0

    def to_json(self) -> dict[str, Any]:
        """The answer of ``audit --format json``."""
        return {
            "ok": self.ok,
            "series": [one.to_json() for one in self.series],
            "topics": {topic.role.value: topic.to_json() for topic in self.topics},
            "since": self.window.since_ms,
            "until": self.window.until_ms,
            "records": self.records,
            "seconds": round(self.seconds, 3),
            "records_per_second": self.records_per_second,
        }


def _view(view: View) -> dict[str, Any]:
    return {
        "records": view.records,
        "partitions": list(view.partitions),
        "first_id": view.first,
        "last_id": view.last,
        "missing": _pairs(view.missing),
        "duplicates": [[id_, times] for id_, times in sorted(view.duplicates.items())],
        "out_of_order": [list(pair) for pair in view.out_of_order],
        "wrongly_keyed": [list(stray) for stray in view.strays],
        "epochs": view.epochs,
    }


def _extras(name: SeriesName, views: Iterable[View]) -> dict[str, Any]:
    """What only some kinds have."""
    told: dict[str, Any] = {}
    if name.event_type == "aggregate_trade":
        told["broken_chain"] = sorted({entry for view in views for entry in view.chain})
        told["aggregates"] = {
            "compared": sum(view.compared for view in views),
            "not_compared": sum(view.not_compared for view in views),
            "differing": [list(one) for view in views for one in view.differing],
        }
    if name.event_type == "depth_update":
        told["splices"] = max(view.splices for view in views)
        told["without_snapshot"] = _pairs(Spans(hole for view in views for hole in view.without_snapshot))
    return told


def _pairs(spans: Spans) -> list[list[int]]:
    return [list(span) for span in spans]
