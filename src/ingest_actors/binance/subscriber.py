"""A session driven over a feed: subscribes to a connection's streams, at the exchange's pace."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

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

    def intercept(self, frames: list[bytes]) -> list[bytes]:
        """Take the exchange's answers out of messages that were just read; never waits."""
        others = self.session.intercept(frames)
        if others is not frames:
            self._changed.set()
        return others

    async def subscribe(self, feed: Feed) -> AsyncIterator[int]:
        """Send what is to be sent, one message at a time, until all is acknowledged.

        Args:
            feed: where to send.

        Yields:
            How many streams are acknowledged, whenever that has changed.

        Raises:
            FeedClosed: the exchange refused, or did not answer in time.
        """
        session = self.session
        acknowledged = -1
        while True:
            self._changed = trio.Event()
            if refused := session.refused():
                raise FeedClosed(PROTOCOL_ERROR, _told(refused[0]))
            if len(session.acknowledged) != acknowledged:
                acknowledged = len(session.acknowledged)
                yield acknowledged
            if session.settled:
                return
            now = trio.current_time()
            if overdue := session.overdue(now):
                raise FeedClosed(PROTOCOL_ERROR, f"the exchange did not answer a subscription of {_names(overdue)}")
            if (message := session.message(now)) is not None:
                await feed.send(message)
                continue
            times = [time for time in (session.send_at(), session.reply_due()) if time is not None]
            with trio.move_on_at(min(times)):
                await self._changed.wait()


def _told(refused: Refused) -> str:
    about = f" of {_names(refused.streams)}" if refused.streams else ""
    return f"the exchange refused a subscription{about}: {refused.text} (code {refused.code})"


def _names(streams: Sequence[str]) -> str:
    more = len(streams) - _NAMES_TOLD
    return ", ".join(streams[:_NAMES_TOLD]) + (f" and {more} more" if more > 0 else "")
