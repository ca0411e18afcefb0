"""The frame cutter against wsproto, which judges alone what the cutter judges in bulk."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_strategies import CLOSES, UNLAWFUL, Sent, closes, ends, lawful, pieces, unlawful

from ingest_actors.websocket.framing import FrameCutter
from wire_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close, frame, text
from wsproto_judge import Judge

LARGE = 1 << 30
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy


def judged_alone(stream: list[bytes]) -> Judge:
    judge = Judge()
    for piece in stream:
        judge.feed(piece)
    return judge


def judged_behind_the_cutter(stream: list[bytes], limit: int = LARGE) -> Judge:
    judge, cutter = Judge(), FrameCutter(limit)
    for piece in stream:
        segments, passed = cutter.feed(piece)
        assert all(messages for _, messages in segments)
        judge.messages += [(binary, message) for binary, messages in segments for message in messages]
        judge.feed(passed)
    judge.feed(cutter.finish())
    return judge


def assert_same(stream: list[bytes]) -> Judge:
    alone, behind = judged_alone(stream), judged_behind_the_cutter(stream)
    assert behind.messages == alone.messages
    assert behind.controls == alone.controls
    assert behind.verdict == alone.verdict
    return behind


cuts = st.lists(st.integers(0, 1 << 20), max_size=8)


@unhurried
@given(lawful(), cuts)
def test_lawful_streams_give_their_messages_however_they_are_cut(sent: Sent, cuts: list[int]):
    judge = assert_same(pieces(sent.wire, cuts))
    assert judge.messages == sent.messages
    assert [payload for name, payload in judge.controls if name == "Ping"] == sent.pings
    assert judge.verdict is None


@unhurried
@given(lawful(), ends, lawful(), cuts)
def test_whatever_ends_a_stream_is_judged_as_wsproto_alone_judges_it(
    before: Sent, end: tuple[int, bytes], after: Sent, cuts: list[int]
):
    code, wire = end
    judge = assert_same(pieces(before.wire + wire + after.wire, cuts))
    if code == 1006:
        assert judge.messages == before.messages + after.messages
    else:
        assert judge.verdict == code
        assert judge.messages == before.messages


@unhurried
@given(lawful(), st.integers(0, 1 << 20), st.integers(1, 255), cuts)
def test_one_wrong_byte_is_judged_as_wsproto_alone_judges_it(sent: Sent, place: int, change: int, cuts: list[int]):
    wire = bytearray(sent.wire)
    if wire:
        wire[place % len(wire)] ^= change
    assert_same(pieces(bytes(wire), cuts))


@unhurried
@given(st.binary(max_size=64), cuts)
def test_noise_is_judged_as_wsproto_alone_judges_it(noise: bytes, cuts: list[int]):
    assert_same(pieces(noise, cuts))


@pytest.mark.parametrize(("code", "wire"), [*UNLAWFUL, *CLOSES])
def test_every_kind_of_end_is_judged_right_at_every_split_point(code: int, wire: bytes):
    before = text("a") + text("é" * 70) + frame(BINARY, b"b") + text("c" * 300)
    stream = before + wire + text("never seen")
    expected = judged_alone([stream])
    assert expected.verdict == code
    assert len(expected.messages) == 4
    for place in [0, *range(len(before) - 5, len(before + wire) + 5)]:
        split = judged_behind_the_cutter([stream[:place], stream[place:]])
        assert (split.messages, split.verdict) == (expected.messages, code)


def test_exactly_the_bytes_from_the_invalid_message_on_are_handed_on():
    good = text("a") + text("b" * 125) + text("c" * 126) + text("") + text("é" * 200)
    bad = text(b"\xff") + text("after")
    segments, passed = FrameCutter(LARGE).feed(good + bad)
    assert [len(message) for message in segments[0].messages] == [1, 125, 126, 0, 400]
    assert passed == bad


SAMPLE = b"".join(
    [
        text("first"),
        frame(TEXT, "fragm€nted".encode()[:6], fin=False),
        frame(PING, b"in between"),
        frame(CONTINUATION, "fragm€nted".encode()[6:7], fin=False),
        frame(CONTINUATION, b"", fin=False),
        frame(CONTINUATION, "fragm€nted".encode()[7:]),
        frame(PONG),
        frame(BINARY, b"\x81\x7e\x00\x7f"),
        frame(BINARY, b"bin", fin=False),
        frame(CONTINUATION, b"ary"),
        text("x" * 130),
        frame(PING),
        text(""),
        close(1001, "bye"),
        text("after the close"),
    ]
)


def test_a_sample_gives_the_same_at_every_two_split_points():
    whole = assert_same([SAMPLE])
    assert whole.messages == [
        (False, b"first"),
        (False, "fragm€nted".encode()),
        (True, b"\x81\x7e\x00\x7f"),
        (True, b"binary"),
        (False, b"x" * 130),
        (False, b""),
    ]
    assert whole.controls == [("Ping", b"in between"), ("Pong", b""), ("Ping", b"")]
    assert whole.verdict == 1001
    for first in range(len(SAMPLE) + 1):
        for second in range(first, len(SAMPLE) + 1, 7):
            split = judged_behind_the_cutter([SAMPLE[:first], SAMPLE[first:second], SAMPLE[second:]])
            assert (split.messages, split.controls, split.verdict) == (whole.messages, whole.controls, whole.verdict)


def test_a_sample_gives_the_same_byte_by_byte():
    whole = judged_alone([SAMPLE])
    single = judged_behind_the_cutter([SAMPLE[place : place + 1] for place in range(len(SAMPLE))])
    assert (single.messages, single.controls, single.verdict) == (whole.messages, whole.controls, whole.verdict)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70_000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_every_form_of_length_is_understood(opcode: int, size: int):
    wire = frame(opcode, b"s" * size)
    segments, passed = FrameCutter(LARGE).feed(wire * 3)
    assert [tuple(segment) for segment in segments] == [(opcode == BINARY, [b"s" * size] * 3)]
    assert passed == b""


def test_messages_of_one_kind_make_one_segment_though_a_ping_stands_between():
    segments, passed = FrameCutter(LARGE).feed(text("a") + frame(PING, b"p") + text("b") + frame(BINARY, b"c"))
    assert [tuple(segment) for segment in segments] == [(False, [b"a", b"b"]), (True, [b"c"])]
    assert passed == frame(PING, b"p")


@pytest.mark.parametrize("size", [5, 100, 126, 1000, 65536, 100_000])
def test_a_message_of_the_greatest_size_passes_and_one_byte_more_does_not(size: int):
    cutter = FrameCutter(size)
    just_right, too_big = text(b"m" * size), text(b"m" * (size + 1))
    segments, passed = cutter.feed(just_right + too_big + text(b"after"))
    assert [tuple(segment) for segment in segments] == [(False, [b"m" * size])]
    assert passed == too_big + text(b"after")
    assert cutter.passing


def test_the_sum_of_the_fragments_is_bounded_and_all_of_them_are_handed_on():
    cutter = FrameCutter(10)
    wire = frame(TEXT, b"12345", fin=False) + frame(CONTINUATION, b"67890", fin=False) + frame(CONTINUATION, b"!")
    segments, passed = cutter.feed(text("before") + wire)
    assert [tuple(segment) for segment in segments] == [(False, [b"before"])]
    assert passed == wire
    exactly = frame(TEXT, b"12345", fin=False) + frame(CONTINUATION, b"67890")
    assert FrameCutter(10).feed(exactly).segments[0].messages == [b"1234567890"]


def test_an_oversized_message_is_refused_by_its_header_alone():
    cutter = FrameCutter(1000)
    header = frame(BINARY, b"", claimed=1001, length_form=16)
    assert cutter.feed(header) == ([], header)
    assert cutter.passing


def test_a_large_message_in_many_reads_is_joined_once():
    message = b"L" * 1_000_000
    wire = text(message)
    cutter = FrameCutter(LARGE)
    found = []
    for start in range(0, len(wire), 1000):
        found += cutter.feed(wire[start : start + 1000]).segments
        assert cutter.held_bytes == (0 if found else min(start + 1000, len(wire)))
    assert [tuple(segment) for segment in found] == [(False, [message])]


def test_after_our_own_close_pings_and_pongs_are_dropped_and_a_close_still_passes():
    cutter = FrameCutter(LARGE)
    cutter.hushed = True
    wire = frame(PING, b"late") + frame(PONG, b"late") + close(1000)
    assert cutter.feed(wire) == ([], close(1000))


@unhurried
@given(lawful(), unlawful, cuts)
def test_from_a_violation_on_every_byte_is_handed_on(before: Sent, end: tuple[int, bytes], cuts: list[int]):
    cutter = FrameCutter(LARGE)
    passed = b"".join(cutter.feed(piece).passed for piece in pieces(before.wire + end[1] + b"and more", cuts))
    assert cutter.passing
    assert (passed + cutter.finish()).endswith(b"and more")


@unhurried
@given(closes)
def test_after_a_close_frame_every_byte_is_handed_on(end: tuple[int, bytes]):
    cutter = FrameCutter(LARGE)
    cutter.feed(end[1])
    assert cutter.feed(text("ignored")) == ([], text("ignored"))
    assert cutter.finish() == b""


def test_what_is_kept_at_the_end_is_handed_on():
    cutter = FrameCutter(LARGE)
    wire = frame(TEXT, b"frag", fin=False) + frame(CONTINUATION, b"ment")[:-1]
    assert cutter.feed(wire) == ([], b"")
    assert cutter.held_bytes == len(wire) - 2
    assert cutter.finish() == wire
    assert cutter.held_bytes == 0


def test_a_close_frame_is_no_message():
    assert FrameCutter(LARGE).feed(frame(CLOSE)) == ([], frame(CLOSE))
