"""A paced exchange: its messages stay valid, and what they say of their sending can be read back from any record."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from blaster import make_payloads, text_frame
from pacing import TOGETHER_MAX, PacedFrames, stamp_us
from tail import figures

MESSAGES = 300
AT_ONCE = 1e12
"""Messages a second: all are due at the first look."""


def payloads_of(wire: bytes) -> list[bytes]:
    """What stands in unmasked text frames of less than 64 KiB."""
    found, at = [], 0
    while at < len(wire):
        size, start = wire[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(wire[at + 2 : at + 4], "big"), at + 4
        found.append(wire[start : start + size])
        at = start + size
    return found


def sent_by(frames: PacedFrames) -> list[bytes]:
    pieces: list[bytes] = []
    frames.send(lambda piece: pieces.append(bytes(piece)), AT_ONCE)
    return pieces


def test_paced_messages_differ_from_others_by_the_two_stamps_only() -> None:
    frames = PacedFrames(make_payloads(MESSAGES), text_frame)
    sent = [json.loads(payload) for piece in sent_by(frames) for payload in payloads_of(piece)]
    assert len(sent) == len(frames) == MESSAGES
    for message, plain in zip(sent, map(json.loads, make_payloads(MESSAGES)), strict=True):
        at_us = message["data"].pop("x")
        assert message["data"].pop("E") == at_us // 1000
        del plain["data"]["E"]
        for event in (message["data"], plain["data"]):
            event.pop("T", None)  # of the moment in which they were made
        assert message == plain


def test_every_write_is_of_whole_frames_and_of_one_stamp_and_of_bounded_size() -> None:
    pieces = sent_by(PacedFrames(make_payloads(MESSAGES), text_frame))
    for piece in pieces:
        payloads = payloads_of(piece)
        assert 0 < len(payloads) <= TOGETHER_MAX
        assert len({json.loads(payload)["data"]["x"] for payload in payloads}) == 1
    firsts = [json.loads(payloads_of(piece)[0])["data"]["x"] for piece in pieces]
    assert all(before <= after for before, after in pairwise(firsts))


def test_an_event_is_what_stands_in_the_envelope() -> None:
    frames = PacedFrames(make_payloads(4), text_frame)
    (piece,) = sent_by(frames)
    assert [frames.event(index) for index in range(4)] == [
        payload.partition(b'"data":')[2][:-1] for payload in payloads_of(piece)
    ]


def test_the_stamp_is_found_in_a_record_however_its_writer_prints_json() -> None:
    event = {"e": "aggTrade", "x": 1_700_000_000_123_456, "source": "binance_websocket"}
    assert stamp_us(json.dumps(event).encode()) == 1_700_000_000_123_456
    assert stamp_us(json.dumps(event, separators=(",", ":")).encode()) == 1_700_000_000_123_456
    with pytest.raises(ValueError, match="not found"):
        stamp_us(b'{"e":"aggTrade"}')


def test_latencies_are_told_in_milliseconds() -> None:
    assert figures(list(range(1000, 102_000, 1000))) == {
        "median_ms": 51.0,
        "p90_ms": 91.0,
        "p99_ms": 100.0,
        "mean_ms": 51.0,
    }
