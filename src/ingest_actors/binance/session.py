"""The control protocol of one connection, without input or output: what to send when, and what was answered.

An acknowledgement proves no more than that a message could be read: the exchange acknowledges streams that do not
exist. So it is asked from time to time which streams it lists; whether data flows is for others to watch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import Any, NamedTuple

import msgspec

from ingest_actors.binance.planning import (
    LIST_SUBSCRIPTIONS,
    SUBSCRIBE,
    UNSUBSCRIBE,
    ControlMessage,
    control_messages,
    list_message,
)

MESSAGE_INTERVAL_S = 0.3
"""Between two control messages. The exchange cuts whoever sends more than 5 messages a second, and pongs count."""

REPLY_TIMEOUT_S = 10.0
"""An answer that takes longer will not come."""

LIST_INTERVAL_S = 600.0
"""How often the exchange is asked which streams it lists: a subscription that it has lost is found in this time, and
the answer, 30 kB for a full connection, costs nothing."""

LIST_PAUSE_S = 10.0
"""Least time between two such questions, however often streams come and go."""

REPLY_BYTES_MAX = 256 * 1024
"""An answer that lists all streams of a full connection has 50 kB at most; what is longer is not looked into."""

TEXT_CHARACTERS_MAX = 300
"""Of the exchange's own words that are repeated."""

_DATA = b'{"stream":'


class Refused(NamedTuple):
    """The exchange would not do what a control message asked for."""

    code: int | None
    text: str
    streams: tuple[str, ...]
    """What the message was about; empty when the exchange does not say which message it means."""


class _Error(msgspec.Struct, gc=False):
    code: int | None = None
    msg: str = ""


class _Reply(msgspec.Struct, gc=False):
    """Errors come nested in ``error``, and by the exchange's documentation flat; both are understood."""

    id: int | str | None = None
    result: Any = msgspec.UNSET
    error: _Error | None = None
    code: int | None = None
    msg: str = ""
    e: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Reply).decode


class Session:
    """What was asked for on one connection, and what of it was acknowledged. Times are seconds of any one clock.

    Args:
        streams: to subscribe first.
        interval_s: least time between two messages.
        reply_timeout_s: how long an answer may take.
        list_interval_s: how often to ask which streams the exchange lists.
    """

    def __init__(
        self,
        streams: Iterable[str] = (),
        *,
        interval_s: float = MESSAGE_INTERVAL_S,
        reply_timeout_s: float = REPLY_TIMEOUT_S,
        list_interval_s: float = LIST_INTERVAL_S,
    ) -> None:
        self._interval_s = interval_s
        self._reply_timeout_s = reply_timeout_s
        self._list_interval_s = list_interval_s
        self._ids = count(1)
        self._outgoing: deque[ControlMessage] = deque()
        self._awaited: dict[int | str, tuple[ControlMessage, float]] = {}
        self._send_at = 0.0
        self._list_at = 0.0
        self._list_again_at = 0.0
        self._wanted: dict[str, None] = {}
        self._acknowledged: set[str] = set()
        self._missing: set[str] = set()
        self._refused: list[Refused] = []
        self.add(streams)

    @property
    def wanted(self) -> tuple[str, ...]:
        """Streams that this connection is to carry."""
        return tuple(self._wanted)

    @property
    def acknowledged(self) -> frozenset[str]:
        """Those that the exchange has acknowledged."""
        return frozenset(self._acknowledged)

    @property
    def missing(self) -> frozenset[str]:
        """Those that it had acknowledged and did not name when it was last asked which it lists."""
        return frozenset(self._missing)

    @property
    def settled(self) -> bool:
        """Whether everything that changes subscriptions was sent and answered."""
        return not self._outgoing and all(m.method == LIST_SUBSCRIPTIONS for m, _ in self._awaited.values())

    def add(self, streams: Iterable[str]) -> None:
        """Carry more streams; those that are carried already are left alone."""
        new = [stream for stream in dict.fromkeys(streams) if stream not in self._wanted]
        self._wanted.update(dict.fromkeys(new))
        self._queue(SUBSCRIBE, new)

    def drop(self, streams: Iterable[str]) -> None:
        """Carry streams no longer. Events of theirs may still come for a moment."""
        old = [stream for stream in dict.fromkeys(streams) if stream in self._wanted]
        for stream in old:
            del self._wanted[stream]
        self._missing.difference_update(old)
        self._queue(UNSUBSCRIBE, old)

    def renew(self, streams: Iterable[str]) -> None:
        """Subscribe again to streams that are carried: the exchange is told to forget them first."""
        again = [stream for stream in dict.fromkeys(streams) if stream in self._wanted]
        self._acknowledged.difference_update(again)
        self._missing.difference_update(again)
        self._queue(UNSUBSCRIBE, again)
        self._queue(SUBSCRIBE, again)

    def send_at(self) -> float | None:
        """When the next message is due; None when that hangs on an answer, or there is nothing to be said."""
        if self._outgoing:
            return self._send_at
        return max(self._send_at, self._list_at) if self._wanted and not self._awaited else None

    def message(self, now: float) -> str | None:
        """The next message, if it is due. Whoever asks sends it at once."""
        due = self.send_at()
        if due is None or now < due:
            return None
        if self._outgoing:
            message = self._outgoing.popleft()
            self._list_at = min(self._list_at, max(now, self._list_again_at))
        else:
            message = list_message(tuple(self._acknowledged), next(self._ids))
            self._list_at = now + self._list_interval_s
            self._list_again_at = now + LIST_PAUSE_S
        self._awaited[message.id] = (message, now + self._reply_timeout_s)
        self._send_at = now + self._interval_s
        return message.text

    def reply_due(self) -> float | None:
        """When the oldest answer is overdue; None when none is awaited."""
        return next((deadline for _, deadline in self._awaited.values()), None)

    def overdue(self, now: float) -> tuple[str, ...]:
        """Streams of the messages that should have been answered by now.

        An answer to which streams are listed is worth no quarrel: it is waited for no longer, and asked for again when
        its time comes.
        """
        late = [message for message, deadline in self._awaited.values() if now >= deadline]
        for message in late:
            if message.method == LIST_SUBSCRIPTIONS:
                del self._awaited[message.id]
        return tuple(stream for message in late if message.method != LIST_SUBSCRIPTIONS for stream in message.streams)

    def refused(self) -> list[Refused]:
        """What the exchange refused since this was last asked."""
        refused, self._refused = self._refused, []
        return refused

    def intercept(self, frames: list[bytes]) -> list[bytes]:
        """Take answers out of messages. Looks at none of them while no answer is awaited.

        Args:
            frames: messages in the order of arrival.

        Returns:
            The others; the same list when there was no answer among them.
        """
        if not self._awaited:
            return frames
        taken = {index for index, frame in enumerate(frames) if not frame.startswith(_DATA) and self._take(frame)}
        return [frame for index, frame in enumerate(frames) if index not in taken] if taken else frames

    def _queue(self, method: str, streams: list[str]) -> None:
        self._outgoing.extend(control_messages(method, streams, next_id=self._ids.__next__))

    def _take(self, frame: bytes) -> bool:
        """Whether a message is an answer; if so, note it."""
        if len(frame) > REPLY_BYTES_MAX or not self._awaited:
            return False
        try:
            reply = _decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        error = reply.error or (_Error(reply.code, reply.msg) if reply.code is not None else None)
        if reply.e or (error is None and (reply.result is msgspec.UNSET or reply.id is None)):
            return False
        message = self._answered(reply.id, guess=error is not None)
        if message is not None and message.method == LIST_SUBSCRIPTIONS:
            if error is None and isinstance(reply.result, list):
                self._note_listed(message, reply.result)
        elif error is not None:
            text = error.msg[:TEXT_CHARACTERS_MAX]
            self._refused.append(Refused(error.code, text, message.streams if message else ()))
        elif message is not None:
            self._note(message)
        return True

    def _answered(self, number: int | str | None, *, guess: bool) -> ControlMessage | None:
        """The message that an answer is to. One without a number, as some errors are, is to the oldest."""
        if number is None and guess:
            number = next(iter(self._awaited), None)
        awaited = self._awaited.pop(number, None) if number is not None else None
        return awaited[0] if awaited else None

    def _note(self, message: ControlMessage) -> None:
        if message.method == SUBSCRIBE:
            self._acknowledged.update(stream for stream in message.streams if stream in self._wanted)
        else:
            self._acknowledged.difference_update(stream for stream in message.streams if stream not in self._wanted)

    def _note_listed(self, message: ControlMessage, listed: list[Any]) -> None:
        """What was acknowledged when it was asked, still is, and is not in the answer, is missing."""
        named = {name for name in listed if isinstance(name, str)}
        self._missing = {stream for stream in message.streams if stream in self._acknowledged and stream not in named}
