"""Events with keys that no client knows yet, as the exchange adds them from time to time."""

from __future__ import annotations

from collections.abc import Callable

from ingest_actors.simulator.channel import Channel

EXTRA = b',"xN":{"since":2027,"tags":["new","unknown"]},"xF":null'
"""What every event gets in addition, before its closing brace."""


class ExtendedChannel(Channel):
    """A channel whose events have further keys."""

    __slots__ = ()

    def emit(self, render: Callable[..., bytes], *args: object) -> None:
        """See `Channel.emit`."""
        super().emit(lambda unit: extend(render(unit, *args)))


def extend(payload: bytes) -> bytes:
    """An event, or an array of events, with further keys in each."""
    if payload.startswith(b"["):
        return payload.replace(b"},{", EXTRA + b"},{")[:-2] + EXTRA + b"}]"
    return payload[:-1] + EXTRA + b"}"
