"""The tap as a transport of its own right."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from ingest_actors.websocket.framing import Segment
from ingest_actors.websocket.pacing import ReceivePacer
from ingest_actors.websocket.read_ahead import ReadAhead
from ingest_actors.websocket.tap import FrameTap
from wire_frames import PING, close, frame, text

HEAD = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


def tap_of(transport: trio.abc.Stream, delivered: list[Segment]) -> FrameTap:
    return FrameTap(
        transport, read_ahead=ReadAhead(1000), deliver=delivered.append, message_bytes_max=1000, pacer=ReceivePacer(0)
    )


async def test_what_is_passed_on_comes_in_pieces_no_larger_than_asked_for():
    ours, theirs = trio.testing.memory_stream_pair()
    delivered: list[Segment] = []
    tap = tap_of(ours, delivered)
    await theirs.send_all(HEAD + text("a") + frame(PING, b"ping") + text("b") + close(1000))
    got = [await tap.receive_some(5)]
    while len(b"".join(got)) < len(HEAD) + 10:
        got.append(await tap.receive_some(5))
    assert b"".join(got) == HEAD + frame(PING, b"ping") + close(1000)
    assert max(map(len, got)) == 5
    assert delivered == [(False, [b"a", b"b"])]
    await theirs.aclose()
    for _ in range(2):
        assert await tap.receive_some() == b""


async def test_the_rest_of_a_refusal_passes_untouched():
    ours, theirs = trio.testing.memory_stream_pair()
    tap = tap_of(ours, [])
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\n"
    await theirs.send_all(refusal)
    assert await tap.receive_some() == refusal
    await theirs.send_all(text("no frame!"))
    assert await tap.receive_some() == text("no frame!")
    assert (tap.status, tap.upgraded, tap.head) == (403, False, refusal)


async def test_a_break_comes_after_what_was_kept_and_stays():
    async def broken() -> None:
        raise trio.BrokenResourceError from ConnectionResetError(104, "reset")

    ours, theirs = trio.testing.memory_stream_pair()
    tap = tap_of(ours, [])
    await theirs.send_all(HEAD + text("half")[:-2])
    assert await tap.receive_some() == HEAD
    ours.receive_stream.receive_some_hook = broken
    assert await tap.receive_some() == text("half")[:-2]
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError):
            await tap.receive_some()
    assert tap.gave_out.is_set()
    assert tap.end_reason == "the connection broke: [Errno 104] reset"


async def test_after_a_close_frame_nothing_more_is_sent():
    ours, theirs = trio.testing.memory_stream_pair()
    tap = tap_of(ours, [])
    await theirs.send_all(HEAD)
    await tap.receive_some()
    await tap.send_close(4000, "\u20ac" * 100)
    await tap.send_all(frame(PING, b"too late"))
    await tap.send_close(1000, "")
    await tap.wait_send_all_might_not_block()
    sent = await theirs.receive_some()
    mask, payload = sent[2:6], sent[6:]
    assert sent[:2] == bytes([0x88, 0x80 | len(payload)])
    unmasked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    assert unmasked == (4000).to_bytes(2, "big") + ("\u20ac" * 41).encode()
