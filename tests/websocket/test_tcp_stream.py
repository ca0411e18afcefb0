"""The TCP stream beneath a connection, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from ingest_actors.websocket.tcp import TcpStream

FOREVER_S = 3600.0
"""A wait that no test waits for."""


@pytest.fixture
def ends() -> Iterator[tuple[TcpStream, socket.socket]]:
    """Ours, and the other side's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with ours, theirs:
            yield TcpStream(ours), theirs


async def test_it_is_a_stream_as_trio_has_them():
    async def make() -> tuple[TcpStream, TcpStream]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            ours = socket.create_connection(server.getsockname())
            theirs, _ = server.accept()
        return TcpStream(ours), TcpStream(theirs)

    one, other = await make()
    async with one, other, trio.open_nursery() as nursery:
        nursery.start_soon(one.send_all, b"x" * 5_000_000)
        received = 0
        while received < 5_000_000:
            received += len(await other.receive_some(100_000))
        await other.wait_send_all_might_not_block()
        await other.send_all(b"answer")
        assert await one.receive_some() == b"answer"


async def test_what_is_there_is_had_without_waiting_and_nothing_is_told_from_the_end(ends):
    ours, theirs = ends
    assert ours.receive_nowait(100) is None
    theirs.sendall(b"abc")
    await ours.gather(3, FOREVER_S)
    assert ours.receive_nowait(2) == b"ab"
    assert ours.receive_nowait(100) == b"c"
    theirs.close()
    await ours.gather(1, FOREVER_S)
    assert ours.receive_nowait(100) == b""


async def test_gathering_wakes_only_when_enough_has_come(ends, nursery):
    ours, theirs = ends
    done = trio.Event()

    async def gather() -> None:
        await ours.gather(1000, FOREVER_S)
        done.set()

    nursery.start_soon(gather)
    theirs.sendall(b"x" * 600)
    await wait_all_tasks_blocked(0.05)
    assert not done.is_set()
    theirs.sendall(b"x" * 600)
    await done.wait()
    assert ours.receive_nowait(10_000) == b"x" * 1200


async def test_gathering_ends_when_its_time_is_over_and_nothing_is_lost(ends):
    ours, theirs = ends
    theirs.sendall(b"x" * 600)
    await ours.gather(1000, 0.001)
    assert ours.receive_nowait(10_000) == b"x" * 600


async def test_gathering_ends_with_the_connection(ends):
    ours, theirs = ends
    theirs.sendall(b"x")
    theirs.shutdown(socket.SHUT_WR)
    await ours.gather(1000, FOREVER_S)
    assert ours.receive_nowait(10) == b"x"
    assert ours.receive_nowait(10) == b""


async def test_a_single_byte_is_received_after_more_was_gathered_for(ends, nursery):
    ours, theirs = ends
    await ours.gather(1000, 0.001)
    received: list[bytes] = []

    async def receive() -> None:
        received.append(await ours.receive_some(10))

    nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    theirs.sendall(b"x")
    while not received:
        await trio.lowlevel.checkpoint()
    assert received == [b"x"]


async def test_who_waits_is_told_that_the_stream_was_closed(ends, nursery):
    ours, _ = ends

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await ours.receive_some(10)

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    await ours.aclose()
    await ours.aclose()
    await ours.gather(10, FOREVER_S)
    for use in (ours.receive_some, ours.wait_send_all_might_not_block):
        with pytest.raises(trio.ClosedResourceError):
            await use()
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"x")


async def test_a_reset_breaks_it(ends):
    ours, theirs = ends
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    theirs.close()
    await ours.gather(1, FOREVER_S)
    with pytest.raises(trio.BrokenResourceError, match="reset"):
        ours.receive_nowait(10)
    with pytest.raises(trio.BrokenResourceError):
        await ours.send_all(b"x")


async def test_receiving_and_sending_let_others_run(ends):
    ours, theirs = ends
    theirs.sendall(b"x")
    await ours.gather(1, FOREVER_S)
    with trio.testing.assert_checkpoints():
        await ours.receive_some(10)
    with trio.testing.assert_checkpoints():
        await ours.send_all(b"")


async def test_a_cancelled_receiver_takes_nothing(ends):
    ours, theirs = ends
    theirs.sendall(b"x")
    with trio.CancelScope() as scope:
        scope.cancel()
        await ours.receive_some(10)
    assert scope.cancelled_caught
    assert await ours.receive_some(10) == b"x"
