"""Aggregate trades that are numbered without a gap in each series, and what became of them."""

from __future__ import annotations

import itertools
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from confluent_kafka import Message
from raw_exchange import frame

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "XRPUSDT")
_NUMBER = re.compile(rb'"a":(\d+),')


class Trades:
    """Makes trades of some symbols in turn, numbered from 1 in each.

    Args:
        symbols: upper case.
        filling: characters that make each longer, and that no codec makes shorter.

    Attributes:
        made: how many so far.
    """

    def __init__(self, symbols: Sequence[str], filling: int = 0) -> None:
        self.made = 0
        self._symbols = symbols
        self._at_ms = time.time_ns() // 1_000_000
        digits = "".join(random.Random(7).choices("0123456789abcdef", k=max(filling, 8))).encode()
        self._templates = [
            b'{"stream":"%b@aggTrade","data":{"e":"aggTrade","E":%%d,"s":"%b","a":%%d,"p":"0.45000000",'
            b'"q":"1.%b","f":%%d,"l":%%d,"T":%%d,"m":false,"M":true}}'
            % (symbol.lower().encode(), symbol.encode(), digits)
            for symbol in symbols
        ]

    def payload(self) -> bytes:
        """The next message."""
        number, index = divmod(self.made, len(self._symbols))
        self.made += 1
        number += 1
        return self._templates[index] % (self._at_ms, number, number, number, self._at_ms)

    def frames(self, count: int) -> bytes:
        """The next messages, each in its frame, joined."""
        return b"".join([frame(self.payload()) for _ in range(count)])

    def chunks(self, count: int | None = None, size: int = 400) -> Iterator[bytes]:
        """So many messages in pieces of `size`; without end if None."""
        if count is None:
            return (self.frames(size) for _ in itertools.count())
        return (self.frames(min(size, count - start)) for start in range(0, count, size))

    def numbers(self) -> dict[bytes, list[int]]:
        """By key, the numbers that a complete and orderly record has."""
        whole, more = divmod(self.made, len(self._symbols))
        return {
            symbol.encode(): list(range(1, whole + 1 + (index < more)))
            for index, symbol in enumerate(self._symbols)
            if whole or index < more
        }


def numbers_of(records: Sequence[Message]) -> dict[bytes, list[int]]:
    """By key, the numbers in the order in which the records stand; each key must have a partition of its own."""
    found: dict[bytes, list[int]] = defaultdict(list)
    for record in records:
        value = record.value()
        number = _NUMBER.search(value)
        assert number, value[:200]
        found[record.key()].append(int(number[1]))
    return dict(found)


def without_repeats(numbers: list[int]) -> list[int]:
    """Each number where it stands first."""
    return list(dict.fromkeys(numbers))
