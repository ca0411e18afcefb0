"""What a message may become, told apart from how the program does it: with Python's own JSON and nothing else."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from json.decoder import scanstring

_BLANKS = b" \t\r\n"
_TAIL = b',"ingestion_timestamp":'
_scan = json.JSONDecoder(parse_int=str, parse_float=str).scan_once  # Python's own numbers have a bound on digits


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place


def _data_of(text: str) -> list[str]:
    """The value of the member called ``data`` of a JSON object, as it stands; of several the last one holds."""
    found: list[str] = []
    place = _skip(text, 1)
    while text[place] == '"':
        name, place = scanstring(text, place + 1)
        place = _skip(text, place)
        start = _skip(text, place + 1)
        _, end = _scan(text, start)
        if name == "data":
            found = [text[start:end]]
        place = _skip(text, end)
        if text[place] != ",":
            break
        place = _skip(text, place + 1)
    return found


def _elements_of(text: str) -> list[str]:
    elements = []
    place = _skip(text, 1)
    while text[place] != "]":
        _, end = _scan(text, place)
        elements.append(text[place:end])
        place = _skip(text, end)
        if text[place] != ",":
            break
        place = _skip(text, place + 1)
    return elements


def forms(message: bytes) -> list[list[bytes]]:
    """What a message may become: each form is a list of pieces, of which each must be found, byte for byte."""
    whole = [[message], [message.strip(_BLANKS)]]
    try:
        text = message.decode().strip(" \t\r\n")
        candidates = [text]
        if text.startswith("{"):
            candidates += _data_of(text)
        for candidate in candidates:
            if candidate.startswith("["):
                whole.append([element.encode() for element in _elements_of(candidate)])
            elif candidate is not text:
                whole.append([candidate.encode()])
    except (ValueError, IndexError, StopIteration, RecursionError):
        pass  # no JSON as Python knows it, so it can be nothing but a whole
    return whole


def piece_of(value: bytes) -> list[bytes]:
    """What a record's value may have been made from: the likeliest first."""
    place = value.rfind(_TAIL)
    if place < 0:
        return [value]
    found = [value[:place] + b"}"]
    for name in (b',"symbol":', b',"stream":'):
        start = value.rfind(name, 0, place)
        if start >= 0:
            found.append(value[:start] + b"}")
    return found


class Accounts:
    """Who sent what, and what has come of it.

    Args:
        letters: the values of all dead letters.
        values: those of all events.

    Attributes:
        missing: pieces of which nothing was found: duplicates, and what was said about the connection.
        examples: some of them.
    """

    def __init__(self, letters: Iterable[bytes], values: Iterable[bytes]) -> None:
        self.missing = 0
        self.examples: list[bytes] = []
        self._letters = Counter(letters)
        self._values = Counter(values)
        self._holders: dict[bytes, list[bytes]] = {}  # of single pieces, the messages that were given them
        self._made: dict[bytes, list[bytes]] = {}
        for value in self._values:
            for piece in piece_of(value):
                self._made.setdefault(piece, []).append(value)

    def settle(self, sent: Iterable[bytes]) -> Counter[bytes]:
        """Find each message among the records; what is left over is returned, which should be nothing."""
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(10 * limit)  # what the program could just read, its judge must not find too deep
        try:
            return self._settle(sent)
        finally:
            sys.setrecursionlimit(limit)

    def _settle(self, sent: Iterable[bytes]) -> Counter[bytes]:
        partly = [message for message in sent if not self._place(message)]
        gone = [
            [piece for piece in max(reversed(forms(message)), key=len) if not self._take([piece])] for message in partly
        ]
        if +self._letters or +self._values:
            gone = [[piece for piece in pieces if not self._free(piece, set())] for pieces in gone]
        self.missing = sum(map(len, gone))
        self.examples = [pieces[0] for pieces in gone if pieces]
        return +self._letters + +self._values

    def _place(self, message: bytes) -> bool:
        form = next((form for form in forms(message) if self._take(form)), None)
        if form is not None and len(form) == 1:
            self._holders.setdefault(form[0], []).append(message)
        return form is not None

    def _free(self, piece: bytes, tried: set[bytes]) -> bool:
        """Have a message that was given this piece be something else; whether one can.

        A record may be what either of two messages became: of ``[1]`` comes ``1`` and of ``[[1]]`` comes ``[1]``, which
        the former might have become as a whole. To whom it is given first, it need not belong.
        """
        for message in self._holders.get(piece, ()):
            if message in tried:
                continue
            tried.add(message)
            for form in forms(message):
                if form != [piece] and (self._take(form) or (len(form) == 1 and self._free(form[0], tried))):
                    self._holders[piece].remove(message)
                    if len(form) == 1:
                        self._holders.setdefault(form[0], []).append(message)
                    return True
        return False

    def _take(self, pieces: list[bytes]) -> bool:
        """Take all of these pieces out of what is there, or none."""
        taken: list[tuple[Counter[bytes], bytes]] = []
        for piece in pieces:
            found = self._find(piece)
            if found is None:
                for counter, key in taken:
                    counter[key] += 1
                return False
            found[0][found[1]] -= 1
            taken.append(found)
        return bool(pieces)

    def _find(self, piece: bytes) -> tuple[Counter[bytes], bytes] | None:
        if self._letters[piece] > 0:
            return self._letters, piece
        value = next((value for value in self._made.get(piece, ()) if self._values[value] > 0), None)
        return None if value is None else (self._values, value)
