"""Hypothesis strategies for what a server may send: lawful streams, and all that can be wrong with them."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from hypothesis import strategies as st

from wire_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame


class Sent(NamedTuple):
    """A stream of bytes and what a client is to make of it."""

    wire: bytes
    messages: list[tuple[bool, bytes]]
    pings: list[bytes]


texts = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.sampled_from(["", "a" * 125, "b" * 126, "c" * 127, "é" * 63, "d" * 300, "€" * 200, "\U0001f600" * 5]),
    st.integers(2, 40).map(lambda size: '{"e":"trade"}' * size),
).map(str.encode)
binaries = st.one_of(st.binary(max_size=40), st.sampled_from([b"", b"\x81\x7e\x00\x7f" * 40, b"\xff" * 126]))
payloads = st.one_of(texts.map(lambda payload: (False, payload)), binaries.map(lambda payload: (True, payload)))
controls = st.tuples(st.sampled_from([PING, PONG]), st.one_of(st.binary(max_size=20), st.just(b"x" * 125)))


@st.composite
def lawful(draw: st.DrawFn) -> Sent:
    """Messages, whole and in fragments cut at any byte, with pings and pongs between and within them."""
    wire, messages, pings = [], [], []

    def maybe_control() -> None:
        if draw(st.integers(0, 3)) == 0:
            opcode, payload = draw(controls)
            wire.append(frame(opcode, payload))
            if opcode == PING:
                pings.append(payload)

    for binary, payload in draw(st.lists(payloads, max_size=6)):
        places = [0, *sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3))), len(payload)]
        opcode = BINARY if binary else TEXT
        for number in range(1, len(places)):
            wire.append(frame(opcode, payload[places[number - 1] : places[number]], fin=number == len(places) - 1))
            opcode = CONTINUATION
            maybe_control()
        messages.append((binary, payload))
    return Sent(b"".join(wire), messages, pings)


UNLAWFUL = [
    (1002, frame(TEXT, b"masked", masked=True)),
    (1002, frame(PING, b"masked", masked=True)),
    (1002, frame(TEXT, b"compressed?", rsv=4)),
    (1002, frame(BINARY, b"", rsv=1)),
    (1002, frame(PING, b"", rsv=2)),
    (1002, frame(0x3, b"reserved data")),
    (1002, frame(0x7, b"reserved data", fin=False)),
    (1002, frame(0xB, b"reserved control")),
    (1002, frame(0xF)),
    (1002, frame(PING, b"fragmented", fin=False)),
    (1002, frame(CLOSE, b"\x03\xe8", fin=False)),
    (1002, frame(PING, b"x" * 126)),
    (1002, frame(PONG, b"", claimed=70_000)),
    (1002, frame(PING, b"short", length_form=16)),
    (1002, frame(TEXT, b"not minimal", length_form=16)),
    (1002, frame(TEXT, b"x" * 125, length_form=64)),
    (1002, frame(BINARY, b"x" * 300, length_form=64)),
    (1002, frame(BINARY, b"", claimed=1 << 63)),
    (1002, frame(CONTINUATION, b"of nothing")),
    (1002, frame(CONTINUATION, b"of nothing", fin=False)),
    (1002, frame(TEXT, b"begun ", fin=False) + frame(TEXT, b"another")),
    (1002, frame(BINARY, b"begun ", fin=False) + frame(BINARY, b"another", fin=False)),
    (1002, frame(TEXT, b"begun ", fin=False) + frame(CONTINUATION, b"masked", masked=True)),
    (1002, frame(TEXT, b"\xc3", fin=False) + frame(PING, b"", rsv=1)),
    (1007, frame(TEXT, b"not UTF-8: \xff")),
    (1007, frame(TEXT, b"cut short: \xe2\x82")),
    (1007, frame(TEXT, b"surrogate: \xed\xa0\x80")),
    (1007, frame(TEXT, b"too long a form: \xc0\xaf" + b"x" * 300)),
    (1007, frame(TEXT, b"\xe2\x82", fin=False) + frame(CONTINUATION, b"(", fin=False)),
    (1007, frame(TEXT, b"ok", fin=False) + frame(CONTINUATION, b"\xe2\x82")),
    (1007, frame(TEXT, b"\xe2\x82") + frame(TEXT, b"\xac")),
    (1002, frame(CLOSE, b"\x03")),
    (1002, frame(CLOSE, (999).to_bytes(2, "big"))),
    (1002, frame(CLOSE, (1005).to_bytes(2, "big"))),
    (1002, frame(CLOSE, (1006).to_bytes(2, "big"))),
    (1002, frame(CLOSE, (2999).to_bytes(2, "big"))),
    (1002, frame(CLOSE, (5000).to_bytes(2, "big"))),
    (1007, frame(CLOSE, (1000).to_bytes(2, "big") + b"\xff")),
    (1002, frame(CLOSE, (1000).to_bytes(2, "big") + b"x" * 124)),
]
CLOSES = [
    (1005, frame(CLOSE)),
    (1000, frame(CLOSE, (1000).to_bytes(2, "big"))),
    (1001, frame(CLOSE, (1001).to_bytes(2, "big") + b"going away")),
    (1008, frame(CLOSE, (1008).to_bytes(2, "big") + "Pong timeout \u20ac".encode())),
    (4321, frame(CLOSE, (4321).to_bytes(2, "big"))),
    (1001, frame(TEXT, b"begun ", fin=False) + frame(CLOSE, (1001).to_bytes(2, "big"))),
]
unlawful = st.sampled_from(UNLAWFUL)
closes = st.sampled_from(CLOSES)
ends = st.one_of(unlawful, closes, st.just((1006, b"")))


def pieces(wire: bytes, cuts: list[int]) -> list[bytes]:
    """The stream cut at these places; places may be anything."""
    places = sorted({cut % (len(wire) + 1) for cut in cuts} | {0, len(wire)})
    return [wire[start:end] for start, end in pairwise(places)]
