"""The watch over streams: which flow, which are silent though they should not be, and what is to be done about it.

Silence alone is no alarm: of three thousand symbols two thousand do not trade for minutes, some not for days. A stream
is silent when it brought nothing for longer than its limit *and* something happened meanwhile that it must have told:

- another stream of the symbol flowed that implies it (`EventKind.implied_by`), or else
- by the exchange's 24-hour statistics its symbol was traded, or the top of its book moved, between two answers.

Where neither can be had the limit alone decides, stretched to what is usual for the stream. Time counts only while its
connection is open, acknowledged and being read.

Without input or output: whoever drives it calls `begin_look`, `look` for each connection, and `end_look`, about once a
second, and asks the exchange what `question` says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from heapq import nlargest

from ingest_actors.binance.findings import (
    STATISTICS,
    UNLISTED,
    Action,
    Carried,
    Findings,
    Flowing,
    Question,
    Verdict,
)
from ingest_actors.binance.stream_table import StreamTable, symbol_of_stream
from ingest_actors.binance.watched_stream import LIMIT, Activity, ConnectionClock, WatchedStream
from ingest_actors.status import QuietStream

LOOK_INTERVAL_S = 1.0
"""Between two looks: the shortest limit that can be set."""

SUSPENDED_S = 4.0
"""A look that comes so much later than it should says that we stood still, not that the streams did."""

ASK_INTERVAL_S = 60.0
"""Least time between two questions to the exchange. For all symbols one costs 80 of 6,000 weight a minute."""

ASK_FAILURES_MAX = 3
"""So many questions in a row without an answer: then the limits alone decide."""

STATISTICS_LAG_S = 10.0
"""The statistics may lag behind the streams: a stream that flowed less than this ago is not compared with them."""

REOPEN_INTERVAL_S = 900.0
"""A connection that is silent as a whole is opened again, but not more often than this: if it does not help, its
streams are looked after one by one."""

SINGLE_ACTIONS_MAX = 32
"""Streams that are moved in one look, a second apart: each is a message or two, and an exchange in trouble is not
helped by a thousand."""

_ACTIONS: dict[int, Action] = {2: "moved", 3: "moved_back"}
"""By attempt; all others are to subscribe again."""


class StreamWatch:
    """The watch over all streams of a service.

    Args:
        table: the stream table, which has the limits.
        silence_s: one limit for all streams that have one; None = by type.
        askable: whether the exchange can be asked for statistics at all.

    Attributes:
        listed: symbols that the exchange was seen to list; None when it was not asked.
        halted: symbols that were not trading when it was asked.
        flowing: streams that have brought something within their limits.
    """

    def __init__(self, table: StreamTable, *, silence_s: float | None = None, askable: bool = True) -> None:
        self._table = table
        self._silence_s = silence_s
        self._askable = askable
        self._streams: dict[str, WatchedStream] = {}
        self._by_symbol: dict[str, list[WatchedStream]] = {}
        self._latest: dict[str, WatchedStream] = {}
        self._clocks: dict[str, ConnectionClock] = {}
        self._at = self._before = -math.inf
        self._elapsed_s = 0.0
        self._held = False
        self._single_actions = 0
        self._flowing = 0
        self._curious: list[WatchedStream] = []
        self._asked: list[WatchedStream] = []
        self._asked_at = -math.inf
        self._unanswered = 0
        self.listed: AbstractSet[str] | None = None
        self.halted: AbstractSet[str] = frozenset()
        self.flowing = 0

    def __len__(self) -> int:
        """How many streams are known."""
        return len(self._streams)

    def get(self, name: str) -> WatchedStream | None:
        """What is known of a stream; None before it was looked at."""
        return self._streams.get(name)

    @property
    def silent(self) -> int:
        """Streams that should flow and do not."""
        return sum(stream.silent for stream in self._streams.values())

    def quietest(self, count: int) -> Iterator[QuietStream]:
        """So many streams at most: silent ones first, then those that brought nothing for the longest.

        Those that may be silent for ever are left out.
        """
        at = self._at

        def quiet(stream: WatchedStream) -> tuple[bool, float]:
            return stream.silent, stream.silent_s(at)

        limited = (stream for stream in self._streams.values() if stream.limit_s is not None)
        for stream in nlargest(count, limited, key=quiet):
            yield QuietStream(stream.name, stream.silent_s(at), stream.silent)

    # -- looks

    def begin_look(self, at: float, *, held: bool = False, interval_s: float = LOOK_INTERVAL_S) -> None:
        """A look at all connections begins.

        Args:
            at: monotonic, seconds.
            held: for reasons of our own, what was read is not parsed in time.
            interval_s: when it should come, after the last one.
        """
        self._before, self._at = self._at, at
        self._elapsed_s = at - self._before if self._before > -math.inf else 0.0
        self._held = held or self._elapsed_s > interval_s + SUSPENDED_S
        self._single_actions = self._flowing = 0
        self._curious = []

    def look(self, carried: Carried, heard: Callable[[str], float]) -> Findings:
        """Look at one connection.

        Args:
            carried: the connection.
            heard: the mark that was set when a stream last brought something: the time of the look before it.
        """
        clock = self._clocks.setdefault(carried.name, ConnectionClock())
        if self._held or not carried.reading:
            clock.held_at = self._at
        else:
            clock.now_s += self._elapsed_s
        findings = Findings()
        guilty: list[WatchedStream] = []
        missing = carried.missing
        before = self._before if self._before > -math.inf else math.inf
        for name in carried.acknowledged:
            stream = self._streams.get(name) or self._added(name)
            if stream.connection != carried.name or stream.life != carried.life:
                stream.begin(carried.name, carried.life, clock, self._at)
            if heard(name) >= before:
                self._hear(stream, findings)
            elif stream.limit_s is not None and stream.silence_s >= stream.limit_s / 2:
                self._suspect(stream)
                if stream.guilty(self._at):
                    guilty.append(stream)
                    continue
            if name in missing and stream.lost():
                stream.end()
                findings.missing.append(name)
            self._flowing += stream.flowing
        if guilty:
            self._judge(guilty, clock, findings)
        return findings

    def end_look(self) -> None:
        """A look at all connections has ended."""
        self.flowing = self._flowing

    def keep(self, names: AbstractSet[str]) -> None:
        """Forget all streams but these."""
        for name in [name for name in self._streams if name not in names]:
            stream = self._streams.pop(name)
            self._by_symbol[stream.symbol].remove(stream)
            if not self._by_symbol[stream.symbol]:
                del self._by_symbol[stream.symbol]
            if self._latest.get(stream.event_type) is stream:
                del self._latest[stream.event_type]

    def keep_connections(self, names: AbstractSet[str]) -> None:
        """Forget all connections but these."""
        if not self._clocks.keys() <= names:
            self._clocks = {name: clock for name, clock in self._clocks.items() if name in names}

    # -- questions

    def question(self, at: float) -> Question | None:
        """What to ask of the exchange now; None when there is nothing to be asked, or not yet."""
        if at < self._asked_at + ASK_INTERVAL_S:
            return None
        asked = [stream for stream in self._curious if stream.symbol and stream.silence_s >= STATISTICS_LAG_S]
        if not self._askable or all(stream.clock.now_s < stream.ask_clock_s for stream in asked):
            return None
        self._asked, self._asked_at = asked, at
        symbols = sorted({stream.symbol for stream in asked})
        return Question(tuple(symbols), top=any(stream.kind is not None and stream.kind.of_top for stream in asked))

    def answer(self, at: float, activity: Mapping[str, Activity] | None) -> None:
        """What the exchange has answered to the last question.

        Args:
            at: when, monotonic, seconds.
            activity: by symbol; None = it did not answer.
        """
        asked, self._asked = self._asked, []
        self._unanswered = self._unanswered + 1 if activity is None else 0
        for stream in asked:
            if max(stream.since_at, stream.clock.held_at) >= self._asked_at or stream.life < 0:
                continue  # it has flowed meanwhile, or begun anew
            if activity is not None:
                self._compare(stream, activity.get(stream.symbol), at)
            elif self._unanswered >= ASK_FAILURES_MAX:
                self._suspect_of_time(stream, at)

    # -- inside

    def _added(self, name: str) -> WatchedStream:
        kind = self._table.kind_of_stream(name)
        limit_s = kind.silence_s if kind is not None else None
        if limit_s is not None and self._silence_s is not None:
            limit_s = self._silence_s
        symbol = symbol_of_stream(name)
        stream = self._streams[name] = WatchedStream(name, symbol, kind, limit_s, self._at)
        self._by_symbol.setdefault(symbol, []).append(stream)
        return stream

    def _hear(self, stream: WatchedStream, findings: Findings) -> None:
        if stream.silent:
            findings.flowing.append(Flowing(stream.name, stream.connection, stream.silent_s(self._at)))
        stream.hear(self._at)
        self._latest[stream.event_type] = stream

    def _suspect(self, stream: WatchedStream) -> None:
        """It has been silent for half its limit or more: look for evidence."""
        if stream.silence_s >= stream.patience_s:
            stream.flowing = False
        stream.acquit_if_held()
        if stream.evidence:
            return
        if (witness := self._witness(stream)) is not None:
            stream.accuse(witness.name, self._at)
        elif stream.symbol and self._askable:
            self._curious.append(stream)
        else:
            self._suspect_of_time(stream, self._at)

    def _witness(self, stream: WatchedStream) -> WatchedStream | None:
        """Another stream that flowed and could not have without this one."""
        implied_by = stream.kind.implied_by if stream.kind is not None else ()
        others = (
            self._by_symbol[stream.symbol]
            if stream.symbol
            else [self._latest[event_type] for event_type in implied_by if event_type in self._latest]
        )
        floor_at = stream.floor_at
        for other in others:
            if other.heard_at > floor_at and other.event_type in implied_by:
                return other
        return None

    def _suspect_of_time(self, stream: WatchedStream, at: float) -> None:
        if stream.overlong() and stream.symbol not in self.halted:
            stream.accuse(LIMIT, at)

    def _compare(self, stream: WatchedStream, now: Activity | None, at: float) -> None:
        """Whether the market did something between two answers that the stream should have told."""
        if now is None:
            if self.listed is None or stream.symbol not in self.listed:
                stream.accuse(UNLISTED, at)
        elif stream.base is not None and stream.kind is not None and now.since(stream.base, stream.kind):
            stream.accuse(STATISTICS, at)
        else:
            first, stream.base = stream.base is None, now
            stream.ask_clock_s = (
                stream.since_clock_s + stream.patience_s if first else stream.clock.now_s + stream.patience_s
            )

    def _judge(self, guilty: list[WatchedStream], clock: ConnectionClock, findings: Findings) -> None:
        """What is to be done about the silent streams of one connection."""
        shortest_s = min(stream.patience_s for stream in guilty)
        findings.reopen = (
            len(guilty) > 1
            and clock.now_s - clock.heard_s >= shortest_s
            and self._at - clock.reopened_at >= REOPEN_INTERVAL_S
        )
        if findings.reopen:
            clock.reopened_at = self._at
        for stream in guilty:
            if not findings.reopen and stream.attempts:
                if self._single_actions >= SINGLE_ACTIONS_MAX:
                    continue  # its turn comes with the next look
                self._single_actions += 1
            silent_s, limit_s, basis = stream.silent_s(self._at), stream.patience_s, stream.evidence
            attempt = stream.convict(self._at)
            action = "reopened" if findings.reopen else _ACTIONS.get(attempt, "subscribed_again")
            findings.silent.append(Verdict(stream.name, stream.connection, silent_s, limit_s, basis, action, attempt))
            stream.end()
