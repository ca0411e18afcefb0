"""Where librdkafka's own lines go: to a logger below ours, at a level that fits what we make of them."""

from __future__ import annotations

import logging
from typing import Final

_LOGGER: Final = logging.getLogger("ingest_actors.librdkafka")

_TOLD_OTHERWISE: Final = frozenset({"FAIL", "ERROR", "REQTMOUT", "GETPID", "METADATAUPDATE"})
"""Kinds of lines about connections. Each attempt makes one, several a second; `kafka_unreachable` tells of the outage
once, with the last of their reasons."""

_UNWANTED: Final = ("CONFWARN", "Gap-less ordering")
"""Notes on the configuration (ours is as it is on purpose, the users' is checked before), and what is fatal to a
gapless producer but a matter of course to us: `kafka_request_refused` tells."""


_TRANSACTION_FAILED: Final = "TXNERR"


class LibrdkafkaLog:
    """Fits what confluent-kafka asks of a logger. librdkafka's lines hold no secrets.

    Args:
        level_max: no line is written above this level.

    Attributes:
        transaction_error: why the transaction that is open failed. When a broker refuses a partition of it, nothing but
            this line says so: the records come back as purged, and the end of the transaction fails for its state.
    """

    def __init__(self, level_max: int = logging.CRITICAL) -> None:
        self._level_max = level_max
        self.transaction_error = ""

    def log(self, level: int, text: str, kind: str = "", *parts: str) -> None:
        """One line; called from `poll`."""
        if any(unwanted in part for unwanted in _UNWANTED for part in (kind, *parts)):
            return
        if kind == _TRANSACTION_FAILED and parts:
            self.transaction_error = parts[-1]
        level_max = logging.DEBUG if kind in _TOLD_OTHERWISE else self._level_max
        _LOGGER.log(min(level, level_max), text, kind, *parts)
