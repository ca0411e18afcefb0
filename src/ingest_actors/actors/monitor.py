"""The monitor: looks at tallies and mailboxes, and tells what it sees. It holds nothing and is the last to go."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

import trio

SAMPLE_INTERVAL_S = 1.0
"""How often the tallies are sampled for rates: often enough for a live table, too seldom to cost anything."""

RATE_PERIOD_S = 10
"""What rates are taken over, seconds: long enough to smooth bursts, short enough to show a stall."""


class Rates:
    """Events received a second by event type, over the last `RATE_PERIOD_S`."""

    def __init__(self, received: Mapping[str, int]) -> None:
        self._received = received
        self._samples: deque[tuple[float, Counter[str]]] = deque(maxlen=RATE_PERIOD_S + 1)

    def sample(self, now_s: float) -> None:
        """Look at the tallies; `now_s` is monotonic."""
        self._samples.append((now_s, Counter(self._received)))

    def current(self) -> dict[str, float]:
        """By event type; empty until there are two samples."""
        if len(self._samples) < 2:  # noqa: PLR2004 - a rate lies between two samples
            return {}
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        return {kind: (last[kind] - first[kind]) / (last_s - first_s) for kind in sorted(last)}


async def monitor(
    *,
    rates: Rates,
    interval_s: float,
    metrics: Callable[[], dict[str, Any]],
    look: Callable[[], None],
    announce: Callable[..., None],
) -> None:
    """Sample rates, and say ``service_metrics`` every `interval_s` seconds; ends only by cancellation.

    `look` is called at each turn, for what changes without anybody's doing.
    """
    start_s = trio.current_time()
    next_line_s = start_s + interval_s
    rates.sample(start_s)
    while True:
        await trio.sleep(SAMPLE_INTERVAL_S)
        now_s = trio.current_time()
        rates.sample(now_s)
        look()
        if now_s >= next_line_s:
            # A loop that stood still does not make up for lines that nobody would have read.
            next_line_s += interval_s * ((now_s - next_line_s) // interval_s + 1)
            announce("service_metrics", **metrics())
