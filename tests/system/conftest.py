"""What the tests of the whole product share. They see it from outside only: processes, topics, HTTP, a WebSocket."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from inspect import signature
from pathlib import Path

import pytest
from kafka_topics import Topics
from numbered_trades import SYMBOLS, Trades
from raw_exchange import Client, RawExchange
from service_process import Service

# The benches judge recordings by rules of their own, which share nothing with the package.
sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))


@pytest.fixture
def topics(broker, topic_prefix) -> Topics:
    """The six topics, of this test's own, on the shared broker."""
    return Topics(broker.bootstrap_servers, topic_prefix)


@pytest.fixture
def pausable(private_broker):
    """A Kafka that goes on when the test is over, whatever became of it."""
    cluster = private_broker()
    yield cluster
    cluster.resume()


@pytest.fixture
def paused_topics(pausable, topic_prefix) -> Topics:
    """The six topics, of this test's own, on that one."""
    return Topics(pausable.bootstrap_servers, topic_prefix)


@pytest.fixture
def exchange() -> Iterator[Callable[[Callable[[Client], None]], RawExchange]]:
    """Starts exchanges that do what a script says."""
    with ExitStack() as running:
        yield lambda script: running.enter_context(RawExchange(script, SYMBOLS))


@pytest.fixture
def serve(tmp_path) -> Iterator[Callable[..., Service]]:
    """Starts services of aggregate trades, from dictionaries of settings and from keywords; they are ready."""
    with ExitStack() as running:

        def serve(*given: Mapping[str, str], **environ: str) -> Service:
            settings = {"BINANCE_STREAM_TYPES": "aggTrade"}
            for some in (*given, environ):
                settings |= some
            return running.enter_context(Service(tmp_path, **settings)).wait_ready()

        yield serve


@pytest.fixture(scope="session", autouse=True)
def silent_exchange(request, tmp_path_factory) -> Iterator[tuple[RawExchange, Service] | None]:
    """An exchange that falls silent after a hundred trades to its first client, and the service that it serves.

    Begins with the directory's first test, if its own is among those selected: the read deadline takes a minute.
    """
    if not any("silent_exchange" in signature(item.function).parameters for item in request.session.items):
        yield None
        return

    def script(client: Client) -> None:
        trades = Trades(SYMBOLS)
        client.send(trades.frames(100))
        while client.number > 1:
            time.sleep(1)
            client.send(trades.frames(1))

    with RawExchange(script, SYMBOLS) as exchange:
        kafka = {"KAFKA_BOOTSTRAP_SERVERS": "embedded", "BINANCE_STREAM_TYPES": "aggTrade", "RECONNECT_INTERVAL": "0.1"}
        with Service(tmp_path_factory.mktemp("silent"), **exchange.settings, **kafka) as service:
            yield exchange, service
