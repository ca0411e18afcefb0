"""The exchange's addresses: several bases, used in turn."""

from __future__ import annotations

from collections.abc import Sequence

import trio

STREAM_PATH = "/stream"
"""Combined streams, none of them named in the URL: all are subscribed by message. That is one way for one stream and
for a thousand, has no bound on the URL's length, and brings an answer, where a URL's bad name brings silence."""

REST_PATH = "/api/v3/"


def stream_urls(bases: Sequence[str]) -> list[str]:
    """The WebSocket URLs of bases such as ``wss://stream.binance.com:9443``."""
    return [base.rstrip("/") + STREAM_PATH for base in bases]


class Endpoints:
    """Base addresses of which one is in use until it fails.

    Args:
        bases: at least one.

    Attributes:
        bases: the same, without a slash at the end.
    """

    def __init__(self, bases: Sequence[str]) -> None:
        if not bases:
            raise ValueError("no address")
        self.bases = tuple(base.rstrip("/") for base in bases)
        self._index = 0
        self._held_until_s = 0.0

    def __len__(self) -> int:
        return len(self.bases)

    @property
    def current(self) -> str:
        """The one in use."""
        return self.bases[self._index]

    def failed(self, base: str) -> None:
        """Go on to the next one, unless somebody else has done so already."""
        if base == self.current:
            self._index = (self._index + 1) % len(self.bases)

    def hold(self, seconds: float) -> None:
        """None of them is to be asked for so long: the exchange has banned or refused this address."""
        self._held_until_s = max(self._held_until_s, trio.current_time() + seconds)

    def held_s(self) -> float:
        """How much of that is left, seconds; 0 when they may be asked."""
        return max(self._held_until_s - trio.current_time(), 0.0) if self._held_until_s else 0.0
