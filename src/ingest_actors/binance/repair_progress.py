"""How far the repair of gaps is, once it takes long: after an absence of hours a gap says nothing until its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from ingest_actors.binance.gaps import Gap
from ingest_actors.binance.rest import WEIGHTS
from ingest_actors.status import BackfillProgress

LINE_INTERVAL_S: Final = 60.0
"""How long a repair lasts before anything is said of it, and then between two lines. The budget of weight lets a burst
through each minute, so that a rate over whole minutes is steady and one over less is not."""

RATE_LINES: Final = 5
"""Over how many of these intervals the rate is taken: long enough for a REST that is away for a while, short enough to
show that it has become slow."""

WEIGHT_OF_IDS: Final = {"aggregate_trade": WEIGHTS["aggTrades"], "trade": WEIGHTS["historicalTrades"]}
"""What as many ids as one answer has weigh, by event type: an aggregate trade comes six times as fast as a trade."""


class _Look(NamedTuple):
    at_s: float
    fetched: dict[str, int]
    """By event type, since the start of the service."""


class _Pace(NamedTuple):
    ids_per_s: float
    weight_per_s: float


class RepairProgress:
    """Watches what is open and what was brought.

    Args:
        open_gaps: those that are being repaired, by name.
        backfilled: events that were brought, by event type.
    """

    def __init__(self, open_gaps: Callable[[], Mapping[str, Gap]], backfilled: Mapping[str, int]) -> None:
        self._open_gaps = open_gaps
        self._backfilled = backfilled
        self._looks: deque[_Look] = deque(maxlen=RATE_LINES + 1)
        self._fetched_before = 0
        self._pace: _Pace | None = None

    def look(self, now_s: float) -> BackfillProgress | None:
        """To be called about once a second; how far it is, when a line is due. `now_s` is monotonic."""
        if not self._looks or not self._open_gaps():
            self._pace = None
            self._looks.clear()
            self._looks.append(_Look(now_s, self._fetched()))
            self._fetched_before = sum(self._fetched().values())
            return None
        if now_s < self._looks[-1].at_s + LINE_INTERVAL_S:
            return None
        self._looks.append(_Look(now_s, self._fetched()))
        first, last = self._looks[0], self._looks[-1]
        seconds = last.at_s - first.at_s
        lately = {kind: last.fetched[kind] - first.fetched[kind] for kind in WEIGHT_OF_IDS}
        self._pace = _Pace(sum(lately.values()) / seconds, _weight(lately) / seconds)
        return self.current()

    def current(self) -> BackfillProgress | None:
        """How far it is now, at the pace of the last line; None: nothing is open, or not for long."""
        gaps = self._open_gaps().values()
        if self._pace is None or not gaps:
            return None
        missing = dict.fromkeys(WEIGHT_OF_IDS, 0)
        for gap in gaps:
            missing[gap.event_type] += gap.size - gap.recovered - gap.lost
        return BackfillProgress(
            len(gaps),
            sum(self._fetched().values()) - self._fetched_before,
            sum(missing.values()),
            round(self._pace.ids_per_s, 1),
            round(_weight(missing) / self._pace.weight_per_s) if self._pace.weight_per_s else None,
        )

    def _fetched(self) -> dict[str, int]:
        return {kind: self._backfilled.get(kind, 0) for kind in WEIGHT_OF_IDS}


def _weight(ids: Mapping[str, int]) -> int:
    """Of so many ids, by event type; only the ratio of two such figures means anything."""
    return sum(count * WEIGHT_OF_IDS[kind] for kind, count in ids.items())
