"""Telling apart, in what an actor or a nursery raises, failures from what must pass through."""

from __future__ import annotations

import trio


def sort_out(raised: BaseException) -> tuple[Exception | None, BaseException | None]:
    """The ordinary failure in what was raised, and what of it must be raised on; at least one of the two is there.

    An `Exception`, or a group of nothing else, is a failure, and nothing is left to raise. `trio.Cancelled`,
    `KeyboardInterrupt`, `SystemExit` and the like pass. A group of failures and `Cancelled` comes from somebody who
    failed while being stopped: both. A group with any other of those that pass goes on whole.
    """
    if isinstance(raised, Exception):
        return unwrapped(raised), None
    if isinstance(raised, BaseExceptionGroup):
        failures, others = raised.split(Exception)
        if failures is not None and others is not None and others.split(trio.Cancelled)[1] is None:
            return unwrapped(failures), others
    return None, raised


def unwrapped(failure: Exception) -> Exception:
    """The failure itself, when groups around it hold nothing else."""
    while isinstance(failure, ExceptionGroup) and len(failure.exceptions) == 1:
        failure = failure.exceptions[0]
    return failure


def find(failure: Exception, kinds: tuple[type[Exception], ...]) -> Exception | None:
    """The first failure of one of these kinds, in groups too; None when there is none."""
    if isinstance(failure, kinds):
        return failure
    inner = failure.exceptions if isinstance(failure, ExceptionGroup) else ()
    return next((found for one in inner if (found := find(one, kinds)) is not None), None)
