"""A server that means harm: it costs it more than it costs us, and the connection ends with a word of why."""

from __future__ import annotations

import tracemalloc
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing
from raw_server import URL, RawServer

from ingest_actors.errors import ExchangeUnreachable, FeedClosed
from ingest_actors.websocket.feed import open_feed
from ingest_actors.websocket.framing import PIECES_MAX, FrameCutter
from ingest_actors.websocket.watched import SEND_TIMEOUT_S
from wire_frames import BINARY, CONTINUATION, PING, PONG, TEXT, frame, text

MESSAGE_MAX = 32 * 1024
READ = 64 * 1024


def held_by(cutter: FrameCutter, wire: bytes) -> int:
    """Bytes of memory that a cutter comes to hold of a stream, read by read."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for start in range(0, len(wire), READ):
            cutter.feed(wire[start : start + READ])
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_continuations_without_a_payload_may_come_for_ever_and_cost_nothing(opcode):
    cutter = FrameCutter(MESSAGE_MAX)
    cutter.feed(frame(opcode, b"begun", fin=False))
    assert held_by(cutter, frame(CONTINUATION, b"", fin=False) * 20_000) < 8 * 20_000, (
        "an object for each would take 40"
    )
    assert cutter.feed(frame(CONTINUATION, b" and ended")).segments == [(opcode == BINARY, [b"begun and ended"])]


def test_a_message_in_single_bytes_costs_a_few_times_its_size():
    cutter = FrameCutter(MESSAGE_MAX)
    cutter.feed(frame(TEXT, b"a", fin=False))
    count = MESSAGE_MAX - 1
    assert held_by(cutter, frame(CONTINUATION, b"b", fin=False) * (count - 1)) < 10 * MESSAGE_MAX, (
        "an object for each would take 60"
    )
    segments, passed = cutter.feed(frame(CONTINUATION, b"c"))
    assert segments == [(False, [b"a" + b"b" * (count - 1) + b"c"])]
    assert passed == b""


def test_one_byte_more_than_a_message_may_have_is_refused_however_small_its_parts():
    cutter = FrameCutter(10)
    wire = frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"x", fin=False) * 10
    assert cutter.feed(wire) == ([], b"")
    assert cutter.feed(frame(CONTINUATION, b"y")) == ([], wire + frame(CONTINUATION, b"y"))
    assert cutter.passing


def test_a_frame_that_comes_two_bytes_at_a_time_costs_what_it_has():
    wire = frame(BINARY, b"z" * MESSAGE_MAX)
    cutter = FrameCutter(MESSAGE_MAX)
    pieces = [wire[start : start + 2] for start in range(0, len(wire) - 2, 2)]
    tracemalloc.start()
    try:
        for place in range(len(pieces)):
            cutter.feed(bytes(bytearray(pieces[place])))  # an object of its own, as a read makes it
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 2 * MESSAGE_MAX + 100 * PIECES_MAX
    assert cutter.held_bytes == len(pieces) * 2
    assert cutter.feed(wire[len(pieces) * 2 :]).segments == [(True, [b"z" * MESSAGE_MAX])]


class Deaf(RawServer):
    """A server that sends and does not read: its end takes no more than what is read from it."""

    def __post_init__(self) -> None:
        self.client_end, self.stream = trio.testing.lockstep_stream_pair()


@asynccontextmanager
async def feed_of(server: RawServer, **options):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.shake_hands)
        options = {"name": "c-1", "close_timeout_s": 0.01, "read_timeout_s": 10_000} | options
        async with open_feed(URL, connect=server.connect, **options) as feed:
            await trio.testing.wait_all_tasks_blocked()  # the server is done with the handshake, too
            yield feed


async def why_it_ended(feed) -> FeedClosed:
    while True:
        try:
            await feed.receive()
        except FeedClosed as closed:
            return closed


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "slow"])
async def test_a_server_that_pings_and_reads_no_answer_is_left(autojump_clock, fast):
    server = Deaf()
    async with feed_of(server, fast=fast) as feed:
        since_s = trio.current_time()
        await server.send(frame(PING, b"are you there?"))
        closed = await why_it_ended(feed)
        assert closed.code == 1006
        assert "took nothing" in closed.reason
        assert SEND_TIMEOUT_S <= trio.current_time() - since_s < SEND_TIMEOUT_S + 2


async def test_a_subscription_that_nobody_takes_ends_the_connection(autojump_clock):
    async with feed_of(Deaf()) as feed:
        with pytest.raises(FeedClosed):
            await feed.send('{"method":"SUBSCRIBE"}')


async def test_pings_by_the_thousand_are_answered_one_by_one_and_messages_between_arrive():
    server = RawServer()
    async with feed_of(server) as feed:
        await server.send(b"".join(frame(PING, b"%d" % number) + text(f"m{number}") for number in range(300)))
        assert await server.listen_for(300) == [(PONG, b"%d" % number) for number in range(300)]
        messages = []
        while len(messages) < 300:
            messages += (await feed.receive()).frames
        assert messages == [b"m%d" % number for number in range(300)]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 101 Switching Protocols\r\n", b"H", b""], ids=["head", "letter", "none"])
async def test_a_handshake_that_drips_is_given_up_at_the_deadline(autojump_clock, answer):
    server = RawServer()

    async def drip() -> None:
        await server.read_head()
        await server.send(answer)
        while True:
            await trio.sleep(1)
            await server.send(b"x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        since_s = trio.current_time()
        with pytest.raises(ExchangeUnreachable, match="within 10 s"):
            async with open_feed(URL, name="c-1", connect=server.connect):
                pass
        assert trio.current_time() - since_s < 11
        nursery.cancel_scope.cancel()


async def test_a_head_without_end_is_refused_long_before_it_costs_anything():
    server = RawServer()
    sent = 0

    async def flood() -> None:
        nonlocal sent
        await server.read_head()
        await server.send(b"HTTP/1.1 101 Switching Protocols\r\n")
        with suppress(trio.BrokenResourceError):  # hung up on
            while True:
                await server.send(b"x-filling: " + b"y" * 1024 + b"\r\n")
                sent += 1024
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        with pytest.raises(ExchangeUnreachable, match="not valid"):
            async with open_feed(URL, name="c-1", connect=server.connect):
                pass
        nursery.cancel_scope.cancel()
    assert sent < 1024 * 1024


async def test_a_byte_a_second_of_a_frame_holds_nobody_up_and_the_message_arrives(autojump_clock):
    server = RawServer()
    async with feed_of(server, read_timeout_s=60) as feed, trio.open_nursery() as nursery:

        async def drip() -> None:
            for byte in text("slow and whole"):
                await trio.sleep(1)
                await server.send(bytes([byte]))

        nursery.start_soon(drip)
        assert (await feed.receive()).frames == [b"slow and whole"]
