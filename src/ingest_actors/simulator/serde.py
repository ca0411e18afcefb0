"""What the exchange's parser, a Rust one (serde_json), says about JSON that it does not like.

Reads bytes in the order in which that parser does, so that words, line and column come out the same. Lines count from
1; the column is the number of bytes of the line that had been read, the offending one included where it was only looked
at. Checked against serde_json 1.0 with thousands of damaged messages.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import TypeAlias

_DEPTH_MAX = 128
_BLANK = b" \n\t\r"
_DIGITS = b"0123456789"
_IDENTIFIERS = {ord("t"): b"rue", ord("f"): b"alse", ord("n"): b"ull"}
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_HIGH, _LOW, _BEHIND = 0xD800, 0xDC00, 0xE000  # surrogates: first of the leading ones, of the trailing ones, of neither


Span: TypeAlias = tuple[int, int]
"""Where a value begins and ends, in bytes."""


class NotJson(ValueError):
    """A message that is no JSON; the text is the parser's complaint with line and column."""


class _Complaint(Exception):
    """Something is wrong with what has been read up to `index`."""

    def __init__(self, words: str, index: int) -> None:
        super().__init__(words)
        self.words = words
        self.index = index


def spans_of(data: bytes) -> dict[tuple[object, ...], Span]:
    """Where each value of a message is, by its path of keys and places: ``("params", 0)``; of the whole: ``()``.

    Raises:
        NotJson: it is no JSON.
    """
    reader = _Reader(data)
    try:
        reader.read_all()
    except _Complaint as error:
        raise NotJson(error.words + place(data, error.index)) from None
    return reader.spans


def place_of(data: bytes, span: Span, value: object) -> str:
    """`` at line L column C`` where the parser finds that a value is of the wrong type.

    Before what it would have to enter, behind what it has read.
    """
    return place(data, span[0] if isinstance(value, dict | list) else span[1])


def place(data: bytes, index: int) -> str:
    """`` at line L column C`` when so many bytes have been read."""
    before = data[:index]
    start = before.rfind(b"\n") + 1
    line = before.count(b"\n") + 1
    return f" at line {line} column {index - start}"


def name_of(value: object) -> str:
    """How the parser calls a value of the wrong type."""
    if isinstance(value, dict | list):
        return "map" if isinstance(value, dict) else "sequence"
    if value is None:
        return "null"
    if isinstance(value, str):
        return "string " + json.dumps(value, ensure_ascii=False)
    kinds: dict[type, str] = {bool: "boolean", int: "integer", float: "floating point"}
    return f"{kinds[type(value)]} `{json.dumps(value)}`"


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._index = 0
        self._path: list[object] = []
        self.spans: dict[tuple[object, ...], Span] = {}

    def read_all(self) -> None:
        self._value()
        if self._skip_blank() is not None:
            raise self._at_next("trailing characters")

    def _peek(self) -> int | None:
        return self._data[self._index] if self._index < len(self._data) else None

    def _next(self, at_end: str) -> int:
        found = self._peek()
        if found is None:
            raise self._behind(at_end)
        self._index += 1
        return found

    def _skip_blank(self) -> int | None:
        while (found := self._peek()) is not None and found in _BLANK:
            self._index += 1
        return found

    def _behind(self, words: str) -> _Complaint:
        """About what has been read."""
        return _Complaint(words, self._index)

    def _at_next(self, words: str) -> _Complaint:
        """About what comes next."""
        return _Complaint(words, min(len(self._data), self._index + 1))

    def _value(self) -> None:
        first = self._skip_blank()
        start = self._index
        if first is None:
            raise self._at_next("EOF while parsing a value")
        if first in _IDENTIFIERS:
            self._identifier(_IDENTIFIERS[first])
        elif first == ord("-") or first in _DIGITS:
            self._number()
        elif first == ord('"'):
            self._string()
        elif first == ord("["):
            self._nested(self._list)
        elif first == ord("{"):
            self._nested(self._object)
        else:
            raise self._at_next("expected value")
        self.spans[tuple(self._path)] = (start, self._index)

    def _inner(self, name: object) -> None:
        self._path.append(name)
        self._value()
        self._path.pop()

    def _nested(self, read: Callable[[], None]) -> None:
        if len(self._path) + 1 >= _DEPTH_MAX:
            raise self._at_next("recursion limit exceeded")
        self._index += 1
        read()
        self._index += 1

    def _identifier(self, rest: bytes) -> None:
        self._index += 1
        for expected in rest:
            if self._next("EOF while parsing a value") != expected:
                raise self._behind("expected ident")

    def _number(self) -> None:
        start = self._index
        if self._peek() == ord("-"):
            self._index += 1
        first = self._next("EOF while parsing a value")
        if first not in _DIGITS:
            raise self._behind("invalid number")
        if first == ord("0"):
            if self._has(_DIGITS):
                raise self._at_next("invalid number")
        else:
            self._digits()
        self._fraction()
        self._exponent()
        if math.isinf(float(self._data[start : self._index])):
            raise self._behind("number out of range")

    def _fraction(self) -> None:
        if self._has(b"."):
            self._index += 1
            if not self._digits():
                raise self._at_next("EOF while parsing a value" if self._peek() is None else "invalid number")

    def _exponent(self) -> None:
        if self._has(b"eE"):
            self._index += 1
            if self._has(b"+-"):
                self._index += 1
            if self._next("EOF while parsing a value") not in _DIGITS:
                raise self._behind("invalid number")
            self._digits()

    def _has(self, wanted: bytes) -> bool:
        found = self._peek()
        return found is not None and found in wanted

    def _digits(self) -> int:
        start = self._index
        while self._has(_DIGITS):
            self._index += 1
        return self._index - start

    def _string(self) -> None:
        self._index += 1
        start = self._index
        while True:
            self._index = _PLAIN.match(self._data, self._index).end()  # type: ignore[union-attr]  # matches nothing too
            found = self._next("EOF while parsing a string")
            if found == ord('"'):
                break
            if found != ord("\\"):
                raise self._behind("control character (\\u0000-\\u001F) found while parsing a string")
            self._escape()
        try:
            self._data[start : self._index].decode()
        except UnicodeDecodeError:
            raise self._behind("invalid unicode code point") from None

    def _escape(self) -> None:
        found = self._next("EOF while parsing a string")
        if found != ord("u"):
            if found not in b'"\\/bfnrt':
                raise self._behind("invalid escape")
            return
        code = self._hex()
        if _LOW <= code < _BEHIND:
            raise self._behind("lone leading surrogate in hex escape")
        if _HIGH <= code < _LOW:
            for expected in b"\\u":
                if self._next("EOF while parsing a string") != expected:
                    raise self._behind("unexpected end of hex escape")
            if not _LOW <= self._hex() < _BEHIND:
                raise self._behind("lone leading surrogate in hex escape")

    def _hex(self) -> int:
        digits = self._data[self._index : self._index + 4]
        self._index += len(digits)
        if len(digits) < 4:  # noqa: PLR2004 - digits of a code
            raise self._behind("EOF while parsing a string")
        if not re.fullmatch(rb"[0-9a-fA-F]{4}", digits):
            raise self._behind("invalid escape")
        return int(digits, 16)

    def _list(self) -> None:
        number = 0
        while (found := self._skip_blank()) != ord("]"):
            if found is None:
                raise self._at_next("EOF while parsing a list")
            if number:
                if found != ord(","):
                    raise self._at_next("expected `,` or `]`")
                self._index += 1
                if self._skip_blank() == ord("]"):
                    raise self._at_next("trailing comma")
            self._inner(number)
            number += 1

    def _object(self) -> None:
        first = True
        while (found := self._skip_blank()) != ord("}"):
            if found is None:
                raise self._at_next("EOF while parsing an object")
            if not first:
                if found != ord(","):
                    raise self._at_next("expected `,` or `}`")
                self._index += 1
                found = self._skip_blank()
                if found is None:
                    raise self._at_next("EOF while parsing a value")
            first = False
            if found != ord('"'):
                raise self._at_next("trailing comma" if found == ord("}") else "key must be a string")
            start = self._index
            self._string()
            key = json.loads(self._data[start : self._index])
            self._colon()
            self._inner(key)

    def _colon(self) -> None:
        found = self._skip_blank()
        if found != ord(":"):
            raise self._at_next("EOF while parsing an object" if found is None else "expected `:`")
        self._index += 1
