"""Faults: each does what it says, to whom it says, when it says."""

import pytest
import trio
from simulator_support import ask, client_of, decode_frames, events, handshake, quiet
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed

from ingest_actors.simulator import Limits, open_exchange
from ingest_actors.simulator.faults import CloseWith, Cut, CutMidFrame, Fault, FaultScript, HalfOpen, Mute

PATH = "/ws/btcusdt@trade"


def hurt(action, after_frames=0, connections=(), **changes):
    script = FaultScript([Fault(action, after_frames=after_frames, connections=frozenset(connections))])
    return open_exchange(quiet(faults=script, **changes))


async def bytes_of(exchange, path=PATH):
    """All that a connection sends after the handshake, to its end."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.serve_stream, theirs)
        await ours.send_all(handshake(path))
        got = b""
        while data := await ours.receive_some(65536):
            got += data
    return got.partition(b"\r\n\r\n")[2]


async def test_a_cut_in_the_middle_of_a_frame_leaves_half_of_it(autojump_clock):
    async with hurt(CutMidFrame(), 10) as exchange:
        data = await bytes_of(exchange)
    whole = decode_frames(data)
    assert len(whole) == 10
    rest = data[sum(len(payload) + (4 if len(payload) > 125 else 2) for payload in whole) :]
    assert rest[0] == 0x81
    assert 2 < len(rest) < 200


async def test_a_cut_comes_between_two_frames_and_without_a_close(autojump_clock):
    async with hurt(Cut(), 10) as exchange, client_of(exchange, PATH) as client:
        assert len(await events(client, 10)) == 10
        with pytest.raises(ConnectionClosed) as closed:
            await client.get_message()
        assert closed.value.reason.code == 1006


async def test_a_close_carries_its_code_and_reason_after_the_last_frame(autojump_clock):
    async with hurt(CloseWith(1012, "restarting"), 10) as exchange, client_of(exchange, PATH) as client:
        assert len(await events(client, 10)) == 10
        with pytest.raises(ConnectionClosed) as closed:
            await client.get_message()
        assert (closed.value.reason.code, closed.value.reason.reason) == (1012, "restarting")


async def test_a_half_open_connection_neither_speaks_nor_listens_nor_ends(autojump_clock):
    async with hurt(HalfOpen(), 10) as exchange, client_of(exchange, PATH) as client:
        assert len(await events(client, 10)) == 10
        with trio.move_on_after(600) as patience:
            await client.ping()
        assert patience.cancelled_caught
        assert not client.closed


async def test_a_mute_connection_goes_on_answering(autojump_clock):
    async with hurt(Mute(), 10) as exchange, client_of(exchange, PATH) as client:
        assert len(await events(client, 10)) == 10
        with trio.move_on_after(100) as patience:
            await client.get_message()
        assert patience.cancelled_caught
        assert await ask(client, "LIST_SUBSCRIPTIONS") == {"result": ["btcusdt@trade"], "id": 1}
        await client.ping()


async def test_only_the_named_connections_are_hurt(autojump_clock):
    async with hurt(Cut(), 5, connections=(2,)) as exchange:  # noqa: SIM117 - the second needs the first
        async with client_of(exchange, PATH) as first, client_of(exchange, PATH) as second:
            with pytest.raises(ConnectionClosed):
                await events(second, 6)
            await events(first, 50)


async def test_faults_of_one_connection_come_one_after_the_other(autojump_clock):
    script = FaultScript([Fault(CloseWith(1001), after_frames=20), Fault(Mute(), after_frames=5)])
    async with open_exchange(quiet(faults=script)) as exchange, client_of(exchange, PATH) as client:
        assert len(await events(client, 5)) == 5
        with pytest.raises(ConnectionClosed) as closed:
            await client.get_message()
        assert closed.value.reason.code == 1001


async def test_connections_can_be_hurt_from_outside(autojump_clock):
    async with (
        open_exchange(quiet(limits=Limits(ping_interval_s=5))) as exchange,
        client_of(exchange, PATH) as cut,
        client_of(exchange, PATH) as frozen,
        client_of(exchange, PATH) as closed,
    ):
        exchange.server.connections[1].cut()
        exchange.server.connections[2].freeze()
        exchange.server.connections[3].close(1001, "going away")
        for client, code in ((cut, 1006), (closed, 1001)):
            with pytest.raises(ConnectionClosed) as end:
                await client.get_message()
            assert end.value.reason.code == code
        with trio.move_on_after(300) as patience:
            await frozen.get_message()
        assert patience.cancelled_caught
