"""Rotation: connections are replaced before the exchange ends them; the new one is there before the old one goes.

    due or announced ─▶ replacement opens, is acknowledged, brings data ─▶ exchange ─▶ old one unsubscribes, is read to
    its end, closes

Until the exchange the old connection goes on; from the acknowledgement on the new one brings everything; and what the
old one was sent until it is unsubscribed is read. So nothing is missing, whichever of the two is ahead.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from typing import Protocol

import trio

from ingest_actors.actors.connection_state import Connection
from ingest_actors.actors.fleet import Fleet
from ingest_actors.announce import Announcer

STAGGER = 0.1
"""Connections that opened together are replaced at random moments of the last tenth of their time."""

AT_ONCE_MAX = 4
"""Replacements at the same time. Each is an attempt of the 300 that the exchange allows in 5 minutes, and a connection
more; a fleet of twenty is renewed within a minute all the same."""

CONNECTIONS_EACH = 4
"""Of so many connections one is replaced at a time, so that small fleets keep their memory for reading ahead."""

OPEN_MAX_S = 60.0
"""A replacement that has not subscribed to everything by then makes room for others, and is tried again later."""

OVERLAP_S = 1.0
"""Both bring everything for at least so long."""

QUIET_S = 10.0
"""A replacement that has brought nothing after so long has nothing to bring: every busy stream brings something."""

SETTLE_MAX_S = 20.0
"""Nor is it waited longer than this until nothing is missing of any stream: a gap may last."""

DRAIN_MAX_S = 15.0
"""The exchange answers an unsubscription at once, but one message in 0.3 s is all that it takes: some ten for the 1024
streams of a connection. One that does not answer is closed all the same."""

LOOK_S = 0.25
"""Between two looks while a replacement is under way."""

RETRY_FIRST_S = 60.0
RETRY_MAX_S = 600.0
"""Until the next replacement of a connection after one has failed. There is an hour to spare."""


class Shared(Protocol):
    """What follows from two connections bringing the same; `ingest_actors.binance.sharing.Sharing` is one."""

    def hand_over(self, leader: str, successor: str) -> None:
        """The samples that one connection led are led by another."""
        ...

    def waits(self, streams: Iterable[str]) -> bool:
        """Whether anything of these streams waits for what is missing before it."""
        ...


def replacements_max(connections: int) -> int:
    """How many of so many connections are replaced at the same time."""
    return min(AT_ONCE_MAX, -(-connections // CONNECTIONS_EACH))


async def rotation(
    fleet: Fleet,
    *,
    after_s: float,
    shared: Shared,
    launch: Callable[[Connection], None],
    rng: random.Random,
    announce: Announcer,
) -> None:
    """Replace connections as they grow old, or as the exchange announces their end; ends only by cancellation.

    Args:
        fleet: the connections. All that is known of replacements is kept there, for another life.
        after_s: the age at which a connection is replaced at the latest, seconds.
        shared: told when one connection takes over from another.
        launch: starts a supervised connection.
        rng: for the stagger.
        announce: told of replacements, and of those that fail.
    """
    own = _Rotation(fleet, after_s, shared=shared, launch=launch, rng=rng, announce=announce)
    while True:
        own.look()
        with trio.move_on_at(own.next_look_s()):
            await fleet.wait_stirred()


class _Rotation:
    """One life of the rotation."""

    def __init__(
        self,
        fleet: Fleet,
        after_s: float,
        *,
        shared: Shared,
        launch: Callable[[Connection], None],
        rng: random.Random,
        announce: Announcer,
    ) -> None:
        self._fleet = fleet
        self._after_s = after_s
        self._shared = shared
        self._launch = launch
        self._rng = rng
        self._announce = announce

    def look(self) -> None:
        """Do what is due."""
        now = trio.current_time()
        for name in list(self._fleet.replacements):
            self._go_on(name, now)
        for connection in self._fleet.retired:
            if connection.leaving and self._over(connection, now):
                connection.retirement.cancel()
        for connection in self._due(now):
            if self._under_way() >= replacements_max(len(self._fleet.connections)):
                break
            self._begin(connection, now)

    def next_look_s(self) -> float:
        """When to look next, unless something happens before; trio's clock."""
        now = trio.current_time()
        if self._under_way():
            return now + LOOK_S
        due_s = min(
            (max(c.due_at_s, c.not_before_s) for c in self._fleet.connections.values() if c.due_at_s is not None),
            default=math.inf,
        )
        return max(due_s, now + LOOK_S)

    def _under_way(self) -> int:
        leaving = sum(not connection.retirement.cancel_called for connection in self._fleet.retired)
        return len(self._fleet.replacements) + leaving

    def _due(self, now: float) -> list[Connection]:
        """Connections that are to be replaced now, the most urgent first."""
        for connection in self._fleet.connections.values():
            if connection.opened_at_s is None:
                connection.due_at_s = None
            elif connection.ending_expected:
                connection.due_at_s = -math.inf
            elif connection.due_at_s is None:
                connection.due_at_s = connection.opened_at_s + self._after_s * (1 - STAGGER * self._rng.random())
        due = [
            connection
            for connection in self._fleet.connections.values()
            if connection.due_at_s is not None
            and connection.state == "open"
            and connection.reading
            and connection.name not in self._fleet.replacements
            and max(connection.due_at_s, connection.not_before_s) <= now
        ]
        return sorted(due, key=lambda connection: connection.due_at_s or 0.0)

    def _begin(self, old: Connection, now: float) -> None:
        new = self._fleet.replace(old.name, self._launch, now)
        self._announce(
            "connection_replacing",
            connection=old.name,
            by=new.name,
            because="server_shutdown" if old.ending_expected else "age",
            age_s=round(now - (now if old.opened_at_s is None else old.opened_at_s), 1),
        )

    def _go_on(self, name: str, now: float) -> None:
        """Whether one of two connections is to go, and which."""
        old, new = self._fleet.connections[name], self._fleet.replacements[name]
        if new.state == "open":
            if old.state != "open" or self._ripe(old, new, now):
                self._exchange(name, now)
        elif old.state == "open" and old.life != new.relieves_life:
            self._fleet.give_up(name)  # it has opened again by itself
        elif old.state == "open" and now - new.since_s >= OPEN_MAX_S:
            delay_s = min(RETRY_FIRST_S * 2.0**old.replacements_failed, RETRY_MAX_S)
            old.replacements_failed += 1
            old.not_before_s = now + delay_s
            self._fleet.give_up(name)
            self._announce(
                "replacement_failed", level="warning", connection=name, by=new.name, retry_in_s=round(delay_s, 3)
            )

    def _ripe(self, old: Connection, new: Connection, now: float) -> bool:
        """Whether a replacement brings all that it is to bring, and both are read as fast as they bring it."""
        if not (old.reading and new.reading):
            return False
        overlap_s = now - (now if new.subscribed_at_s is None else new.subscribed_at_s)
        if overlap_s < OVERLAP_S or (new.heard_at_s is None and overlap_s < QUIET_S):
            return False
        return overlap_s >= SETTLE_MAX_S or not self._shared.waits(new.streams)

    def _exchange(self, name: str, now: float) -> None:
        old, new = self._fleet.exchange(name, now)
        self._shared.hand_over(old.name, new.name)
        if old.subscriber is None:
            old.retirement.cancel()  # nothing is left to be read
        self._announce(
            "connection_replaced",
            connection=old.name,
            by=new.name,
            overlap_s=round(now - (now if new.subscribed_at_s is None else new.subscribed_at_s), 3),
        )

    def _over(self, connection: Connection, now: float) -> bool:
        """Whether a connection that leaves has nothing more to bring."""
        return connection.drained or (now - connection.since_s >= DRAIN_MAX_S and connection.reading)
