"""The whole audit, sans-IO: records in, a report out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from ingest_actors.audit.aggregates import Held
from ingest_actors.audit.compare import SUSPECTS_MAX, Difference, Reading, Suspect, readings, suspects
from ingest_actors.audit.digests import ID_MAX, Budget
from ingest_actors.audit.findings import Findings
from ingest_actors.audit.forms import COPIES, FORMS, UNDECODABLE, read_letter
from ingest_actors.audit.journal import Journal
from ingest_actors.audit.oddities import Unreadable
from ingest_actors.audit.records import Record, Role, SeriesName, Window
from ingest_actors.audit.report import Report, SeriesReport, TopicReport
from ingest_actors.audit.spans import Span, Spans
from ingest_actors.audit.topic import TopicAudit
from ingest_actors.audit.view import View, view_of
from ingest_actors.binance.stream_table import Continuity

DATA_ROLES = (Role.RAW, Role.TRADES, Role.DEPTH)
"""In the order in which they must be fed, after the journal and the dead letters."""

_DENSE = (Continuity.CONSECUTIVE, Continuity.OVERLAPPING)


class Auditor:
    """Checks the topics of one service.

    Feed it the journal and the dead letters, then the raw topic, then the copies, each partition in the order of its
    offsets; then, for each of `second_readings`, the records at its places; then ask for the `report`. Its memory grows
    with the number of series and of defects, up to the bounds in `digests`, `findings`, `aggregates`, `sequences` and
    `compare`, not with the number of records.

    Args:
        window: which part of the record counts.
        wants: which symbols; None = all.
        absent: topics that are not there; nothing is compared with them.
        whole: topics of which nothing has been deleted before the part that is fed.
    """

    def __init__(
        self,
        window: Window | None = None,
        *,
        wants: Callable[[str], bool] | None = None,
        absent: Collection[Role] = (),
        whole: Collection[Role] = DATA_ROLES,
    ) -> None:
        self._window = window or Window()
        self._wants = wants
        self._absent = frozenset(absent)
        self._whole = frozenset(whole)
        self._journal = Journal(self._window)
        self._strange: Findings[Unreadable] = Findings()
        self._differences: dict[SeriesName, Difference] = defaultdict(Difference)
        self._suspects: list[Suspect] = []
        self._views: dict[tuple[Role, SeriesName], View | None] = {}
        budget = Budget()
        pairing_in = next((role for role in (Role.TRADES, Role.RAW) if role not in absent), None)
        bounds = {Role.RAW: self._bounds_of_raw, Role.TRADES: self._bounds_of_copy, Role.DEPTH: self._bounds_of_copy}
        self._topics = {
            role: TopicAudit(
                role,
                self._journal,
                window=self._window,
                wants=wants,
                budget=budget,
                held=Held() if role is pairing_in else None,
                bounds=bounds[role] if Role.RAW not in absent else lambda _: None,
            )
            for role in DATA_ROLES
            if role not in absent
        }

    def journal(
        self, partition: int, records: Iterable[Record], *, topic: str = "gaps", settled_to: int = ID_MAX
    ) -> None:
        """The next records of the gap journal.

        Args:
            partition: where they lie.
            records: in the order of their offsets.
            topic: its name, for errors.
            settled_to: from this offset on, a record may speak of what is not in the part of the data that is fed.

        Raises:
            JournalTooNew: a record of a newer release.
        """
        for offset, _, value, _ in records:
            try:
                self._journal.take(value, f"{topic}-{partition}@{offset}", settled=offset < settled_to)
            except UNDECODABLE as error:
                self._strange.add(Unreadable(partition, offset, str(error)))

    def dead_letters(self, letters: Iterable[tuple[bytes, Mapping[str, str]]]) -> None:
        """The next dead letters: bytes and headers."""
        for value, headers in letters:
            self._journal.take_letter(read_letter(value, headers))

    def feed(self, role: Role, partition: int, records: list[Record]) -> None:
        """The next records of a data topic."""
        self._topics[role].feed(partition, records)

    def second_readings(self) -> Iterator[Reading]:
        """What must be read again, since two topics differ there. Go on only when a reading has all its records."""
        raw = self._topics.get(Role.RAW)
        for name in self._names():
            copy = self._topics.get(Role(COPIES[name.event_type])) if name.event_type in COPIES else None
            if raw is None or copy is None:
                continue
            one, other = self._view(raw, name), self._view(copy, name)
            span = self._common(one, other)
            if one is not None and other is not None and span is not None:
                self._suspects += suspects(name, one, other, span)
        self._suspects.sort(key=lambda suspect: suspect.begins)  # so that no place is read again more than once
        for part in readings(self._suspects):
            reading = Reading(part)
            yield reading
            for name, found in reading.differences().items():
                difference = self._differences[name]
                difference.altered += found.altered
                for role, spans in found.only_in.items():
                    difference.only_in[role].update(spans)

    def report(self, topics: Mapping[Role, str] | None = None, partitions: Mapping[Role, int] | None = None) -> Report:
        """What was found.

        Args:
            topics: names of the topics, where they are not those of their roles.
            partitions: how many each has.
        """
        series = [self._series(name) for name in sorted(self._names())]
        return Report(series, [self._topic(role, topics or {}, partitions or {}) for role in Role], self._window)

    def _names(self) -> set[SeriesName]:
        return {
            name
            for topic in self._topics.values()
            for name in (*topic.series, *topic.strays)
            if self._view(topic, name) is not None
        }

    def _view(self, topic: TopicAudit, name: SeriesName) -> View | None:
        place = (topic.role, name)
        if place not in self._views:
            self._views[place] = view_of(topic, name)
        return self._views[place]

    def _bounds_of_raw(self, name: SeriesName) -> Span | None:
        return (-ID_MAX, ID_MAX) if Role(COPIES[name.event_type]) in self._topics else None

    def _bounds_of_copy(self, name: SeriesName) -> Span | None:
        view = self._view(self._topics[Role.RAW], name)
        return view.span if view is not None else None

    def _common(self, raw: View | None, copy: View | None) -> Span | None:
        """The ids that both topics hold, or should."""
        if raw is None or copy is None or raw.span is None or copy.span is None:
            return None
        choose = min if self._is_whole(copy.role) else max
        return choose(raw.span[0], copy.span[0]), min(raw.span[1], copy.span[1])

    def _is_whole(self, role: Role) -> bool:
        return self._whole >= {Role.RAW, role}

    def _series(self, name: SeriesName) -> SeriesReport:
        views = [view for topic in self._topics.values() if (view := self._view(topic, name)) is not None]
        told = SeriesReport(name, views)
        all_missing = Spans(span for view in views for span in view.missing)
        told.explanations = [
            one for one in self._journal.explanations(name) if all_missing.overlaps(one.first_id, one.last_id)
        ]
        told.missing = all_missing.minus(Spans((one.first_id, one.last_id) for one in told.explanations))
        told.explained = all_missing.minus(told.missing)
        spoken_of = self._journal.spoken_of(name)
        odd = {pair for view in views for pair in view.out_of_order}
        for view in views:
            for number, times in view.duplicates.items():
                told.duplicates[number] = max(times, told.duplicates.get(number, 0))
            for number, after in view.late:
                if number in spoken_of:
                    told.late.add(number, number)
                else:
                    odd.add((number, after))
        told.strays = sorted({stray for view in views for stray in view.strays})
        told.out_of_order = sorted(odd)
        self._tell_differences(told)
        return told

    def _tell_differences(self, told: SeriesReport) -> None:
        if told.name.event_type not in COPIES:
            return
        found = self._differences.get(told.name, Difference())
        told.altered = found.altered
        told.not_examined = Spans(one.span for one in self._suspects[SUSPECTS_MAX:] if one.name == told.name)
        copy_role = Role(COPIES[told.name.event_type])
        if Role.RAW not in self._topics or copy_role not in self._topics:
            return
        views: dict[Role, View | None] = {
            role: self._view(self._topics[role], told.name) for role in (Role.RAW, copy_role)
        }
        for role, other in ((Role.RAW, copy_role), (copy_role, Role.RAW)):
            spans = self._only_in(told.name, views[role], views[other], other).plus(found.only_in.get(role, ()))
            there = views[other]
            if there is not None:
                spans = spans.minus(there.stray_ids)
            spans = spans.minus(self._journal.dead_lettered(told.name))
            # What is being repaired while the ends are asked for may have come to one of the two topics.
            spans = spans.minus(Spans(one[:2] for one in told.explanations if one.state == "open"))
            if len(spans):
                told.only_in[role] = spans

    def _only_in(self, name: SeriesName, here: View | None, there: View | None, other: Role) -> Spans:
        """What one topic has and the other has not, by the ids that follow each other without a gap."""
        if here is None or FORMS[name.event_type.encode()].kind.continuity not in _DENSE:
            return Spans()
        if there is None:
            return here.covered if self._lacks_it_all(here, other) else Spans()
        span = self._common(here, there) if here.role is Role.RAW else self._common(there, here)
        return here.covered.within(*span).minus(there.covered) if span is not None else Spans()

    def _lacks_it_all(self, here: View, other: Role) -> bool:
        """Whether a topic that has nothing of a series should have something: it has not been cut, and goes further."""
        beyond = self._topics[other].last_time
        return self._whole >= {here.role, other} and beyond is not None and here.last_time <= beyond

    def _topic(self, role: Role, names: Mapping[Role, str], partitions: Mapping[Role, int]) -> TopicReport:
        told = TopicReport(role, names.get(role, role.value), role in self._absent, partitions.get(role, 0))
        told.from_the_start = role in self._whole
        if role is Role.GAPS:
            told.records = self._journal.entries + self._strange.total
            told.unreadable = list(self._strange)
        elif role is Role.DEAD_LETTERS:
            told.records = self._journal.letters.total()
            told.reasons = dict(sorted(self._journal.letters.items()))
        elif role in self._topics:
            topic = self._topics[role]
            told.records = topic.records
            told.first_time, told.last_time = topic.first_time, topic.last_time
            told.unreadable, told.misplaced = list(topic.unreadable), list(topic.misplaced)
        return told
