"""One topic: its records in, the sequences of its series out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ingest_actors.audit.aggregates import Held, Pairing
from ingest_actors.audit.candles import Candles
from ingest_actors.audit.digests import Budget
from ingest_actors.audit.findings import Findings
from ingest_actors.audit.forms import FORMS, UNDECODABLE, Form, event_type_of, unlisted
from ingest_actors.audit.journal import Journal
from ingest_actors.audit.oddities import Stray, Strays, Unreadable
from ingest_actors.audit.records import Record, Role, SeriesName, Window
from ingest_actors.audit.samples import Counted, Rising, Snapshots
from ingest_actors.audit.sequences import Aggregates, Consecutive, Overlapping, Sequence
from ingest_actors.audit.spans import Span
from ingest_actors.audit.window import admits
from ingest_actors.binance.stream_table import UNLISTED, UNLISTED_KINDS_MAX, Continuity

BLOCK_SHIFTS = {Continuity.CONSECUTIVE: 12, Continuity.OVERLAPPING: 17, Continuity.NONE: 20}
"""Ids in a block, as a power of two, so that it is some thousand records: ids of books grow by dozens an event."""

_RULES: Mapping[Continuity, type[Sequence]] = {
    Continuity.CONSECUTIVE: Consecutive,
    Continuity.OVERLAPPING: Overlapping,
    Continuity.RISING: Rising,
    Continuity.MEASURED: Rising,
    Continuity.CANDLES: Candles,
    Continuity.NONE: Counted,
}

_TRADE, _AGGREGATE, _DIFF, _SNAPSHOT = "trade", "aggregate_trade", "depth_update", "depth_snapshot"
_MARK = re.compile(rb"[a-z0-9_]{1,64}")


class TopicAudit:
    """The state of one topic.

    Args:
        role: what the topic is for.
        journal: read before any data.
        window: which part of it counts.
        wants: which symbols count; None = all, and what has none.
        budget: of the digests.
        held: of the comparison of aggregates with trades; None = they are not compared in this topic.
        bounds: the ids of a series that are compared with another topic; None = not at all.

    Attributes:
        series: the sequences, by series and partition; one without records is no series.
        strays: what lies under wrong keys, by series.
        pairings: by symbol.
        records: all that were read.
        first_time, last_time: the lowest and highest Kafka timestamp, ms; None while there is none.
        misplaced: events that do not belong into this topic.
        unreadable: what is no event of ours.
    """

    def __init__(
        self,
        role: Role,
        journal: Journal,
        *,
        window: Window | None = None,
        wants: Callable[[str], bool] | None = None,
        budget: Budget | None = None,
        held: Held | None = None,
        bounds: Callable[[SeriesName], Span | None] = lambda _: None,
    ) -> None:
        self.role = role
        self.series: dict[SeriesName, dict[int, Sequence]] = {}
        self.strays: dict[SeriesName, Strays] = {}
        self.pairings: dict[str, Pairing] = {}
        self.records = 0
        self.first_time: int | None = None
        self.last_time: int | None = None
        self.misplaced: Findings[Unreadable] = Findings()
        self.unreadable: Findings[Unreadable] = Findings()
        self._journal = journal
        self._window = window if window is not None and window != Window() else None
        self._wants = wants
        self._budget = budget or Budget()
        self._held = held
        self._bounds = bounds
        self._forms: dict[bytes, Form] = dict(FORMS)
        self._lanes: dict[int, dict[bytes, dict[bytes | None, _Lane]]] = {}

    def feed(self, partition: int, records: list[Record]) -> None:
        """The next records of a partition, in the order of their offsets."""
        if not records:
            return
        self.records += len(records)
        times = [record[3] for record in records]
        low, high = min(times), max(times)
        self.first_time = low if self.first_time is None else min(self.first_time, low)
        self.last_time = high if self.last_time is None else max(self.last_time, high)
        by_type = self._lanes.setdefault(partition, {})
        nothing: dict[bytes | None, _Lane] = {}
        window = self._window
        for offset, key, value, time in records:
            lane = by_type.get(event_type_of(value), nothing).get(key)
            if lane is None:
                self._with_care(partition, offset, key, value, time)
                continue
            try:
                event = lane.decode(value)
            except UNDECODABLE as error:
                self.unreadable.add(Unreadable(partition, offset, str(error)))
                continue
            if event.symbol != lane.symbol:
                self._with_care(partition, offset, key, value, time)
                continue
            sequence = lane.sequence
            if sequence is None:
                continue
            if window is not None and not admits(window, sequence, event, time):
                continue
            if sequence.take(event, offset, value, time) and lane.then is not None:
                lane.then(event)

    def _with_care(self, partition: int, offset: int, key: bytes | None, value: bytes, time: int) -> None:
        """The long way of a record: of a series that is new, or shares symbol and event type with others, or odd."""
        mark = event_type_of(value)
        form = self._form(mark)
        try:
            if form is None:
                raise ValueError("no event_type")
            event = form.decode(value)
            stream = form.stream(event) if form.stream is not None else ""
            self._take(partition, offset, key, value, time, form=form, event=event, stream=stream)
        except UNDECODABLE as error:
            self.unreadable.add(Unreadable(partition, offset, str(error)))

    def _take(
        self,
        partition: int,
        offset: int,
        key: bytes | None,
        value: bytes,
        time: int,
        *,
        form: Form,
        event: Any,
        stream: str,
    ) -> None:
        """Find out where an event belongs, and take it there. Raises ValueError for an interval that nobody knows."""
        key_text = key.decode("utf-8", "replace") if key is not None else ""
        symbol = event.symbol or ("" if form.kind.of_symbol else key_text)
        alike = form.stream is None and event.symbol and key_text == symbol
        if self._wants is not None and not self._wants(symbol):
            if alike:
                self._lanes[partition].setdefault(event_type_of(value), {})[key] = _Lane(form.decode, symbol)
            return
        if self.role is not Role.RAW and form.kind.copy != self.role.value:
            self.misplaced.add(Unreadable(partition, offset, form.kind.event_type))
            return
        name = SeriesName(symbol, form.kind.event_type, stream)
        if key_text != symbol:
            self._stray(name, event, key_text, time)
            return
        sequence = self._sequence(name, form, partition)
        then = self._then(form, symbol)
        if alike:
            lane = _Lane(form.decode, symbol, sequence, then)
            self._lanes[partition].setdefault(event_type_of(value), {})[key] = lane
        if self._window is not None and not admits(self._window, sequence, event, time):
            return
        if sequence.take(event, offset, value, time) and then is not None:
            then(event)

    def _form(self, mark: bytes) -> Form | None:
        form = self._forms.get(mark)
        if form is None and _MARK.fullmatch(mark):
            if len(self._forms) - len(FORMS) >= UNLISTED_KINDS_MAX:
                mark = UNLISTED.encode()
            form = self._forms.setdefault(mark, unlisted(mark))
        return form

    def _sequence(self, name: SeriesName, form: Form, partition: int) -> Sequence:
        partitions = self.series.setdefault(name, {})
        sequence = partitions.get(partition)
        if sequence is None:
            sequence = partitions[partition] = self._make(name, form, partition)
        return sequence

    def _make(self, name: SeriesName, form: Form, partition: int) -> Sequence:
        digest = None
        bounds = self._bounds(name) if form.kind.copy else None
        if bounds is not None:
            digest = self._budget.digest(BLOCK_SHIFTS[form.kind.continuity], first=bounds[0], last=bounds[1])
        resets = self._journal.resets(name)
        if form.kind.event_type == _SNAPSHOT:
            book = self._sequence(SeriesName(name.symbol, _DIFF), FORMS[_DIFF.encode()], partition)
            assert isinstance(book, Overlapping)
            return Snapshots(name, book=book, resets=resets, digest=digest)
        rule = Aggregates if form.kind.event_type == _AGGREGATE else _RULES[form.kind.continuity]
        return rule(name, resets=resets, digest=digest)

    def _then(self, form: Form, symbol: str) -> Callable[[Any], None] | None:
        """What else is done with the first event of each id."""
        if self._held is None or form.kind.event_type not in (_TRADE, _AGGREGATE):
            return None
        pairing = self.pairings.get(symbol)
        if pairing is None:
            pairing = self.pairings[symbol] = Pairing(self._held)
        return pairing.trade if form.kind.event_type == _TRADE else pairing.aggregate

    def _stray(self, name: SeriesName, event: Any, key: str, time: int) -> None:
        since, until = self._window or Window()
        if (since is not None and time < since) or (until is not None and time >= until):
            return
        strays = self.strays.setdefault(name, Strays())
        last = event.id if event.id is not None else -1
        strays.found.add(Stray(last, key))
        first = getattr(event, "first", last) if name.event_type == _DIFF else last
        strays.covered.add(min(first, last), last)


class _Lane:
    """The way of the records of one series in one partition; without a sequence they are not wanted."""

    __slots__ = ("decode", "sequence", "symbol", "then")

    def __init__(
        self,
        decode: Callable[[bytes], Any],
        symbol: str,
        sequence: Sequence | None = None,
        then: Callable[[Any], None] | None = None,
    ) -> None:
        self.decode = decode
        self.symbol = symbol
        self.sequence = sequence
        self.then = then
