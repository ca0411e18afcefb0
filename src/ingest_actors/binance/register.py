"""The series that are known, by the name of their stream: made when the first event of one comes, and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ingest_actors.binance.closed_candles import Candles
from ingest_actors.binance.gaps import Reason
from ingest_actors.binance.resume import Mark, Place
from ingest_actors.binance.series import Series
from ingest_actors.binance.stream_table import Continuity as Kind
from ingest_actors.binance.stream_table import EventKind
from ingest_actors.messages import Route

_BY_ID = frozenset((Kind.CONSECUTIVE, Kind.OVERLAPPING))
"""How events follow each other where each says which one comes before it."""

SERIES_MAX = 65_536
"""Bounds what a peer that makes up names can cost; the whole spot market has a tenth of that."""


class Register:
    """Makes the series.

    Args:
        hold_s: by the kind of event, how long a hole may hold up what comes after it, seconds; None: nobody fetches
            what is missing, so nothing is held up.
        begin: called with each new series, and where an earlier process ended it.

    Attributes:
        marks: where an earlier process ended.
        resumed: why what was missed since then is missing.
    """

    def __init__(
        self, hold_s: Callable[[EventKind], float | None], begin: Callable[[Series, Mark | None], None]
    ) -> None:
        self.marks: Mapping[Place, Mark] = {}
        self.resumed = Reason.RESTARTED
        self._hold_s = hold_s
        self._begin = begin
        self._series: dict[str, Series] = {}
        self._candles: dict[str, Candles] = {}
        self._waits_s: Mapping[str, float] = {}
        self._wait_s = 0.0

    def series(self, kind: EventKind, stream: str, symbol: str, route: Route) -> Series | None:
        """The series that the events of a stream belong to; None when nothing is known of how they follow each other.

        Args:
            kind: of the events.
            stream: its name.
            symbol: upper case.
            route: of the events.
        """
        known = self._series.get(stream)
        if known is None and len(self._series) < SERIES_MAX and kind.continuity in _BY_ID:
            hold_s = self._hold_s(kind)
            known = Series(
                stream, symbol, route, hold_s=hold_s or 0.0, repairable=hold_s is not None,
                by_ones=kind.continuity is Kind.CONSECUTIVE,
            )  # fmt: skip
            known.wait_s = self._waits_s.get(stream, self._wait_s)
            self._series[stream] = known
            self._begin(known, self.marks.get(Place(kind.event_type, symbol)))
        return known

    def begun(self, kind: EventKind, stream: str, symbol: str, route: Route) -> Series | None:
        """As `series`, of those that something is known of."""
        if stream in self._series or Place(kind.event_type, symbol) in self.marks:
            return self.series(kind, stream, symbol, route)
        return None

    def candles(self, kind: EventKind, stream: str, symbol: str, route: Route) -> Candles | None:
        """The candles of a stream; None for other streams. Otherwise as `series`."""
        known = self._candles.get(stream)
        if known is None and len(self._candles) < SERIES_MAX and kind.continuity is Kind.CANDLES:
            series = Series(stream, symbol, route, hold_s=0.0, repairable=False, by_ones=True)
            mark = self.marks.get(Place(stream.partition("@")[2], symbol))
            series.resumed = None if mark is None else self.resumed
            known = self._candles[stream] = Candles(series, None if mark is None else mark.last)
        return known

    def get(self, stream: str) -> Series | None:
        """The series of a stream, if it is known."""
        return self._series.get(stream)

    def share(self, waits_s: Mapping[str, float]) -> list[Series]:
        """These streams, and no others, come by more than one connection; see `Continuity.share`.

        Returns: the series of which that has changed.
        """
        changed = []
        for stream in self._waits_s.keys() | waits_s.keys():
            series = self._series.get(stream)
            if series is not None:
                series.wait_s = waits_s.get(stream, 0.0)
                changed.append(series)
        self._waits_s = waits_s
        return changed

    def share_everything(self, wait_s: float) -> list[Series]:
        """Any stream may come by more than one connection, for good."""
        self._wait_s = wait_s
        return self.share(dict.fromkeys(self._series, wait_s))
