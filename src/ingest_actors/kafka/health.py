"""Whether the brokers can be reached, judged by what they acknowledge rather than by what is connected."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError

from ingest_actors.kafka import codes
from ingest_actors.kafka.diagnosis import hint_of
from ingest_actors.logs import get_logger

log = get_logger()

STALL_S = 5.0
"""Records wait and nothing was acknowledged for so long: unreachable. A broker that was stopped (SIGSTOP, a hung disk)
keeps its connections, so that nothing else tells."""

CONFIRM_S = 2.0
"""librdkafka reports all brokers down also when idle connections are closed; they are back within this time."""


def write_line(name: str, *, level: str = "info", **fields: Any) -> None:
    """Tell the log alone."""
    getattr(log, level)(name, **fields)


class Health:
    """The state of the connection to the cluster, and the two lines of each outage.

    Args:
        clock: seconds, monotonic.
        announce: told when an outage begins and when it ends, on trio's thread.

    Attributes:
        reachable: the verdict.
        detail: why not; empty when reachable.
        errors: errors reported by librdkafka so far.
        suspect: whether it may be down, which only asking would tell.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, announce: Callable[..., None] = write_line
    ) -> None:
        self.reachable = True
        self.detail = ""
        self.errors = 0
        self._clock = clock
        self._announce = announce
        self._last_error: KafkaError | None = None
        self._suspect_since: float | None = None
        self._quiet_since = clock()
        self._down_since = 0.0

    @property
    def suspect(self) -> bool:
        """Whether it may be down, or be up again, which only asking would tell."""
        return not self.reachable or self._suspect_since is not None

    def on_error(self, error: KafkaError) -> None:
        """Librdkafka's ``error_cb``."""
        self.errors += 1
        # "All brokers are down" comes after the error that says why: keep that one.
        if error.code() != codes.ALL_BROKERS_DOWN or self._last_error is None:
            self._last_error = error
        if error.code() == codes.ALL_BROKERS_DOWN and self._suspect_since is None:
            self._suspect_since = self._clock()

    def began(self) -> None:
        """Records wait from now on; nothing waited before."""
        self._quiet_since = self._clock()

    def quiet_s(self) -> float:
        """Seconds since anything was acknowledged, or since records wait."""
        return self._clock() - self._quiet_since

    def answered(self) -> None:
        """A broker acknowledged something, or answered a question."""
        self._quiet_since = self._clock()
        if self._suspect_since is not None:
            self._suspect_since = None
        if self.reachable:
            return
        self.reachable = True
        self.detail = ""
        self._last_error = None
        self._announce("kafka_recovered", level="warning", outage_s=round(self._clock() - self._down_since, 1))

    def check(self, waiting: int) -> None:
        """Judge again; `waiting` is how many records wait for an acknowledgement."""
        if not self.reachable or not waiting:
            return
        quiet_s = self.quiet_s()
        confirmed = self._suspect_since is not None and self._clock() - self._suspect_since > CONFIRM_S
        if quiet_s > STALL_S or (confirmed and quiet_s > CONFIRM_S):
            detail = f"nothing was acknowledged for {quiet_s:.0f} s while {waiting} records wait"
            self.down(detail, since=self._quiet_since)

    def down(self, detail: str, *, since: float | None = None) -> None:
        """It is unreachable.

        Args:
            detail: how that showed.
            since: since when, by the clock; None: since it was suspected, if it was.
        """
        hint = ""
        if self._last_error is not None:
            detail = f"{detail}; last error: {self._last_error.str()}"
            hint = hint_of(self._last_error)
        self.detail = detail
        if not self.reachable:
            return
        self.reachable = False
        # The outage is told as long as it was, the time included that it took to be sure of it.
        begun = self._suspect_since if since is None else since
        self._down_since = self._clock() if begun is None else begun
        self._announce("kafka_unreachable", level="warning", detail=detail, **({"hint": hint} if hint else {}))
