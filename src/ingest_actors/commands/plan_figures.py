"""What settings amount to, in figures. Nobody is asked; the parts of the service that do it say how they would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from ingest_actors.binance.attempts import ATTEMPTS_MAX, ATTEMPTS_PERIOD_S, attempts_take_s
from ingest_actors.binance.planning import SUBSCRIBE, assign, control_messages
from ingest_actors.binance.rest import SYMBOLS_ASKED_MAX, WEIGHTS, depth_weight
from ingest_actors.binance.session import MESSAGE_INTERVAL_S
from ingest_actors.binance.stream_table import Repair, StreamTable
from ingest_actors.binance.symbols import is_pattern
from ingest_actors.binance.weight import URGENT_SHARE, WINDOW_S
from ingest_actors.bounds import Bounds
from ingest_actors.settings import Settings
from ingest_actors.sources import asked_again, connections_max

STATISTICS: Final = "ticker/24hr"
"""What the watch over the streams asks, at most once a minute and only when some are silent."""


@dataclass(frozen=True, slots=True)
class Carried:
    """One connection.

    Attributes:
        streams: how many it carries.
        messages: that subscribe to them.
        size_bytes: of those messages together.
        message_bytes_max: of the largest of them.
        subscribe_s: from the first of them to the last, at the exchange's pace, seconds.
    """

    streams: int
    messages: int
    size_bytes: int
    message_bytes_max: int
    subscribe_s: float


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Snapshots of books.

    Attributes:
        books: how many books there are.
        weight: REST weight of one.
        weight_a_minute: most that they use of a minute; the rest is left to the repair of gaps.
        take_s: until each has been written once, at that pace, seconds.
    """

    books: int
    weight: int
    weight_a_minute: int
    take_s: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What settings amount to.

    Attributes:
        streams: how many in all.
        by_type: how many of each stream type.
        connections: each of them.
        open_s: until the last one is opened, at the pace of the attempts, seconds.
        ready_s: until all is subscribed, seconds; the network's own time is not in it.
        attempts_max: connection attempts that are made within `attempts_period_s`.
        attempts_period_s: seconds.
        weight_listing: REST weight of asking what is listed.
        weight_at_start: REST weight of a start, all books included.
        weight_a_minute: most REST weight a minute while it runs, beside the repair of gaps.
        snapshots: of books.
        memory: shares of `BUFFER_MAX_BYTES`, bytes.
    """

    streams: int
    by_type: dict[str, int]
    connections: tuple[Carried, ...]
    open_s: float
    ready_s: float
    attempts_max: int
    attempts_period_s: float
    weight_listing: int
    weight_at_start: int
    weight_a_minute: int
    snapshots: Snapshots
    memory: dict[str, int]


def figures(settings: Settings, streams: Sequence[str], *, asked_twice: bool = False) -> Figures:
    """Work them out.

    Args:
        settings: what is set.
        streams: names of the streams that would be subscribed.
        asked_twice: some symbols are not listed, so that the exchange is asked for all.
    """
    connections = tuple(_carried(carried) for carried in assign(streams).values()) * settings.connections_per_stream
    open_s = attempts_take_s(len(connections))
    bounds = Bounds.of(settings.buffer_max_bytes, spool=settings.spool_dir is not None)
    read_ahead = bounds.read_ahead_of_each(connections_max(len(connections)))
    last_s = max((connection.subscribe_s for connection in connections), default=0.0)
    few = len(settings.binance_symbols) <= SYMBOLS_ASKED_MAX and not any(map(is_pattern, settings.binance_symbols))
    listing = WEIGHTS["exchangeInfo"] * (2 if asked_twice and few else 1)
    snapshots = _snapshots(settings, streams)
    return Figures(
        streams=len(streams),
        by_type=dict(Counter(stream if stream.startswith("!") else stream.partition("@")[2] for stream in streams)),
        connections=connections,
        open_s=open_s,
        ready_s=open_s + last_s,
        attempts_max=ATTEMPTS_MAX,
        attempts_period_s=ATTEMPTS_PERIOD_S,
        weight_listing=listing,
        weight_at_start=listing + snapshots.books * snapshots.weight,
        weight_a_minute=WEIGHTS[STATISTICS]
        + (WEIGHTS["exchangeInfo"] if asked_again(settings, unlisted=asked_twice) else 0)
        + snapshots.weight_a_minute,
        snapshots=snapshots,
        memory={
            "kafka_queue": bounds.sink,
            "batches": bounds.batches_mailbox,
            **({"spool": bounds.spool} if bounds.spool else {}),
            "events": bounds.events_mailbox,
            "frames": bounds.frames_mailbox,
            "read_ahead_of_each_connection": read_ahead,
            "read_ahead": read_ahead * len(connections),
        },
    )


def _snapshots(settings: Settings, streams: Sequence[str]) -> Snapshots:
    table = StreamTable()
    kinds = map(table.kind_of_stream, streams)
    books = sum(kind is not None and kind.repair is Repair.BOOK_SNAPSHOT for kind in kinds)
    weight = depth_weight(settings.depth_snapshot_limit)
    pace = max(weight, settings.rest_weight_per_minute * (1 - URGENT_SHARE))
    times = max(1.0, WINDOW_S / settings.depth_snapshot_interval_seconds)
    at_once = int(pace // weight)
    return Snapshots(
        books=books,
        weight=weight,
        weight_a_minute=round(min(at_once * weight, books * weight * times)),
        take_s=max(0, -(-books // at_once) - 1) * WINDOW_S,
    )


def _carried(streams: Sequence[str]) -> Carried:
    messages = control_messages(SUBSCRIBE, streams, next_id=count(1).__next__)
    sizes = [len(message.text.encode()) for message in messages]
    return Carried(
        streams=len(streams),
        messages=len(messages),
        size_bytes=sum(sizes),
        message_bytes_max=max(sizes),
        subscribe_s=round((len(messages) - 1) * MESSAGE_INTERVAL_S, 3),
    )
