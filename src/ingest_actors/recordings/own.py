"""The lines that `record` writes. Every one is a time in nanoseconds, a blank, and what there is to say.

    1790000000000000000 {"recording":1,...}                        the head: version, program, what was asked for
    1790000000000000001 {"connection":"c1"}                        what follows came by this connection
    1790000000000000002 {"stream":"btcusdt@trade","data":{...}}    a message, byte for byte
    1790000000000000003 {"text":"..."}                             a message that is no frame of a combined stream
    1790000000000000004 {"binary":"..."}                           a binary message, base64
    1790000000000000005 {"connection":"c1","event":"opened",...}   what became of a connection
    https://...?symbol=BTCUSDT -> 1790000000.000000006: {...}      an answer of REST, byte for byte
    1790000000000000007 {"end":"stopped"}                          the foot; without it the recorder was killed

A file is a row of blocks; each is a gzip member of its own and begins with whole lines, its first message with its
connection. So any prefix of the file that ends between blocks is a recording, and `zcat` reads all of it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ingest_actors.messages import FrameBatch
from ingest_actors.recordings.lines import Timed

VERSION = 1
"""Of the format. A file with a higher one is refused; each release reads the one before."""

HEAD = re.compile(rb'[0-9]{16,19} \{"recording":')
"""How a file of ours begins."""

_VERBATIM = re.compile(rb'\{"stream":"[^"\\\n]+","data":[^\n]*\}')
_CONTROL = re.compile(rb"\s|[\x00-\x1f]")


class Head(NamedTuple):
    """The first line of a file, and of each part."""

    version: object
    facts: Mapping[str, Any]


class Connection(NamedTuple):
    """What follows came by this connection."""

    name: str


class Message(NamedTuple):
    """A message that is no frame of a combined stream."""

    time: bytes
    payload: bytes
    binary: bool


class Mark(NamedTuple):
    """What became of a connection."""

    time: bytes
    connection: str
    event: str
    """``opened``, ``subscribed`` or ``closed``."""
    facts: Mapping[str, Any]


class Foot(NamedTuple):
    """The last line of a part."""

    reason: str
    """``stopped``, ``continued`` (in another file) or ``failed``."""


def head_line(time_ns: int, facts: Mapping[str, Any]) -> bytes:
    """The first line."""
    return _line(time_ns, {"recording": VERSION, **facts})


def mark_line(time_ns: int, connection: str, event: str, facts: Mapping[str, Any]) -> bytes:
    """What became of a connection."""
    return _line(time_ns, {"connection": connection, "event": event, **facts})


def foot_line(time_ns: int, reason: str) -> bytes:
    """The last line."""
    return _line(time_ns, {"end": reason})


def answer_line(time_ns: int, url: str, body: bytes) -> bytes:
    """An answer of REST.

    Raises:
        ValueError: the body is not in one line, so that it cannot be written as it is.
    """
    if b"\n" in body or _CONTROL.search(url.encode()):
        raise ValueError("more than one line")
    return b"%b -> %d.%09d: %b\n" % (url.encode(), *divmod(time_ns, 10**9), body)


def batch_lines(batches: Iterable[FrameBatch | bytes]) -> Iterator[bytes]:
    """The lines of batches; lines that are among them pass through."""
    connection = ""
    for batch in batches:
        if isinstance(batch, bytes):
            yield batch
            continue
        time = b"%d " % batch.received_at_ns
        if batch.connection != connection:
            connection = batch.connection
            yield _line(batch.received_at_ns, {"connection": connection})
        if batch.binary:
            for frame in batch.frames:
                yield time + b'{"binary":"%b"}\n' % base64.b64encode(frame)
            continue
        for frame in batch.frames:
            if _VERBATIM.fullmatch(frame):
                yield time + frame + b"\n"
            else:
                yield time + b'{"text":%b}\n' % json.dumps(frame.decode(errors="surrogateescape")).encode()


def understand_own(line: Timed) -> Head | Connection | Message | Mark | Foot | None:
    """What a line of ours says; None: this version does not know it.

    Raises:
        ValueError: what should be base64 is none.
    """
    found: Head | Connection | Message | Mark | Foot | None = None
    match line.value:
        case {"recording": version, **facts}:
            found = Head(version, facts)
        case {"connection": str(name), "event": str(event), **facts}:
            found = Mark(line.time, name, event, facts)
        case {"connection": str(name)}:
            found = Connection(name)
        case {"text": str(text)}:
            found = Message(line.time, text.encode(errors="surrogateescape"), binary=False)
        case {"binary": str(text)}:
            found = Message(line.time, base64.b64decode(text, validate=True), binary=True)
        case {"end": str(reason)}:
            found = Foot(reason)
    return found


def _line(time_ns: int, value: Mapping[str, Any]) -> bytes:
    return b"%d %b\n" % (time_ns, json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
