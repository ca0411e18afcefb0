"""Lines of recordings, as recorders of others write them.

A line is one of these:

- ``<time> <frame>`` or ``<time>: <frame>``: a frame of a combined stream, and when it was received: seconds with a
  decimal point, or an integer of milliseconds, microseconds or nanoseconds, told apart by their size;
- ``wss://<subscribed URL> <-> <time>``: what was subscribed;
- ``https://<URL> -> <time>: <answer>``: an answer of REST;
- ``<time> {"lastUpdateId":...}``: REST's depth answer for the only symbol of the file;
- ``configuration: ...``, replies to control messages, empty lines: passed over.

What `record` writes is of this kind too, with lines of its own between: see `own`.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple
from urllib.parse import unquote

_TIME = rb"[0-9]{1,19}(?:\.[0-9]{0,18})?"

FRAMES = re.compile(rb'^(%b):? (\{"stream":"([^"\\\n]+)","data":.*\})\r?$' % _TIME, re.MULTILINE)
"""Finds every frame of a text at once, as tuples that fit `RecordedFrame`; what it leaves out is for `understand`."""

_TIMED = re.compile(rb"(%b):? (\{.*\})\r?" % _TIME, re.DOTALL)
_ANSWER = re.compile(rb"(https?://\S+) -> (%b): (\{.*\}|\[.*\])\r?" % _TIME, re.DOTALL)
_SUBSCRIBED = re.compile(rb"wss?://[^/\s]+(/\S*) <-> [0-9.]+\r?")
_SYMBOL_PARAMETER = re.compile(r"[?&]symbol=([^&]+)")
_DATA_KEY = re.compile(rb'"data"\s*:\s*')
_NS_DIGITS = 19


class RecordedFrame(NamedTuple):
    """One frame of a combined stream. The regular expression's groups, as they are: nothing is decoded for speed."""

    time: bytes
    """When it was received, as written; see `time_ns`."""
    frame: bytes
    """The frame's payload, byte for byte."""
    stream: bytes
    """The name of its stream."""


class RecordedAnswer(NamedTuple):
    """One answer of REST."""

    time_ns: int
    endpoint: str
    """The last part of the URL's path: ``depth``, ``exchangeInfo``."""
    symbol: str
    """Uppercase; empty when the URL names none."""
    body: bytes


class Subscribed(NamedTuple):
    """Streams that were subscribed, whether they brought anything or not."""

    streams: tuple[str, ...]
    """Empty: a line of no interest."""


class Timed(NamedTuple):
    """A line of a time and a JSON object, which is none of the above: what `record` itself has to say."""

    time: bytes
    value: dict[str, Any]


Line = RecordedFrame | RecordedAnswer | Subscribed | Timed
"""What a line can be."""


def understand(line: bytes) -> Line | None:
    """What a line of a recording is; None: it is none, whatever else it may be."""
    try:
        return _understood(line)
    except (ValueError, RecursionError):  # no UTF-8, half a character, no JSON, or JSON without a bottom
        return None


def _understood(line: bytes) -> Line | None:
    stripped = line.strip()
    if not stripped or stripped.startswith(b"configuration: "):
        return Subscribed(())
    subscribed = _SUBSCRIBED.fullmatch(line)
    if subscribed:
        return Subscribed(_streams_of(subscribed[1].decode()))
    answer = _ANSWER.fullmatch(line)
    if answer:
        json.loads(answer[3])
        url = answer[1].decode()
        symbol = _SYMBOL_PARAMETER.search(url)
        endpoint = url.partition("?")[0].rpartition("/")[2]
        return RecordedAnswer(time_ns(answer[2]), endpoint, unquote(symbol[1]).upper() if symbol else "", answer[3])
    timed = _TIMED.fullmatch(line)
    if not timed:
        return None
    return _understand_timed(timed[1], timed[2])


def _streams_of(target: str) -> tuple[str, ...]:
    """The names in the path or the query of a WebSocket URL."""
    path, _, query = unquote(target).partition("?")
    named = [item.removeprefix("streams=") for item in query.split("&") if item.startswith("streams=")]
    parts = "/".join([*named, path.removeprefix("/ws/")] if path.startswith("/ws/") else named).split("/")
    return tuple(dict.fromkeys(part for part in parts if "@" in part))


def _understand_timed(time: bytes, text: bytes) -> Line | None:
    value = json.loads(text)
    if isinstance(value.get("stream"), str) and "data" in value and _DATA_KEY.search(text):
        return RecordedFrame(time, text, value["stream"].encode())
    if "lastUpdateId" in value:
        return RecordedAnswer(time_ns(time), "", "", text)
    if "result" in value or "error" in value:
        return Subscribed(())
    return Timed(time, value)


def time_ns(text: bytes) -> int:
    """A time of a recording in nanoseconds since the epoch.

    Args:
        text: seconds with a decimal point, or an integer of seconds, ms, us or ns: their digits tell which.
    """
    seconds, point, fraction = text.partition(b".")
    if point:
        return int(seconds) * 10**9 + int(fraction.ljust(9, b"0")[:9])
    return int(text) * int(10 ** max(0, (_NS_DIGITS - len(text)) // 3 * 3))


def symbol_of(stream: str) -> str:
    """The symbol that a stream is about, uppercase; empty for those about many."""
    return "" if stream.startswith("!") else stream.partition("@")[0].upper()


def raw_payload(frame: bytes, stream: bytes) -> bytes:
    """The event inside a frame of a combined stream, byte for byte."""
    prefix = b'{"stream":"' + stream + b'","data":'
    if frame.startswith(prefix):
        return frame[len(prefix) : -1]
    # another order of keys, or spaces: the value of "data" as it stands
    found = _DATA_KEY.search(frame)
    assert found is not None  # or it would have been no frame: see `understand`
    text = frame[found.end() :].decode()
    _, end = json.JSONDecoder().raw_decode(text)
    return text[:end].encode()
