"""A complete test file for somebody's own client: an asyncio order book, against the simulated exchange.

    pytest -c /dev/null --rootdir . examples/test_your_client.py

(The options leave out this repository's own settings, which want plugins; a copy in a project of yours needs none.)

The client above, the tests below. The client follows the exchange's steps for a local book; the tests let events get
lost and connections break, and compare the book with the true one at the id where it stands. The guide to all of this
is docs/how-to/test-your-client.md.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import Ping, Request, TextMessage

from ingest_actors.testing import CutMidFrame, Drop, Fault, SimulatorConfig, ThreadedExchange

pytest_plugins = ["ingest_actors.testing.fixtures"]


class OutOfStep(Exception):
    """An event is missing: the book must be built anew."""


class LocalBook:
    """One symbol's order book; begins again whenever it has to."""

    def __init__(self, ws_url: str, rest_url: str, symbol: str) -> None:
        self.ws_url, self.rest_url, self.symbol = ws_url, rest_url, symbol
        self.update_id = 0
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.built = 0

    async def run(self) -> None:
        while True:
            with contextlib.suppress(OSError, OutOfStep, httpx.HTTPError):
                await self.follow()
            await asyncio.sleep(0.1)

    async def follow(self) -> None:
        """Connect, build the book, keep it up to date until the connection ends."""
        self.update_id = 0
        events = self.events(f"/ws/{self.symbol.lower()}@depth@100ms")
        async with contextlib.aclosing(events), httpx.AsyncClient(base_url=self.rest_url) as rest:
            async for event in events:
                while not self.update_id:
                    answer = await rest.get("/api/v3/depth", params={"symbol": self.symbol, "limit": 5000})
                    self.take(answer.raise_for_status().json(), not_before=event["U"] - 1)
                self.apply(event)

    def take(self, snapshot: dict, not_before: int) -> None:
        """Begin with a snapshot, unless it is older than the first event."""
        if snapshot["lastUpdateId"] >= not_before:
            self.update_id = snapshot["lastUpdateId"]
            self.bids, self.asks = dict(snapshot["bids"]), dict(snapshot["asks"])
            self.built += 1

    def apply(self, event: dict) -> None:
        if event["u"] <= self.update_id:
            return
        if event["U"] > self.update_id + 1:
            raise OutOfStep
        for side, levels in ((self.bids, event["b"]), (self.asks, event["a"])):
            for price, quantity in levels:
                if float(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)
        self.update_id = event["u"]

    async def events(self, target: str) -> AsyncIterator[dict]:
        """What a raw stream sends, until the connection ends."""
        host, port = self.ws_url.removeprefix("ws://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        ws, text = WSConnection(ConnectionType.CLIENT), ""
        try:
            writer.write(ws.send(Request(host=host, target=target)))
            while data := await reader.read(65536):
                ws.receive_data(data)
                for event in ws.events():
                    if isinstance(event, Ping):
                        writer.write(ws.send(event.response()))
                    elif isinstance(event, TextMessage):
                        text += event.data
                        if event.message_finished:
                            yield json.loads(text)
                            text = ""
        finally:
            writer.close()


# The tests.


@pytest.fixture
def simulated_exchange_config() -> SimulatorConfig:
    return SimulatorConfig(symbols=("BTCUSDT",), activity=3, seed=1)


@contextlib.asynccontextmanager
async def running(exchange: ThreadedExchange) -> AsyncIterator[LocalBook]:
    book = LocalBook(exchange.ws_url, exchange.rest_url, "BTCUSDT")
    task = asyncio.create_task(book.run())
    try:
        yield book
    finally:
        task.cancel()
        _, pending = await asyncio.wait([task], timeout=5)
        assert not pending, "the client ignores cancellation"
        with contextlib.suppress(asyncio.CancelledError):
            task.result()  # what else has ended it


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a test may look now and then
            await asyncio.sleep(0.01)


def assert_it_is_the_true_one(book: LocalBook, exchange: ThreadedExchange) -> None:
    truth = exchange.book("BTCUSDT", book.update_id)
    assert book.bids == dict(truth.bids)
    assert book.asks == dict(truth.asks)


def test_the_book_is_the_true_one(simulated_exchange: ThreadedExchange) -> None:
    async def check() -> None:
        async with running(simulated_exchange) as book:
            for _ in range(5):
                seen = book.update_id
                await until(lambda seen=seen: book.update_id > seen)
                assert_it_is_the_true_one(book, simulated_exchange)
            assert book.built == 1

    asyncio.run(check())


def test_it_is_built_anew_after_a_cut_in_the_middle_of_a_frame(simulated_exchange: ThreadedExchange) -> None:
    async def check() -> None:
        async with running(simulated_exchange) as book:
            await until(lambda: book.built == 1)
            simulated_exchange.inflict(CutMidFrame())
            await until(lambda: book.built == 2)
            assert_it_is_the_true_one(book, simulated_exchange)
            assert [connection.number for connection in simulated_exchange.connections()] == [2]

    asyncio.run(check())


def test_it_is_built_anew_when_an_event_is_lost(simulated_exchange: ThreadedExchange) -> None:
    async def check() -> None:
        async with running(simulated_exchange) as book:
            await until(lambda: book.built == 1)
            simulated_exchange.inflict(Fault(Drop(), after_events=3, streams="*@depth*", in_all=1))
            await until(lambda: book.built == 2)
            assert_it_is_the_true_one(book, simulated_exchange)
            assert len(simulated_exchange.fired) == 1

    asyncio.run(check())
