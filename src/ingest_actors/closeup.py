"""A closer look at a running service: single streams, connections, and the last records of the gap journal.

It reads what the actors keep: which streams were heard, how far each series has got, which gaps are open. Only what is
over would be gone, so that is noted here as it happens: once a gap, and once a log line, never once a message.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import trio

from ingest_actors.actors.connection_state import Connection
from ingest_actors.actors.fleet import Fleet
from ingest_actors.announce import ServiceEvent
from ingest_actors.binance.continuity import Continuity
from ingest_actors.binance.gaps import Gap, State
from ingest_actors.binance.register import SERIES_MAX
from ingest_actors.binance.stream_table import symbol_of_stream
from ingest_actors.binance.stream_watch import LOOK_INTERVAL_S, StreamWatch
from ingest_actors.details import ConnectionDetail, GapSums, Happening, JournalEntry, StreamDetail

JOURNAL_MAX: Final = 100
HAPPENINGS_MAX: Final = 60
"""Records and lines that are kept to be looked at: what a screen or two hold. Kafka and the log have the others."""

TEXT_MAX: Final = 240
"""Characters of a line's fields."""

_TOLD_ELSEWHERE: Final = frozenset(("service_metrics", "backfill_progress", "gap_opened", "gap_closed", "gap_lost"))


class Closeup:
    """Implements `ingest_actors.details.Details`, and listens to what happens.

    Args:
        fleet: the connections.
        watched: the watch over the streams.
        heard: when a stream last brought something, trio's clock, to the second.
        continuity: the series and their gaps.
        clock_ms: wall clock, ms since the epoch.
        draining: whether the service was asked to stop.
        buffer_bytes_max: bound on all that is held in memory.

    Attributes:
        buffer_bytes_max: as above.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        watched: StreamWatch,
        heard: Callable[[str], float],
        continuity: Continuity,
        clock_ms: Callable[[], int],
        draining: Callable[[], bool],
        buffer_bytes_max: int,
    ) -> None:
        self.buffer_bytes_max = buffer_bytes_max
        self._fleet = fleet
        self._watched = watched
        self._heard = heard
        self._continuity = continuity
        self._clock_ms = clock_ms
        self._draining = draining
        self._journal: deque[JournalEntry] = deque(maxlen=JOURNAL_MAX)
        self._happenings: deque[Happening] = deque(maxlen=HAPPENINGS_MAX)
        self._of_streams: dict[str, GapSums] = {}
        self._of_types: dict[str, GapSums] = {}

    # -- told

    def note(self, gap: Gap, state: State) -> None:
        """The journal has a record of a gap."""
        now_ms = self._clock_ms()
        self._journal.append(
            JournalEntry(
                now_ms, str(state), gap.stream, gap.event_type, gap.hole.first, gap.hole.last, gap.size,
                gap.recovered, str(gap.reason), str(gap.resolved_by or ""),
            )
        )  # fmt: skip
        if state is State.OPEN:
            return
        self._of_types[gap.event_type] = _with(self._of_types.get(gap.event_type), gap, state, now_ms)
        if gap.stream in self._of_streams or len(self._of_streams) < SERIES_MAX:
            self._of_streams[gap.stream] = _with(self._of_streams.get(gap.stream), gap, state, now_ms)

    def tell(self, event: ServiceEvent) -> bool:
        """Note what happens; see `ingest_actors.announce.Listener`."""
        if event.name not in _TOLD_ELSEWHERE:
            fields = (f"{name}={value}" for name, value in event.fields.items() if name != "exc_info")
            self._happenings.append(Happening(event.at_ms, event.name, " ".join(fields)[:TEXT_MAX]))
        return True

    def end(self) -> None:
        """Nothing more will happen."""

    # -- asked

    @property
    def draining(self) -> bool:
        """Whether the service was asked to stop."""
        return self._draining()

    @property
    def ids_missing(self) -> int:
        """Ids of the gaps that are open."""
        return sum(gap.size - gap.recovered - gap.lost for gap in self._continuity.gaps.values())

    def journal(self) -> Sequence[JournalEntry]:
        """The last records of the gap journal, oldest first."""
        return self._journal

    def happenings(self) -> Sequence[Happening]:
        """What happened last, oldest first."""
        return self._happenings

    def gap_sums(self) -> Mapping[str, GapSums]:
        """By event type, those that have had gaps."""
        return self._of_types

    def streams(self, chunk: int) -> Iterator[list[StreamDetail]]:
        """Every stream that is carried, so many at a time."""
        seen: set[str] = set()
        opened = self._opened()
        for connection in list(self._fleet.connections.values()):
            streams = [name for name in connection.streams if name not in seen]
            if self._fleet.lanes > 1:
                seen.update(streams)
            for start in range(0, len(streams), chunk):
                yield self._look([(name, connection.name) for name in streams[start : start + chunk]], opened)

    def again(self, streams: Sequence[StreamDetail]) -> list[StreamDetail]:
        """The same streams as they are now."""
        return self._look([(stream.name, stream.connection) for stream in streams], self._opened())

    def _opened(self) -> Counter[str]:
        """How many gaps are open, by stream."""
        return Counter(gap.stream for gap in self._continuity.gaps.values())

    def _look(self, streams: Iterable[tuple[str, str]], opened: Counter[str]) -> list[StreamDetail]:
        """Look at streams, each with the connection that is to carry it."""
        now = trio.current_time()
        standing = {connection.name: connection.acknowledged_streams for connection in self._fleet.everyone()}
        nothing: frozenset[str] = frozenset()
        found = []
        for name, connection in streams:
            stands = name in standing.get(connection, nothing) or any(name in there for there in standing.values())
            found.append(self._stream(name, connection, now, stands, opened[name]))
        return found

    def _stream(self, name: str, connection: str, now: float, stands: bool, opened: int) -> StreamDetail:  # noqa: FBT001
        watched = self._watched.get(name)
        series = self._continuity.known(name)
        sums = self._of_streams.get(name, _NONE)
        if not stands:
            state = "waiting"
        elif watched is None:
            state = "quiet"
        else:
            state = "silent" if watched.silent else "flowing" if watched.flowing else "quiet"
        age_s = math.inf if watched is None else now - self._heard(name)
        return StreamDetail(
            name,
            symbol_of_stream(name) if watched is None else watched.symbol,
            "" if watched is None else watched.event_type,
            connection,
            state,
            max(0.0, age_s - LOOK_INTERVAL_S) if age_s < math.inf else None,
            None if series is None else series.sequence.next_id,
            series is not None and series.by_ones,
            0.0 if watched is None else watched.gap_s,
            opened,
            sums.closed,
            sums.lost,
            sums.ids_lost,
        )

    def connections(self) -> list[ConnectionDetail]:
        """All of them, the planned ones first."""
        now, fleet = trio.current_time(), self._fleet
        return [
            *_looked_at(fleet.connections.values(), "", now),
            *_looked_at(fleet.replacements.values(), "about to take over", now),
            *_looked_at(fleet.retired, "about to go", now),
        ]


_NONE: Final = GapSums()


def _with(sums: GapSums | None, gap: Gap, state: State, now_ms: int) -> GapSums:
    """The same, with a gap that is over."""
    before, lost = sums or _NONE, state is State.LOST
    return GapSums(
        before.closed + (not lost),
        before.lost + lost,
        before.ids_recovered + gap.recovered,
        before.ids_lost + (gap.lost if lost else 0),
        now_ms if lost else before.last_lost_ms,
    )


def _looked_at(connections: Iterable[Connection], role: str, now: float) -> Iterator[ConnectionDetail]:
    for state in connections:
        about = f"{role} from {state.predecessor.name}" if state.predecessor is not None else role
        yield ConnectionDetail(
            state.name,
            state.url,
            state.state,
            about,
            len(state.streams) or len(state.lingering),
            state.acknowledged,
            None if state.opened_at_s is None else now - state.opened_at_s,
            None if state.due_at_s is None else max(0.0, max(state.due_at_s, state.not_before_s) - now),
            None if state.heard_at_s is None else now - state.heard_at_s,
            state.failures,
            bool(state.carry),
        )
