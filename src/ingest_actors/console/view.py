"""The picture that all onlookers share: made at most once a second, and more seldom where it costs more.

It keeps what a picture of one instant lacks: what was measured over the last minute, and the survey of the streams.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import trio

from ingest_actors.console.board import Board, make_board
from ingest_actors.console.survey import Page, Query, Survey
from ingest_actors.console.verdict import Recent, fresh, whole
from ingest_actors.details import Details
from ingest_actors.status import Histogram, Status

TICK_S: Final = 1.0
TICK_MAX_S: Final = 10.0
SHARE_MAX: Final = 0.002
"""Of the loop's time, for pictures: when one takes 4 ms, because much is held, there is one in two seconds. The same
again goes into the survey of the streams."""

LATENCY_S: Final = 60.0
LATENCY_STEP_S: Final = 5.0
"""What latencies are taken over, and how finely."""


class View:
    """Makes pictures of one service.

    Args:
        status: looks at the service.
        details: tells of its parts; None: nobody does.
        clock: seconds, monotonic.
    """

    def __init__(
        self, status: Callable[[], Status], details: Details | None, clock: Callable[[], float] = trio.current_time
    ) -> None:
        self._status = status
        self._details = details
        self._clock = clock
        self._survey = None if details is None else Survey(details, clock)
        self._latency: deque[tuple[float, dict[str, Histogram]]] = deque()
        self._made_s = -TICK_MAX_S
        self._board: Board | None = None
        self.tick_s = TICK_S

    async def look(self, query: Query) -> tuple[Board, Page | None]:
        """The picture, and the streams that somebody looks at; None: nobody tells of streams."""
        board = self.board()
        if self._survey is None:
            return board, None
        await self._survey.refresh()
        return board, self._survey.page(query)

    def board(self) -> Board:
        """The picture of this instant, or one that is so young that it will do."""
        now = self._clock()
        if self._board is None or now - self._made_s >= self.tick_s * 0.9:
            began = time.thread_time()
            self._board, self._made_s = self._make(now), now
            self.tick_s = min(max(TICK_S, (time.thread_time() - began) / SHARE_MAX), TICK_MAX_S)
        return self._board

    def _make(self, now: float) -> Board:
        status, details = self._status(), self._details
        latency = self._lately(status.tallies.latency, now)
        verdicts = (whole(status, details), fresh(status, details, self._recent(status, latency)))
        return make_board(status, details, verdicts, latency)

    def _recent(self, status: Status, latency: Mapping[str, Histogram]) -> Recent:
        exchange, ack = latency.get("exchange"), latency.get("ack")
        restarted = None
        if self._details is not None and status.tallies.actor_restarts:
            crashes = (entry for entry in self._details.happenings() if entry.name == "actor_restarted")
            restarted = max(crashes, key=lambda entry: entry.at_ms, default=None)
        return Recent(
            exchange_p50_s=None if exchange is None else exchange.quantile(0.5),
            ack_p50_s=None if ack is None else ack.quantile(0.5),
            restarted="" if restarted is None else _actor_of(restarted.text),
            restarted_s=None if restarted is None else (status.at_ms - restarted.at_ms) / 1000,
        )

    def _lately(self, histograms: Mapping[str, Histogram], now: float) -> dict[str, Histogram]:
        """What was counted since a minute ago, or since somebody first looked; at first, since the start."""
        if not self._latency or now - self._latency[-1][0] >= LATENCY_STEP_S:
            self._latency.append((now, {hop: _copy(histogram) for hop, histogram in histograms.items()}))
        while len(self._latency) > 1 and now - self._latency[1][0] >= LATENCY_S:
            self._latency.popleft()
        at, before = self._latency[0]
        if now - at < LATENCY_STEP_S:
            return dict(histograms)
        return {hop: _since(histogram, before.get(hop)) for hop, histogram in histograms.items()}


def _copy(histogram: Histogram) -> Histogram:
    copy = Histogram(histogram.bounds)
    copy.counts, copy.total = list(histogram.counts), histogram.total
    return copy


def _since(histogram: Histogram, before: Histogram | None) -> Histogram:
    """What a histogram has counted that it had not counted before."""
    if before is None:
        return histogram
    since = Histogram(histogram.bounds)
    since.counts = [now - then for now, then in zip(histogram.counts, before.counts, strict=True)]
    since.total = histogram.total - before.total
    return since


def _actor_of(text: str) -> str:
    """The actor that a line about a crash names."""
    fields: dict[str, Any] = dict(part.partition("=")[::2] for part in text.split(" "))
    return str(fields.get("actor", "actor"))
