"""The fast path and trio-websocket's own make the same of the same bytes."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from raw_server import URL, RawServer
from wire_strategies import Sent, ends, lawful, pieces

from ingest_actors.errors import FeedClosed
from ingest_actors.websocket.feed import open_feed
from wire_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close, frame, text

LIMIT = 1200


class Outcome(NamedTuple):
    messages: list[tuple[bool, bytes]]
    code: int
    pongs: list[bytes]
    close_codes: list[int]
    """Of the close frames that the client sent."""


async def outcome_of(stream: list[bytes], *, fast: bool, together: bool, limit: int = LIMIT) -> Outcome:
    """Serve these pieces after a handshake and hang up; tell what the client made of them."""
    server = RawServer()
    messages = []
    heard = []
    code = 0

    async def serve() -> None:
        await server.shake_hands(stream[0] if together and stream else b"")
        with contextlib.suppress(trio.BrokenResourceError):  # the client may have heard enough
            for piece in stream[1:] if together else stream:
                await trio.testing.wait_all_tasks_blocked()
                await server.send(piece)
        await server.stream.send_eof()
        heard.extend(await server.listen())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with open_feed(URL, name="c", connect=server.connect, fast=fast, max_message_bytes=limit) as feed:
            try:
                while True:
                    batch = await feed.receive()
                    messages += [(batch.binary, message) for message in batch.frames]
            except FeedClosed as closed:
                code = closed.code
    return Outcome(
        messages,
        code,
        [payload for opcode, payload in heard if opcode == PONG],
        [int.from_bytes(payload[:2], "big") or 1005 for opcode, payload in heard if opcode == CLOSE],
    )


def run(stream: list[bytes], *, fast: bool, together: bool = False, limit: int = LIMIT) -> Outcome:
    clock = trio.testing.MockClock(autojump_threshold=0)

    async def bounded() -> Outcome:
        with trio.fail_after(1000):
            return await outcome_of(stream, fast=fast, together=together, limit=limit)

    return trio.run(bounded, clock=clock)


def assert_same(stream: list[bytes], *, together: bool = False, limit: int = LIMIT) -> Outcome:
    fast = run(stream, fast=True, together=together, limit=limit)
    assert fast == run(stream, fast=False, together=together, limit=limit)
    return fast


cuts = st.lists(st.integers(0, 1 << 20), max_size=5)
too_big = st.sampled_from(
    [
        (1009, text(b"m" * (LIMIT + 1))),
        (1009, frame(BINARY, b"m" * 2000)),
        (1009, frame(TEXT, b"m" * LIMIT, fin=False) + frame(CONTINUATION, b"m")),
        (1009, frame(BINARY, b"m" * 700, fin=False) + frame(PING) + frame(CONTINUATION, b"m" * 700)),
        (1009, text(("€" * (LIMIT // 2)).encode())),  # fewer characters than the limit, more bytes
    ]
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(lawful(), st.one_of(ends, too_big), lawful(), cuts, st.booleans())
@example(
    before=Sent(b"", [], []),
    end=(1009, text(("€" * (LIMIT // 2)).encode())),
    after=Sent(b"", [], []),
    cuts=[],
    together=False,
)
def test_both_paths_give_the_same_messages_pongs_and_close_codes(before, end, after, cuts, together):
    code, wire = end
    stream = pieces(before.wire + wire + after.wire, cuts)
    if code == 1009:  # trio-websocket may answer a ping or two between the message and the close frame
        fast, slow = (run(stream, fast=fast, together=together) for fast in (True, False))
        outcome = fast._replace(pongs=fast.pongs[: len(before.pings)])
        assert outcome == slow._replace(pongs=slow.pongs[: len(before.pings)])
    else:
        outcome = assert_same(stream, together=together)
    assert outcome.code == code
    if code == 1006:
        assert outcome.messages == before.messages + after.messages
        assert outcome.pongs == before.pings + after.pings
        assert outcome.close_codes == []
    else:
        assert outcome.messages == before.messages
        assert outcome.pongs == before.pings
        assert outcome.close_codes == [code]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(lawful(), st.integers(0, 1 << 20), st.integers(1, 255), cuts)
def test_both_paths_make_the_same_of_one_wrong_byte(sent: Sent, place: int, change: int, cuts: list[int]):
    wire = bytearray(sent.wire)
    if wire:
        wire[place % len(wire)] ^= change
    assert_same(pieces(bytes(wire), cuts))


SAMPLE = b"".join(
    [
        text("one"),
        frame(PING, b"p"),
        frame(TEXT, b"\xe2\x82", fin=False),
        frame(PING, b"q"),
        frame(CONTINUATION, b"\xac"),
        frame(BINARY, b"b"),
        text("y" * 126),
        frame(CONTINUATION, b"of nothing"),
    ]
)


@pytest.mark.parametrize("place", range(len(SAMPLE) + 1))
def test_a_sample_is_the_same_on_both_paths_at_every_split_point(place: int):
    outcome = assert_same([SAMPLE[:place], SAMPLE[place:]], together=place % 2 == 0)
    assert outcome == Outcome(
        [(False, b"one"), (False, "€".encode()), (True, b"b"), (False, b"y" * 126)], 1002, [b"p", b"q"], [1002]
    )


@pytest.mark.parametrize("fast", [True, False])
def test_many_small_reads_lose_nothing(fast):
    wire = b"".join(text(f"message {number}") for number in range(200)) + close(1000)
    outcome = run([wire[place : place + 3] for place in range(0, len(wire), 3)], fast=fast)
    assert outcome == Outcome([(False, f"message {number}".encode()) for number in range(200)], 1000, [], [1000])
