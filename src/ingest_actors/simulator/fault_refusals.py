"""What can go wrong with a client's requests - control messages, handshakes, REST - and with the market behind."""

from __future__ import annotations

from dataclasses import dataclass

from ingest_actors.simulator.fault_actions import Action
from ingest_actors.simulator.fault_values import (
    NAME,
    STATUS,
    TEXT,
    one_of,
    option,
    required,
    seconds,
    switch,
    whole,
)

# To a client's control messages.


@dataclass(frozen=True, slots=True)
class DelayReply(Action):
    """Answer a control message late; it takes effect at once."""

    DO = "delay_reply"
    PLACE = "requests"
    delay_s: float = required(seconds())


@dataclass(frozen=True, slots=True)
class NoReply(Action):
    """Never answer a control message."""

    DO = "no_reply"
    PLACE = "requests"
    effect: bool = switch(on=True)
    """Whether it is obeyed all the same."""


@dataclass(frozen=True, slots=True)
class ReplyError(Action):
    """Answer a control message with an error instead of obeying it."""

    DO = "reply_error"
    PLACE = "requests"
    code: int = option(2, whole(-9999, 9999))
    msg: str = option("Invalid request: invalid stream", TEXT)
    form: str | None = option(None, one_of("nested", "flat"))
    """Left out: as the exchange is configured."""


# To handshakes.


@dataclass(frozen=True, slots=True)
class RefuseHandshake(Action):
    """Answer a handshake with an HTTP error."""

    DO = "refuse_handshake"
    PLACE = "handshake"
    status: int = option(503, STATUS)
    body: str | None = option(None, TEXT)
    """Left out: what usually comes with the status."""
    retry_after_s: int | None = option(None, whole(0))


@dataclass(frozen=True, slots=True)
class SilentHandshake(Action):
    """Accept the connection and never answer the handshake."""

    DO = "silent_handshake"
    PLACE = "handshake"


@dataclass(frozen=True, slots=True)
class DropHandshake(Action):
    """Accept the TCP connection, then close it."""

    DO = "drop_handshake"
    PLACE = "handshake"


# To REST.


@dataclass(frozen=True, slots=True)
class RestError(Action):
    """Answer a REST request with an HTTP error."""

    DO = "rest_error"
    PLACE = "rest"
    status: int = option(503, STATUS)
    body: str | None = option(None, TEXT)
    retry_after_s: int | None = option(None, whole(0))


@dataclass(frozen=True, slots=True)
class RestHang(Action):
    """Answer a REST request late, or never."""

    DO = "rest_hang"
    PLACE = "rest"
    delay_s: float | None = option(None, seconds())
    """Left out: never."""


@dataclass(frozen=True, slots=True)
class RestCutShort(Action):
    """End the connection in the middle of the body of a REST answer."""

    DO = "rest_cut_short"
    PLACE = "rest"


@dataclass(frozen=True, slots=True)
class RestNotJson(Action):
    """Answer a REST request with status 200 and a page instead of JSON."""

    DO = "rest_not_json"
    PLACE = "rest"
    body: str = option("<html><body><h1>Not what you asked for</h1></body></html>", TEXT)


@dataclass(frozen=True, slots=True)
class RestLag(Action):
    """Let the rows of the database (aggTrades, historicalTrades, klines) lag further behind the stream."""

    DO = "rest_lag"
    PLACE = "rest"
    lag_s: float = required(seconds(above_zero=True))


# To the market.


@dataclass(frozen=True, slots=True)
class ResetIds(Action):
    """Begin all ids of a symbol again, as the test network does every month."""

    DO = "reset_ids"
    PLACE = "market"
    symbol: str | None = option(None, NAME)
    """Left out: of every symbol."""


@dataclass(frozen=True, slots=True)
class SetStatus(Action):
    """Change the status of a symbol."""

    DO = "set_status"
    PLACE = "market"
    symbol: str = required(NAME)
    status: str = option("HALT", one_of("TRADING", "END_OF_DAY", "HALT", "BREAK", "CANCEL_ONLY"))


@dataclass(frozen=True, slots=True)
class ListSymbol(Action):
    """Let a new symbol be traded."""

    DO = "list_symbol"
    PLACE = "market"
    symbol: str = required(NAME)
