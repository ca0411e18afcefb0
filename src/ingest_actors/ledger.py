"""Tallies of events, and the law that they must balance.

For each event type, at every instant:

    received + backfilled + recovered = delivered + dead_lettered + duplicates + spooled + in_flight

`spooled` counts what was put on the disk, and `recovered` what was written to Kafka from there, be it from an earlier
process's spool: until it is written it is where it was, on the disk. So what this process has put there and not drained
is the difference of the two, unless something was there before.

`in_flight` is never derived from the others: it is counted, when asked for, in the mailboxes that hold events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from ingest_actors.messages import Route

Holder = Callable[[], Iterable[Route]]
"""Lists the route of each event that something holds, one entry an event."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """The tallies of one event type, in events."""

    received: int = 0
    backfilled: int = 0
    recovered: int = 0
    delivered: int = 0
    dead_lettered: int = 0
    duplicates: int = 0
    spooled: int = 0
    in_flight: int = 0

    @property
    def difference(self) -> int:
        """What came in and is not accounted for: 0, or there is a bug."""
        came = self.received + self.backfilled + self.recovered
        went = self.delivered + self.dead_lettered + self.duplicates + self.spooled
        return came - went - self.in_flight


class Ledger:
    """One service's tallies, by event type; written by the actors, read by the monitor. Not shared between threads."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.backfilled: Counter[str] = Counter()
        self.recovered: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.dead_lettered: Counter[str] = Counter()
        self.duplicates: Counter[str] = Counter()
        self.spooled: Counter[str] = Counter()
        self._holders: list[Holder] = []

    def add_holder(self, holder: Holder) -> None:
        """Register something that holds events between being received and being settled."""
        self._holders.append(holder)

    def receive(self, routes: Mapping[Route, int]) -> None:
        """Count events that entered the pipeline from the exchange."""
        for route, count in routes.items():
            self.received[route.event_type] += count

    def drop(self, routes: Mapping[Route, int]) -> None:
        """Count events that were there before, and were let fall."""
        for route, count in routes.items():
            self.duplicates[route.event_type] += count

    def settle(self, routes: Mapping[Route, int]) -> None:
        """Count events that are written wherever they belong: delivered, or dead-lettered by their route."""
        for route, count in routes.items():
            if route.counted:
                (self.dead_lettered if route.dead_letter else self.delivered)[route.event_type] += count

    def spool(self, routes: Mapping[Route, int]) -> None:
        """Count events that are safe on the disk, and wait there for Kafka."""
        for route, count in routes.items():
            if route.counted:
                self.spooled[route.event_type] += count

    def recover(self, routes: Mapping[Route, int]) -> None:
        """Count events that the disk has had, and that are settled, or put on it again, in the same step."""
        for route, count in routes.items():
            if route.counted:
                self.recovered[route.event_type] += count

    def in_flight(self) -> Counter[str]:
        """What is held right now, counted where it is held."""
        return Counter(route.event_type for holder in self._holders for route in holder() if route.counted)

    def entries(self) -> dict[str, LedgerEntry]:
        """The tallies of every event type seen so far, sorted by name."""
        in_flight = self.in_flight()
        tallies = {
            name: getattr(self, name)
            for name in ("received", "backfilled", "recovered", "delivered", "dead_lettered", "duplicates", "spooled")
        }
        kinds = sorted(in_flight.keys() | set().union(*tallies.values()))
        return {
            kind: LedgerEntry(**{name: tally[kind] for name, tally in tallies.items()}, in_flight=in_flight[kind])
            for kind in kinds
        }

    def total(self) -> LedgerEntry:
        """The tallies over all event types."""
        return in_all(self.entries().values())

    def unbalanced(self) -> dict[str, int]:
        """Event types whose tallies do not balance, and by how much; empty, or there is a bug."""
        return {kind: entry.difference for kind, entry in self.entries().items() if entry.difference}


def in_all(entries: Collection[LedgerEntry]) -> LedgerEntry:
    """The sum of entries."""
    return LedgerEntry(
        **{name: sum(getattr(entry, name) for entry in entries) for name in LedgerEntry.__dataclass_fields__}
    )
