"""The exchange as a whole, on real sockets."""

import contextlib
import json
import ssl
import sys
import time

import httpx
import pytest
import trio
from simulator_support import STREAMS, handshake, quiet, record, write_numbered
from trio_websocket import open_websocket_url

from ingest_actors.errors import SettingsError
from ingest_actors.simulator import SimulatorConfig, open_exchange, run_simulator
from ingest_actors.simulator.recording import Recording


async def trade_and_time(exchange, context=None):
    url = f"{exchange.ws_url}/stream?streams=btcusdt@trade"
    async with open_websocket_url(url, ssl_context=context) as client:
        event = json.loads(await client.get_message())
    async with httpx.AsyncClient(base_url=exchange.rest_url, verify=context or False) as http:
        answer = await http.get("/api/v3/time")
    return event, answer.json()


async def test_both_servers_answer_on_free_ports():
    with trio.fail_after(20):
        async with open_exchange(SimulatorConfig()) as exchange:
            assert exchange.ca_file is None
            before_ms = time.time_ns() // 10**6
            event, told = await trade_and_time(exchange)
            assert event["data"]["s"] == "BTCUSDT"
            assert -2000 < told["serverTime"] - before_ms < 10_000
            assert -2000 < event["data"]["T"] - before_ms < 10_000


async def test_tls_has_an_authority_of_its_own():
    with trio.fail_after(30):
        async with open_exchange(SimulatorConfig(tls=True, host="127.0.0.1")) as exchange:
            assert exchange.ws_url.startswith("wss://127.0.0.1:")
            assert exchange.rest_url.startswith("https://127.0.0.1:")
            context = ssl.create_default_context(cafile=str(exchange.ca_file))
            event, told = await trade_and_time(exchange, context)
            assert event["data"]["e"] == "trade"
            assert told["serverTime"] > 0
        assert not exchange.ca_file.exists()


async def test_a_client_that_speaks_no_tls_harms_nobody():
    with trio.fail_after(30):
        async with open_exchange(SimulatorConfig(tls=True, rest_port=None)) as exchange:
            host, port = exchange.ws_url.removeprefix("wss://").split(":")
            stream = await trio.open_tcp_stream(host, int(port))
            await stream.send_all(handshake("/ws"))
            with contextlib.suppress(trio.BrokenResourceError):
                while await stream.receive_some(4096):
                    pass
            await stream.aclose()
            context = ssl.create_default_context(cafile=str(exchange.ca_file))
            async with open_websocket_url(f"{exchange.ws_url}/ws/btcusdt@trade", ssl_context=context) as client:
                assert json.loads(await client.get_message())["e"] == "trade"


async def test_tls_without_its_package_is_told_clearly(monkeypatch):
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(SettingsError, match=r"pip install 'ingest-actors\[simulator-tls\]'"):
        async with open_exchange(SimulatorConfig(tls=True)):
            raise AssertionError


async def test_a_port_that_is_taken_is_an_error_of_the_system():
    async with open_exchange(quiet(ws_port=0)) as exchange:
        port = int(exchange.ws_url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with open_exchange(quiet(ws_port=port)):
                raise AssertionError


async def test_a_bad_recording_is_an_error_of_its_own(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        async with open_exchange(quiet(recording=(tmp_path / "nosuch",))):
            raise AssertionError


async def test_what_the_block_raises_comes_through_as_it_is():
    with pytest.raises(KeyError):
        async with open_exchange(quiet()):
            raise KeyError


async def test_the_block_can_be_cancelled():
    with trio.move_on_after(0.2) as scope:
        async with open_exchange(SimulatorConfig()):
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_the_end_of_the_exchange_ends_its_connections():
    with trio.fail_after(20):
        async with open_exchange(SimulatorConfig()) as exchange:
            host, port = exchange.ws_url.removeprefix("ws://").split(":")
            stream = await trio.open_tcp_stream(host, int(port))
            await stream.send_all(handshake("/ws/btcusdt@trade"))
            await stream.receive_some(4096)
        with contextlib.suppress(trio.BrokenResourceError):
            while await stream.receive_some(65536):
                pass
        await stream.aclose()


async def test_the_command_announces_its_addresses_and_runs_until_cancelled(nursery):
    send, receive = trio.open_memory_channel(1)
    nursery.start_soon(run_simulator, SimulatorConfig(), send.send_nowait)
    with trio.fail_after(20):
        line = await receive.receive()
    assert list(line) == ["ws_url", "rest_url", "ca_file"]
    assert line["ca_file"] is None
    async with httpx.AsyncClient(base_url=line["rest_url"]) as http:
        assert (await http.get("/api/v3/ping")).json() == {}
    nursery.cancel_scope.cancel()


async def test_a_recording_is_served_over_a_socket_byte_for_byte(tmp_path):
    frames, _ = await trio.to_thread.run_sync(record, 10)
    names = [f"{symbol}@{stream}" for symbol in ("btcusdt", "ethusdt") for stream in STREAMS]
    path = write_numbered(tmp_path / "r.gz", frames)
    wire = b"".join(block.wire for _, block in Recording([path]).blocks())
    with trio.fail_after(30):
        async with open_exchange(SimulatorConfig(recording=(path,), speed=0, at_end="close")) as exchange:
            host, port = exchange.ws_url.removeprefix("ws://").split(":")
            stream = await trio.open_tcp_stream(host, int(port))
            await stream.send_all(handshake("/stream?streams=" + "/".join(names)))
            got = b""
            while not got.endswith(b"\x88\x02\x03\xe9"):
                got += await stream.receive_some(1 << 20)
            assert got.partition(b"\r\n\r\n")[2] == wire + b"\x88\x02\x03\xe9"
            await stream.aclose()


async def test_a_slow_reader_of_the_market_is_cut_off_on_a_socket_too():
    config = SimulatorConfig(activity=200, symbols=("BTCUSDT", "ETHUSDT"))
    async with open_exchange(config) as exchange:
        host, port = exchange.ws_url.removeprefix("ws://").split(":")
        stream = await trio.open_tcp_stream(host, int(port))
        names = "/".join(
            f"{symbol}@{kind}" for symbol in ("btcusdt", "ethusdt") for kind in ("trade", "aggTrade", "depth")
        )
        await stream.send_all(handshake(f"/ws/{names}"))
        await stream.receive_some(1024)
        with trio.fail_after(60):
            while exchange.server.connections:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.05)
        await stream.aclose()
