"""Which connection carries what, and the messages that say so to the exchange. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import NamedTuple

import msgspec

STREAMS_PER_CONNECTION_MAX = 1024
"""The exchange's limit (``web-socket-streams.md``, limits)."""

CONTROL_MESSAGE_MAX_BYTES = 4000
"""The exchange reads 4096 bytes of a control message and takes the rest for a syntax error."""

SUBSCRIBE = "SUBSCRIBE"
UNSUBSCRIBE = "UNSUBSCRIBE"
LIST_SUBSCRIPTIONS = "LIST_SUBSCRIPTIONS"


class ControlMessage(NamedTuple):
    """One message to the exchange about streams."""

    id: int
    method: str
    """`SUBSCRIBE`, `UNSUBSCRIBE` or `LIST_SUBSCRIPTIONS`."""
    streams: tuple[str, ...]
    """What it is about."""
    text: str
    """What is sent."""


def assign(
    wanted: Sequence[str],
    current: Mapping[str, Sequence[str]] | None = None,
    leaving: Mapping[str, str] | None = None,
    *,
    streams_max: int = STREAMS_PER_CONNECTION_MAX,
) -> dict[str, tuple[str, ...]]:
    """Plan which connection carries which streams.

    No stream that is carried and still wanted moves, but for those that are to leave their connection. Those, and then
    new ones, fill the room that is left, then new connections.

    Args:
        wanted: names of streams; one that is there twice counts once.
        current: by connection's name, what it carries now.
        leaving: by stream, the connection that it is to be moved away from.
        streams_max: most streams of one connection.

    Returns:
        By connection's name, what it is to carry. A connection that would carry nothing is not among them.
    """
    homeless = dict.fromkeys(wanted)
    away = leaving or {}
    plan: dict[str, list[str]] = {}
    for name, streams in (current or {}).items():
        unmoved = [stream for stream in dict.fromkeys(streams) if stream in homeless and away.get(stream) != name]
        plan[name] = unmoved[:streams_max]
        for stream in plan[name]:
            del homeless[stream]
    names = _fresh_names(plan.keys())
    for stream in [stream for stream in homeless if stream in away]:
        room = (name for name in plan if name != away[stream] and len(plan[name]) < streams_max)
        plan.setdefault(next(room, None) or next(names), []).append(stream)
        del homeless[stream]
    new = iter(homeless)
    for streams in plan.values():
        streams.extend(_take(new, streams_max - len(streams)))
    while batch := list(_take(new, streams_max)):
        plan[next(names)] = batch
    return {name: tuple(streams) for name, streams in plan.items() if streams}


def control_messages(
    method: str,
    streams: Iterable[str],
    *,
    next_id: Callable[[], int],
    bytes_max: int = CONTROL_MESSAGE_MAX_BYTES,
) -> list[ControlMessage]:
    """The messages that subscribe to streams, or drop them, each within what the exchange reads.

    Args:
        method: `SUBSCRIBE` or `UNSUBSCRIBE`.
        streams: in this order.
        next_id: gives a message its number.
        bytes_max: most bytes of one message, as UTF-8. A single name that is longer still gets a message of its own.
    """
    messages: list[ControlMessage] = []
    part: list[str] = []
    room = _room(method, bytes_max)
    for stream in streams:
        needed = len(msgspec.json.encode(stream)) + 1
        if part and needed > room:
            messages.append(_message(method, part, next_id()))
            part, room = [], _room(method, bytes_max)
        part.append(stream)
        room -= needed
    if part:
        messages.append(_message(method, part, next_id()))
    return messages


def list_message(streams: tuple[str, ...], number: int) -> ControlMessage:
    """The question which streams the exchange lists for a connection.

    Args:
        streams: that it should name.
        number: of the message.
    """
    text = msgspec.json.encode({"method": LIST_SUBSCRIPTIONS, "id": number}).decode()
    return ControlMessage(number, LIST_SUBSCRIPTIONS, streams, text)


def _room(method: str, bytes_max: int) -> int:
    """Bytes left for names; reckoned with the longest number that an id may be."""
    return bytes_max - len(_message(method, [], 2**63 - 1).text)


def _message(method: str, streams: Sequence[str], number: int) -> ControlMessage:
    text = msgspec.json.encode({"method": method, "params": streams, "id": number}).decode()
    return ControlMessage(number, method, tuple(streams), text)


def _take(streams: Iterator[str], most: int) -> Iterator[str]:
    for _ in range(most):
        try:
            yield next(streams)
        except StopIteration:
            return


def _fresh_names(taken: Iterable[str]) -> Iterator[str]:
    known = frozenset(taken)
    return (name for name in (f"ws-{number}" for number in count(1)) if name not in known)
