"""Telling of dead letters: one by one, unless there are too many."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import trio

from ingest_actors.messages import Route

TOLD_MAX = 10
TOLD_PERIOD_S = 10.0
"""Most dead letters that are told of one by one in so long; more would say nothing new. The ledger counts them all."""


class DeadLetterLog:
    """Says ``dead_lettered`` with the headers of each dead letter, or at times how many went untold.

    Equal ones are told together, with their ``count``.

    Args:
        announce: told of them.
    """

    def __init__(self, announce: Callable[..., None]) -> None:
        self._announce = announce
        self._since_s = 0.0
        self._told = 0
        self._untold = 0

    def tell(self, routes: Mapping[Route, int]) -> None:
        """Tell of what was written; only dead letters are of interest."""
        for route, count in routes.items():
            if route.dead_letter and count:
                self._tell(route, count)

    def _tell(self, route: Route, count: int) -> None:
        now_s = trio.current_time()
        if now_s - self._since_s >= TOLD_PERIOD_S:
            self._since_s, self._told = now_s, 0
        if self._told >= TOLD_MAX:
            self._untold += count
            return
        self._told += 1
        said = {name: value.decode("utf-8", "replace") for name, value in route.headers}
        untold = {"untold_before": self._untold} if self._untold else {}
        self._untold = 0
        alike = {"count": count} if count > 1 else {}
        self._announce("dead_lettered", level="warning", **said, **alike, **untold)
