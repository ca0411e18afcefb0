"""A broker killed under load, an exchange that ends connections in every way it has: nothing received is missing."""

from __future__ import annotations

import logging
import time

import pytest
from kafka_topics import Topics
from numbered_trades import SYMBOLS, Trades, numbers_of, without_repeats
from raw_exchange import frame

pytestmark = pytest.mark.broker
log = logging.getLogger(__name__)

PART = 5_000


def test_a_broker_killed_under_load_costs_nothing_but_repeats(exchange, serve, private_broker, topic_prefix):
    cluster = private_broker()
    topics = Topics(cluster.bootstrap_servers, topic_prefix)
    trades = Trades(SYMBOLS)

    def script(client):
        for chunk in trades.chunks(150_000):
            client.send(chunk)

    service = serve(exchange(script).settings, topics.settings)
    for _ in range(2):
        delivered = service.total("delivered")
        while service.total("delivered") < delivered + 15_000:
            time.sleep(0.02)
        cluster.kill()
        assert service.total("delivered") < 150_000, "it was killed too late to matter"
        time.sleep(1)
        assert service.running
        cluster.restart()
    service.wait_until_settled(150_000)
    ledger = service.stop()["ledger"]
    assert (ledger["received"], ledger["delivered"], ledger["dead_lettered"]) == (150_000, 150_000, 0)
    assert 1 <= len(service.log("kafka_unreachable")) == len(service.log("kafka_recovered")) <= 2
    assert len(service.log()) < 30, "an outage fills the log"
    for role in ("raw", "trades"):
        found = numbers_of(topics.read(role))
        log.info("%s: %d records came twice", role, sum(map(len, found.values())) - 150_000)
        assert {key: without_repeats(numbers) for key, numbers in found.items()} == trades.numbers()


def test_whatever_way_a_connection_ends_what_was_received_is_written_and_the_next_one_follows(exchange, serve, topics):
    trades = Trades(SYMBOLS)

    def script(client):
        for chunk in trades.chunks(PART):
            client.send(chunk)
        if client.number == 1:
            client.send(frame(b'{"stream":"btcusdt@aggTrade","data":{}}' * 10)[:200])
            client.cut()
        elif client.number == 2:
            client.close(1001, "going away")
        elif client.number == 3:
            client.close(1008, "Pong timeout")
        elif client.number == 4:
            client.send(b"\xf1\x05hello" + frame(b"never looked at"))  # reserved bits
            client.gone.wait(10)
            client.cut()

    raw = exchange(script)
    service = serve(raw.settings, topics.settings, RECONNECT_INTERVAL="0.1")
    raw.client(5)
    service.wait_until_settled(5 * PART)
    closed = service.log("connection_closed")
    assert [line["code"] for line in closed] == [1006, 1001, 1008, 1002]
    assert [line["reason"] for line in closed[1:3]] == ["going away", "Pong timeout"]
    assert [client.close_code for client in raw.clients[:4]] == [None, 1001, 1008, 1002]
    assert service.reconnects() == {"closed": 4}
    ledger = service.stop()["ledger"]
    assert (ledger["received"], ledger["delivered"], ledger["dead_lettered"]) == (5 * PART, 5 * PART, 0)
    assert numbers_of(topics.read("raw")) == trades.numbers()
