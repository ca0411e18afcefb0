"""A batch of events as bytes, and back.

Topics are written by their roles (``raw``, ``trades``, ...), so that a spool left behind by a process whose topics had
other names goes to those of today.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ingest_actors.messages import EventBatch, Route

ROUTES_SHARED_MAX = 1_000
"""Routes that are remembered so that events of one kind share one; more kinds than that do not exist, but for routes
with headers, which are never shared."""

TIMESTAMP_MAX_MS = 2**63 - 1
"""Kafka's time stamps are signed 64-bit numbers, ms since the epoch."""

_NO_ROLE = "="
"""Stands before the name of a topic that has no role."""


class _Route(msgspec.Struct, array_like=True):
    event_type: str
    topics: tuple[str, ...]
    headers: tuple[tuple[str, bytes], ...]
    counted: bool
    dead_letter: bool
    overhead_bytes: int


class _Content(msgspec.Struct, array_like=True):
    """Events by columns: half as dear to read back as one by one."""

    routes: list[_Route]
    values: list[bytes]
    keys: list[bytes | None]
    timestamps_ms: list[int]
    route_of: list[int]


_Facts = tuple[str, tuple[str, ...], bool, bool, int]


class BatchCodec:
    """Writes and reads the contents of spooled batches; may be used from one thread at a time.

    Args:
        topics: the topic of each role.
        routes: routes that events read back are to share with others.
    """

    def __init__(self, topics: Mapping[str, str], routes: Iterable[Route] = ()) -> None:
        self._topics = dict(topics)
        self._roles = {topic: role for role, topic in topics.items()}
        self._shared: dict[_Facts, Route] = {_facts(route): route for route in routes if not route.headers}
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(_Content)

    def encode(self, batch: EventBatch) -> bytes:
        """The events of a batch."""
        numbers: dict[Route, int] = {}
        route_of = [numbers.setdefault(event[3], len(numbers)) for event in batch.events]
        values, keys, timestamps_ms, _ = zip(*batch.events, strict=True) if batch.events else ((), (), (), ())
        content = _Content(
            [self._form(route) for route in numbers], list(values), list(keys), list(timestamps_ms), route_of
        )
        return self._encoder.encode(content)

    def decode(self, content: bytes, *, received_at_ms: int, size_bytes: int, number: int) -> EventBatch:
        """The batch again, with its number in the spool.

        Raises:
            ValueError: this is no content of a batch.
        """
        form = self._decoder.decode(content)
        routes = [self._route(route) for route in form.routes]
        if form.route_of and min(form.route_of) < 0:
            raise ValueError("an event has a route that is not there")
        if form.timestamps_ms and max(form.timestamps_ms) > TIMESTAMP_MAX_MS:
            raise ValueError("an event has a time that is none")
        try:
            found = [routes[index] for index in form.route_of]
        except IndexError as error:
            raise ValueError("an event has a route that is not there") from error
        events = list(zip(form.values, form.keys, form.timestamps_ms, found, strict=True))
        return EventBatch(events, received_at_ms=received_at_ms, size_bytes=size_bytes, spooled=number)

    def _form(self, route: Route) -> _Route:
        topics = tuple(self._roles.get(topic, _NO_ROLE + topic) for topic in route.topics)
        return _Route(route.event_type, topics, route.headers, route.counted, route.dead_letter, route.overhead_bytes)

    def _route(self, form: _Route) -> Route:
        topics = tuple(
            role.removeprefix(_NO_ROLE) if role.startswith(_NO_ROLE) else self._topics.get(role, role)
            for role in form.topics
        )
        route = Route(form.event_type, topics, form.headers, form.counted, form.dead_letter, form.overhead_bytes)
        if form.headers:
            return route
        facts = _facts(route)
        if len(self._shared) >= ROUTES_SHARED_MAX:
            return self._shared.get(facts, route)
        return self._shared.setdefault(facts, route)


def _facts(route: Route) -> _Facts:
    return route.event_type, route.topics, route.counted, route.dead_letter, route.overhead_bytes
