"""What REST says at the start of a recording: the exchange's rules for its symbols, and a book for each depth stream.

They are asked for once everything is subscribed, so that the updates recorded before and after join on to the book.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
import trio

from ingest_actors.binance.rest import RestClient, depth_weight
from ingest_actors.binance.rest_errors import RequestRefused
from ingest_actors.errors import ExchangeUnreachable
from ingest_actors.recordings.lines import symbol_of

SYMBOLS_ASKED_MAX: Final = 100
"""In one question about the rules: a URL has a length that servers take."""

FAILURES_MAX: Final = 3
"""In a row: then the exchange is left alone, and the recording does without."""

PAUSE_S: Final = 2.0
"""Before a question is asked again, when the exchange does not say how long to wait."""

_INFO_WEIGHT: Final = 20
_DIFF_DEPTH: Final = frozenset({"depth", "depth@100ms", "depth@1000ms"})


class Question(NamedTuple):
    """One request."""

    path: str
    params: dict[str, Any]
    weight: int


def questions(streams: Sequence[str], *, depth_limit: int) -> Iterator[Question]:
    """What to ask about so many streams: books first, since they are what grows old.

    Args:
        streams: all that are recorded.
        depth_limit: levels of a book.
    """
    with_depth = dict.fromkeys(symbol_of(name) for name in streams if name.partition("@")[2] in _DIFF_DEPTH)
    weight = depth_weight(depth_limit)
    for symbol in with_depth:
        yield Question("depth", {"symbol": symbol, "limit": depth_limit}, weight)
    symbols = iter(dict.fromkeys(symbol for name in streams if (symbol := symbol_of(name))))
    while asked := list(islice(symbols, SYMBOLS_ASKED_MAX)):
        yield Question("exchangeInfo", {"symbols": msgspec.json.encode(asked).decode()}, _INFO_WEIGHT)


async def ask_all(
    rest: RestClient, asked: Iterator[Question], *, keep: Callable[[str, bytes], None], warn: Callable[..., None]
) -> None:
    """Ask one question after the other; one that is refused is passed over.

    Args:
        rest: whom to ask; it knows the pace.
        asked: the questions.
        keep: gets the URL and the answer, byte for byte.
        warn: told of what is left out, in fields of a log line.
    """
    failures = 0
    for question in asked:
        while True:
            try:
                keep(*await rest.raw(question.path, question.params, weight=question.weight))
                failures = 0
                break
            except RequestRefused as refusal:
                warn(url=refusal.url, cause=str(refusal))
                break
            except ExchangeUnreachable as failure:
                failures += 1
                if failures == FAILURES_MAX:
                    warn(url=failure.url, cause=failure.cause, hint="the recording goes on without REST's answers")
                    return
                await trio.sleep(max(PAUSE_S, failure.retry_after_s or 0.0))
