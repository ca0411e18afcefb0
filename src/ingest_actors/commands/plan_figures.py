"""What settings amount to, in figures. Nobody is asked; the parts of the service that do it say how they would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from ingest_actors.binance.attempts import ATTEMPTS_MAX, ATTEMPTS_PERIOD_S, attempts_take_s
from ingest_actors.binance.planning import SUBSCRIBE, assign, control_messages
from ingest_actors.binance.rest import SYMBOLS_ASKED_MAX, WEIGHTS
from ingest_actors.binance.session import MESSAGE_INTERVAL_S
from ingest_actors.binance.symbols import is_pattern
from ingest_actors.bounds import Bounds
from ingest_actors.settings import Settings
from ingest_actors.sources import SPARE_CONNECTIONS

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
        weight_at_start: REST weight of a start.
        weight_a_minute: most REST weight a minute while it runs.
        memory: shares of `BUFFER_MAX_BYTES`, bytes.
    """

    streams: int
    by_type: dict[str, int]
    connections: tuple[Carried, ...]
    open_s: float
    ready_s: float
    attempts_max: int
    attempts_period_s: float
    weight_at_start: int
    weight_a_minute: int
    memory: dict[str, int]


def figures(settings: Settings, streams: Sequence[str], *, asked_twice: bool = False) -> Figures:
    """Work them out.

    Args:
        settings: what is set.
        streams: names of the streams that would be subscribed.
        asked_twice: some symbols are not listed, so that the exchange is asked for all.
    """
    connections = tuple(_carried(carried) for carried in assign(streams).values())
    open_s = attempts_take_s(len(connections))
    bounds = Bounds.of(settings.buffer_max_bytes, spool=settings.spool_dir is not None)
    read_ahead = bounds.read_ahead_of_each(len(connections) + SPARE_CONNECTIONS)
    last_s = max((connection.subscribe_s for connection in connections), default=0.0)
    info = WEIGHTS["exchangeInfo"]
    few = len(settings.binance_symbols) <= SYMBOLS_ASKED_MAX and not any(map(is_pattern, settings.binance_symbols))
    return Figures(
        streams=len(streams),
        by_type=dict(Counter(stream if stream.startswith("!") else stream.partition("@")[2] for stream in streams)),
        connections=connections,
        open_s=open_s,
        ready_s=open_s + last_s,
        attempts_max=ATTEMPTS_MAX,
        attempts_period_s=ATTEMPTS_PERIOD_S,
        weight_at_start=info * (2 if asked_twice and few else 1),
        weight_a_minute=WEIGHTS.get(STATISTICS, 0),
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
