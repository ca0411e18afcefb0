"""What librdkafka tells of itself every so often, and what of it matters to whoever looks after the service.

Its statistics are one JSON text a period, 30 kB and more; only the fields named here are decoded. Names and units are
those of librdkafka's ``STATISTICS.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ingest_actors.logs import get_logger
from ingest_actors.protocols import BrokerStatus, ClientStatus

log = get_logger()

STATISTICS_INTERVAL_MS = 5_000
"""Often enough for a scrape every 15 s to find fresh figures. Reading them takes 53 us (30 kB, three brokers).
``KAFKA_PRODUCER_STATISTICS_INTERVAL_MS`` sets another one; 0 = none."""

BROKERS_MAX = 32
"""Brokers that are told by name, those with the longest round trips: names become metric labels, and those must be few.
The counts are over all brokers."""

CLIENTS_MAX = 4
"""Producers whose counts are kept apart: the current one, and those that make way for it. Older ones are summed up."""

_US = 1e-6

_TRANSACTION = {
    "Init": "starting",
    "WaitPID": "starting",
    "ReadyNotAcked": "ready",
    "Ready": "ready",
    "InTransaction": "open",
    "BeginCommit": "ending",
    "CommittingTransaction": "ending",
    "CommitNotAcked": "ending",
    "BeginAbort": "ending",
    "AbortingTransaction": "ending",
    "AbortedNotAcked": "ending",
    "AbortableError": "failed",
    "FatalError": "failed",
}


class _Window(msgspec.Struct, gc=False):
    p99: int = 0


class _Broker(msgspec.Struct, gc=False):
    nodeid: int = -1
    state: str = ""
    outbuf_cnt: int = 0
    waitresp_cnt: int = 0
    txretries: int = 0
    req_timeouts: int = 0
    connects: int = 0
    disconnects: int = 0
    rtt: _Window = msgspec.field(default_factory=_Window)


class _Eos(msgspec.Struct, gc=False):
    txn_state: str = ""


class _Statistics(msgspec.Struct, gc=False):
    name: str = ""
    brokers: dict[str, _Broker] = {}
    eos: _Eos = msgspec.field(default_factory=_Eos)


_DECODER = msgspec.json.Decoder(_Statistics)
_COUNTS = ("retries", "timeouts", "connects", "disconnects")


class ClientStatistics:
    """The statistics of one sink, whose producers may follow each other.

    Args:
        transactional: whether its producers write in transactions.

    Attributes:
        latest: what was told last; None: nothing yet.
    """

    def __init__(self, *, transactional: bool = False) -> None:
        self.latest: ClientStatus | None = None
        self._transactional = transactional
        self._before: dict[str, int] = dict.fromkeys(_COUNTS, 0)
        self._clients: dict[str, dict[str, int]] = {}

    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        """The same options of a producer, with which it tells its statistics; what a user has set stands."""
        return {"statistics.interval.ms": STATISTICS_INTERVAL_MS, **options, "stats_cb": self.take}

    def take(self, text: str) -> None:
        """Librdkafka's ``stats_cb``: called from wherever the producer is polled, a transaction's thread too."""
        try:
            told = _DECODER.decode(text)
        except msgspec.DecodeError as error:
            log.debug("kafka_statistics_unreadable", cause=str(error))
            return
        brokers = told.brokers.values()
        self._clients.pop(told.name, None)
        self._clients[told.name] = {
            "retries": sum(broker.txretries for broker in brokers),
            "timeouts": sum(broker.req_timeouts for broker in brokers),
            "connects": sum(broker.connects for broker in brokers),
            "disconnects": sum(broker.disconnects for broker in brokers),
        }
        if len(self._clients) > CLIENTS_MAX:
            self._before = _sums([self._before, self._clients.pop(next(iter(self._clients)))])
        transaction = _TRANSACTION.get(told.eos.txn_state, "") if self._transactional else ""
        counts = _sums([self._before, *self._clients.values()])
        self.latest = ClientStatus(_named(brokers), **counts, transaction=transaction)


def _sums(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    return {name: sum(some[name] for some in counts) for name in _COUNTS}


def _named(brokers: Iterable[_Broker]) -> tuple[BrokerStatus, ...]:
    """Those that have an id and were connected to; the slowest, if there are many, by id."""
    known = [
        BrokerStatus(
            str(broker.nodeid),
            broker.state == "UP",
            max(broker.rtt.p99, 0) * _US,
            broker.outbuf_cnt + broker.waitresp_cnt,
        )
        for broker in brokers
        if broker.nodeid >= 0 and broker.connects
    ]
    slowest = sorted(known, key=lambda broker: broker.rtt_p99_s, reverse=True)[:BROKERS_MAX]
    return tuple(sorted(slowest, key=lambda broker: int(broker.name)))
