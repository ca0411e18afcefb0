"""Frames of any number of streams, made beforehand, for any number of messages: in bounded memory, ids continuous.

A feed goes round after round. A round is one second of the market: every stream has a power of ten of messages in it,
and every series of ids covers a power of ten of ids. So the ids and times of a round differ from those of the next only
in their first ten digits, which are the second itself; and a chunk of frames is kept as its pieces between those
places, which one `bytes.join` puts together. That costs a tenth of a microsecond a message, and no memory.

Half of the streams are aggregate trades, half are diff depth: as `blaster.py` has them, and of the same size.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence

from blaster import CHUNK_BYTES, text_frame

ROUND_MESSAGES = 100_000
"""About so many messages in a round, exactly for 10, 100, 1,000 and 10,000 streams."""

SECOND = b"##########"
"""Stands for the ten digits of the second."""

IDS_A_MESSAGE = 10
"""Trades in an aggregate, and updates in a depth event, on average."""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def symbols_of(streams: int) -> list[str]:
    """The symbols that so many streams are of; names of eight letters, as most of the exchange's are."""
    names = []
    for index in range((streams + 1) // 2):
        letters, left = "", index
        for _ in range(4):
            left, letter = divmod(left, len(_LETTERS))
            letters = _LETTERS[letter] + letters
        names.append(f"{letters}USDT")
    return names


def messages_a_stream(streams: int) -> int:
    """How many messages each stream has in a round."""
    return int(10 ** max(1, round(math.log10(ROUND_MESSAGES / streams))))


def round_messages(streams: int) -> int:
    """How many messages a round has."""
    return messages_a_stream(streams) * 2 * len(symbols_of(streams))


class Chunks:
    """What one connection is sent in each round.

    Args:
        streams: names of the streams that it carries, in the order in which they take turns.
        a_stream: messages of each in a round.
    """

    def __init__(self, streams: Sequence[str], a_stream: int) -> None:
        self._chunks: list[list[bytes]] = []
        frames: list[bytes] = []
        size = 0
        for payload in _payloads(streams, a_stream):
            frame = text_frame(payload)
            frames.append(frame)
            size += len(frame)
            if size >= CHUNK_BYTES:
                self._chunks.append(b"".join(frames).split(SECOND))
                frames, size = [], 0
        if frames:
            self._chunks.append(b"".join(frames).split(SECOND))

    def render(self, second: int) -> Iterator[bytes]:
        """The chunks of whole frames of one round."""
        digits = b"%010d" % second
        for pieces in self._chunks:
            yield digits.join(pieces)


def first_second() -> int:
    """The second that a feed begins with: now."""
    return int(time.time())


def _payloads(streams: Sequence[str], a_stream: int) -> Iterator[bytes]:
    rng = random.Random(7)
    levels = [b'["%d.%08d","%d.%08d"]' % (rng.randrange(10, 10_000), rng.randrange(10**8), rng.randrange(9),
              rng.randrange(10**8)) for _ in range(512)]  # fmt: skip
    sides = [b",".join(rng.choices(levels, k=rng.randrange(1, 11))) for _ in range(4096)]
    digits = len(str(a_stream)) - 1
    cuts = [0, *(IDS_A_MESSAGE * turn + turn % 7 for turn in range(1, a_stream)), IDS_A_MESSAGE * a_stream]
    total = len(streams) * a_stream
    names = [(name.encode(), name.partition("@")[0].upper().encode()) for name in streams]
    for index in range(total):
        turn, place = divmod(index, len(streams))
        name, symbol = names[place]
        ms = index * 1000 // total
        first, last = b"%0*d" % (digits + 1, cuts[turn]), b"%0*d" % (digits + 1, cuts[turn + 1] - 1)
        if name.endswith(b"@aggTrade"):
            yield (
                b'{"stream":"%b","data":{"e":"aggTrade","E":%b%03d,"s":"%b","a":%b%0*d,"p":"%d.45000000","q":"0.%08d",'
                b'"f":%b%b,"l":%b%b,"T":%b%03d,"m":%b,"M":true}}'
                % (name, SECOND, ms, symbol, SECOND, digits, turn, 20_000 + index % 40_000, index * 7919 % 10**8,
                   SECOND, first, SECOND, last, SECOND, ms, b"true" if index % 4 else b"false")
            )  # fmt: skip
        else:
            yield (
                b'{"stream":"%b","data":{"e":"depthUpdate","E":%b%03d,"s":"%b","U":%b%b,"u":%b%b,"b":[%b],"a":[%b]}}'
                % (name, SECOND, ms, symbol, SECOND, first, SECOND, last, sides[index * 31 % 4096],
                   sides[index * 17 % 4096])
            )  # fmt: skip
