"""A session driven over a feed: keeps a connection's subscriptions as they are wanted, at the exchange's pace."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable, Sequence

import trio

from ingest_actors.binance.session import Refused, Session
from ingest_actors.errors import FeedClosed
from ingest_actors.protocols import Feed

PROTOCOL_ERROR = 1002
"""The close code for an exchange that does not do what was asked (RFC 6455 section 7.4.1)."""

_NAMES_TOLD = 3


class StreamSubscriber:
    """The control protocol of one connection; fits `ingest_actors.protocols.Subscriber`. For one life of a connection.

    Args:
        streams: what the connection is to carry.
        session: its state, for tests and for other paces.
    """

    def __init__(self, streams: Sequence[str], *, session: Session | None = None) -> None:
        self.session = session or Session(streams)
        self._changed = trio.Event()

    @property
    def acknowledged(self) -> frozenset[str]:
        """Streams whose subscription the exchange has acknowledged."""
        return self.session.acknowledged

    @property
    def missing(self) -> frozenset[str]:
        """Those of them that it did not name when it was last asked which it lists."""
        return self.session.missing

    def carry(self, streams: Iterable[str]) -> None:
        """Carry these from now on, and no others; never waits."""
        wanted = dict.fromkeys(streams)
        self.session.drop([stream for stream in self.session.wanted if stream not in wanted])
        self.session.add(wanted)
        self._changed.set()

    def renew(self, streams: Iterable[str]) -> None:
        """Subscribe again to streams that are carried; never waits."""
        self.session.renew(streams)
        self._changed.set()

    def intercept(self, frames: list[bytes]) -> list[bytes]:
        """Take the exchange's answers out of messages that were just read; never waits."""
        others = self.session.intercept(frames)
        if others is not frames:
            self._changed.set()
        return others

    async def subscribe(self, feed: Feed) -> AsyncIterator[int]:
        """Send what is to be sent, one message at a time, for as long as the connection lives.

        Args:
            feed: where to send.

        Yields:
            How many streams are acknowledged, whenever that has changed; it never ends by itself.

        Raises:
            FeedClosed: the exchange refused, or did not answer in time.
        """
        session = self.session
        acknowledged: frozenset[str] | None = None
        while True:
            self._changed = trio.Event()
            if refused := session.refused():
                raise FeedClosed(PROTOCOL_ERROR, _told(refused[0]))
            if session.acknowledged != acknowledged:
                acknowledged = session.acknowledged
                yield len(acknowledged)
            now = trio.current_time()
            if overdue := session.overdue(now):
                raise FeedClosed(PROTOCOL_ERROR, f"the exchange did not answer a subscription of {_names(overdue)}")
            if (message := session.message(now)) is not None:
                await feed.send(message)
                continue
            times = [time for time in (session.send_at(), session.reply_due()) if time is not None]
            with trio.move_on_at(min(times, default=math.inf)):
                await self._changed.wait()


def _told(refused: Refused) -> str:
    about = f" of {_names(refused.streams)}" if refused.streams else ""
    return f"the exchange refused a subscription{about}: {refused.text} (code {refused.code})"


def _names(streams: Sequence[str]) -> str:
    more = len(streams) - _NAMES_TOLD
    return ", ".join(streams[:_NAMES_TOLD]) + (f" and {more} more" if more > 0 else "")
