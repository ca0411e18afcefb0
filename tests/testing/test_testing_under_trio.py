"""The simulated exchange in a trio test's own loop."""

import json

import pytest
import trio
from trio_websocket import ConnectionClosed, wrap_client_stream

from ingest_actors.testing import open_exchange


async def test_clients_can_connect_on_entry_and_are_cut_by_the_test():
    async with open_exchange(symbols=("BTCUSDT",), activity=5.0) as exchange, trio.open_nursery() as nursery:
        host, port = exchange.ws_url.removeprefix("ws://").split(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            client = await wrap_client_stream(nursery, stream, "exchange", "/ws/btcusdt@trade")
            (seen,) = await exchange.wait_for_connections()
            assert seen.streams == ("btcusdt@trade",)
            assert json.loads(await client.get_message())["s"] == "BTCUSDT"
            assert await exchange.cut() == 1
            with pytest.raises(ConnectionClosed, match="1006"):
                await read_on(client)
        await exchange.wait_for_no_connections()
        assert exchange.rest_url.startswith("http://")
        assert exchange.ca_file is None


async def read_on(client):
    while True:
        await client.get_message()


async def test_virtual_time_works_with_clients_in_memory(autojump_clock):
    async with (
        open_exchange(symbols=("BTCUSDT",), ws_port=None, rest_port=None, start_ms=1_790_000_000_000) as exchange,
        trio.open_nursery() as nursery,
    ):
        stream = await exchange.simulated.connect()
        client = await wrap_client_stream(nursery, stream, "exchange", "/ws/btcusdt@kline_1m")
        await exchange.wait_for_subscriptions("btcusdt@kline_1m")
        while not json.loads(await client.get_message())["k"]["x"]:
            pass
        assert trio.current_time() > 40
        assert exchange.now_ms() > 1_790_000_040_000
        with pytest.raises(TimeoutError, match=r"waited 60 s"):
            await exchange.wait_for_connections(2, timeout_s=60)
        for url in ("ws_url", "rest_url"):
            with pytest.raises(LookupError, match="was asked for"):
                getattr(exchange, url)
        nursery.cancel_scope.cancel()


async def test_what_the_block_raises_comes_out_as_it_is():
    with pytest.raises(ZeroDivisionError):
        async with open_exchange(symbols=("BTCUSDT",)):
            raise ZeroDivisionError
