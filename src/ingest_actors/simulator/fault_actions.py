"""What can go wrong with a connection that is open. Each action is one word in a script (`DO`), and its options.

`PLACE` says where an action strikes: "instant" at once, "frames" the next data frames, "lasting" for a while.
`ingest_actors.simulator.fault_refusals` has the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from ingest_actors.simulator.fault_values import REASON, TABLE, one_of, option, required, seconds, switch, whole

Place: TypeAlias = Literal["instant", "frames", "lasting", "requests", "handshake", "rest", "market"]


class Action:
    """Anything that goes wrong."""

    DO: ClassVar[str]
    PLACE: ClassVar[Place]


# At once, to a connection.


@dataclass(frozen=True, slots=True)
class Cut(Action):
    """End the connection between two frames, without a close frame: clients see 1006."""

    DO = "cut"
    PLACE = "instant"
    reset: bool = switch()
    """With a TCP reset instead of an orderly end of the stream."""


@dataclass(frozen=True, slots=True)
class HalfOpen(Action):
    """Neither send nor read any more, and keep the connection open: what a dead router looks like.

    With `for_s`, it comes back to life after that time, and what waited goes out.
    """

    DO = "half_open"
    PLACE = "instant"


@dataclass(frozen=True, slots=True)
class CloseWith(Action):
    """Send a close frame, and end the connection when it is answered, or after 5 s."""

    DO = "close"
    PLACE = "instant"
    code: int = option(1001, whole(1000, 4999))
    reason: str = option("", REASON)
    linger: bool = switch()
    """Keep the TCP connection open and silent instead, whatever the client answers."""


@dataclass(frozen=True, slots=True)
class Garbage(Action):
    """Send what no client can use, between two frames."""

    DO = "garbage"
    PLACE = "instant"
    form: str = option("bytes", one_of("bytes", "text", "invalid_utf8", "binary"))
    """Bytes that are no WebSocket frame; a text frame that is not JSON, or not UTF-8; a binary frame."""


@dataclass(frozen=True, slots=True)
class LoseSubscriptions(Action):
    """Unsubscribe behind the client's back: `streams` cease, and vanish from LIST_SUBSCRIPTIONS."""

    DO = "lose_subscriptions"
    PLACE = "instant"


@dataclass(frozen=True, slots=True)
class ServerShutdown(Action):
    """Send the event `serverShutdown`, and a close with 1001 after a while."""

    DO = "server_shutdown"
    PLACE = "instant"
    lead_s: float | None = option(None, seconds())
    """How long before the close; left out: at random up to 10 minutes, as the exchange promises nothing."""


# To the next frames of a connection.


@dataclass(frozen=True, slots=True)
class CutMidFrame(Action):
    """Send the first half of a frame, then end the connection without a close frame."""

    DO = "cut_mid_frame"
    PLACE = "frames"
    reset: bool = switch()


@dataclass(frozen=True, slots=True)
class Truncate(Action):
    """Cut the JSON of `count` events short, in frames that are whole."""

    DO = "truncate"
    PLACE = "frames"
    count: int = option(1, whole(1))


@dataclass(frozen=True, slots=True)
class Fragment(Action):
    """Send each of `count` messages in several frames."""

    DO = "fragment"
    PLACE = "frames"
    count: int = option(1, whole(1))
    pieces: int = option(3, whole(2, 100))
    ping: bool = switch()
    """With a ping between the fragments; the pongs count as messages, as all pongs do."""


@dataclass(frozen=True, slots=True)
class Duplicate(Action):
    """Send each of `count` events twice."""

    DO = "duplicate"
    PLACE = "frames"
    count: int = option(1, whole(1))


@dataclass(frozen=True, slots=True)
class Reorder(Action):
    """Swap two neighbours, `count` times. One that waits for its neighbour waits for a second at most."""

    DO = "reorder"
    PLACE = "frames"
    count: int = option(1, whole(1))


@dataclass(frozen=True, slots=True)
class Drop(Action):
    """Send `count` events not at all."""

    DO = "drop"
    PLACE = "frames"
    count: int = option(1, whole(1))


@dataclass(frozen=True, slots=True)
class AddFields(Action):
    """Put more fields into `count` events: unknown ones, or those that trades had long ago."""

    DO = "add_fields"
    PLACE = "frames"
    fields: dict[str, Any] = required(TABLE)  # noqa: RUF009 - a dataclass's field
    count: int = option(1, whole(1))

    def __hash__(self) -> int:
        return hash((self.DO, tuple(self.fields), self.count))


# For a while, to a connection.


@dataclass(frozen=True, slots=True)
class Mute(Action):
    """Send no more events (of `streams`), but go on answering pings and control messages."""

    DO = "mute"
    PLACE = "lasting"


@dataclass(frozen=True, slots=True)
class Slow(Action):
    """A slow line: everything that is sent arrives later, in its order, and at a limited rate."""

    DO = "slow"
    PLACE = "lasting"
    latency_s: float = option(0.0, seconds())
    jitter_s: float = option(0.0, seconds())
    """Up to so much more, at random."""
    bytes_per_s: int | None = option(None, whole(1))


@dataclass(frozen=True, slots=True)
class NoPings(Action):
    """Send no pings."""

    DO = "no_pings"
    PLACE = "lasting"


@dataclass(frozen=True, slots=True)
class SlowPongs(Action):
    """Answer the client's pings late, or never."""

    DO = "slow_pongs"
    PLACE = "lasting"
    delay_s: float | None = option(None, seconds())
    """Left out: never."""


@dataclass(frozen=True, slots=True)
class IgnoreClose(Action):
    """Do not answer the client's close frame, and keep the connection open."""

    DO = "ignore_close"
    PLACE = "lasting"
