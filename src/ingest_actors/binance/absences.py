"""How long nobody listened to streams of samples: what a disconnection cost of events that are not fetched again.

A stream is listened to while its subscription stands on any connection. When it no longer does, it was lost with the
last thing that came from whoever carried it: a connection may be dead for a minute before that is noticed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from ingest_actors.binance.stream_table import StreamTable


class Absence(NamedTuple):
    """Streams that are listened to again."""

    streams: int
    """How many."""
    longest_s: float
    """How long nobody listened to the one that was without for the longest."""


class Absences:
    """All of a service's streams of samples.

    Args:
        table: says which streams are samples.

    Attributes:
        seconds: how long nobody listened, by event type, summed over the streams.
    """

    def __init__(self, table: StreamTable) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._table = table
        self._wanted: Collection[str] = ()
        self._samples: dict[str, str] = {}
        self._present: AbstractSet[str] = frozenset()
        self._since: dict[str, float] = {}
        self._counted_to: dict[str, float] = {}

    def expect(self, event_types: Iterable[str]) -> None:
        """Count those of these kinds that are samples from 0, rather than from their first second."""
        kinds = map(self._table.kind, event_types)
        self.seconds.update({kind.event_type: 0.0 for kind in kinds if kind is not None and kind.sample} | self.seconds)

    def look(
        self,
        at: float,
        wanted: Collection[str],
        listening: Iterable[AbstractSet[str]],
        heard: Callable[[str], float],
    ) -> Absence | None:
        """Look at all streams; to be called about once a second.

        Args:
            at: seconds of some clock.
            wanted: all streams; the same object as long as they are the same.
            listening: streams whose subscription stands, by connection.
            heard: when a stream last brought something, by the same clock, or a little before.

        Returns:
            What has ended since the last look, if anything.
        """
        if wanted is not self._wanted:
            self._want(wanted)
        present: set[str] = set().union(*listening)
        lost = self._present - present
        if lost:
            last_heard = max(map(heard, lost))
            since = min(at, last_heard) if last_heard > -math.inf else at
            for stream in self._samples.keys() & lost:
                self._since[stream] = self._counted_to[stream] = since
        self._present = present
        for stream, counted_to in self._counted_to.items():
            self.seconds[self._samples[stream]] += at - counted_to
            self._counted_to[stream] = at
        back = self._since.keys() & present
        if not back:
            return None
        longest_s = max(at - self._since[stream] for stream in back)
        self._forget(back)
        return Absence(len(back), longest_s)

    def _want(self, wanted: Collection[str]) -> None:
        self._wanted = wanted
        kinds = {stream: self._table.kind_of_stream(stream) for stream in wanted}
        self._samples = {stream: kind.event_type for stream, kind in kinds.items() if kind is not None and kind.sample}
        self._present = self._present & kinds.keys()
        self._forget(self._since.keys() - self._samples.keys())

    def _forget(self, streams: Iterable[str]) -> None:
        for stream in list(streams):
            del self._since[stream], self._counted_to[stream]
