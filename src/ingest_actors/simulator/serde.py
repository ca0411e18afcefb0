"""What the exchange's parser, a Rust one (serde_json), says about JSON that it does not like.

Python's own parser finds the place; the words and the way of counting columns are the other's: the column is the number
of bytes of the line that were read, so it points at the offending byte, or at the last one when the text ends early.
"""

from __future__ import annotations

import json
import re

_ESCAPE_OR_CONTROL = {
    "Invalid control character at": "control character (\\u0000-\\u001F) found while parsing a string",
    "Invalid \\escape": "invalid escape",
    "Invalid \\uXXXX escape": "invalid escape",
}
_SAME_EVERYWHERE = {
    "Extra data": "trailing characters",
    "Illegal trailing comma before end of object": "trailing comma",
    "Illegal trailing comma before end of array": "trailing comma",
    "Expecting ':' delimiter": "expected `:`",
}
_OPENERS = {"{": "an object", "[": "a list"}


def describe(text: str, error: json.JSONDecodeError | RecursionError) -> str:
    """The complaint about `text`, which Python refused with `error`: words, line, column."""
    if isinstance(error, RecursionError):
        return "recursion limit exceeded" + _place(text, len(text))
    stripped = text.rstrip(" \t\r\n")
    if error.msg.startswith("Unterminated string"):
        return "EOF while parsing a string" + _place(text, len(text) - 1)
    if error.pos >= len(stripped):
        return _end_of_input(stripped) + _place(text, max(0, len(text) - 1), empty=not text)
    words = _words(error, text)
    return words + _place(text, error.pos)


def end_of(text: str) -> str:
    """`` at line L column C`` of the end of the value, where a parser finds that a field is missing."""
    return _place(text, max(0, len(text.rstrip()) - 1))


def end_of_value(text: str, key: str) -> str:
    """`` at line L column C`` of the end of the string that `key` has."""
    found = re.search(rf'"{key}"\s*:\s*"(?:[^"\\]|\\.)*"', text)
    return _place(text, found.end() - 1) if found else end_of(text)


def name_of(value: object) -> str:
    """How the parser calls a value of the wrong type."""
    if isinstance(value, dict | list):
        return "map" if isinstance(value, dict) else "sequence"
    kinds: dict[type, str] = {bool: "boolean", int: "integer", float: "floating point", str: "string"}
    kind = kinds.get(type(value))
    text = json.dumps(value, ensure_ascii=False)
    if kind is None:
        return text
    return f"{kind} {text}" if kind == "string" else f"{kind} `{text}`"


def _words(error: json.JSONDecodeError, text: str) -> str:
    for start, words in _ESCAPE_OR_CONTROL.items():
        if error.msg.startswith(start):
            return words
    if error.msg in _SAME_EVERYWHERE:
        return _SAME_EVERYWHERE[error.msg]
    if error.msg == "Expecting ',' delimiter":
        return "expected `,` or `]`" if _innermost(text[: error.pos]) == "[" else "expected `,` or `}`"
    at_a_bracket = text[error.pos] in "]}"
    if error.msg == "Expecting property name enclosed in double quotes":
        return "trailing comma" if at_a_bracket else "key must be a string"
    return "trailing comma" if text[error.pos] == "]" and text[: error.pos].rstrip().endswith(",") else "expected value"


def _end_of_input(text: str) -> str:
    opener = _innermost(text)
    if not opener or text.endswith(":") or (opener == "[" and text.endswith((",", "["))):
        return "EOF while parsing a value"
    return f"EOF while parsing {_OPENERS[opener]}"


def _innermost(text: str) -> str:
    """The bracket that is open at the end of `text`; empty when none is."""
    open_brackets: list[str] = []
    for token in re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text):
        if token in _OPENERS:
            open_brackets.append(token)
        elif token in ("}", "]") and open_brackets:
            open_brackets.pop()
    return open_brackets[-1] if open_brackets else ""


def _place(text: str, position: int, *, empty: bool = False) -> str:
    before = text[:position]
    line = before.count("\n") + 1
    column = 0 if empty else len(text[before.rfind("\n") + 1 : position + 1].encode())
    return f" at line {line} column {column}"
