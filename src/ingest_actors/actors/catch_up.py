"""What came while nobody listened and that nothing has followed: asked for, so that it does not stay out unseen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from ingest_actors.announce import Announcer
from ingest_actors.errors import IngestError
from ingest_actors.supervision import Backoff

S = TypeVar("S")


class Ends(Protocol[S]):
    """Where series ended; `ingest_actors.binance.ends.Ends` is one. It outlives the actor's lives."""

    async def wait_due(self) -> Sequence[S]:
        """Those that it is time to ask about."""
        ...

    def answer(self, series: S, newest: int | None) -> None:
        """The exchange says which id is the newest of one."""
        ...

    def put_off(self, series: S, seconds: float) -> None:
        """It does not answer about this one; ask again later."""
        ...


async def catch_up(
    ends: Ends[S],
    *,
    ask: Callable[[Sequence[S]], Awaitable[Mapping[S, int | None]]],
    backoff: Backoff,
    announce: Announcer,
) -> None:
    """Ask about series that have brought nothing since their connection opened; ends only by cancellation.

    Args:
        ends: which those are.
        ask: asks the exchange for their newest ids.
        backoff: makes the delays while it does not answer.
        announce: told when it does not.
    """
    while True:
        due = await ends.wait_due()
        try:
            newest = await ask(due)
        except IngestError as failure:
            delay_s = max(backoff.next_s(), getattr(failure, "retry_after_s", None) or 0.0)
            for series in due:
                ends.put_off(series, delay_s)
            announce("catch_up_failed", level="warning", cause=str(failure), retry_in_s=round(delay_s, 3))
            continue
        backoff.reset()
        for series in due:
            ends.answer(series, newest.get(series))
