"""A nursery whose failure comes out as one exception, so that callers can catch it by its type."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import trio

from ingest_actors.errors import IngestError


@asynccontextmanager
async def open_nursery() -> AsyncIterator[trio.Nursery]:
    """Like `trio.open_nursery`, but what would be a group comes out as the failure that tells most.

    That is the first `IngestError` in it, else the first ordinary exception, with the others as notes. What no program
    may hold up, such as `KeyboardInterrupt`, comes out as it is, and so does a group of nothing but cancellations.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        raise_alone(most_telling(group))


def raise_alone(chosen: BaseException) -> NoReturn:
    """Raise what stands for a group, with the cause and the context that it had before it came into the group."""
    context = chosen.__context__
    try:
        raise chosen
    finally:
        chosen.__context__ = context
        del chosen, context  # or they would be a cycle through this frame


def most_telling(raised: BaseException) -> BaseException:
    """The one exception that stands for a group."""
    leaves = list(_leaves(raised))
    urgent = [leaf for leaf in leaves if not isinstance(leaf, Exception | trio.Cancelled)]
    failures = [leaf for leaf in leaves if isinstance(leaf, Exception)]
    if urgent:
        return urgent[0]
    if not failures:
        return raised
    chosen = next((failure for failure in failures if isinstance(failure, IngestError)), failures[0])
    for other in failures:
        if other is not chosen:
            chosen.add_note(f"and also: {other!r}")
    return chosen


def _leaves(raised: BaseException) -> list[BaseException]:
    if not isinstance(raised, BaseExceptionGroup):
        return [raised]
    return [leaf for part in raised.exceptions for leaf in _leaves(part)]
