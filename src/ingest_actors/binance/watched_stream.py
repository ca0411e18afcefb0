"""What is known of one stream that is watched, and how its silence is judged. Without input or output."""

from __future__ import annotations

import math
from typing import NamedTuple

from ingest_actors.binance.stream_table import EventKind

EVIDENCE_LAG_S = 3.0
"""What another stream brings within this time of a stream's own last event may be of the same trade: klines trail the
trades by up to 2.6 s (measured), and there is no order between streams."""

GRACE_MIN_S = 5.0
GRACE_SHARE = 0.1
"""Once there is evidence that something should have come, it is waited for this much longer (at least the former, or
the latter of the limit): klines come every 2 s, tickers every second."""

GAPS_TOLERATED = 10.0
"""Where nobody can be asked what the market did, a stream must be silent for so many of its own mean gaps."""

GAP_MEMORY = 8
"""The mean gap is a moving average over about so many gaps."""

ALARM_INTERVAL_MAX_S = 3600.0
"""An alarm that nothing helps against is repeated ever more seldom, but at least once in this long."""

FORGIVEN_AFTER_S = 600.0
"""A stream that has flowed for so long after a silence begins afresh: its next silence is its first."""

_DOUBLINGS_MAX = 16

MISSING_GRACE_S = 5.0
"""A stream that the exchange does not list, and that has brought nothing for so long, is subscribed again."""

MISSING_INTERVAL_S = 600.0
"""How often that is tried with one stream."""

LIMIT = "limit"
"""Basis of a verdict: nothing but the time; nobody could be asked."""


class Activity(NamedTuple):
    """What the exchange's 24-hour statistics tell of a symbol."""

    last_id: int
    """Id of its last trade; -1 when there was none in 24 hours."""
    top: tuple[str, ...] = ()
    """Best bid and ask, prices and quantities; empty when it was not asked for."""

    def since(self, before: Activity, kind: EventKind) -> bool:
        """Whether something has happened since `before` that a stream of this kind must have told."""
        return self.last_id > before.last_id or (kind.of_top and bool(before.top) and self.top != before.top != ())


class ConnectionClock:
    """Time on one connection: it runs only while the connection is open and is being read.

    Attributes:
        now_s: what it shows.
        heard_s: what it showed when any of its streams last brought something.
        held_at: when it last stood still, monotonic.
        reopened_at: when the connection was last opened again for its silence, monotonic.
    """

    __slots__ = ("heard_s", "held_at", "now_s", "reopened_at")

    def __init__(self) -> None:
        self.now_s = 0.0
        self.heard_s = 0.0
        self.held_at = -math.inf
        self.reopened_at = -math.inf


class WatchedStream:
    """One stream. Times in ``_at`` are monotonic; those in ``clock_s`` are of its connection's clock.

    Args:
        name: e.g. ``btcusdt@trade``.
        symbol: upper case; empty for streams of all symbols.
        kind: its row of the table; None when there is none.
        limit_s: how long it may be silent; None: for ever.
        at: now.

    Attributes:
        connection: that carries it; empty while none does.
        life: of that connection.
        clock: of that connection.
        silent: it should flow and does not.
        flowing: it has brought something within its limit.
        attempts: to make it flow.
        heard_at: when it last brought something.
        since_at: since when it is waited for: its last event, or when it was acknowledged or looked after.
        evidence: what proves that it should have flowed; empty when nothing does.
        base: what the exchange's statistics told when they were first asked about this silence.
        ask_clock_s: when they are worth asking again.
    """

    __slots__ = (
        "ask_clock_s", "attempts", "base", "clock", "connection", "event_type", "evidence", "evidence_at", "first_at",
        "flow_clock_s", "flowing", "gap_s", "heard_at", "heard_clock_s", "kind", "life", "limit_s", "lost_clock_s",
        "name", "silent", "since_at", "since_clock_s", "symbol",
    )  # fmt: skip

    def __init__(self, name: str, symbol: str, kind: EventKind | None, limit_s: float | None, at: float) -> None:
        self.name = name
        self.symbol = symbol
        self.kind = kind
        self.event_type = kind.event_type if kind is not None else ""
        self.limit_s = limit_s
        self.connection = ""
        self.life = 0
        self.clock = ConnectionClock()
        self.first_at = at
        self.silent = False
        self.attempts = 0
        self.gap_s = 0.0
        self.heard_at = self.heard_clock_s = self.lost_clock_s = -math.inf
        self.flow_clock_s = 0.0
        self._wait_anew(at)

    # -- what happens

    def begin(self, connection: str, life: int, clock: ConnectionClock, at: float) -> None:
        """It was acknowledged on a connection: from now on it should flow."""
        if connection != self.connection:
            self.lost_clock_s = -math.inf
        self._forgive()
        self.connection = connection
        self.life = life
        self.clock = clock
        self.heard_clock_s = -math.inf
        self._wait_anew(at)

    def end(self) -> None:
        """It is about to be subscribed again, here or elsewhere; it begins when that is acknowledged."""
        self.life = -1
        self.flowing = False

    def hear(self, at: float) -> None:
        """It has brought something since it was last looked at."""
        now_s = self.clock.now_s
        if self.heard_clock_s > -math.inf:
            gap_s = now_s - self.heard_clock_s
            self.gap_s = self.gap_s + (gap_s - self.gap_s) / GAP_MEMORY if self.gap_s else gap_s
        if self.silent or self.heard_clock_s == -math.inf:
            self.flow_clock_s = now_s
        self.silent = False
        self.flowing = True
        self.heard_at = self.since_at = at
        self.heard_clock_s = self.since_clock_s = self.clock.heard_s = now_s
        if self.evidence or self.base is not None:
            self._forget_evidence()

    def convict(self, at: float) -> int:
        """It is silent, and something is done about it; returns which attempt that is."""
        self._forgive()
        self.attempts += 1
        self.silent = True
        self._wait_anew(at)
        return self.attempts

    def accuse(self, evidence: str, at: float) -> None:
        """Something has happened that it should have told of."""
        self.evidence, self.evidence_at = evidence, at

    def acquit_if_held(self) -> None:
        """What happened while its connection was not read proves nothing."""
        if self.clock.held_at >= self.evidence_at:
            self._forget_evidence()

    def lost(self) -> bool:
        """The exchange does not list it: whether to subscribe it again for that; it is done when this says so."""
        now_s = self.clock.now_s
        if self.silence_s < MISSING_GRACE_S or now_s - self.lost_clock_s < MISSING_INTERVAL_S:
            return False
        self.lost_clock_s = now_s
        return True

    def _forgive(self) -> None:
        if self.heard_clock_s - self.flow_clock_s >= FORGIVEN_AFTER_S:
            self.attempts = 0

    def _wait_anew(self, at: float) -> None:
        self.since_at = at
        self.since_clock_s = self.clock.now_s
        self.flowing = False
        self._forget_evidence()

    def _forget_evidence(self) -> None:
        self.evidence = ""
        self.evidence_at = math.inf
        self.base: Activity | None = None
        self.ask_clock_s = 0.0

    # -- what is thought of it

    @property
    def silence_s(self) -> float:
        """How long it could have been heard and was not, since it was acknowledged or looked after."""
        return self.clock.now_s - self.since_clock_s

    def silent_s(self, at: float) -> float:
        """How long ago its last event was, or its beginning when there was none."""
        return at - (self.heard_at if self.heard_at > -math.inf else self.first_at)

    @property
    def patience_s(self) -> float:
        """How long it is waited for now: ever longer from the third attempt on."""
        limit_s = math.inf if self.limit_s is None else self.limit_s
        doublings = min(max(self.attempts - 1, 0), _DOUBLINGS_MAX)
        return max(limit_s, min(limit_s * 2.0**doublings, ALARM_INTERVAL_MAX_S))

    @property
    def floor_at(self) -> float:
        """What came later than this is evidence."""
        return max(self.since_at, self.clock.held_at) + EVIDENCE_LAG_S

    def guilty(self, at: float) -> bool:
        """Whether it is silent, by time and by evidence that has stood for a while."""
        if not self.evidence or self.silence_s < self.patience_s:
            return False
        return self.evidence == LIMIT or at - self.evidence_at >= max(GRACE_MIN_S, GRACE_SHARE * (self.limit_s or 0.0))

    def overlong(self) -> bool:
        """Whether its silence is suspicious by itself, where nobody can be asked."""
        return self.silence_s >= max(self.patience_s, GAPS_TOLERATED * self.gap_s)
