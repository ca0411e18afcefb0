"""Messages as the exchange writes them, and as somebody who means harm would: from a seed, any number of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from json_pieces import PIECES

NUMBERS = (
    b"0",
    b"-0",
    b"-1",
    b"1e999",
    b"-1e999",
    b"1e-999",
    b"1E5",
    b"1.0",
    b"00",
    b"+1",
    b".5",
    b"1.",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"0x10",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551616",
    b"9" * 400,
    b"9" * 5000,
    b"1e",
    b"--1",
    b"1_000",
)
STRINGS = (
    rb'"\ud800"',
    rb'"\udc00\ud800"',
    rb'"\ud83d\ude00"',
    rb'"\u0000"',
    rb'"\q"',
    b'"\x00"',
    b'"\x1f"',
    b'"\xff"',
    b'"\xc0\xaf"',
    b'"\xed\xa0\x80"',
    '"\u202e币"'.encode(),
    b'"../../etc/passwd"',
    b'"<script>"',
    b'""',
    b'"' + b"x" * 2000 + b'"',
    b'"unended',
    rb'"a\"b"',
    rb'"\\"',
)
OTHERS = (
    b"null",
    b"true",
    b"false",
    b"[]",
    b"{}",
    b"[[]]",
    b'{"":""}',
    b"[1,2",
    b"{",
    b"}",
    b"nul",
    b"\xef\xbb\xbf1",
    b"/*x*/1",
    b"'x'",
    b"[" * 200 + b"]" * 200,
    b'{"a":' * 200 + b"1" + b"}" * 200,
    b"[" * 1500,
    b'{"a":' * 1500,
)
NAMES = (b"e", b"E", b"s", b"a", b"t", b"T", b"u", b"U", b"lastUpdateId", b"k", b"b", b"x", b"stream", b"data", b"")

KINDS: dict[bytes, bytes] = {
    b"trade": b'{"e":"trade","E":%(now)d,"s":"%(S)b","t":%(n)d,"p":"1.5","q":"2","T":%(now)d,"m":true,"M":true}',
    b"aggTrade": (
        b'{"e":"aggTrade","E":%(now)d,"s":"%(S)b","a":%(n)d,"p":"1","q":"2","f":%(n)d,"l":%(n)d,"T":%(now)d,"m":false}'
    ),
    b"depth@100ms": b'{"e":"depthUpdate","E":%(now)d,"s":"%(S)b","U":%(n)d,"u":%(n)d,"b":[["1.0","2"]],"a":[]}',
    b"kline_1m": (
        b'{"e":"kline","E":%(now)d,"s":"%(S)b","k":{"t":%(minute)d,"i":"1m","L":%(n)d,"n":5,"x":%(closed)b,"c":"1"}}'
    ),
    b"bookTicker": b'{"u":%(n)d,"s":"%(S)b","b":"1","B":"2","a":"3","A":"4"}',
    b"depth20@100ms": b'{"lastUpdateId":%(n)d,"bids":[["1","2"]],"asks":[]}',
    b"miniTicker": b'{"e":"24hrMiniTicker","E":%(now)d,"s":"%(S)b","c":"1","o":"2","h":"3","l":"4","v":"5","q":"6"}',
    b"avgPrice": b'{"e":"avgPrice","E":%(now)d,"s":"%(S)b","i":"5m","w":"1","T":%(now)d}',
    b"newKind": b'{"e":"newKind","E":%(now)d,"s":"%(S)b","z":[1,2,{"y":null}]}',
}
NOW = 1_700_000_000_000
SYMBOLS = [b"S%dUSDT" % number for number in range(20)]
STRANGE = [
    f"{name}@{kind}".encode()
    for kind in ("trade", "depth", "x", "")
    for name in ("币usdt", "../x", "a b", "%00", "é", "A")
]


class Market:
    """Writes messages one after the other; good ones go on where their series ended.

    Args:
        seed: of everything.
        hostile: share of messages that are not as the exchange writes them.
    """

    def __init__(self, seed: int, *, hostile: float = 0.5) -> None:
        self.rng = random.Random(seed)
        self.hostile = hostile
        self._ids: dict[bytes, int] = {}
        self._last = b"{}"
        self._ways: list[Callable[[bytes], bytes]] = [
            self._flip,
            self._insert,
            self._cut,
            self._remove,
            self._join,
            self._value,
            self._value,
            self._member,
            self._reorder,
            self._array,
            self._name,
            self._naked,
            self._jump,
            self._noise,
            self._blanks,
            self._reply,
            self._repeat,
        ]

    def message(self) -> bytes:
        """The next one."""
        good = self._good()
        message = good
        if self.rng.random() < self.hostile:
            for _ in range(self.rng.choice((1, 1, 1, 2, 3))):
                message = self.rng.choice(self._ways)(message)
        self._last = good
        return message

    def _good(self) -> bytes:
        kind = self.rng.choice(list(KINDS))
        symbol = self.rng.choice(SYMBOLS)
        stream = symbol.lower() + b"@" + kind
        number = self._ids[stream] = self._ids.get(stream, 0) + 1
        closed = b"true" if number % 10 == 0 else b"false"
        values = {
            b"now": NOW + number,
            b"S": symbol,
            b"n": number,
            b"minute": NOW + number // 10 * 60_000,
            b"closed": closed,
        }
        return b'{"stream":"%b","data":%b}' % (stream, KINDS[kind] % values)

    def _place(self, message: bytes) -> int:
        return self.rng.randint(0, len(message))

    def _flip(self, message: bytes) -> bytes:
        changed = bytearray(message or b"x")
        for _ in range(self.rng.randint(1, 3)):
            changed[self.rng.randrange(len(changed))] ^= 1 << self.rng.randrange(8)
        return bytes(changed)

    def _insert(self, message: bytes) -> bytes:
        place = self._place(message)
        return message[:place] + self.rng.choice(PIECES) + message[place:]

    def _cut(self, message: bytes) -> bytes:
        return message[: self._place(message)]

    def _remove(self, message: bytes) -> bytes:
        place = self._place(message)
        return message[:place] + message[place + self.rng.randint(1, 20) :]

    def _join(self, message: bytes) -> bytes:
        return message[: self._place(message)] + self._last[self._place(self._last) :]

    def _value(self, message: bytes) -> bytes:
        """Another value for some member."""
        places = [place for place in range(len(message)) if message[place : place + 1] == b":"]
        if not places:
            return message
        start = self.rng.choice(places) + 1
        end = start
        while end < len(message) and message[end] not in b",}]":
            end += 1
        return message[:start] + self.rng.choice(self.rng.choice((NUMBERS, STRINGS, OTHERS))) + message[end:]

    def _member(self, message: bytes) -> bytes:
        """One more member, perhaps of a name that is there already."""
        value = self.rng.choice(self.rng.choice((NUMBERS, STRINGS, OTHERS, (b"1", b'"trade"', message))))
        made = b'"%b":%b' % (self.rng.choice(NAMES), value)
        places = [place for place in range(len(message)) if message[place : place + 1] == b"{"]
        if not places:
            return message + made
        place = self.rng.choice(places) + 1
        return message[:place] + made + b"," + message[place:]

    def _reorder(self, message: bytes) -> bytes:
        try:
            value = json.loads(message)
        except (ValueError, RecursionError):
            return message
        if not isinstance(value, dict):
            return message
        members = list(value.items())
        self.rng.shuffle(members)
        separators = self.rng.choice([(",", ":"), (", ", ": "), (",\n", ":\t")])
        try:
            return json.dumps(dict(members), separators=separators, ensure_ascii=self.rng.random() < 0.5).encode()
        except (ValueError, RecursionError):
            return message

    def _array(self, message: bytes) -> bytes:
        data = message[message.find(b'"data":') + 7 : -1] if b'"data":' in message else message
        odd = self.rng.choice((NUMBERS, STRINGS, OTHERS))
        elements = [data if self.rng.random() < 0.7 else self.rng.choice(odd) for _ in range(self.rng.randint(0, 12))]
        array = b"[" + b",".join(elements) + b"]"
        return array if self.rng.random() < 0.3 else b'{"stream":"!miniTicker@arr","data":%b}' % array

    def _name(self, message: bytes) -> bytes:
        """A stream that nobody asked for."""
        if self.rng.random() < 0.5:
            name = self.rng.choice(STRANGE)
        else:
            name = b"made%d@" % self.rng.randrange(3000) + self.rng.choice(list(KINDS))
        return b'{"stream":"%b","data":%b' % (name, message[message.find(b'"data":') + 7 :])

    def _naked(self, message: bytes) -> bytes:
        """Without its envelope."""
        return message[message.find(b'"data":') + 7 : -1]

    def _jump(self, message: bytes) -> bytes:
        """The series goes on elsewhere: ahead, back, far away."""
        stream = message[11 : message.find(b'"', 11)]
        if stream in self._ids:
            self._ids[stream] = max(0, self._ids[stream] + self.rng.choice((1, 2, 5, 100, -3, -50, 10**8, -(10**8))))
        return message

    def _noise(self, message: bytes) -> bytes:
        return self.rng.randbytes(self.rng.randint(0, 40))

    def _blanks(self, message: bytes) -> bytes:
        blank = self.rng.choice((b" ", b"\n", b"\t", b"\r\n", b"\x0c", b"\xc2\xa0"))
        return self.rng.choice((blank + message, message + blank, message.replace(b",", b"," + blank, 1), blank))

    def _reply(self, message: bytes) -> bytes:
        return self.rng.choice(
            (
                b'{"result":null,"id":1}',
                b'{"error":{"code":2,"msg":"x"},"id":9}',
                b'{"e":"serverShutdown","E":1}',
                b'{"id":1}',
            )
        )

    def _repeat(self, message: bytes) -> bytes:
        return self._last
