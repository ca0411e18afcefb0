"""Reading that pauses, over real sockets and TLS: nothing is lost, late or out of order, however the bytes are cut."""

import random
import socket
import ssl
from functools import partial

import pytest
import trio
import trustme
from raw_server import agreement

from ingest_actors.errors import FeedClosed
from ingest_actors.websocket.connect import connect_tcp_tls
from ingest_actors.websocket.feed import open_feed
from ingest_actors.websocket.pacing import ReceivePacer
from wire_frames import PING, close, frame, text

AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert("localhost")
MESSAGES = 1_000
PAUSE_S = 0.02


class AlwaysPausing(ReceivePacer):
    def pause_s(self):
        return PAUSE_S


class Exchange:
    """Sends numbered messages, cut anywhere, and then ends as told."""

    def __init__(self, end, *, tls):
        self.end = end
        self.tls = tls
        self.rng = random.Random(1)
        self.late = []

    async def serve(self, stream):
        transport = stream
        if self.tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            CERTIFICATE.configure_cert(context)
            stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        await stream.send_all(agreement(head))
        data = b"".join(text(b"%d:" % number + b"x" * self.rng.randrange(400)) for number in range(MESSAGES))
        at = 0
        while at < len(data):
            size = self.rng.choice((1, 50, 700, 5_000, 40_000))
            await stream.send_all(data[at : at + size])
            at += size
        await getattr(self, self.end)(stream, transport)

    async def small_last_message(self, stream, transport):
        await trio.sleep(5 * PAUSE_S)
        await stream.send_all(text(b"last"))
        await trio.sleep(5 * PAUSE_S)
        began = trio.current_time()
        await stream.send_all(frame(PING, b"p"))
        await stream.receive_some()
        self.late.append(trio.current_time() - began)
        await stream.send_all(close(1001, "bye"))
        with trio.move_on_after(2):
            while await stream.receive_some():
                pass
        await transport.aclose()

    async def no_close_frame(self, stream, transport):
        await transport.aclose()

    async def reset(self, stream, transport):
        await trio.sleep(5 * PAUSE_S)
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        transport.socket.close()


async def received(port, *, tls, pacer, rng):
    """The numbers that came, half of them handed on directly, and how the connection ended."""
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    frames = []

    def take(batch):
        taken = rng.random() < 0.5
        if taken:
            frames.extend(batch.frames)
        return taken

    connect = partial(connect_tcp_tls, context=context)
    url = f"{'wss' if tls else 'ws'}://localhost:{port}/"
    async with open_feed(url, name="c", connect=connect, pacer=pacer) as feed:
        feed.hand_to(take)
        try:
            while True:
                frames.extend((await feed.receive()).frames)
        except FeedClosed as closed:
            return frames, closed.code


@pytest.mark.parametrize(("end", "code"), [("small_last_message", 1001), ("no_close_frame", 1006), ("reset", 1006)])
@pytest.mark.parametrize("tls", [False, True])
async def test_all_that_was_sent_comes_in_order_whatever_the_end(nursery, tls, end, code):
    exchange, pacer, found = Exchange(end, tls=tls), AlwaysPausing(PAUSE_S), []
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(partial(trio.serve_listeners, exchange.serve, [listener]))
    port = listener.socket.getsockname()[1]

    async def connection(number):
        found.append(await received(port, tls=tls, pacer=pacer, rng=random.Random(number)))

    with trio.fail_after(30):
        async with trio.open_nursery() as connections:
            for number in range(3):
                connections.start_soon(connection, number)
    for frames, ended in found:
        numbers = [int(frame.partition(b":")[0]) for frame in frames if frame != b"last"]
        assert numbers == list(range(MESSAGES))
        assert frames.count(b"last") == (end == "small_last_message")
        assert ended == code
    assert len(found) == 3
    assert all(late_s < 1 for late_s in exchange.late), exchange.late
