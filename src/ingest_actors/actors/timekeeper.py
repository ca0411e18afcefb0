"""The timekeeper: how the exchange's clock differs from ours, so that the way from there to here can be measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import trio

from ingest_actors.announce import Announcer
from ingest_actors.errors import IngestError
from ingest_actors.status import ClockOffset, Tallies

SAMPLES = 5
"""Questions at a time: the one that was answered soonest tells most, and the first has to open a connection."""

SAMPLE_WEIGHT = 1
"""What one costs, by the exchange's documentation (``rest-api.md``, check server time)."""

SAMPLE_PAUSE_S = 0.2
FIRST_AFTER_S = 1.0
"""The streams come first."""

REFRESH_S = 900.0
"""Clocks that nobody keeps drift by some ten ms in that time; 5 weight in 15 minutes, of 6,000 a minute."""

RETRY_S = 120.0
"""After this the exchange is asked again when it did not answer."""

LOOK_S = 15.0
"""Between two looks whether our clock was set meanwhile."""

STEP_S = 0.25
"""So much against the monotonic clock, and ours was set rather than drifted."""

STEP_ASK_S = 60.0
"""Least time between two answers, however often our clock is set."""

RESOLUTION_S = 0.001
"""Both clocks are read in ms."""


class Sample(NamedTuple):
    """One question and its answer."""

    server_ms: int
    """What the exchange's clock said."""
    received_ms: int
    """What ours said when that came."""
    round_trip_s: float
    """From the question to the answer."""


class Rest(Protocol):
    """Whom to ask; `ingest_actors.binance.rest.RestClient` fits."""

    async def server_time(self, *, sent: Callable[[], object]) -> int:
        """The exchange's clock, ms since the epoch; `sent` is called when the question leaves."""
        ...

    async def wait_spare(self, weight: int) -> None:
        """Until that much weight is not wanted more urgently elsewhere."""
        ...


def estimate(samples: Iterable[Sample]) -> ClockOffset:
    """How the clocks differ, by the sample with the shortest round trip.

    The exchange read its clock somewhere on the way, so half of the round trip is the most that the middle can be wrong
    by (RFC 5905, section 8). ValueError without samples.
    """
    best = min(samples, key=lambda sample: sample.round_trip_s)
    ahead_s = (best.server_ms - best.received_ms) / 1000 + best.round_trip_s / 2
    return ClockOffset(ahead_s, best.round_trip_s / 2 + RESOLUTION_S)


async def timekeeper(rest: Rest, *, tallies: Tallies, clock_ms: Callable[[], int], announce: Announcer) -> None:
    """Ask now and then, and when our clock was set; ends only by cancellation.

    What is known stays known while the exchange does not answer, until it is older than two intervals.

    Args:
        rest: whom to ask; its weight is counted like any other.
        tallies: told.
        clock_ms: wall clock, ms since the epoch.
        announce: told when it becomes known, and when it does not.
    """
    await trio.sleep(FIRST_AFTER_S)
    known_at = trio.current_time()
    told = False
    while True:
        asked_at = trio.current_time()
        lead_s = _lead_s(clock_ms)
        try:
            clock = estimate([await _ask(rest, clock_ms) for _ in range(SAMPLES)])
        except IngestError as failure:
            if asked_at - known_at > 2 * REFRESH_S:
                tallies.set_clock(None)
            if tallies.clock is None and not told:
                announce("clock_unknown", level="warning", cause=str(failure), retry_in_s=RETRY_S)
                told = True
            await trio.sleep(RETRY_S)
            continue
        if tallies.clock is None:
            announce("clock_known", ahead_s=round(clock.seconds, 4), uncertainty_s=round(clock.uncertainty_s, 4))
        tallies.set_clock(clock)
        known_at, told = asked_at, False
        await _until_due(asked_at, lead_s, clock_ms)


async def _ask(rest: Rest, clock_ms: Callable[[], int]) -> Sample:
    await trio.sleep(SAMPLE_PAUSE_S)
    await rest.wait_spare(SAMPLE_WEIGHT)
    sent_at = trio.current_time()

    def sent() -> None:
        nonlocal sent_at
        sent_at = trio.current_time()

    server_ms = await rest.server_time(sent=sent)
    return Sample(server_ms, clock_ms(), trio.current_time() - sent_at)


async def _until_due(asked_at: float, lead_s: float, clock_ms: Callable[[], int]) -> None:
    """Until the answer is old, or our clock was set."""
    while (age_s := trio.current_time() - asked_at) < REFRESH_S:
        if age_s >= STEP_ASK_S and abs(_lead_s(clock_ms) - lead_s) > STEP_S:
            return
        await trio.sleep(LOOK_S)


def _lead_s(clock_ms: Callable[[], int]) -> float:
    """How far our clock is ahead of the monotonic one: that changes when it is set."""
    return clock_ms() / 1000 - trio.current_time()
