"""TLS drained in bulk: against trio's own TLS, a real certificate authority, and bytes that are no TLS."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
import trustme
from raw_server import RawServer

from ingest_actors.errors import ExchangeUnreachable, FeedClosed
from ingest_actors.websocket.connect import connect_tcp_tls, start_tls
from ingest_actors.websocket.feed import open_feed
from ingest_actors.websocket.tls import TlsStream
from wire_frames import close, text

LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
AUTHORITY = trustme.CA()
OTHER_AUTHORITY = trustme.CA()


def server_context(authority: trustme.CA = AUTHORITY, name: str = "exchange.test", **claims) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **claims).configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[TlsStream, trio.SSLStream]]:
    """Our stream and trio's at the other end, after the handshake."""
    ours, theirs = trio.testing.memory_stream_pair()
    server = trio.SSLStream(theirs, server_context(), server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        client = await start_tls(ours, "exchange.test", context=client_context())
    yield client, server


async def test_records_sent_one_by_one_are_received_in_one_go():
    async with pair() as (client, server):
        for number in range(500):
            await server.send_all(f"record {number};".encode())
        assert await client.receive_some() == b"".join(f"record {number};".encode() for number in range(500))


async def test_no_more_than_asked_for_is_returned_and_the_rest_stays():
    async with pair() as (client, server):
        for _ in range(3):
            await server.send_all(b"x" * 30_000)
        got = [await client.receive_some(1000), await client.receive_some(50_000), await client.receive_some()]
        assert [len(data) for data in got] == [1000, 50_000, 39_000]


async def test_what_is_sent_arrives_whole():
    async with pair() as (client, server), trio.open_nursery() as nursery:
        data = bytes(range(256)) * 4000
        nursery.start_soon(client.send_all, data)
        received = b""
        while len(received) < len(data):
            received += await server.receive_some()
        assert received == data
        await client.wait_send_all_might_not_block()


async def test_several_tasks_may_send_at_once():
    async with pair() as (client, server), trio.open_nursery() as nursery:
        for letter in (b"a", b"b", b"c"):
            nursery.start_soon(client.send_all, letter * 50_000)
        received = b""
        while len(received) < 150_000:
            received += await server.receive_some()
        assert {received[start : start + 50_000] for start in (0, 50_000, 100_000)} == {
            letter * 50_000 for letter in (b"a", b"b", b"c")
        }


async def test_a_record_in_two_halves_is_waited_for():
    async with pair() as (client, server):
        pieces = []
        real_send = server.transport_stream.send_all

        async def keep(data: bytes) -> None:
            pieces.append(bytes(data))

        server.transport_stream.send_all = keep
        await server.send_all(b"in two halves")
        wire = b"".join(pieces)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(real_send, wire[:9])
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.01) as scope:
                await client.receive_some()
            assert scope.cancelled_caught
            nursery.start_soon(real_send, wire[9:])
            assert await client.receive_some() == b"in two halves"


async def test_whole_records_do_not_wait_for_half_a_one():
    async with pair() as (client, server):
        pieces = []
        real_send = server.transport_stream.send_all

        async def keep(data: bytes) -> None:
            pieces.append(bytes(data))

        server.transport_stream.send_all = keep
        for record in (b"one,", b"two,", b"three"):
            await server.send_all(record)
        wire = b"".join(pieces)
        await real_send(wire[:-3])
        assert await client.receive_some() == b"one,two,"
        await real_send(wire[-3:])
        assert await client.receive_some() == b"three"


async def test_a_stream_that_never_shook_hands_closes_silently():
    ours, theirs = trio.testing.memory_stream_pair()
    await TlsStream(ours, client_context(), server_hostname="exchange.test").aclose()
    assert await theirs.receive_some() == b""


async def test_a_close_notify_is_a_clean_end():
    async with pair() as (client, server):
        await server.send_all(b"last")
        await server.aclose()
        assert await client.receive_some() == b"last"
        assert await client.receive_some() == b""
        assert await client.receive_some() == b""


async def test_what_follows_a_close_notify_is_not_looked_at():
    async with pair() as (client, server):
        pieces = []
        real_send = server.transport_stream.send_all

        async def keep(data: bytes) -> None:
            pieces.append(bytes(data))

        server.transport_stream.send_all = keep
        await server.send_all(b"last")
        await server.send_all(b" words")
        with pytest.raises(ssl.SSLWantReadError):
            server._ssl_object.unwrap()
        pieces.append(server._outgoing.read())
        await real_send(b"".join(pieces) + b"garbage")
        assert await client.receive_some() == b"last words"
        assert await client.receive_some() == b""


async def test_an_end_without_a_close_notify_is_a_broken_connection():
    async with pair() as (client, server):
        await server.send_all(b"last")
        await server.transport_stream.aclose()
        assert await client.receive_some() == b"last"
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()


async def test_a_forged_record_breaks_the_connection_after_what_was_good():
    async with pair() as (client, server):
        await server.send_all(b"good")
        await server.transport_stream.send_all(b"\x17\x03\x03\x00\x20" + b"forged" * 6)
        assert await client.receive_some() == b"good"
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()


async def test_sending_after_the_end_is_a_broken_connection():
    async with pair() as (client, server):
        await server.transport_stream.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"x" * 100)


async def test_closing_tells_the_other_side():
    async with pair() as (client, server):
        await client.send_all(b"bye")
        await client.aclose()
        assert await server.receive_some() == b"bye"
        assert await server.receive_some() == b""
        with pytest.raises(trio.ClosedResourceError):
            await client.receive_some()
        with pytest.raises((trio.ClosedResourceError, trio.BrokenResourceError)):
            await client.send_all(b"x")


async def test_closing_takes_no_longer_than_a_second_and_no_time_when_cancelled(autojump_clock):
    async def never() -> None:
        await trio.sleep_forever()

    for cancelled, takes_s in ((False, 1), (True, 0)):
        async with pair() as (client, _):
            client.transport_stream.send_stream.send_all_hook = never
            before = trio.current_time()
            with trio.CancelScope() as scope:
                if cancelled:
                    scope.cancel()
                await client.aclose()
            assert trio.current_time() - before == pytest.approx(takes_s)
            with pytest.raises(trio.ClosedResourceError):
                await client.transport_stream.send_all(b"x")


async def test_answers_of_tls_itself_go_out_after_reads():
    """The server's client authentication after the handshake makes the client answer without our sending anything."""
    async with pair() as (client, server):
        sent = []
        real_send = client.transport_stream.send_all

        async def watch(data: bytes) -> None:
            sent.append(bytes(data))
            await real_send(data)

        client.transport_stream.send_all = watch
        client._outgoing.write(b"")
        real_read = client._tls.read

        class Answering:
            def __getattr__(self, name: str):
                return getattr(client_tls, name)

            def read(self, size: int) -> bytes:
                client._outgoing.write(b"an answer of TLS")
                return real_read(size)

        client_tls = client._tls
        client._tls = Answering()
        await server.send_all(b"data")
        assert await client.receive_some() == b"data"
        assert b"an answer of TLS" in b"".join(sent)


async def test_a_read_does_not_wait_for_a_sender_that_is_stuck():
    """Else two sides that both send and neither read would wait for each other for ever."""

    async def never() -> None:
        await trio.sleep_forever()

    async with pair() as (client, server), trio.open_nursery() as nursery:
        client.transport_stream.send_stream.send_all_hook = never
        nursery.start_soon(client.send_all, b"stuck")
        await trio.testing.wait_all_tasks_blocked()
        client._outgoing.write(b"an answer of TLS, which the sender takes along")
        await server.send_all(b"data")
        assert await client.receive_some() == b"data"
        nursery.cancel_scope.cancel()


async def test_reading_what_is_there_lets_other_tasks_run():
    async with pair() as (client, server):
        await server.send_all(b"x" * 100_000)
        await client.receive_some(1)
        with trio.testing.assert_checkpoints():
            await client.receive_some(1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.receive_some(1)
        assert scope.cancelled_caught
        assert len(await client.receive_some()) == 99_998


async def test_a_peer_that_hangs_up_during_the_handshake_is_a_broken_connection():
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def hang_up() -> None:
            await theirs.receive_some()
            await theirs.aclose()

        nursery.start_soon(hang_up)
        with pytest.raises(trio.BrokenResourceError, match="hung up"):
            await start_tls(ours, "exchange.test", context=client_context())


async def test_the_other_side_is_told_why_its_certificate_is_refused():
    ours, theirs = trio.testing.memory_stream_pair()
    server = trio.SSLStream(theirs, server_context(OTHER_AUTHORITY), server_side=True)
    async with trio.open_nursery() as nursery:

        async def handshake() -> None:
            with pytest.raises(trio.BrokenResourceError) as caught:
                await server.do_handshake()
            assert "ALERT_UNKNOWN_CA" in str(caught.value.__cause__)

        nursery.start_soon(handshake)
        with pytest.raises(ssl.SSLCertVerificationError):
            await start_tls(ours, "exchange.test", context=client_context())


# Through real sockets, by the default connector


@asynccontextmanager
async def tls_server(context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """A server on loopback that agrees to every handshake and says hello; yields its port. None: no TLS."""

    async def serve(stream: trio.abc.Stream) -> None:
        if context is not None:
            stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        server = RawServer()
        server.stream = stream
        try:
            await server.shake_hands(text("hello") + close(1000))
            await server.listen()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def hello_from(url: str, **options) -> list[bytes]:
    messages: list[bytes] = []
    with trio.fail_after(10):
        async with open_feed(url, name="c", **options) as feed:
            messages += (await feed.receive()).frames
            with pytest.raises(FeedClosed, match="1000"):
                await feed.receive()
    return messages


async def test_ssl_cert_file_names_the_authority_that_is_trusted(monkeypatch, tmp_path):
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with tls_server(server_context(name="localhost")) as port:
        assert await hello_from(f"wss://localhost:{port}/ws") == [b"hello"]


@pytest.mark.parametrize(
    ("context", "cause", "hint"),
    [
        (server_context(OTHER_AUTHORITY, "localhost"), "certificate refused: unable to get", "SSL_CERT_FILE"),
        (server_context(name="other.test"), "certificate refused: Hostname mismatch", "another name"),
        (
            server_context(name="localhost", not_before=None, not_after=LONG_AGO),
            "certificate refused: certificate has expired",
            "clock",
        ),
    ],
    ids=["unknown authority", "wrong name", "expired"],
)
async def test_a_server_that_cannot_be_trusted_is_refused_with_the_reason(context, cause, hint):
    connect = partial(connect_tcp_tls, context=client_context())
    async with tls_server(context) as port:
        with pytest.raises(ExchangeUnreachable) as caught:
            await hello_from(f"wss://localhost:{port}/ws", connect=connect)
    assert caught.value.cause.startswith(cause)
    assert hint in caught.value.hint


async def test_a_server_without_tls_is_told_as_such():
    async def web_server(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, web_server, 0, host="127.0.0.1"))
        with pytest.raises(ExchangeUnreachable) as caught:
            await hello_from(f"wss://localhost:{listeners[0].socket.getsockname()[1]}/ws")
        nursery.cancel_scope.cancel()
    assert caught.value.cause == "TLS failed: WRONG_VERSION_NUMBER"
    assert "ws:// instead of wss://" in caught.value.hint


async def test_verification_is_on_by_default():
    async with tls_server(server_context(name="localhost")) as port:
        with pytest.raises(ExchangeUnreachable, match="certificate refused"):
            await hello_from(f"wss://localhost:{port}/ws")


async def test_plain_tcp_is_connected_without_tls_and_without_delay():
    async with tls_server(None) as port:
        assert await hello_from(f"ws://localhost:{port}/ws") == [b"hello"]
        stream = await connect_tcp_tls("localhost", port, tls=False)
        async with stream:
            assert stream.getsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY)


async def test_a_tls_handshake_that_is_never_answered_runs_into_the_timeout():
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, silent, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(trio.TooSlowError):
            await connect_tcp_tls("localhost", port, tls=True, timeout_s=0.2)
        nursery.cancel_scope.cancel()
