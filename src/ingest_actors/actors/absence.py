"""Counts how long nobody listened to streams whose events are not fetched again."""

from __future__ import annotations

from collections.abc import Callable

import trio

from ingest_actors.actors.fleet import Fleet
from ingest_actors.announce import Announcer
from ingest_actors.binance.absences import Absences

LOOK_INTERVAL_S = 1.0
"""What is counted is that exact."""


async def absence(fleet: Fleet, *, absences: Absences, heard: Callable[[str], float], announce: Announcer) -> None:
    """Look again and again; ends only by cancellation.

    Args:
        fleet: what is wanted, and the connections.
        absences: what is known; outlives this actor's lives.
        heard: when a stream last brought something, by trio's clock.
        announce: told when streams are listened to again.
    """
    while True:
        wanted = fleet.wanted.streams if fleet.wanted is not None else ()
        listening = [connection.acknowledged_streams for connection in fleet.everyone()]
        ended = absences.look(trio.current_time(), wanted, listening, heard)
        if ended is not None:
            announce("samples_missed", level="warning", streams=ended.streams, longest_s=round(ended.longest_s, 1))
        await trio.sleep(LOOK_INTERVAL_S)
