"""From what ended a command to its exit code and to what people are told."""

from __future__ import annotations

from ingest_actors.errors import IngestError

EXIT_CLEAN = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2


def exit_code_of(error: BaseException) -> int:
    """The exit code for what came out of a command."""
    return error.exit_code if isinstance(error, IngestError) else EXIT_FAILURE


def told(error: BaseException) -> BaseException:
    """What to tell of an exception: of a group, the first `IngestError` in it, or the first that is none.

    Siblings that fail of the same cause come as a group; one exit code and one text must speak for them.
    """
    leaves = list(_leaves(error))
    return next((leaf for leaf in leaves if isinstance(leaf, IngestError)), leaves[0])


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
