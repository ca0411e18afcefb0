"""What explains that something is missing: the gap journal, and the dead letters."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple

import msgspec

from ingest_actors.audit.forms import FORMS, Letter
from ingest_actors.audit.records import SeriesName, Window
from ingest_actors.audit.spans import Spans
from ingest_actors.errors import JournalTooNew

VERSION = 1
"""The newest version of journal records that is understood."""

DEAD_LETTERED = "dead_lettered"
"""The state, in an explanation, of what lies in the dead letters."""

_REASONS_MAX = 100
"""More kinds of dead letters are counted together: their headers could be anybody's."""

_OTHER = "other"
_RESET = "exchange_reset"
_SKIPPED = "exchange_skipped"
_BY_SNAPSHOT = "book_snapshot"


class Entry(msgspec.Struct, gc=False):
    """One record of the journal."""

    gap: str = ""
    symbol: str = ""
    stream: str = ""
    event_type: str = ""
    first_id: int | None = None
    last_id: int | None = None
    state: str = ""
    reason: str = ""
    resolved_at: int | None = None
    resolved_by: str | None = None


class Explanation(NamedTuple):
    """Why ids are missing."""

    first_id: int
    last_id: int
    state: str
    """``open``, ``lost``, ``closed``, or `DEAD_LETTERED`."""
    reason: str


class _Version(msgspec.Struct, gc=False):
    v: int


_decode = msgspec.json.Decoder(Entry).decode
_decode_version = msgspec.json.Decoder(_Version).decode


class Journal:
    """What the gap journal and the dead letters say of each series.

    Of a gap that was closed by a repair nothing is kept but its ids: the journal is as long as the record.

    Args:
        window: what was closed after its end is as good as open.

    Attributes:
        entries: records read.
        letters: dead letters read, by reason; those that give none under an empty one.
    """

    def __init__(self, window: Window | None = None) -> None:
        self._until_ms = window.until_ms if window is not None else None
        self._gaps: dict[SeriesName, dict[str, Explanation]] = defaultdict(dict)
        self._spoken_of: dict[SeriesName, Spans] = defaultdict(Spans)
        self._resets: dict[SeriesName, set[str]] = defaultdict(set)
        self._letters: dict[SeriesName, dict[str, Spans]] = defaultdict(dict)
        self.entries = 0
        self.letters: Counter[str] = Counter()

    def take(self, value: bytes, where: str, *, settled: bool = True) -> None:
        """The next record of the journal's topic.

        Args:
            value: its bytes.
            where: topic, partition and offset, for the error.
            settled: whether the data topics are read up to this record's time at least; if not, what it calls closed
                may not be there yet.

        Raises:
            JournalTooNew: its version is not understood.
            forms.UNDECODABLE: it is no such record.
        """
        if _decode_version(value).v > VERSION:
            raise JournalTooNew(where, _decode_version(value).v, VERSION)
        entry = _decode(value)
        self.entries += 1
        form = FORMS.get(entry.event_type.encode())
        name = SeriesName(
            entry.symbol, entry.event_type, entry.stream if form is not None and form.stream is not None else ""
        )
        if entry.reason == _RESET:
            self._resets[name].add(entry.gap)
            return
        first, last = entry.first_id, entry.last_id
        if first is None or last is None:
            return
        self._spoken_of[name].add(first, last)
        late = self._until_ms is not None and (entry.resolved_at or 0) >= self._until_ms
        state = "open" if entry.state == "closed" and (late or not settled) else entry.state
        if state in ("open", "lost") or entry.reason == _SKIPPED or entry.resolved_by == _BY_SNAPSHOT:
            self._gaps[name][entry.gap] = Explanation(first, last, state, entry.reason)
        else:
            self._gaps[name].pop(entry.gap, None)

    def take_letter(self, letter: Letter) -> None:
        """The next dead letter."""
        known = letter.reason in self.letters or len(self.letters) < _REASONS_MAX
        self.letters[letter.reason if known else _OTHER] += 1
        if letter.span is not None:
            name = SeriesName(letter.symbol, letter.event_type, letter.stream)
            self._letters[name].setdefault(letter.reason, Spans()).add(*letter.span)

    def explanations(self, name: SeriesName) -> list[Explanation]:
        """Everything that accounts for missing ids of a series. A gap that was closed by a repair does not."""
        letters = [
            Explanation(first, last, DEAD_LETTERED, reason)
            for reason, spans in self._letters.get(name, {}).items()
            for first, last in spans
        ]
        return [*self._gaps.get(name, {}).values(), *letters]

    def spoken_of(self, name: SeriesName) -> Spans:
        """All ids that the journal names, in whatever state."""
        return self._spoken_of.get(name) or Spans()

    def dead_lettered(self, name: SeriesName) -> Spans:
        """The ids that lie in the dead letters."""
        return Spans(span for spans in self._letters.get(name, {}).values() for span in spans)

    def resets(self, name: SeriesName) -> int:
        """How many times the exchange began to number anew."""
        return len(self._resets.get(name, ()))
