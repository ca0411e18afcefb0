"""How a service keeps its actors alive: restarts counted, told, and bounded."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

from ingest_actors.announce import Announcer
from ingest_actors.errors import IngestError
from ingest_actors.status import Tallies
from ingest_actors.supervision import Backoff, Mailbox, RestartWindow, keep_alive

RESTARTS_MAX = 10
RESTART_PERIOD_S = 180.0
"""An actor that crashes more than `RESTARTS_MAX` times in this long is sick, and a restart will not mend it. Much
longer than so many restarts take with their delays, or one that crashes steadily would never be found out."""


class Supervisor:
    """Keeps actors of one service alive.

    Args:
        tallies: told of each restart.
        announce: likewise.
        rng: for jitter.
    """

    def __init__(self, tallies: Tallies, announce: Announcer, rng: random.Random) -> None:
        self._tallies = tallies
        self._announce = announce
        self._rng = rng

    async def keep_alive(
        self,
        name: str,
        actor: Callable[[], Awaitable[None]],
        *,
        inbox: Mailbox[Any] | None = None,
        on_poison: Callable[[Any, Exception], Awaitable[None]] | None = None,
    ) -> None:
        """Run an actor, again after each crash, until it ends; see `ingest_actors.supervision.keep_alive`.

        Args:
            name: for logs and errors; what comes before a blank is the actor's kind, by which restarts are counted.
            actor: one life of it.
            inbox: whose leases return when it crashes.
            on_poison: what becomes of an item that crashes it again and again.
        """

        def on_restart(crash: Exception, delay_s: float) -> None:
            self._tallies.actor_restarts[name.split(maxsplit=1)[0]] += 1
            self._announce(
                "actor_restarted",
                level="error",
                actor=name,
                cause=repr(crash),
                delay_s=round(delay_s, 3),
                exc_info=crash,
            )

        await keep_alive(
            actor,
            name=name,
            inbox=inbox,
            window=RestartWindow(RESTARTS_MAX, RESTART_PERIOD_S),
            backoff=Backoff(rng=self._rng),
            fatal=(IngestError,),
            on_restart=on_restart,
            on_poison=on_poison,
        )
