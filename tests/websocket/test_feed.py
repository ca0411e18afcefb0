"""A feed as its owner sees it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
import trio_websocket
from raw_server import URL, RawServer

from ingest_actors.errors import FeedClosed
from ingest_actors.messages import FRAME_OVERHEAD_BYTES, FrameBatch
from ingest_actors.protocols import DirectFeed, Feed
from ingest_actors.websocket.feed import WebSocketFeed, _most_telling, open_feed
from ingest_actors.websocket.link import Link
from wire_frames import BINARY, CLOSE, PING, PONG, TEXT, close, frame, text

both_paths = pytest.mark.parametrize("fast", [True, False], ids=["fast", "slow"])
COST = 100 + FRAME_OVERHEAD_BYTES
"""What a message of 100 bytes counts in the read-ahead."""
settled = trio.testing.wait_all_tasks_blocked


@pytest.fixture
def server() -> RawServer:
    return RawServer()


@asynccontextmanager
async def feed_of(server: RawServer, first_frames: bytes = b"", **options) -> AsyncIterator[WebSocketFeed]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.shake_hands, first_frames)
        options = {"name": "c-1", "close_timeout_s": 0.01} | options
        async with open_feed(URL, connect=server.connect, **options) as feed:
            yield feed


async def end_of(feed: Feed) -> tuple[list[bytes], FeedClosed]:
    messages: list[bytes] = []
    while True:
        try:
            messages += (await feed.receive()).frames
        except FeedClosed as closed:
            return messages, closed


# Receiving


@both_paths
async def test_messages_come_with_their_time_and_connection(server, fast):
    async with feed_of(server, fast=fast, clock_ms=lambda: 1234) as feed:
        await server.send(text("a") + text("é"))
        await settled()
        batch = await feed.receive()
        assert isinstance(batch, FrameBatch)
        assert (batch.frames, batch.received_at_ms, batch.connection) == ([b"a", "é".encode()], 1234, "c-1")
        assert not batch.binary
        assert batch.size_bytes == 3 + 2 * FRAME_OVERHEAD_BYTES


@both_paths
async def test_binary_messages_are_told_apart_in_order(server, fast):
    async with feed_of(server, fast=fast) as feed:
        await server.send(text("a") + frame(BINARY, b"b") + text("c"))
        await settled()
        batches = [await feed.receive() for _ in range(3)]
        assert [(batch.binary, batch.frames) for batch in batches] == [(False, [b"a"]), (True, [b"b"]), (False, [b"c"])]


@both_paths
async def test_frames_in_the_same_read_as_the_handshake_are_received(server, fast):
    async with feed_of(server, text("early") + text("bird") + frame(TEXT, b"late")[:3], fast=fast) as feed:
        await server.send(frame(TEXT, b"late")[3:])
        await settled()
        messages = []
        while len(messages) < 3:
            messages += (await feed.receive()).frames
        assert messages == [b"early", b"bird", b"late"]


async def test_the_time_is_that_of_the_read_not_of_the_receiving(server):
    now = 1
    async with feed_of(server, clock_ms=lambda: now) as feed:
        await server.send(text("a"))
        await settled()
        now = 2
        await server.send(text("b"))
        await settled()
        now = 3
        batches = [await feed.receive(), await feed.receive()]
        assert [(batch.received_at_ms, batch.frames) for batch in batches] == [(1, [b"a"]), (2, [b"b"])]


async def test_the_wall_clock_is_in_milliseconds(server):
    async with feed_of(server) as feed:
        await server.send(text("a"))
        assert abs((await feed.receive()).received_at_ms - time.time() * 1000) < 60_000


@both_paths
async def test_a_cancelled_receive_loses_nothing(server, fast):
    async with feed_of(server, fast=fast) as feed:
        with trio.move_on_after(0):
            await feed.receive()
        await server.send(text("kept"))
        await settled()
        with trio.CancelScope() as scope:
            scope.cancel()
            await feed.receive()
        assert (await feed.receive()).frames == [b"kept"]


@both_paths
async def test_intercept_takes_messages_out_before_the_read_ahead(server, fast):
    seen = []

    def intercept(frames: list[bytes]) -> list[bytes]:
        seen.extend(frames)
        return [message for message in frames if b"reply" not in message]

    async with feed_of(server, fast=fast, intercept=intercept) as feed:
        await server.send(text("reply 1") + text("event") + frame(BINARY, b"reply in binary") + text("reply 2"))
        await settled()
        assert seen == [b"reply 1", b"event", b"reply 2"]
        assert (await feed.receive()).frames == [b"event"]
        assert (await feed.receive()).frames == [b"reply in binary"]


async def test_intercept_sees_a_reply_while_nobody_receives(server):
    seen = []
    async with feed_of(server, intercept=lambda frames: seen.extend(frames) or frames):
        await server.send(text("x" * 100) * 50 + text("reply"))
        await settled()
        assert seen[-1] == b"reply"


@both_paths
async def test_what_intercept_raises_comes_out_of_receive(server, fast):
    def broken(_: list[bytes]) -> list[bytes]:
        raise KeyError("a defect")

    async with feed_of(server, fast=fast, intercept=broken) as feed:
        await server.send(text("a"))
        with pytest.raises(KeyError, match="a defect"):
            await feed.receive()


@both_paths
async def test_a_text_message_is_sent(server, fast):
    async with feed_of(server, fast=fast) as feed:
        await feed.send('{"method":"SUBSCRIBE"}')
        assert await server.listen_for(1) == [(TEXT, b'{"method":"SUBSCRIBE"}')]


@both_paths
async def test_what_nobody_received_is_there_for_who_asks_also_after_the_end(server, fast, autojump_clock):
    with trio.move_on_after(1):
        async with feed_of(server, fast=fast, clock_ms=lambda: int(trio.current_time() * 1000)) as feed:
            await server.send(text("a"))
            await trio.sleep(0.1)
            await server.send(text("b") + frame(BINARY, b"c"))
            await settled()
            assert [batch.frames for batch in feed.unread()] == [[b"a"], [b"b"], [b"c"]]
            assert feed.unread() == []
            await server.send(text("d"))
            await trio.sleep_forever()
    assert [batch.frames for batch in feed.unread()] == [[b"d"]]
    with pytest.raises(FeedClosed, match="1006"):
        await feed.receive()


async def test_taking_what_is_unread_lets_reading_go_on(server):
    async with feed_of(server, read_ahead_bytes_max=COST) as feed:
        for _ in range(2):
            await server.send(text("x" * 100))
            await settled()
        assert [len(feed.unread()), len(feed.unread())] == [1, 0]
        assert (await feed.receive()).frames == [b"x" * 100]


# Backpressure


async def test_a_ping_that_was_read_is_answered_while_nobody_receives(server):
    async with feed_of(server, read_ahead_bytes_max=10 * COST) as feed:
        await server.send(text("x" * 100) * 12 + frame(PING, b"are you there?"))
        assert await server.listen_for(1) == [(PONG, b"are you there?")]
        assert len((await feed.receive()).frames) == 12


async def test_reading_stops_exactly_at_the_bound_and_goes_on_when_there_is_room(server):
    async with feed_of(server, read_ahead_bytes_max=10 * COST) as feed:
        for number in range(30):
            await server.send(text(f"{number:0100}"))
            await settled()
        read_ahead = feed._link.read_ahead
        assert read_ahead.size_bytes == 10 * COST
        got = []
        while len(got) < 30:
            got += (await feed.receive()).frames
            await settled()
            assert read_ahead.size_bytes <= 10 * COST + 4096
        assert got == [f"{number:0100}".encode() for number in range(30)]


async def test_a_read_asks_for_no_more_than_there_is_room_for(server):
    bound = 100_000
    async with feed_of(server, read_ahead_bytes_max=bound) as feed:
        await server.send(text("x" * 1000) * 500)
        await settled()
        overhead = (1000 + FRAME_OVERHEAD_BYTES) / len(text("x" * 1000))
        assert bound <= feed._link.read_ahead.size_bytes <= (bound + 4096) * overhead


async def test_the_slow_path_stops_reading_at_the_bound_too(server):
    async with feed_of(server, fast=False, read_ahead_bytes_max=10 * COST) as feed:
        for number in range(30):
            await server.send(text(f"{number:0100}"))
            await settled()
        assert feed._link.read_ahead.size_bytes == 10 * COST
        messages = []
        while len(messages) < 30:
            messages += (await feed.receive()).frames
        assert messages == [f"{number:0100}".encode() for number in range(30)]


async def test_a_message_larger_than_the_read_ahead_is_received(server):
    async with feed_of(server, read_ahead_bytes_max=1000) as feed:
        await server.send(text("L" * 50_000))
        assert (await feed.receive()).frames == [b"L" * 50_000]


async def test_a_close_is_answered_while_nobody_receives_and_all_that_was_read_is_handed_out(server):
    async with feed_of(server) as feed:
        await server.send(text("x" * 100) * 20 + close(1001, "going away"))
        assert await server.listen_for(1) == [(CLOSE, (1001).to_bytes(2, "big") + b"going away")]
        messages, closed = await end_of(feed)
        assert messages == [b"x" * 100] * 20
        assert (closed.code, closed.reason) == (1001, "going away")


@both_paths
async def test_aclose_does_not_hang_while_the_read_ahead_is_full(server, fast, autojump_clock):
    async with feed_of(server, fast=fast, read_ahead_bytes_max=5 * COST, close_timeout_s=5) as feed:
        for _ in range(10):
            await server.send(text("x" * 100))
            await settled()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.aclose)
            assert await server.listen_for(1) == [(CLOSE, b"\x03\xe8")]
            await server.send(frame(PING, b"late") + text("too late") + close(1000))
        assert trio.current_time() < 1
        messages, closed = await end_of(feed)
        assert messages == [b"x" * 100] * 5
        assert (closed.code, closed.reason) == (1000, "closed by this side")


# The end


@both_paths
async def test_aclose_waits_no_longer_than_it_was_told_for_the_answer(server, fast, autojump_clock):
    async with feed_of(server, fast=fast, close_timeout_s=3) as feed:
        before = trio.current_time()
        await feed.aclose(1000, "enough")
        assert trio.current_time() - before == pytest.approx(3)
        assert await server.listen() == [(CLOSE, b"\x03\xe8enough")]


@both_paths
async def test_aclose_is_idempotent_from_several_tasks(server, fast, autojump_clock):
    async with feed_of(server, fast=fast) as feed:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(feed.aclose)
        await feed.aclose()
        assert await server.listen() == [(CLOSE, b"\x03\xe8")]


@both_paths
async def test_a_waiting_receive_learns_of_aclose(server, fast, autojump_clock):
    async with feed_of(server, fast=fast) as feed, trio.open_nursery() as nursery:
        nursery.start_soon(partial(feed.aclose, 4000, "rotated"))
        with pytest.raises(FeedClosed) as caught:
            await feed.receive()
        assert (caught.value.code, caught.value.reason) == (4000, "rotated")


@both_paths
async def test_after_the_end_every_receive_and_send_raises_the_same(server, fast):
    async with feed_of(server, fast=fast) as feed:
        await server.send(close(1008, "Pong timeout"))
        for _ in range(3):
            with pytest.raises(FeedClosed, match="1008") as caught:
                await feed.receive()
            assert caught.value.reason == "Pong timeout"
        with pytest.raises(FeedClosed, match="1008"):
            await feed.send("x")
        await feed.aclose()


@both_paths
async def test_an_end_without_a_close_frame_is_1006(server, fast):
    async with feed_of(server, fast=fast) as feed:
        await server.send(text("last words") + text("cut sh")[:-2])
        await server.stream.aclose()
        messages, closed = await end_of(feed)
        assert messages == [b"last words"]
        assert (closed.code, closed.reason) == (1006, "the other side ended the connection without a close frame")


@both_paths
async def test_a_broken_connection_is_1006_and_names_the_cause(server, fast):
    async def broken() -> None:
        raise trio.BrokenResourceError from ConnectionResetError(104, "Connection reset by peer")

    async with feed_of(server, fast=fast) as feed:
        await server.send(text("a"))
        await settled()
        server.client_end.receive_stream.receive_some_hook = broken
        await server.send(text("the read under way gets this") + text("cut off")[:4])
        messages, closed = await end_of(feed)
        assert messages == [b"a", b"the read under way gets this"]
        assert (closed.code, closed.reason) == (1006, "the connection broke: [Errno 104] Connection reset by peer")


@both_paths
async def test_a_send_into_a_broken_connection_ends_the_feed(server, fast):
    async def broken() -> None:
        raise trio.BrokenResourceError from BrokenPipeError(32, "Broken pipe")

    async with feed_of(server, fast=fast) as feed:
        server.client_end.send_stream.send_all_hook = broken
        with pytest.raises(FeedClosed, match="Broken pipe"):
            await feed.send("x")
        with pytest.raises(FeedClosed, match="Broken pipe"):
            await feed.receive()


@both_paths
async def test_silence_ends_the_feed_after_the_read_timeout(server, fast, autojump_clock):
    async with feed_of(server, fast=fast, read_timeout_s=60) as feed:
        await trio.sleep(50)
        await server.send(frame(PING))
        await trio.sleep(50)
        await server.send(text("a"))
        before = trio.current_time()
        messages, closed = await end_of(feed)
        assert trio.current_time() - before == pytest.approx(60)
        assert messages == [b"a"]
        assert (closed.code, closed.reason) == (1006, "nothing was received for 60 s")


@both_paths
async def test_silence_ends_the_feed_at_whatever_time_it_began(server, fast, autojump_clock):
    async with feed_of(server, fast=fast, read_timeout_s=60) as feed:
        began_s = 4.002
        assert (began_s + 60) - began_s < 60  # as floating-point numbers have it
        await trio.sleep(began_s - trio.current_time())
        assert trio.current_time() == began_s
        await server.send(text("a"))
        messages, closed = await end_of(feed)
        assert messages == [b"a"]
        assert (closed.code, closed.reason) == (1006, "nothing was received for 60 s")


@both_paths
async def test_time_in_which_nobody_receives_is_no_silence(server, fast, autojump_clock):
    async with feed_of(server, fast=fast, read_timeout_s=60, read_ahead_bytes_max=5 * COST) as feed:
        for _ in range(10):
            await server.send(text("x" * 100))
            await settled()
        await trio.sleep(1000)
        messages = []
        while len(messages) < 10:
            messages += (await feed.receive()).frames
        before = trio.current_time()
        closed = (await end_of(feed))[1]
        assert closed.reason == "nothing was received for 60 s"
        assert trio.current_time() - before == pytest.approx(60)


async def test_a_violation_is_refused_with_its_code_and_the_messages_before_it_are_handed_out(server):
    async with feed_of(server) as feed:
        await server.send(text("good") + frame(TEXT, b"masked", masked=True) + text("never seen"))
        messages, closed = await end_of(feed)
        assert messages == [b"good"]
        assert closed.code == 1002
        assert closed.reason.startswith("refused: ")
        ((opcode, payload),) = await server.listen_for(1)
        assert (opcode, payload[:2]) == (CLOSE, (1002).to_bytes(2, "big"))


@both_paths
async def test_after_a_violation_the_rest_is_read_and_thrown_away_for_a_moment_only(server, fast, autojump_clock):
    async with feed_of(server, fast=fast) as feed:
        await server.send(frame(0x3))
        await end_of(feed)
        await server.send(b"garbage" * 1000)
        await settled()
        judge = feed._link._websocket._wsproto.connection._proto._frame_decoder
        assert len(judge.buffer) < 100
        await trio.sleep(2)
        with pytest.raises(trio.BrokenResourceError):
            await server.send(b"garbage")


# The context


@both_paths
async def test_an_exception_of_the_body_comes_out_bare_and_the_server_hears_a_close(server, fast, autojump_clock):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.shake_hands)
        with pytest.raises(KeyError):
            async with open_feed(URL, name="c", connect=server.connect, fast=fast):
                raise KeyError
    assert await server.listen() == [(CLOSE, b"\x03\xe8")]


@both_paths
async def test_an_exception_group_of_the_body_comes_out_as_it_is(server, fast, autojump_clock):
    group = ExceptionGroup("of the body", [KeyError("a"), ValueError("b")])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.shake_hands)
        with pytest.raises(ExceptionGroup) as caught:
            async with open_feed(URL, name="c", connect=server.connect, fast=fast):
                raise group
    assert caught.value is group


@both_paths
async def test_feed_closed_leaves_the_context_as_itself(server, fast):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.shake_hands, close(1001))
        with pytest.raises(FeedClosed, match="1001"):
            async with open_feed(URL, name="c", connect=server.connect, fast=fast) as feed:
                await feed.receive()


@both_paths
async def test_a_cancelled_body_leaves_at_once_with_a_close_frame(server, fast, autojump_clock):
    with trio.move_on_after(5) as scope:
        async with feed_of(server, fast=fast):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(5)
    assert await server.listen() == [(CLOSE, (1001).to_bytes(2, "big"))]


async def test_a_cancelled_body_does_not_wait_long_for_a_peer_that_does_not_read(server, autojump_clock):
    async def never() -> None:
        await trio.sleep_forever()

    with trio.move_on_after(5) as scope:
        async with feed_of(server):
            server.client_end.send_stream.send_all_hook = never
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(5.25)


@both_paths
async def test_cancellation_while_closing_ends_at_once(server, fast, autojump_clock):
    with trio.move_on_after(5) as scope:
        async with feed_of(server, fast=fast, close_timeout_s=100) as feed:
            await feed.aclose()
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(5)


@pytest.mark.parametrize("steps", range(14))
@both_paths
async def test_cancellation_at_any_step_of_opening_is_clean(fast, steps, autojump_clock):
    for _ in range(5):  # trio shuffles the tasks of a round
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel_after(scope: trio.CancelScope) -> None:
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

                nursery.start_soon(cancel_after, scope)
                async with feed_of(RawServer(), text("a"), fast=fast) as feed:
                    await feed.receive()
                    await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() == 0


async def test_a_ping_that_crosses_our_close_does_no_harm(server, autojump_clock):
    """trio-websocket's reader dies of a ping after our close; only the slow path shows it one."""
    for fast in (True, False):
        server = RawServer()
        async with feed_of(server, fast=fast) as feed, trio.open_nursery() as nursery:
            nursery.start_soon(feed.aclose)
            await server.listen_for(1)
            await server.send(frame(PING, b"too late"))
        assert (await end_of(feed))[1].code == 1000


async def test_a_defect_of_the_connector_comes_out_as_it_is():
    async def broken(host, port, tls) -> trio.abc.Stream:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with open_feed(URL, name="c", connect=broken):
            raise AssertionError("never reached")


async def test_a_defect_behind_an_open_feed_comes_out_of_receive(server, monkeypatch):
    async def broken(self, stream) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Link, "_watch_silence", broken)
    async with feed_of(server) as feed:
        with pytest.raises(ZeroDivisionError):
            await feed.receive()


@pytest.mark.parametrize("defect", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_behind_the_feed_reaches_the_owner(server, defect):
    async def interrupted() -> None:
        raise defect

    async def wake_the_reader() -> None:
        await server.shake_hands()
        await settled()
        server.client_end.receive_stream.receive_some_hook = interrupted
        await server.send(text("a"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wake_the_reader)
        with pytest.raises(defect):
            async with open_feed(URL, name="c", connect=server.connect, close_timeout_s=0):
                await trio.sleep_forever()


@pytest.mark.parametrize(
    ("of_body", "of_nursery", "told"),
    [
        (None, ExceptionGroup("", [ExceptionGroup("", [KeyError("n")])]), KeyError),
        (ValueError("b"), ExceptionGroup("", [KeyError("n")]), ValueError),
        (None, ExceptionGroup("", [KeyError("n"), KeyError("m")]), ExceptionGroup),
        (ExceptionGroup("", [ValueError("b")]), KeyError("n"), ExceptionGroup),
    ],
)
def test_the_bodys_own_exception_comes_first(of_body, of_nursery, told):
    assert type(_most_telling(of_body, of_nursery)) is told


@both_paths
async def test_our_close_goes_out_though_a_ping_comes_at_the_same_instant(fast, autojump_clock):
    for _ in range(20):  # trio shuffles the tasks of a round
        server = RawServer()
        async with feed_of(server, fast=fast) as feed:
            await settled()
            server.client_end.receive_stream.put_data(frame(PING, b"now"))
            await feed.aclose()
        assert [opcode for opcode, _ in await server.listen()][-1:] == [CLOSE]


# Against a real server


@both_paths
async def test_a_real_server_and_a_feed_understand_each_other(fast):
    seen = []

    async def serve(request: trio_websocket.WebSocketRequest) -> None:
        seen.append(request.path)
        websocket = await request.accept()
        for number in range(100):
            await websocket.send_message(f'{{"n":{number}}}')
        with trio.fail_after(5):
            await websocket.ping(b"1723161300123")
        await websocket.send_message(b"\x00\xff")
        seen.append(await websocket.get_message())
        await websocket.aclose(1001, "24 hours are over")

    async with trio.open_nursery() as nursery:
        listen = partial(trio_websocket.serve_websocket, serve, "127.0.0.1", 0, None)
        listener = await nursery.start(listen)
        url = f"ws://localhost:{listener.port}/stream?streams=btcusdt@trade/ethusdt@depth%40100ms"
        with trio.fail_after(10):
            async with open_feed(url, name="c", fast=fast) as feed:
                await feed.send("SUBSCRIBE")
                messages, closed = await end_of(feed)
        nursery.cancel_scope.cancel()
    assert messages == [f'{{"n":{number}}}'.encode() for number in range(100)] + [b"\x00\xff"]
    assert (closed.code, closed.reason) == (1001, "24 hours are over")
    assert seen == ["/stream?streams=btcusdt@trade/ethusdt@depth%40100ms", "SUBSCRIBE"]


# Handing on


@both_paths
async def test_what_was_just_read_is_offered_first_and_received_when_it_is_not_taken(server, fast):
    offered = []

    def offer(batch: FrameBatch) -> bool:
        offered.append(list(batch.frames))
        return batch.frames != [b"b"]

    async with feed_of(server, fast=fast) as feed:
        feed.hand_to(offer)
        for message in ("a", "b", "c"):
            await server.send(text(message))
            await settled()
        assert offered == [[b"a"], [b"b"]], "behind what is to be received nothing is offered"
        received = []
        while len(received) < 2:
            received += (await feed.receive()).frames
        assert received == [b"b", b"c"]
        await server.send(text("d"))
        await settled()
        assert offered[2:] == [[b"d"]]
        feed.hand_to(None)
        await server.send(text("e"))
        assert (await feed.receive()).frames == [b"e"]


async def test_it_can_hand_on(server):
    async with feed_of(server) as feed:
        assert isinstance(feed, DirectFeed)
