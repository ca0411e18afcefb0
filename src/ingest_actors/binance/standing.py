"""How the exchange takes this address: which endpoints refuse it, until when it is banned, and the pace that follows.

Refusals (HTTP 403, 451) are for an endpoint: others may take us, so they are tried at the normal pace, and the one
that refused is passed over for a while. When all refuse, attempts come at the longest delay at once.

Bans (HTTP 418, 429) are for an address, whatever connection asked too much: so all connections of the service wait.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

import trio

from ingest_actors.errors import ExchangeUnreachable

REFUSING: Final = frozenset({403, 451})
"""This address is refused, by rule or by region."""

BANNED: Final = frozenset({418, 429})
"""This address has asked too much."""

BAN_FLOOR_S: Final = {429: 60.0, 418: 120.0}
"""The wait when the exchange does not say how long. 429: its shortest window is a minute. 418: its shortest ban is two
minutes (``rest-api.md``, IP limits)."""

RETRY_AFTER_MAX_S: Final = 3 * 86_400.0
"""Most that is waited because an answer says so: the exchange's longest ban is three days, more must be a mistake."""

REFUSED_DELAY_S: Final = 300.0
"""Between attempts of one connection while every endpoint refuses this address: as the longest of all delays."""

PASSED_OVER_S: Final = 600.0
"""How long an endpoint that refused is left out while there is another: what it holds against us lasts minutes (too
many requests), or for ever (the region), and once in so long does not hurt."""


def asked_wait_s(failure: ExchangeUnreachable) -> float:
    """The least wait that an answer asks for, in seconds; 0 when it asks for none. Bounded by `RETRY_AFTER_MAX_S`."""
    floor_s = BAN_FLOOR_S.get(failure.status or 0, 0.0)
    if failure.retry_after_s is None:
        return floor_s
    least_s = 1.0 if failure.status in BANNED else 0.0  # "0" would make a storm of it
    return min(max(failure.retry_after_s, least_s), RETRY_AFTER_MAX_S)


class Standing:
    """What all connections of a service know together. Used on the trio thread only.

    Args:
        endpoints: URLs, used in turn.
        hold: called with seconds for which no connection may make an attempt.
    """

    def __init__(self, endpoints: Sequence[str], *, hold: Callable[[float], None] = lambda _: None) -> None:
        self._endpoints = list(endpoints)
        self._hold = hold
        self._refused_until_s: dict[str, float] = {}

    def turns(self, first: int, avoid: Callable[[], Collection[str]] = tuple) -> Iterator[str]:
        """The endpoints for one connection's attempts, one after the other, without end.

        An endpoint that refuses this address is left out, as long as another does not.

        Args:
            first: which one begins; different connections begin with different ones, so that one dead endpoint does
                not keep them all.
            avoid: asked for endpoints that another is preferred to, if there is another that takes us: those of
                connections with the same streams.
        """
        position = first
        while True:
            ahead = [(position + step) % len(self._endpoints) for step in range(len(self._endpoints))]
            taking = [index for index in ahead if not self._refuses(self._endpoints[index])]
            avoided = avoid()
            chosen = next((index for index in taking if self._endpoints[index] not in avoided), (taking or ahead)[0])
            position = chosen + 1
            yield self._endpoints[chosen]

    def heed(self, failure: ExchangeUnreachable) -> float:
        """Take note of why an attempt failed.

        Returns:
            The least time until the next attempt of the connection that made this one, seconds.
        """
        wait_s = asked_wait_s(failure)
        if failure.status in REFUSING:
            self._refused_until_s[failure.url] = trio.current_time() + PASSED_OVER_S
            if all(map(self._refuses, self._endpoints)):
                wait_s = max(wait_s, REFUSED_DELAY_S)
        if failure.status in BANNED:
            self._hold(wait_s)
        return wait_s

    def welcomed(self, url: str) -> None:
        """An endpoint has let us in: what it held against this address is over."""
        self._refused_until_s.pop(url, None)

    def _refuses(self, endpoint: str) -> bool:
        return self._refused_until_s.get(endpoint, 0.0) > trio.current_time()
